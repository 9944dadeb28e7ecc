"""`yhdyspinta registry ask` and `take`: a recipient asks once for all, and the authority publishes it.

A right to get answers a question; it carries a handover only where the recipient has asked for it beforehand. The
member signs what it asks with its node's signing key; the authority checks the signature and publishes. `revoke ID`
ends it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.markup import escape

from consent.deciding.verdicts import legal_day
from gateway.keys.errors import TrustError
from gateway.registry.cli.publishing import Manner, stage_or_publish
from gateway.registry.cli.running import (
    Draft,
    Folder,
    Json,
    Keys,
    Phrases,
    Yes,
    authority_of,
    told,
)
from gateway.terminal.output import agreed, console, print_json

_HERE = Path()
_CONFIG = Path("node.toml")


def ask(
    identifier: Annotated[str, typer.Argument(help="A name of your own for it; the same name replaces the former.")],
    provision: Annotated[str, typer.Option(help="The right to get, as the rulebook cites it: '681/2023 86:1'.")],
    purpose: Annotated[str, typer.Option(help="Purpose of use.")],
    provider: Annotated[list[str], typer.Option(help="Whom it asks: a role or a member; repeatable.")],
    category: Annotated[list[str], typer.Option(help="A data category; repeatable.")],
    role: Annotated[str, typer.Option(help="The role in which your organisation asks.")],
    first: Annotated[str, typer.Option(help="The first day, YYYY-MM-DD; today if not given.")] = "",
    last: Annotated[str, typer.Option(help="The last day; without it, it stands until it is ended.")] = "",
    condition: Annotated[
        list[str] | None, typer.Option(help="A condition of the rulebook that holds of the persons; repeatable.")
    ] = None,
    config: Annotated[Path, typer.Option("--config", help="The node's settings.")] = _CONFIG,
    out: Annotated[Path | None, typer.Option(help="Where the signed request goes.")] = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Make and sign a standing request of your organisation: what a holder may send without being asked each time."""
    from gateway.terminal.configuration import settings_of
    from gateway.wire.identifiers import SubsystemId

    with told(json=json):
        settings = settings_of(config, json=json)
        member = str(SubsystemId.parse(settings.node.subsystems[0]).member)
        asked = _request(
            {
                "id": identifier,
                "member": member,
                "role": role,
                "providers": provider,
                "provision": provision,
                "purpose": purpose,
                "categories": category,
                "conditions": condition or [],
                "first": first or legal_day(datetime.now(UTC)).isoformat(),
                "last": last or None,
            }
        )
        agreed(
            [
                f"ask {', '.join(sorted(asked.providers))} for {', '.join(sorted(asked.categories))}",
                f"by {asked.provision}, for {asked.purpose}, from {asked.first}" + (f" to {last}" if last else ""),
                f"sign it as {member}",
            ],
            "Make the standing request?",
            yes=yes,
            json=json,
        )
        place = out or Path(f"{identifier}.request.json")
        place.write_bytes(orjson.dumps(_signed(asked, settings).to_dict(), option=orjson.OPT_INDENT_2))
    if json:
        print_json({"id": identifier, "member": member, "request": str(place)})
        return
    console.print(f"[green]✓[/] {escape(identifier)}: give [bold]{escape(str(place))}[/] to the network's authority")


def take(
    request: Annotated[Path, typer.Argument(help="What a member made with `registry ask`.")],
    authority: Folder = _HERE,
    draft: Draft = False,
    keys: Keys = None,
    passphrase_file: Phrases = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Publish a member's standing request, if it is the member's: its signature is checked against the registry."""
    from gateway.registry.read.asked import is_vouched
    from gateway.registry.read.registry import Registry
    from gateway.registry.run import changes

    with told(json=json):
        ours = authority_of(authority, keys, passphrase_file, json=json)
        now, content = datetime.now(UTC), ours.draft()
        try:
            document = orjson.loads(request.read_bytes())
        except orjson.JSONDecodeError:
            raise TrustError("request-malformed", f"{request} is not what `registry ask` writes") from None
        asked = _request(document)
        if not is_vouched(asked, Registry(content, version=0, expires=now).signing_key, now):
            raise TrustError(
                "request-refused",
                f"no signing key that the registry lists for {asked.member} has signed the request",
                "have the member make it anew with `registry ask`, with the key that the registry lists",
            )
        changed = changes.with_standing_request(content, asked)
        question = f"Publish the standing request {asked.id} of {asked.member}?"
        stage_or_publish(ours, changed, question, Manner(draft, yes, json))


def _request(document: Any) -> Any:
    from consent.rules.standing import StandingRequest, StandingRequestError

    try:
        return StandingRequest.from_dict(document)
    except (StandingRequestError, AttributeError) as error:
        raise TrustError("request-malformed", f"the standing request cannot be read: {error}") from None


def _signed(asked: Any, settings: Any) -> Any:
    from gateway.keys.credentials import Opening
    from gateway.registry.read.asked import signed

    opening = Opening()
    try:
        signer = opening.signing(settings.signing).signer
        assert signer is not None
        return signed(asked, signer)
    finally:
        opening.close()


COMMANDS = (ask, take)
