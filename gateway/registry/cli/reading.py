"""`yhdyspinta registry show` and `diff`: what a registry says, and what changes between two of them."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from gateway.keys.errors import TrustError
from gateway.registry.cli.running import Json, told
from gateway.terminal.output import NO, console, print_json, table

Root = Annotated[
    Path | None, typer.Option("--root", metavar="FILE", help="The root to verify with; needed for an address.")
]


@dataclass(frozen=True, slots=True)
class _Read:
    """A registry as it was read: what it says, its version and ends by role, and whether signatures were verified."""

    content: Any
    version: int | None
    expiries: dict[str, tuple[int, datetime]]
    verified: bool


def show(
    source: Annotated[str, typer.Argument(help="Folder of an authority or of a publication, or its address.")] = ".",
    root: Root = None,
    member: Annotated[str, typer.Option(help="Show one member with all that it has.")] = "",
    json: Json = False,
) -> None:
    """Show what a registry says: members, nodes, certificates and when what is signed expires."""
    from gateway.registry.read import writing

    with told(json=json):
        found = _read(source, root)
        members = [listed for listed in found.content.members if not member or str(listed.id) == member]
        if member and not members:
            raise TrustError("request-refused", f"the registry lists no member {member}")
        if json:
            chosen = {listed.id for listed in members}
            print_json(
                {
                    "instance": found.content.instance,
                    "version": found.version,
                    "verified": found.verified,
                    "roles": {
                        role: {"version": version, "expires": end} for role, (version, end) in found.expiries.items()
                    },
                    "anchors": [_anchor(anchor) for anchor in found.content.anchors],
                    "members": [
                        writing.write_member(listed)
                        | {"signing": [_signing(certificate) for certificate in listed.signing]}
                        for listed in members
                    ],
                    "nodes": [writing.write_node(node) for node in found.content.nodes if node.owner in chosen],
                    "witnesses": [{"name": witness.name, "key": witness.key} for witness in found.content.witnesses],
                    "services": len(found.content.services),
                    "standing_requests": [
                        asked.to_dict()
                        for asked in found.content.standing_requests
                        if asked.member in {str(c) for c in chosen}
                    ],
                }
            )
            return
        _draw(found, members)


def diff(
    old: Annotated[
        str, typer.Argument(help="Folder or address; an authority's folder alone compares its draft.")
    ] = ".",
    new: Annotated[str, typer.Argument(help="Folder or address.")] = "",
    root: Root = None,
    json: Json = False,
) -> None:
    """Show what differs between two registries, or between what an authority has published and its draft.

    Exit code 0 if nothing does, 1 if something does.
    """
    from gateway.registry.run import changes

    with told(json=json):
        if new:
            before, after = _read(old, root).content, _read(new, root).content
        else:
            from gateway.registry.run.authority import Authority

            ours = Authority(Path(old), b"")
            before, after = ours.content(), ours.draft()
        found = changes.differences(before, after)
    if json:
        print_json(
            {
                "changes": [
                    {"kind": item.kind, "name": item.name, "what": item.what, "fields": item.fields} for item in found
                ]
            }
        )
    else:
        colours = {"added": "green", "removed": "red", "changed": "yellow"}
        for item in found:
            console.print(f"[{colours[item.what]}]{escape(str(item))}[/]", soft_wrap=True)
        if not found:
            console.print("no difference")
    raise SystemExit(NO if found else 0)


def _read(source: str, root: Path | None) -> _Read:
    from gateway.registry.read import targets
    from gateway.registry.read.distribution import RegistryClient
    from gateway.registry.run.publishing import Publisher

    folder = Path(source)
    if "://" not in source and (folder / "registry" / "metadata").is_dir():
        root = root or (folder / "root.json" if (folder / "root.json").is_file() else None)
        folder, source = folder / "registry", str(folder / "registry")
    if root is not None:
        with tempfile.TemporaryDirectory(prefix="yhdyspinta-") as cache:
            registry = RegistryClient(source, Path(cache), root.read_bytes()).refresh(datetime.now(UTC))
            ends = (
                Publisher(folder).expiries() if "://" not in source else {"all": (registry.version, registry.expires)}
            )
            return _Read(registry.content, registry.version, ends, True)
    if "://" in source:
        raise TrustError(
            "registry-unavailable", "without its root a registry from an address cannot be believed", "give --root"
        )
    publisher = Publisher(folder)
    ends = publisher.expiries()
    return _Read(targets.read(publisher.files()), ends["snapshot"][0], ends, False)


def _draw(found: _Read, members: list[Any]) -> None:
    now = datetime.now(UTC)
    said = "signatures verified" if found.verified else "signatures not verified: give --root"
    console.print(f"[bold]{escape(found.content.instance)}[/] version {found.version} ({said})")
    console.print(
        table(
            "Signed until",
            ["role", "version", "expires"],
            [[role, str(version), _until(end, now)] for role, (version, end) in found.expiries.items()],
        )
    )
    nodes: dict[Any, list[Any]] = {}
    for node in found.content.nodes:
        nodes.setdefault(node.owner, []).append(node)
    rows = [
        [
            str(member.id),
            member.name.en,
            ", ".join(term.role for term in member.roles),
            "\n".join(f"{node.id} {node.address}" for node in nodes.get(member.id, ())),
            "\n".join(_witness(key) for node in nodes.get(member.id, ()) for key in node.witness),
            "\n".join(
                f"{_signing(own)['thumbprint'][:12]}… {own.algorithm} {_until(own.not_after, now)}"
                for own in member.signing
            ),
        ]
        for member in members
    ]
    console.print(table("Members", ["member", "name", "roles", "nodes", "witness keys", "signing certificates"], rows))
    console.print(
        f"{len(members)} members, {len(found.content.nodes)} nodes, {len(found.content.services)} services, "
        f"{len(found.content.anchors)} anchors"
    )


def _signing(certificate: Any) -> dict[str, Any]:
    from gateway.wire.signing import thumbprint

    return {
        "thumbprint": thumbprint(certificate.certificate),
        "algorithm": certificate.algorithm,
        "from": certificate.not_before,
        "until": certificate.not_after,
    }


def _witness(key: str) -> str:
    """Which key it is (its four bytes, as `revoke` takes them after the name) and of what kind."""
    from audit.tree.checkpoint import KeyType, NoteError, VerifierKey

    try:
        parsed = VerifierKey.parse(key)
    except NoteError:
        return "unreadable"
    kinds = {KeyType.COSIGNATURE_ML_DSA_44: "ML-DSA-44", KeyType.COSIGNATURE_ED25519: "Ed25519"}
    return f"{parsed.key_id.hex()} {kinds.get(parsed.type, 'of no witness')}"


def _anchor(certificate: bytes) -> dict[str, Any]:
    from gateway.keys.certificates import load
    from gateway.wire.signing import thumbprint

    parsed = load(certificate)
    return {
        "thumbprint": thumbprint(certificate),
        "name": parsed.subject.rfc4514_string(),
        "until": parsed.not_valid_after_utc,
    }


def _until(end: datetime, now: datetime) -> str:
    left = (end - now).total_seconds()
    days = f"{left / 86400:.0f} d" if abs(left) >= 2 * 86400 else f"{left / 3600:.0f} h"
    return f"{end:%Y-%m-%d %H:%M}Z ({'expired ' if left < 0 else ''}{days})"


COMMANDS = (show, diff)
