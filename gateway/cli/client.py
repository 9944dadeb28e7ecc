"""`yhdyspinta client`: the organisation's own information systems that may call its node.

`revoke` shuts a certificate or a whole client out. It writes into the node's database, where every running replica
looks within five seconds, and into the audit log in the same transaction; nothing needs to be restarted.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from sqlalchemy.exc import SQLAlchemyError

from gateway.registry.cli.running import Yes, told
from gateway.settings import Settings
from gateway.terminal.configuration import CONFIG, Config, Json, settings_of
from gateway.terminal.output import NO, OUTSIDE, WRONG, agreed, console, fail, print_json, table

app = typer.Typer(help="List, add and shut out the information systems that may call this node.", no_args_is_help=True)
_HEX = re.compile(r"[0-9a-fA-F]{64}")
_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@app.command("list")
def show(config: Config = CONFIG, json: Json = False) -> None:
    """List the registered clients, their certificates, and which are shut out."""
    from gateway.keys.certificates import load, to_der
    from gateway.storage import engine as storage
    from gateway.storage import revocations
    from gateway.wire.signing import thumbprint

    settings = settings_of(config, json=json)
    engine = storage.create(settings.database.url)
    with told(json=json):
        try:
            with engine.connect() as connection:
                out = revocations.read(connection)
        except SQLAlchemyError as error:
            _no_database(error, json=json)
        finally:
            engine.dispose()
        found: list[dict[str, Any]] = []
        for client in settings.clients:
            shown: list[bytes | None] = [path.read_bytes() for path in client.certificates]
            for certificate in shown or [None]:
                name = thumbprint(to_der(certificate)) if certificate is not None else None
                found.append(
                    {
                        "client": client.name,
                        "subsystem": client.subsystem,
                        "certificate": name,
                        "expires": load(certificate).not_valid_after_utc if certificate is not None else None,
                        "tokens": client.jwks is not None,
                        "revoked": client.name in out.clients or name in out.certificates,
                    }
                )
    if json:
        print_json({"clients": found})
        return
    rows = [
        [
            item["client"],
            item["subsystem"],
            item["certificate"] or ("access tokens" if item["tokens"] else "none"),
            f"{item['expires']:%Y-%m-%d}" if item["expires"] else "",
            "[red]shut out[/]" if item["revoked"] else "[green]may call[/]",
        ]
        for item in found
    ]
    console.print(table("Clients", ["client", "subsystem", "certificate", "expires", "state"], rows))


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="A name for the system, for example caseworker-system.")],
    subsystem: Annotated[str, typer.Option(help="The subsystem in whose name it calls.")] = "",
    config: Config = CONFIG,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Make a certificate for an information system, from the node's own authority, and register it in the settings."""
    from gateway.registry.run.joining import certify_client

    settings = settings_of(config, json=json)
    folder = config.resolve().parent
    chosen = subsystem or settings.node.subsystems[0]
    if not _NAME.fullmatch(name) or any(client.name == name for client in settings.clients):
        fail(f"{name} is taken, or no name for a client", WRONG, remedy="letters, digits, . _ -", json=json)
    if chosen not in settings.node.subsystems:
        fail(f"{chosen} is not a subsystem of this node", WRONG, json=json)
    agreed(
        [
            f"make a key and a certificate for {name} in {folder / 'clients'}",
            f"register it in {config} as a client of {chosen}",
        ],
        "Add the client?",
        yes=yes,
        json=json,
    )
    with told(json=json):
        certificate, key = certify_client(folder, name, datetime.now(UTC))
        with config.open("a", encoding="utf-8") as file:
            file.write(
                f'\n[[clients]]\nname = "{name}"\nsubsystem = "{chosen}"\n'
                f'certificates = ["{certificate.relative_to(folder).as_posix()}"]\n'
            )
    if json:
        print_json({"client": name, "certificate": str(certificate), "key": str(key), "subsystem": chosen})
        return
    console.print(f"[green]✓[/] {escape(str(certificate))} and its key, which opens with the folder's passphrase")
    console.print("  A running node takes it in on SIGHUP: [bold]kill -HUP[/] its process, or restart it.")


@app.command()
def revoke(
    what: Annotated[str, typer.Argument(help="A client's name, a certificate's file, or its SHA-256 fingerprint.")],
    config: Config = CONFIG,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Shut out a stolen certificate, or a client with all its certificates and tokens. In force within five seconds."""
    from gateway.node.secret_files import verify
    from gateway.node.wiring import NodeError, log_of
    from gateway.storage import engine as storage
    from gateway.storage import revocations, schema

    settings = settings_of(config, json=json)
    with told(json=json):
        kind, revoked, owner = _named(settings, what, json=json)
    agreed(
        [
            f"refuse the {kind} {revoked} at the client face, on open connections too",
            "put that on record in the node's audit log",
            "take effect in every running node of this database within five seconds, and for good",
        ],
        "Shut it out?",
        yes=yes,
        json=json,
    )
    engine = storage.create(settings.database.url)
    try:
        schema.bring_up_to_date(engine)
        verify(settings, engine, "log_key")
        log = log_of(settings, engine)
        log.start()
        try:
            done = log.commit_blocking(
                lambda connection: revocations.revoke(
                    connection, revocations.Shut(kind, revoked, owner), node=settings.node.id, now=datetime.now(UTC)
                )
            ).value
        finally:
            log.close()
    except NodeError as error:
        fail(str(error), OUTSIDE, remedy=error.remedy, json=json)
    except SQLAlchemyError as error:
        _no_database(error, json=json)
    finally:
        engine.dispose()
    if json:
        print_json({"kind": kind, "revoked": revoked, "client": owner or None, "new": done})
    else:
        console.print(f"[green]✓[/] the {kind} {escape(revoked)} is shut out" + ("" if done else " (it was already)"))


def _named(settings: Settings, what: str, *, json: bool) -> tuple[str, str, str]:
    """What is to be shut out: its kind, its name in the table, and the client whose it is."""
    from gateway.keys.certificates import to_der
    from gateway.storage.revocations import CERTIFICATE, CLIENT
    from gateway.wire.signing import thumbprint
    from gateway.wire.strict import b64url

    if any(client.name == what for client in settings.clients):
        return CLIENT, what, what
    digits = what.replace(":", "").replace(" ", "")
    if Path(what).is_file():
        name = thumbprint(to_der(Path(what).read_bytes()))
    elif _HEX.fullmatch(digits):
        name = b64url(bytes.fromhex(digits))
    elif _THUMBPRINT.fullmatch(what):
        name = what
    else:
        fail(
            f"{what} is neither a client of the settings, nor a certificate's file or fingerprint",
            NO,
            remedy="see `yhdyspinta client list`",
            json=json,
        )
    for client in settings.clients:
        for path in client.certificates:
            if path.is_file() and thumbprint(to_der(path.read_bytes())) == name:
                return CERTIFICATE, name, client.name
    return CERTIFICATE, name, ""


def _no_database(error: SQLAlchemyError, *, json: bool) -> Any:
    fail(
        f"the node's database cannot be used ({type(error.__cause__ or error).__name__})",
        OUTSIDE,
        remedy="check `database.url` in the settings",
        json=json,
    )
