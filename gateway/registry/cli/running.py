"""`yhdyspinta registry`: who is who in a network, from its first day on.

The network's authority works with `init`, `add`, `publish`, `rotate`, `revoke` and `sign`, which are here; a member
with `enrol` and `join`, in `joining`; anybody with `show` and `diff`, in `reading`. Each command that changes something
says what it is about to do before it does it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from rich.markup import escape

from gateway.keys.errors import TrustError
from gateway.registry.cli.publishing import Manner, fingerprint, say_published, stage_or_publish
from gateway.terminal.output import NO, OUTSIDE, WRONG, agreed, console, fail, print_json
from gateway.wire.identifiers import IdentifierError, MemberId

if TYPE_CHECKING:
    from gateway.registry.run.changes import Change
    from gateway.registry.run.enrolment import Request

app = typer.Typer(help="Make, join and tend a network's trust registry.", no_args_is_help=True)

Folder = Annotated[Path, typer.Option("--authority", "-a", metavar="DIR", help="Folder of the registry's authority.")]
Keys = Annotated[
    list[Path] | None, typer.Option("--keys", metavar="DIR", help="Another folder with keys, a stick; repeatable.")
]
Phrases = Annotated[
    list[Path] | None,
    typer.Option("--passphrase-file", metavar="FILE", help="File with the keys' passphrase; repeatable."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Draft = Annotated[bool, typer.Option("--draft", help="Write the change into the draft only; `publish` signs it later.")]

_OUTSIDE = {"registry-unavailable", "key-unreadable"}
_HERE = Path()


@contextmanager
def told(*, json: bool) -> Iterator[None]:
    """Tell what is not trusted, and end the command with the exit code for it."""
    try:
        yield
    except TrustError as error:
        fail(
            f"{error.code}: {error.detail}",
            OUTSIDE if error.code in _OUTSIDE else NO,
            remedy=error.remedy,
            json=json,
        )
    except (OSError, IdentifierError) as error:
        from audit.log.failure import said

        if isinstance(error, OSError):
            fail(escape(said(error)), OUTSIDE, json=json)
        fail(str(error), WRONG, json=json)


@app.command()
def init(
    instance: Annotated[str, typer.Argument(help="The network's name, the first part of every identifier: FI-TEST.")],
    name: Annotated[str, typer.Option(help="Its name for people; give --name-sv and --name-en too if they differ.")],
    name_sv: Annotated[str, typer.Option(help="In Swedish.")] = "",
    name_en: Annotated[str, typer.Option(help="In English.")] = "",
    authority: Folder = _HERE,
    rulebook: Annotated[Path | None, typer.Option(help="The rulebook; without it the reference rulebook.")] = None,
    root_keys: Annotated[Path | None, typer.Option(help="Folder for the root keys, best a stick.")] = None,
    rulebook_keys: Annotated[Path | None, typer.Option(help="Folder for the rulebook authority's keys.")] = None,
    members_keys: Annotated[Path | None, typer.Option(help="Folder for the members authority's keys.")] = None,
    root_count: Annotated[int, typer.Option(min=1, max=15, help="How many root keys there are.")] = 3,
    root_threshold: Annotated[int, typer.Option(min=1, max=15, help="How many of them must sign a new root.")] = 2,
    passphrase_file: Phrases = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Begin a network: make its keys and publish an empty registry."""
    from consent.rulebook import reference_rulebook
    from gateway.registry.read.entries import Content
    from gateway.registry.run.authority import Authority
    from texts import Text

    data = _checked_rulebook(rulebook, json=json) if rulebook is not None else reference_rulebook()
    places = {
        role: place
        for role, place in (("root", root_keys), ("rulebook", rulebook_keys), ("members", members_keys))
        if place is not None
    }
    agreed(
        [
            f"make {root_count} root keys in {root_keys or authority / 'keys'}, of which {root_threshold} must sign",
            "make the keys of the roles targets, members, rulebook, snapshot and timestamp, and of a certificate "
            f"authority, in {authority / 'keys'}"
            + "".join(f", those of {role} in {place}" for role, place in places.items() if role != "root"),
            f"publish an empty registry of {instance} into {authority / 'registry'}",
        ],
        "Begin this network?",
        yes=yes,
        json=json,
    )
    with told(json=json):
        ours = Authority(authority, *_phrases(passphrase_file, new=True, json=json))
        authority.mkdir(parents=True, exist_ok=True)
        published = ours.create(
            Content(instance, Text(name, name_sv or name, name_en or name), rulebook=data),
            datetime.now(UTC),
            places=places,
            keys={"root": root_count},
            thresholds={"root": root_threshold},
        )
        (authority / "root.json").write_bytes(ours.publisher.root())
        say_published(ours, published, json=json, instance=instance, root=fingerprint(ours.publisher.root()))
    if not json:
        console.print("Next: carry the root keys away, and serve the folder [bold]registry/[/] to the members.")


