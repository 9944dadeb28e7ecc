"""`yhdyspinta registry enrol` and `join`: a member's side, on the member's own machine.

`enrol` makes the keys, which never leave, and a request for the network's authority; `join` takes the authority's
answer in, and then `yhdyspinta node run` works.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

import orjson
import typer
from rich.markup import escape

from gateway.keys import durable
from gateway.keys.errors import TrustError
from gateway.registry.cli.running import Json, Yes, told
from gateway.terminal.output import WRONG, agreed, console, fail, print_json

if TYPE_CHECKING:
    from gateway.registry.read.entries import Asked
    from gateway.registry.run.joining import Kept, KeyFiles, Making, TokenPlace

Folder = Annotated[Path, typer.Option("--folder", "-f", metavar="DIR", help="The node's folder.")]
Module = Annotated[Path | None, typer.Option(help="Keep the signing key in a token: its PKCS#11 module.")]
TokenName = Annotated[str, typer.Option(help="The token's label.")]
Label = Annotated[str, typer.Option(help="The key's label in the token.")]
Pin = Annotated[Path | None, typer.Option(help="File with the token's PIN.")]
_HERE = Path()
#: Beside the keys: the address that was asked to be registered.
_ADDRESS: Final = "address.json"
#: Of an address that names no port.
_PORT: Final = 443
_EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 - others come from outside


def enrol(
    member: Annotated[str, typer.Option(help="INSTANCE/CLASS/MEMBER, for example FI-TEST/MUN/1234567-8.")] = "",
    name: Annotated[
        str, typer.Option(help="The organisation's name; --name-sv and --name-en too if they differ.")
    ] = "",
    name_sv: Annotated[str, typer.Option(help="In Swedish.")] = "",
    name_en: Annotated[str, typer.Option(help="In English.")] = "",
    role: Annotated[
        list[str] | None, typer.Option(help="A role asked for, for example municipality; repeatable.")
    ] = None,
    subsystem: Annotated[list[str] | None, typer.Option(help="Code of an information system; repeatable.")] = None,
    node: Annotated[str, typer.Option(help="The node's id, a DNS name in small letters: kotka-1.")] = "",
    address: Annotated[str, typer.Option(help="Where other nodes reach it: https://HOST:PORT.")] = "",
    services: Annotated[
        Path | None, typer.Option(help="What it offers: JSON in the form of the registry's services.json.")
    ] = None,
    folder: Folder = _HERE,
    out: Annotated[Path | None, typer.Option(help="Where the request goes.")] = None,
    algorithm: Annotated[str, typer.Option(help="ES256 or EdDSA, for the signing key.")] = "ES256",
    renew: Annotated[
        list[str] | None,
        typer.Option(help="Ask for a new key of a node that runs already: signing, tls, witness or log; repeatable."),
    ] = None,
    pkcs11_module: Module = None,
    pkcs11_token: TokenName = "",
    pkcs11_label: Label = "",
    pkcs11_pin: Pin = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Make a node's keys on this machine, and a request to be let into the network. Only the request leaves."""
    if algorithm not in ("ES256", "EdDSA"):
        fail(f"{algorithm} is not a signature algorithm here", WRONG, remedy="ES256 or EdDSA", json=json)
    from gateway.registry.run.joining import Making, ask

    with told(json=json):
        place = _place(pkcs11_module, pkcs11_token, pkcs11_label, pkcs11_pin, json=json)
        making = Making("EdDSA" if algorithm == "EdDSA" else "ES256", place)
        if renew:
            data = _renewed(folder, frozenset(renew), making, yes=yes, json=json)
        else:
            wishes = _Wishes(member, (name, name_sv, name_en), tuple(role or ()), tuple(subsystem or ()), node, address)
            asked = _described(wishes, services, json=json)
            where = f"in the token {place.token}" if place is not None else f"in {folder / 'signing.key'}"
            agreed(
                [
                    f"make a signing key ({algorithm}) for {member} {where}, and a TLS key for {node} in {folder}",
                    "make the key of the node's audit log, and the one with which it cosigns the logs of others",
                    "write a request with the public halves; the private keys stay here",
                ],
                "Make the keys?",
                yes=yes,
                json=json,
            )
            data = ask(folder, asked, making)
        _hand_out(data, folder, out or folder / "request.json", json=json)


