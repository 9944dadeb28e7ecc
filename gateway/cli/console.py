"""`yhdyspinta console`: let somebody into the data protection officer's console by a link that works once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from gateway.desk.roles import Role
from gateway.settings import Settings
from gateway.terminal.configuration import CONFIG, Config, Json, settings_of
from gateway.terminal.output import OUTSIDE, WRONG, console, fail, print_json

app = typer.Typer(help="Let people into the console.", no_args_is_help=True)


@app.callback()
def _noun() -> None:
    pass


@app.command()
def link(
    config: Config = CONFIG,
    role: Annotated[Role, typer.Option(help="What they may see and do.")] = Role.OFFICER,
    name: Annotated[str, typer.Option(help="Whose link it is; shown in the console, and told apart in the log.")] = "",
    member: Annotated[
        str | None, typer.Option(help="Limit what they see to entries that name this member, CLASS and all.")
    ] = None,
    minutes: Annotated[int, typer.Option(min=1, max=1440, help="For how long the link works.")] = 15,
    json: Json = False,
) -> None:
    """Print a link that signs one person in, once. Whoever has the link can use it: hand it over safely."""
    from sqlalchemy.exc import SQLAlchemyError

    settings = settings_of(config, json=json)
    if settings.listen.console is None:
        fail(
            "this node has no console",
            WRONG,
            remedy='add console = "127.0.0.1:PORT" to [listen] in its settings, and start it anew',
            json=json,
        )
    if len(settings.spoken_for) > 1 and role is not Role.OPERATOR and member not in settings.spoken_for:
        fail(
            "this node speaks for several members, and each has its own officer",
            WRONG,
            remedy=f"say for which: --member {settings.spoken_for[0]}",
            json=json,
        )
    now = datetime.now(UTC)
    try:
        address = make_link(settings, Guest(role, name, member, minutes), now)
    except SQLAlchemyError as error:
        fail(
            f"the database cannot be written ({type(error.__cause__ or error).__name__})",
            OUTSIDE,
            remedy="run the command where the node's database can be reached",
            json=json,
        )
    expires = now + timedelta(minutes=minutes)
    if json:
        print_json({"link": address, "role": role.value, "expires": expires.isoformat()})
    else:
        console.print(address, soft_wrap=True, markup=False)
        console.print(f"[dim]Works once, for {minutes} minutes, as {role.value}.[/]")


@dataclass(frozen=True, slots=True)
class Guest:
    """Who is let in by a link: the role, whose link it is, the member that they are limited to, and for how long."""

    role: Role = Role.OFFICER
    name: str = ""
    member: str | None = None
    minutes: int = 15


def make_link(settings: Settings, guest: Guest, now: datetime) -> str:
    """A link into the console of a node that has one; its token's digest is written to the node's database."""
    from gateway.console.composition import address_of
    from gateway.console.sessions import Identity, offer_link
    from gateway.storage import engine as storage
    from gateway.storage import schema

    assert settings.listen.console is not None
    engine = storage.create(settings.database.url, pool_size=2)
    try:
        schema.bring_up_to_date(engine)
        with storage.writer(engine).begin() as connection:
            offered = Identity("", guest.name or guest.role.value, guest.role, guest.member)
            token = offer_link(connection, offered, now, timedelta(minutes=guest.minutes))
    finally:
        engine.dispose()
    address = address_of(settings.console, settings.listen.console.host, settings.listen.console.port)
    return f"{address}/link/{token}"
