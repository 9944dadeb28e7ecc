"""The conformance kit against the running containers, as another vendor would run it: from the image, by a profile.

The profile is made of what `docker/prepare` left in the members' folders. The kit's container is given the files that
the profile names, read-only, and nothing else: no database, no settings, no key of a node's log. It reaches the nodes
by the names that their certificates have.
"""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import PRODUCT, Engine
from outside import CUSTOMER, LOOPBACK, PromiseError, promise

HOME = "/kit"
_PATIENCE_SECONDS = 120
#: `conformance run` ends with 1 when a test has failed: its report says which, and is read before anything is said.
_REPORTED = (0, 1)


class File(str):
    """A path in the profile, relative to the state folder outside and to the profile inside."""

    __slots__ = ()


@dataclass(frozen=True)
class Party:
    """A member as `docker/prepare` made it: its folder's name, and the first of its node's three ports."""

    name: str
    port: int
    state: Path

    @property
    def node(self) -> str:
        """The node's id, which is also the name in its certificates."""
        return f"{self.name}-1"

    @property
    def subsystem(self) -> str:
        """The member's information system."""
        return str(json.loads((self.state / self.name / "subsystems.json").read_bytes())[0])

    def file(self, name: str) -> File:
        """A file in the member's folder."""
        return File(f"{self.name}/{name}")

    def client(self) -> dict[str, Any]:
        """The client face, and the system that `client add` let in."""
        found: dict[str, Any] = {
            "url": f"https://{self.node}:{self.port + 1}",
            "authority": File("post/authority.pem"),
            "certificate": self.file("clients/system.pem"),
            "key": self.file("clients/system.key"),
            "passphrase_file": self.file("passphrase"),
        }
        token = self.file("clients/system-token.key")
        if (self.state / token).is_file():
            found["tokens"] = {"client": "system", "key": token, "audience": f"urn:yhdyspinta:node:{self.node}"}
        return found

    def member(self) -> dict[str, Any]:
        """Whom the kit plays, with the member's own keys."""
        files = {f"{use}_{part}": f"{use}.{end}" for use in ("signing", "tls") for part, end in _PARTS}
        named = {"subsystem": self.subsystem, "node": self.node, "passphrase_file": self.file("passphrase")}
        return named | {key: self.file(name) for key, name in files.items()}

    def peer(self, played: Party, services: Mapping[str, str]) -> dict[str, Any]:
        """The node's face towards other nodes, and the member that calls it."""
        shown = (self.state / self.file("tls.pem")).read_text("ascii")
        pin = base64.urlsafe_b64encode(hashlib.sha256(ssl.PEM_cert_to_DER_cert(shown)).digest())
        return {
            "id": self.node,
            "address": f"https://{LOOPBACK}:{self.port}",
            "anchors": File("post/authority.pem"),
            "signing": [self.file("signing.pem")],
            "pins": [pin.rstrip(b"=").decode("ascii")],
            "services": {kind: f"{self.subsystem}/{code}" for kind, code in services.items()},
            "member": played.member(),
        }


_PARTS = (("certificate", "pem"), ("key", "key"))


def profile(state: Path, ports: Mapping[str, int], person: str) -> dict[str, Any]:
    """The profile's tables. `ports` are the members' first ones, `person` is whom the centre's register knows."""
    centre, kotka, county = (Party(name, ports[name], state) for name in ("centre", "kotka", "kymenlaakso"))
    services = {"query": "palvelutarve", "acceptance": "hyvaksynnat", "notice": "ilmoitukset"}
    return {
        "patience_seconds": _PATIENCE_SECONDS,
        "sending": centre.client(),
        "receiving": kotka.client(),
        "query": {
            "service": f"{centre.subsystem}/palvelutarve",
            "purpose": "service-need-lookup",
            "categories": ["identity", "language", "housing"],
            "person": {"system": CUSTOMER, "value": person},
        },
        "handover": {
            "flow": "F1",
            "municipality": "285",
            "role": "municipality",
            "consented_category": "health-needs",
            "consent_purposes": ["reception-to-municipality"],
        },
        "node": centre.peer(kotka, services),
        "inbox": kotka.peer(centre, {"inbox": "saapuvat"}),
        "other_member": county.member(),
    }


def toml(table: Mapping[str, Any], name: str = "") -> str:
    """A table as TOML; its own tables follow it."""
    plain = [f"{key} = {json.dumps(value)}" for key, value in table.items() if not isinstance(value, dict)]
    inner = [toml(value, f"{name}.{key}" if name else key) for key, value in table.items() if isinstance(value, dict)]
    return "\n\n".join(["\n".join([f"[{name}]", *plain] if name else plain), *inner])


def files(value: Any) -> Iterator[File]:
    """The files that a profile names."""
    if isinstance(value, File):
        yield value
    elif isinstance(value, list | dict):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from files(entry)


def conforms(engine: Engine, state: Path, ports: Mapping[str, int], person: str) -> None:
    """Run all tests of the kit. Raises PromiseError if one has failed, or has not been run."""
    tables = profile(state, ports, person)
    path = state / "profile.toml"
    path.write_text(toml(tables) + "\n", "utf-8")
    path.chmod(0o644)
    given = [f"{state / name}:{HOME}/{name}:ro" for name in sorted({*files(tables), "profile.toml"})]
    # The image's user is the one whose the keys are; nobody else could read them.
    hardened = ("--rm", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--tmpfs", "/tmp")
    report = engine.run(
        "podman", "run", *hardened, "--network", "host",
        *(option for name in ports for option in ("--add-host", f"{name}-1:{LOOPBACK}")),
        *(option for volume in given for option in ("--volume", volume)),
        PRODUCT, "conformance", "run", "--profile", f"{HOME}/profile.toml", "--json",
        codes=_REPORTED,
    )  # fmt: skip
    judged(read(report))


def read(text: str) -> dict[str, Any]:
    """The report in what the container wrote. Raises PromiseError if there is none: 1 is also how a crash ends."""
    try:
        report, _ = json.JSONDecoder().raw_decode(text, text.index("{"))
        return {"counts": report["counts"], "results": report["results"]}
    except (ValueError, KeyError):
        end = "\n".join(text.splitlines()[-15:])
        raise PromiseError(f"the conformance kit gives a report; it wrote:\n{end}") from None


def judged(report: Mapping[str, Any]) -> None:
    """Tell of each test that has not passed. Raises PromiseError if there is one."""
    counts = report["counts"]
    for result in report["results"]:
        if result["verdict"] == "failed":
            print(f"    ✗ {result['id']} {result['title']} ({result['section']})")
            print(f"      expected {result['expected']}, got {result['got']}")
            for exchange in result["exchanges"]:
                print(f"      → {exchange['request']}\n      ← {exchange['answer']}")
        elif result["verdict"] != "passed":
            print(f"    – {result['id']} {result['title']}: the profile has no {', '.join(result['missing'])}")
    said = f"the conformance kit: {counts['passed']} passed, {counts['failed']} failed, {counts['not-run']} not run"
    if not counts["passed"]:
        raise PromiseError(f"{said}; nothing was seen")
    promise(counts["passed"] == len(report["results"]), said)
