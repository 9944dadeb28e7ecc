"""Where the target is and whom the kit plays: the profile, a TOML file.

Paths in it are relative to the file. A table that is missing means that the tests which need it are not run. A
passphrase is never in the profile itself, only the path of a file that holds one.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

_Value = TypeVar("_Value")
PATIENCE_SECONDS = 60.0
BODY_LIMIT = 8 * 1024 * 1024


class ProfileError(ValueError):
    """A profile that cannot be used: which member of it, why, and what would make it right."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its private key, in PEM files; the passphrase is that of the key."""

    certificate: Path
    key: Path
    passphrase: bytes | None = None


@dataclass(frozen=True, slots=True)
class TokenKey:
    """How a client proves itself without a certificate: its name, its private key, and the audience of the node."""

    client: str
    key: Path
    kid: str
    audience: str


@dataclass(frozen=True, slots=True)
class ClientFace:
    """A node's client face, and the information system that the kit plays there."""

    url: str
    authority: Path
    identity: Identity
    body_limit: int
    tokens: TokenKey | None


@dataclass(frozen=True, slots=True)
class Question:
    """A question that the receiving client may ask about a person whom the service knows."""

    service: str
    purpose: str
    categories: tuple[str, ...]
    system: str
    value: str


@dataclass(frozen=True, slots=True)
class Handing:
    """What the sending client hands over: the flow, the municipality of the persons, and a category that only a consent
    carries, with the purposes that such a consent names and the role that receives.
    """

    flow: str
    municipality: str
    role: str
    category: str
    purposes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """A member of the network whom the kit plays: its subsystem, its node, and the keys of both."""

    subsystem: str
    node: str
    signing: Identity
    tls: Identity


@dataclass(frozen=True, slots=True)
class PeerFace:
    """A node's face towards other nodes: where it is, who it is by the registry, and its services by their kind."""

    id: str
    address: str
    anchors: Path
    signing: tuple[Path, ...]
    pins: frozenset[str]
    services: Mapping[str, str]
    member: Member


@dataclass(frozen=True, slots=True)
class Profile:
    """All that the kit knows of the target. What is None is not there to be tested."""

    patience: float
    sending: ClientFace | None
    receiving: ClientFace | None
    query: Question | None
    handover: Handing | None
    node: PeerFace | None
    inbox: PeerFace | None
    other_member: Member | None

    def has(self, need: str) -> bool:
        """Whether the profile gives what a test needs: a table's name, or `tokens`."""
        if need == "tokens":
            return self.sending is not None and self.sending.tokens is not None
        return getattr(self, need) is not None

    def identities(self) -> Iterator[tuple[str, Identity]]:
        """All keys with their certificates, and where in the profile they stand."""
        for name, face in (("sending", self.sending), ("receiving", self.receiving)):
            if face is not None:
                yield name, face.identity
        members = [(f"{name}.member", peer.member) for name, peer in self._peers() if peer is not None]
        if self.other_member is not None:
            members.append(("other_member", self.other_member))
        for name, member in members:
            yield f"{name}.signing_key", member.signing
            yield f"{name}.tls_key", member.tls

    def _peers(self) -> tuple[tuple[str, PeerFace | None], ...]:
        return ("node", self.node), ("inbox", self.inbox)


