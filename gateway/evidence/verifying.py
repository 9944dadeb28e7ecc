"""Verify the evidence of an exchange, offline, trusting nothing but the root of the registry that one was handed.

Each thing that is claimed becomes one Finding: that the registry vouched for the certificates when the messages were
signed, that the signatures hold, that the response answers the request, that the bodies are those that were signed,
that the log of one side includes what happened and signed for it, that a time stamp says by when, and that the package
holds the files which follow from all that and no others. Without a root of one's own the package is only shown to be
consistent with the root that it carries, and the report says so.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from audit.log.entries import Entry
from audit.tree.checkpoint import NoteError, VerifierKey
from audit.tree.verify import ExportError, verify_export
from gateway.evidence.package import FORMER, MESSAGE_LIMIT, Evidence, complete
from gateway.evidence.presenting import present
from gateway.evidence.signatures import spoilt
from gateway.evidence.timestamps import check_timestamp
from gateway.keys.errors import TrustError
from gateway.registry.read.distribution import RegistryClient
from gateway.registry.read.registry import Registry
from gateway.registry.read.roles import DELEGATED
from gateway.registry.read.targets import FILES
from gateway.wire.decided import body_digest
from gateway.wire.identifiers import MemberId
from gateway.wire.message import RequestClaims, ResponseClaims
from gateway.wire.problems import ProblemError
from gateway.wire.signing import Sent, Verifier, open_request, open_response, request_digest
from gateway.wire.strict import split


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked: a code for programs, whether it holds, and what was seen."""

    code: str
    holds: bool
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome. `anchored`: the registry's root was given by the caller, and not taken from the package.

    `compared`: the files for people were held against what was signed; those of an earlier form cannot be.
    """

    message_id: str
    anchored: bool
    compared: bool
    findings: tuple[Finding, ...]
    request: RequestClaims | None
    response: ResponseClaims | None
    entries: tuple[Entry, ...]

    @property
    def sound(self) -> bool:
        """Whether everything that the package claims holds."""
        return all(finding.holds for finding in self.findings)


def verify(
    evidence: Evidence,
    files: Mapping[str, bytes],
    *,
    root: bytes | None = None,
    timestamp_authorities: Sequence[bytes] = (),
) -> Report:
    """Check everything in the package. `root` is the registry's root metadata that the caller trusts.

    `evidence` and `files` are what `package.read` returns.

    `timestamp_authorities` are certificates (PEM) whose time stamps the caller believes; without them those in the
    package are used.
    """
    checker = _Checker(evidence, root, timestamp_authorities)
    checker.run()
    if evidence.format != FORMER:
        checker.compare(files)
    return Report(
        evidence.message_id,
        root is not None,
        evidence.format != FORMER,
        tuple(checker.findings),
        checker.request,
        checker.response,
        checker.entries,
    )


class _Checker:
    def __init__(self, evidence: Evidence, root: bytes | None, authorities: Sequence[bytes]) -> None:
        self.evidence = evidence
        self.root = root
        self.authorities = authorities
        self.findings: list[Finding] = []
        self.request: RequestClaims | None = None
        self.response: ResponseClaims | None = None
        self.entries: tuple[Entry, ...] = ()
        self.registry: Registry | None = None

    def run(self) -> None:
        self._step("request", self._request)
        if self.request is None:
            return
        if self.evidence.response is None:
            self._say("response", True, "no signed response is part of the evidence")
        else:
            self._step("response", self._response)
        for part, body in sorted(self.evidence.bodies.items()):
            self._step(f"{part}-body", lambda part=part, body=body: self._body(part, body))  # type: ignore[misc]
        self._step("log", lambda: self._log(self.evidence.log))
        if self.evidence.timestamp is not None:
            self._step("timestamp", self._timestamp)

    def compare(self, files: Mapping[str, bytes]) -> None:
        """Hold every file against the package that this evidence makes."""
        self._step("registry", self._registries)
        self._step("files", lambda: self._files(files))

    def _registries(self) -> str:
        wrong = [
            f"registry/{version}/{name}"
            for version, files in sorted(self.evidence.registries.items())
            for name in spoilt(files)
        ]
        if wrong:
            raise _unsound(f"a signature does not hold, though enough others may: {', '.join(wrong)}")
        return "all signatures of the registry's metadata hold"

    def _files(self, files: Mapping[str, bytes]) -> str:
        # What a person reads or compares with is made anew from the signed texts; what the package holds is not asked.
        expected = complete(self.evidence, present(self.evidence))
        used = {self.evidence.request_registry, self.evidence.response_registry}
        wrong = {name for name in expected.keys() | files.keys() if expected.get(name) != files.get(name)}
        wrong |= {f"registry/{version}" for version in self.evidence.registries if version not in used}
        if wrong:
            raise _unsound(f"not what follows from the signed texts, missing or in excess: {', '.join(sorted(wrong))}")
        return f"all {len(files)} files are those that follow from the signed texts"

    def _step(self, code: str, check: Callable[[], str]) -> None:
        try:
            self._say(code, True, check())
        except (TrustError, ProblemError) as error:
            self._say(code, False, str(error))
        except (
            ExportError,
            NoteError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            OverflowError,
            OSError,
        ) as error:
            self._say(code, False, f"cannot be read: {error}")

    def _say(self, code: str, holds: bool, text: str) -> None:
        self.findings.append(Finding(code, holds, text))

    def _request(self) -> str:
        evidence = self.evidence
        signed = _moment(evidence.request)
        self.registry = _registry(evidence.registries[evidence.request_registry], self.root, signed)
        member = _member(evidence.request)
        claims = open_request(
            evidence.request,
            Verifier(self.registry.signing_key, signed),
            audience=lambda _service: True,
            tls_members=frozenset({member}),
        )
        if claims.message_id != evidence.message_id:
            raise _unsound("the request is another message than the package says")
        self.request = claims
        return (
            f"{claims.issuer} asked {claims.audience} for {claims.purpose}, signed {signed.isoformat()}; "
            f"version {self.registry.version} of the registry vouched for the certificate"
        )

    def _response(self) -> str:
        evidence, request = self.evidence, self.request
        assert request is not None
        assert evidence.response is not None
        assert evidence.response_registry is not None
        signed = _moment(evidence.response)
        registry = _registry(evidence.registries[evidence.response_registry], self.root, signed)
        self.response = open_response(
            evidence.response,
            Verifier(registry.signing_key, signed),
            Sent(evidence.request, request.audience, request.issuer),
        )
        if not abs(signed - request.issued_at) <= timedelta(minutes=5):
            raise _unsound("the response was signed at another time than its request")
        return f"{request.audience} answered {self.response.status} to exactly this request, {signed.isoformat()}"

    def _body(self, part: str, body: bytes) -> str:
        claims: RequestClaims | ResponseClaims | None = {"request": self.request, "response": self.response}.get(part)
        if claims is None:
            raise _unsound("a body without its message proves nothing")
        if body_digest(body) != claims.digest:
            raise _unsound("the body is not the one that was signed")
        return f"the {len(body)} bytes are those that were signed"

    def _log(self, export: bytes, code: str = "log") -> str:
        key, node = self._log_key(export)
        report = verify_export(export, log_key=key, witnesses=self._witnesses())
        for problem in report.problems:
            raise _unsound(problem.explanation)
        assert report.checkpoint is not None
        entries = tuple(entry for _, entry in report.entries)
        self._belong(entries)
        if code == "log":
            self.entries = entries
        seen = (
            f", witnessed by {', '.join(cosignature.witness for cosignature in report.cosignatures)}"
            if report.cosignatures
            else ""
        )
        return (
            f"the log of node {node} signed for {len(entries)} entries about this exchange, "
            f"in a log of {report.checkpoint.size}{seen}"
        )

    def _belong(self, entries: Sequence[Entry]) -> None:
        if not entries:
            raise _unsound("the log says nothing about this exchange")
        expected = request_digest(self.evidence.request)
        for entry in entries:
            if entry.message_id != self.evidence.message_id or entry.request_digest != expected:
                raise _unsound("an entry of the log is about another message")
        if self.response is not None and not any(entry.response_digest == self.response.digest for entry in entries):
            raise _unsound("no entry of the log names the response")

    def _log_key(self, export: bytes) -> tuple[VerifierKey, str]:
        assert self.registry is not None
        assert self.request is not None
        document = orjson.loads(export)
        origin = str(document["checkpoint"]).split("\n", 1)[0]
        ours = self.request.issuer if self.evidence.direction == "sent" else self.request.audience.subsystem
        for node in self.registry.nodes_of(ours.member):
            if node.log_origin == origin and node.log_key is not None:
                key = VerifierKey.parse(node.log_key)
                # The key that the export names goes into log/key.pem, which a person verifies with.
                if document["log_key"] != str(key):
                    raise _unsound("the key that the log's export names is not the one that the registry lists")
                return key, node.id
        raise _unsound("the registry knows no log of that name at a node of this side of the exchange")

    def _witnesses(self) -> tuple[VerifierKey, ...]:
        assert self.registry is not None
        return self.registry.witness_keys

    def _timestamp(self) -> str:
        assert self.evidence.timestamp is not None
        if self.evidence.stamped is None:
            raise _unsound("the time stamp has no checkpoint")
        self._log(self.evidence.stamped, "timestamp")
        note = str(orjson.loads(self.evidence.stamped)["checkpoint"]).encode()
        at = check_timestamp(self.evidence.timestamp, note, self.authorities or [self.evidence.authorities or b""])
        trust = "" if self.authorities else " of an authority that the package names itself: give the one you trust"
        return f"the entries were in the log by {at.isoformat()}, says the time stamp{trust}"


def _moment(jws: str) -> datetime:
    """When a message says that it was signed: the moment at which its certificate must have been vouched for."""
    issued = split(jws, MESSAGE_LIMIT).claims.get("iat")
    if type(issued) is not int or not 0 <= issued < 2**33:
        raise _unsound("the message does not say when it was signed")
    return datetime.fromtimestamp(issued, UTC)


def _member(jws: str) -> MemberId:
    issuer = str(split(jws, MESSAGE_LIMIT).claims.get("iss"))
    return MemberId.parse("/".join(issuer.split("/")[:3]))


def _registry(files: Mapping[str, bytes], root: bytes | None, at: datetime) -> Registry:
    """The registry of the package, verified as a node would have verified it at that moment."""
    with _published(files) as (folder, first):
        client = RegistryClient(folder / "published", folder / "cache", root if root is not None else first)
        return client.refresh(at)


@contextmanager
def _published(files: Mapping[str, bytes]) -> Iterator[tuple[Path, bytes]]:
    """Lay kept metadata out as a publication, under the names that a web server would serve it by."""
    roots = {int(_signed(data)["version"]): data for name, data in files.items() if name.endswith(".root.json")}
    if not roots:
        raise _unsound("the package has no root of the registry")
    with tempfile.TemporaryDirectory(prefix="yhdyspinta-evidence-") as name:
        folder = Path(name)
        metadata, targets = folder / "published" / "metadata", folder / "published" / "targets"
        metadata.mkdir(parents=True)
        targets.mkdir()
        for version, data in roots.items():
            (metadata / f"{version}.root.json").write_bytes(data)
        (metadata / "timestamp.json").write_bytes(files["metadata/timestamp.json"])
        for role in ("snapshot", "targets", *DELEGATED):
            data = files[f"metadata/{role}.json"]
            (metadata / f"{int(_signed(data)['version'])}.{role}.json").write_bytes(data)
        for listing in ("targets", *DELEGATED):
            for target, about in _signed(files[f"metadata/{listing}.json"]).get("targets", {}).items():
                if target in FILES:
                    digest = str(about["hashes"]["sha256"])
                    if not digest.isalnum():
                        raise _unsound("a file of the registry has no digest")
                    (targets / f"{digest}.{target}").write_bytes(files[f"targets/{target}"])
        yield folder, roots[min(roots)]


def _signed(data: bytes) -> dict[str, Any]:
    signed: dict[str, Any] = orjson.loads(data)["signed"]
    return signed


def _unsound(detail: str) -> TrustError:
    return TrustError("evidence-unsound", detail)