@app.command()
def add(
    request: Annotated[Path, typer.Argument(help="The request that a member made with `registry enrol`.")],
    authority: Folder = _HERE,
    source: Annotated[
        str, typer.Option(help="Where members fetch the registry: https://… or a folder; the folder here if not given.")
    ] = "",
    role: Annotated[list[str] | None, typer.Option(help="Grant these roles instead of those asked for.")] = None,
    identity_checked: Annotated[
        bool, typer.Option(help="The fingerprint was compared with the member over another channel.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Where the answer for the member goes.")] = None,
    draft: Draft = False,
    keys: Keys = None,
    passphrase_file: Phrases = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Let a member in, or certify a key that it changes; publish it and write the answer for the member."""
    from gateway.registry.run import changes
    from gateway.registry.run.enrolment import believed, read_request, write_welcome

    with told(json=json):
        ours = authority_of(authority, keys, passphrase_file, json=json)
        asked, now, content = read_request(request.read_bytes()), datetime.now(UTC), ours.draft()
        known = believed(asked, content, now, is_checked=identity_checked)
        admitted = ours.admit(content, asked, now, roles=tuple(role) if role else None)
        listed = changes.differences(content, admitted.content)
        then = "keep this as the draft" if draft else "sign and publish it"
        agreed(_admitting(asked, listed, then, is_known=known), "Add the member?", yes=yes, json=json)
        if draft:
            ours.stage(admitted.content)
        else:
            published = ours.publish(admitted.content, now)
        answer = out or request.with_suffix(".welcome.json")
        place = source or str((authority / "registry").resolve())
        answer.write_bytes(write_welcome(ours.welcome(asked, admitted, place)))
        if json:
            print_json(
                {
                    "member": str(asked.member.id),
                    "node": asked.node.id,
                    "fingerprint": asked.fingerprint.replace(" ", ""),
                    "welcome": str(answer),
                    "changes": [str(change) for change in listed],
                    "version": None if draft else published.version,
                    "root": fingerprint(ours.publisher.root()),
                }
            )
            return
        console.print(f"[green]✓[/] {asked.member.id}: the answer for the member is in [bold]{escape(str(answer))}[/]")
        console.print(f"  The root that it begins with has the fingerprint {fingerprint(ours.publisher.root())}")


def _admitting(asked: Request, listed: tuple[Change, ...], then: str, *, is_known: bool) -> list[str]:
    """What letting a member in does, before it is signed."""
    from gateway.registry.run import changes

    asked_for = _and(f"{kind} key" for kind in ("signing", "tls") if getattr(asked, kind))
    steps = [f"certify the new {asked_for} of {asked.member.id}"] if asked_for else []
    steps += [
        f"list the key with which {asked.node.id} cosigns the logs of others: {changes.short(key)}"
        for key in asked.node.witness
    ]
    steps += [*(str(change) for change in listed), then]
    if is_known:
        steps.append("take the request as the member's own: a key that the registry lists has signed it")
    else:
        steps.append(f"trust that you have compared its fingerprint with the member: {asked.fingerprint}")
    return steps


@app.command()
def publish(
    authority: Folder = _HERE,
    rulebook: Annotated[Path | None, typer.Option(help="Publish this rulebook.")] = None,
    part: Annotated[
        list[Path] | None, typer.Option(help="What another authority has signed with `registry sign`; repeatable.")
    ] = None,
    renew: Annotated[bool, typer.Option(help="Sign everything anew, changed or not.")] = False,
    keys: Keys = None,
    passphrase_file: Phrases = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Sign what changed (the draft, a rulebook, signed parts) and a new timestamp. Run it daily from a timer."""
    from dataclasses import replace

    from gateway.registry.read import targets, writing
    from gateway.registry.run import changes

    with told(json=json):
        ours = authority_of(authority, keys, passphrase_file, json=json)
        now, parts = datetime.now(UTC), [_read_part(path) for path in part or ()]
        published, content = ours.content(), ours.draft()
        if rulebook is not None:
            content = replace(content, rulebook=_checked_rulebook(rulebook, json=json))
        for signed_part in parts:
            content = targets.read(writing.write(content) | dict(signed_part.files))
        listed = changes.differences(published, content)
        agreed(
            [
                *([str(change) for change in listed] or ["change nothing in what the registry says"]),
                *(f"take in what {signed_part.role} has signed elsewhere" for signed_part in parts),
                "sign everything anew"
                if renew
                else "sign what changed, what is past half of its life, and a timestamp",
            ],
            "Publish?",
            yes=yes,
            json=json,
        )
        done = ours.publish(content, now, renew=renew, parts=parts)
        say_published(ours, done, json=json, changes=[str(change) for change in listed])


@app.command()
def rotate(
    role: Annotated[
        str, typer.Argument(help="root, targets, members, rulebook, snapshot, timestamp, or anchor (certificates).")
    ],
    authority: Folder = _HERE,
    count: Annotated[int | None, typer.Option(min=1, max=15, help="How many new keys; as many as now.")] = None,
    threshold: Annotated[int | None, typer.Option(min=1, max=15, help="How many of them must sign; as now.")] = None,
    keys: Keys = None,
    passphrase_file: Phrases = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Replace the keys of one of the registry's roles, or its certificate authority. Nodes follow by themselves."""
    from gateway.registry.read.roles import ROLES

    if role not in (*ROLES, "anchor"):
        fail(f"{role} is not a role", WRONG, remedy=f"one of {', '.join((*ROLES, 'anchor'))}", json=json)
    if role == "anchor":
        steps = [
            "make a new certificate authority, which issues certificates from now on",
            "keep the former among the anchors, so that its certificates stay good until they are replaced",
        ]
    else:
        signs = "root keys, the present ones and" if role == "root" else "the present keys of root, and"
        if role in ("members", "rulebook"):
            signs = "the present keys of targets, and"
        steps = [f"make new keys of {role}", f"sign the change with {signs} the new ones", "retire the former keys"]
    with told(json=json):
        ours = authority_of(authority, keys, passphrase_file, json=json)
        agreed(steps, f"Rotate {role}?", yes=yes, json=json)
        now = datetime.now(UTC)
        done = ours.rotate_anchor(now) if role == "anchor" else ours.rotate(role, now, count=count, threshold=threshold)
        say_published(ours, done, json=json, rotated=role)


@app.command()
def revoke(
    what: Annotated[
        str,
        typer.Argument(
            help="A member's id, a node's id, a certificate's file or its thumbprint, a witness's key (NAME+ID), "
            "the id of a standing request."
        ),
    ],
    authority: Folder = _HERE,
    draft: Draft = False,
    keys: Keys = None,
    passphrase_file: Phrases = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Shut out a member, a node, a certificate or a witness's key; end a standing request.

    Every node refuses it within one refresh (60 s by default).
    """
    from gateway.registry.run import changes
    from gateway.registry.run.enrolment import certificate_name

    with told(json=json):
        ours = authority_of(authority, keys, passphrase_file, json=json)
        content = ours.draft()
        if Path(what).is_file():
            changed = changes.without_certificate(content, certificate_name(Path(what).read_bytes()))
        elif "+" in what:
            changed = changes.without_witness(content, what)
        elif "/" in what:
            changed = changes.without_member(content, MemberId.parse(what))
        elif any(asked.id == what for asked in content.standing_requests):
            changed = changes.without_standing_request(content, what)
        elif any(node.id == what for node in content.nodes):
            changed = changes.without_node(content, what)
        else:
            changed = changes.without_certificate(content, what)
        stage_or_publish(ours, changed, f"Revoke {what}?", Manner(draft, yes, json))


@app.command()
def sign(
    role: Annotated[str, typer.Argument(help="members or rulebook.")],
    out: Annotated[Path, typer.Option(help="Where the signed part goes; give it to `registry publish --part`.")],
    authority: Folder = _HERE,
    file: Annotated[
        list[Path] | None, typer.Option(help="rulebook.yaml, members.json or services.json to be signed; repeatable.")
    ] = None,
    part: Annotated[Path | None, typer.Option(help="Add signatures to this part instead.")] = None,
    keys: Keys = None,
    passphrase_file: Phrases = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Sign as the authority of members or of the rulebook only, on a machine that has no other keys."""
    with told(json=json):
        ours = authority_of(authority, keys, passphrase_file, json=json)
        files = {path.name: path.read_bytes() for path in file or ()}
        if "rulebook.yaml" in files:
            _checked_rulebook(next(path for path in file or () if path.name == "rulebook.yaml"), json=json)
        agreed([f"sign {_and(files) or 'what is in the part'} as {role}"], "Sign?", yes=yes, json=json)
        signed = ours.sign_part(role, files, datetime.now(UTC), _read_part(part) if part is not None else None)
        document = {
            "role": signed.role,
            "metadata": orjson.loads(signed.metadata),
            "files": {name: data.decode("utf-8") for name, data in signed.files.items()},
        }
        out.write_bytes(orjson.dumps(document))
        if json:
            print_json({"role": role, "part": str(out)})
        else:
            console.print(f"[green]✓[/] signed as {role}: {escape(str(out))}")


def authority_of(folder: Path, keys: list[Path] | None, phrases: list[Path] | None, *, json: bool) -> Any:
    from gateway.registry.run.authority import Authority

    return Authority(folder, *_phrases(phrases, json=json), keys=tuple(keys or ()))


def _phrases(files: list[Path] | None, *, new: bool = False, json: bool) -> tuple[bytes, ...]:
    """Passphrases of the keys: from files, from the environment, or asked for."""
    from gateway.settings.environment import REGISTRY_VARIABLE

    if files:
        return tuple(path.read_bytes().strip() for path in files)
    given = os.environ.get(REGISTRY_VARIABLE, "")
    if not given and not json and os.isatty(0):
        given = typer.prompt("Passphrase of the registry's keys", hide_input=True, confirmation_prompt=new, err=True)
    if not given:
        fail(
            "the passphrase of the registry's keys is not known",
            WRONG,
            remedy=f"give --passphrase-file, or set {REGISTRY_VARIABLE}",
            json=json,
        )
    return (given.encode("utf-8"),)


def _checked_rulebook(path: Path, *, json: bool) -> bytes:
    from consent.rulebook import load
    from consent.rules.document import RulebookError

    data = path.read_bytes()
    try:
        load(data, source=str(path))
    except RulebookError as error:
        fail(
            f"{path} has {len(error.faults)} faults, the first in line {error.faults[0].line}",
            NO,
            remedy="nodes would refuse it; mend it first",
            json=json,
        )
    return data


def _read_part(path: Path) -> Any:
    from gateway.registry.read.roles import Part

    try:
        document = orjson.loads(path.read_bytes())
        return Part(
            str(document["role"]),
            orjson.dumps(document["metadata"]),
            {name: text.encode("utf-8") for name, text in document["files"].items()},
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        raise TrustError("request-malformed", f"{path} is not what `registry sign` writes") from None


def _and(names: Any) -> str:
    return " and ".join(names)