def load(path: Path) -> Profile:
    """Read a profile. Raises ProfileError."""
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ProfileError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path} is not TOML: {error}") from None
    return _Reader(path.resolve().parent).profile(document)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads tables into values; relative paths count from the profile's folder."""

    folder: Path

    def profile(self, document: Mapping[str, Any]) -> Profile:
        known = {"patience_seconds", "sending", "receiving", "query", "handover", "node", "inbox", "other_member"}
        if unknown := sorted(document.keys() - known):
            raise ProfileError(f"{unknown[0]}: no such member; the profile has {', '.join(sorted(known))}")
        return Profile(
            patience=float(_of(document, "", "patience_seconds", (int, float), PATIENCE_SECONDS)),
            sending=self._client(document, "sending"),
            receiving=self._client(document, "receiving"),
            query=self._question(document),
            handover=self._handing(document),
            node=self._peer(document, "node"),
            inbox=self._peer(document, "inbox"),
            other_member=self._member(document["other_member"], "other_member") if "other_member" in document else None,
        )

    def _client(self, document: Mapping[str, Any], name: str) -> ClientFace | None:
        if name not in document:
            return None
        table = document[name]
        tokens = None
        if "tokens" in table:
            where = f"{name}.tokens"
            tokens = TokenKey(
                client=_text(table["tokens"], where, "client"),
                key=self._file(table["tokens"], where, "key"),
                kid=_of(table["tokens"], where, "kid", str, ""),
                audience=_text(table["tokens"], where, "audience"),
            )
        return ClientFace(
            url=_text(table, name, "url").rstrip("/"),
            authority=self._file(table, name, "authority"),
            identity=self._identity(table, name, ""),
            body_limit=_of(table, name, "body_limit", int, BODY_LIMIT),
            tokens=tokens,
        )

    def _question(self, document: Mapping[str, Any]) -> Question | None:
        if "query" not in document:
            return None
        table = document["query"]
        person = _of(table, "query", "person", dict, {})
        return Question(
            service=_text(table, "query", "service"),
            purpose=_text(table, "query", "purpose"),
            categories=_texts(table, "query", "categories"),
            system=_text(person, "query.person", "system"),
            value=_text(person, "query.person", "value"),
        )

    def _handing(self, document: Mapping[str, Any]) -> Handing | None:
        if "handover" not in document:
            return None
        table = document["handover"]
        return Handing(
            flow=_text(table, "handover", "flow"),
            municipality=_text(table, "handover", "municipality"),
            role=_text(table, "handover", "role"),
            category=_text(table, "handover", "consented_category"),
            purposes=_texts(table, "handover", "consent_purposes"),
        )

    def _peer(self, document: Mapping[str, Any], name: str) -> PeerFace | None:
        if name not in document:
            return None
        table = document[name]
        services = _of(table, name, "services", dict, {})
        return PeerFace(
            id=_text(table, name, "id"),
            address=_text(table, name, "address").rstrip("/"),
            anchors=self._file(table, name, "anchors"),
            signing=tuple(self._path(text, f"{name}.signing") for text in _texts(table, name, "signing")),
            pins=frozenset(_texts(table, name, "pins")),
            services={kind: _text(services, f"{name}.services", kind) for kind in services},
            member=self._member(_of(table, name, "member", dict, {}), f"{name}.member"),
        )

    def _member(self, table: Mapping[str, Any], where: str) -> Member:
        return Member(
            subsystem=_text(table, where, "subsystem"),
            node=_text(table, where, "node"),
            signing=self._identity(table, where, "signing_"),
            tls=self._identity(table, where, "tls_"),
        )

    def _identity(self, table: Mapping[str, Any], where: str, prefix: str) -> Identity:
        secret = None
        if "passphrase_file" in table:
            secret = self._file(table, where, "passphrase_file").read_bytes().strip()
        return Identity(
            certificate=self._file(table, where, f"{prefix}certificate"),
            key=self._file(table, where, f"{prefix}key"),
            passphrase=secret,
        )

    def _file(self, table: Mapping[str, Any], where: str, name: str) -> Path:
        return self._path(_text(table, where, name), f"{where}.{name}")

    def _path(self, text: str, where: str) -> Path:
        path = self.folder / text
        if not path.is_file():
            raise ProfileError(f"{where}: there is no file {path}")
        return path


def _of(
    table: Mapping[str, Any], where: str, name: str, kind: type[_Value] | tuple[type[_Value], ...], default: Any
) -> Any:
    value = table.get(name, default) if isinstance(table, Mapping) else default
    if not isinstance(value, kind):
        raise ProfileError(f"{where}.{name}: is of another type than it should be".lstrip("."))
    return value


def _text(table: Mapping[str, Any], where: str, name: str) -> str:
    value = _of(table, where, name, str, "")
    if not value:
        raise ProfileError(f"{where}.{name}: is missing; write a text")
    return str(value)


def _texts(table: Mapping[str, Any], where: str, name: str) -> tuple[str, ...]:
    values = _of(table, where, name, list, [])
    if not values or not all(isinstance(value, str) for value in values):
        raise ProfileError(f"{where}.{name}: is missing; write a list of texts")
    return tuple(values)