def join(
    welcome: Annotated[Path, typer.Argument(help="The authority's answer.")],
    folder: Folder = _HERE,
    peers: Annotated[
        str, typer.Option(help="Where other nodes connect; without it all interfaces, at the port that was registered.")
    ] = "",
    clients: Annotated[str, typer.Option(help="Where your own information systems connect.")] = "127.0.0.1:5443",
    local: Annotated[str, typer.Option(help="Health and metrics; no login.")] = "127.0.0.1:5080",
    client_authority: Annotated[
        list[Path] | None,
        typer.Option(help="Issuer of your systems' certificates; without it one is made here. Repeatable."),
    ] = None,
    root_fingerprint: Annotated[
        str, typer.Option(help="The root's fingerprint as the authority told it; join stops if it is another.")
    ] = "",
    pkcs11_module: Module = None,
    pkcs11_token: TokenName = "",
    pkcs11_label: Label = "",
    pkcs11_pin: Pin = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Take in the authority's answer: certificates, the registry's root, and settings for the node to run with."""
    from gateway.registry.run.enrolment import read_welcome
    from gateway.registry.run.joining import First, Listens, take_in

    with told(json=json):
        given = read_welcome(welcome.read_bytes())
        seen = _compared(given.root, root_fingerprint, welcome)
        is_first = not (folder / "root.json").exists()
        place = _place(pkcs11_module, pkcs11_token, pkcs11_label, pkcs11_pin, json=json)
        agreed(_steps(folder, seen, is_first=is_first), "Join?", yes=yes, json=json)
        subsystems = tuple(orjson.loads((folder / "subsystems.json").read_bytes())) if is_first else ()
        listens = Listens(peers or f"{_EVERYWHERE}:{_registered_port(folder)}", clients, local)
        authorities = tuple(path.resolve() for path in client_authority or ())
        written = take_in(
            folder,
            given,
            datetime.now(UTC),
            first=First(subsystems, listens, authorities),
            kept=_kept(folder, place, json=json),
        )
        if json:
            print_json({"member": str(given.member), "node": given.node, "root": seen, "written": written})
            return
        for path in written:
            console.print(f"[green]✓[/] {escape(str(path))}")
        if is_first:
            others = "on all interfaces" if listens.peers.startswith(_EVERYWHERE) else "there only"
            console.print(f"  Other nodes connect to {escape(listens.peers)}, {others}; your own systems to ", end="")
            console.print(f"{escape(listens.clients)}. `--peers`, `--clients` or the settings change that.")
            console.print(f"Next: [bold]yhdyspinta node run --config {escape(str(folder / 'node.toml'))}[/]")


def _registered_port(folder: Path) -> int:
    """The port under which the request had the node registered: where others will look for it."""
    kept = folder / _ADDRESS
    address = str(orjson.loads(kept.read_bytes())) if kept.exists() else ""
    return urlsplit(address).port or _PORT


def _compared(root: bytes, told_by_authority: str, welcome: Path) -> str:
    """The fingerprint of the root in a welcome. Raises TrustError if it is not the one that the authority told."""
    from gateway.registry.cli.publishing import fingerprint

    seen = fingerprint(root)
    if told_by_authority and told_by_authority.replace(" ", "").lower() != seen.replace(" ", ""):
        raise TrustError(
            "request-refused",
            f"the root in {welcome} has the fingerprint {seen}, which is not the one that you gave",
            "ask the network's authority; do not go on",
        )
    return seen


def _steps(folder: Path, seen: str, *, is_first: bool) -> list[str]:
    """What `join` is about to do."""
    steps = [f"see that the certificates fit the keys in {folder}, and put them beside"]
    if is_first:
        steps.append(f"trust the root with the fingerprint {seen} from now on: compare it with what you were told")
    else:
        steps.append("let a running node change over by itself, when every peer can know the new key")
    if not (folder / "node.toml").exists():
        steps.append(f"write {folder / 'node.toml'}")
    return steps


def _kept(folder: Path, place: TokenPlace | None, *, json: bool) -> Kept:
    """Where the keys of the node lie: by its settings, if it runs already."""
    from gateway.registry.run.joining import Kept
    from gateway.terminal.configuration import settings_of

    if not (folder / "node.toml").exists():
        return Kept(place)
    witness = settings_of(folder / "node.toml", json=json).secrets.witness_key
    return Kept(place, _files(folder, place, json=json), witness)


@dataclass(frozen=True, slots=True)
class _Wishes:
    """What the options of `enrol` say of a member and its node; the names in Finnish, Swedish and English."""

    member: str
    names: tuple[str, str, str]
    roles: tuple[str, ...]
    subsystems: tuple[str, ...]
    node: str
    address: str


def _described(wishes: _Wishes, services: Path | None, *, json: bool) -> Asked:
    from gateway.registry.read import targets
    from gateway.registry.read.entries import Asked
    from gateway.registry.run.enrolment import LIMIT
    from gateway.wire.identifiers import MemberId, SubsystemId

    member, names, node = wishes.member, wishes.names, wishes.node
    for option, value in (("--member", member), ("--name", names[0]), ("--node", node), ("--address", wishes.address)):
        if not value:
            fail(f"{option} is missing", WRONG, remedy="see `yhdyspinta registry enrol --help`", json=json)
    if not wishes.subsystems:
        fail("--subsystem is missing", WRONG, remedy="name at least one information system", json=json)
    identity = MemberId.parse(member)
    said = dict(zip(("fi", "sv", "en"), (names[0], names[1] or names[0], names[2] or names[0]), strict=True))
    try:
        described = targets.read_member(
            {
                "id": member,
                "name": said,
                "roles": [{"role": role} for role in wishes.roles],
                "subsystems": [{"code": SubsystemId(identity, code).code, "name": said} for code in wishes.subsystems],
            }
        )
        placed = targets.read_node(
            {"id": node, "owner": member, "address": wishes.address, "pins": [], "serves": [member]}
        )
        offered = orjson.loads(services.read_bytes()[:LIMIT]) if services is not None else {"subsystems": []}
        return Asked(described, placed, tuple(targets.read_offers(offered)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrustError("request-malformed", str(error)) from None


def _renewed(folder: Path, kinds: frozenset[str], making: Making, *, yes: bool, json: bool) -> bytes:
    """A request for new keys of a node that runs already, signed by its present signing key."""
    from gateway.keys.credentials import Opening
    from gateway.node.wiring import witness_type
    from gateway.registry.read.distribution import RegistryClient
    from gateway.registry.read.entries import Asked
    from gateway.registry.run.joining import TreeFiles, ask_again
    from gateway.terminal.configuration import settings_of
    from gateway.wire.identifiers import SubsystemId

    if kinds - {"signing", "tls", "witness", "log"}:
        fail("only the keys `signing`, `tls`, `witness` and `log` can be renewed", WRONG, json=json)
    settings = settings_of(folder / "node.toml", json=json)
    now = datetime.now(UTC)
    member = SubsystemId.parse(settings.node.subsystems[0]).member
    registry = RegistryClient(settings.registry.source, settings.registry.cache, settings.registry.root.read_bytes())
    listed = registry.refresh(now)
    known, node = listed.member(member), listed.node(settings.node.id)
    if known is None or node is None:
        raise TrustError(
            "request-refused", f"the registry does not list {member} with the node {settings.node.id}", "enrol it first"
        )
    agreed(
        [
            f"make a new key for {' and '.join(sorted(kinds))} beside the one in use, which goes on working",
            "write a request that the present signing key vouches for",
        ],
        "Make the new key?",
        yes=yes,
        json=json,
    )
    opening = Opening()
    try:
        present = opening.signing(settings.signing).signer
        assert present is not None
        files = {kind: file for kind, file in _files(folder, making.place, json=json).items() if kind in kinds}
        witness = (settings.secrets.witness_key, witness_type(settings)) if "witness" in kinds else None
        log = settings.secrets.log_key if "log" in kinds else None
        return ask_again(files, Asked(known, node), present, making, trees=TreeFiles(witness, log))
    finally:
        opening.close()


def _files(folder: Path, place: TokenPlace | None, *, json: bool) -> dict[str, KeyFiles]:
    """Where the settings of a node that runs already say that its keys lie."""
    from gateway.keys.credentials import passphrase
    from gateway.registry.run.joining import KeyFiles
    from gateway.terminal.configuration import settings_of

    settings = settings_of(folder / "node.toml", json=json)
    found = {}
    for kind, key in (("signing", settings.signing), ("tls", settings.tls.peers)):
        if key.key is None and place is None:
            fail(
                "the signing key lies in a token",
                WRONG,
                remedy="give --pkcs11-module, --pkcs11-token, --pkcs11-label (of the new key) and --pkcs11-pin",
                json=json,
            )
        where = key.key or key.certificate.with_suffix(".key")
        found[kind] = KeyFiles(key.certificate, where, passphrase(key))
    return found


def _hand_out(data: bytes, folder: Path, path: Path, *, json: bool) -> None:
    from gateway.registry.run.enrolment import read_request

    request = read_request(data)
    durable.put(path, data)
    if request.signing is not None and not (folder / "root.json").exists():
        # Beside the keys, wherever the request goes: `join` looks for it there.
        codes = [str(subsystem.id) for subsystem in request.member.subsystems]
        (folder / "subsystems.json").write_bytes(orjson.dumps(codes))
        (folder / _ADDRESS).write_bytes(orjson.dumps(request.node.address))
    if json:
        print_json(
            {
                "request": str(path),
                "member": str(request.member.id),
                "node": request.node.id,
                "fingerprint": request.fingerprint.replace(" ", ""),
            }
        )
        return
    console.print(f"[green]✓[/] the request is in [bold]{escape(str(path))}[/]; it holds nothing secret")
    console.print(f"  Its fingerprint, to be told to the authority over another channel:\n  {request.fingerprint}")


def _place(module: Path | None, token: str, label: str, pin: Path | None, *, json: bool) -> TokenPlace | None:
    from gateway.registry.run.joining import TokenPlace

    if module is None:
        return None
    if not token or not label or pin is None:
        fail(
            "a key in a token needs --pkcs11-token, --pkcs11-label and --pkcs11-pin besides the module",
            WRONG,
            json=json,
        )
    return TokenPlace(module, token, label, pin)


COMMANDS = (enrol, join)
