"""How commands call a node as one of its information systems would: at its client face, with a client's certificate.

What such a command may do is what that client may do, and it is on record as that client.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_type_hints

import aiohttp
import orjson
import typer

from gateway.terminal.configuration import Json
from gateway.terminal.output import NO, OUTSIDE, WRONG, fail

Node = Annotated[str, typer.Option("--node", metavar="URL", help="The client face, https://HOST:PORT.")]
Certificate = Annotated[Path, typer.Option("--certificate", metavar="FILE", help="The client's certificate.")]
Key = Annotated[Path, typer.Option("--key", metavar="FILE", help="Its private key.")]
Authority = Annotated[Path, typer.Option("--authority", metavar="FILE", help="Who issued the node's certificate.")]
Passphrase = Annotated[
    Path | None, typer.Option("--passphrase", metavar="FILE", help="File with the passphrase of the key.")
]

_REFUSED = (403, 404, 409)


@dataclass(frozen=True, slots=True)
class Face:
    """A node's client face. `json` is how faults are told."""

    node: str
    context: ssl.SSLContext
    json: bool

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Status and JSON object of the answer; a node that cannot be reached ends the command."""
        try:
            return asyncio.run(self._call(method, path, body, dict(headers or {})))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            fail(f"{self.node} could not be reached ({type(error).__name__})", OUTSIDE, json=self.json)

    async def _call(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, dict[str, Any]]:
        timeout = aiohttp.ClientTimeout(total=300)
        connector = aiohttp.TCPConnector(ssl=self.context)
        async with (
            aiohttp.ClientSession(self.node, connector=connector, timeout=timeout) as session,
            session.request(method, path, data=body, headers=headers) as answer,
        ):
            text = await answer.read()
            try:
                document = orjson.loads(text)
            except orjson.JSONDecodeError:
                document = {}
            return answer.status, document if isinstance(document, dict) else {}

    def refused(self, status: int, answer: Mapping[str, Any], *, refusals: tuple[int, ...] = ()) -> NoReturn:
        """End the command with what the node answered; `refusals` are statuses that mean no, not a wrong command."""
        fail(
            f"{answer.get('code', status)}: {answer.get('detail', 'the node refused')}",
            OUTSIDE if status >= 500 else NO if status in refusals else WRONG,
            remedy=str(answer.get("remedy") or ""),
            json=self.json,
        )

    def done(self, status: int, answer: dict[str, Any]) -> dict[str, Any]:
        """The answer, if the node did what it was asked; else the command ends."""
        if status >= 300:
            self.refused(status, answer, refusals=_REFUSED)
        return answer


@dataclass(frozen=True, slots=True)
class Credentials:
    """The files with which a client shows who it is: its certificate and key, and who issued the node's certificate."""

    certificate: Path
    key: Path
    authority: Path
    passphrase: Path | None = None


def face(node: str, own: Credentials, *, json: bool) -> Face:
    """The face with this client's credentials; files that cannot be used end the command."""
    try:
        context = ssl.create_default_context(cafile=str(own.authority))
        secret = own.passphrase.read_text("utf-8").strip() if own.passphrase is not None else None
        context.load_cert_chain(own.certificate, own.key, password=secret or "")
    except (OSError, ssl.SSLError) as error:
        fail(
            f"{getattr(error, 'filename', None) or own.key}: cannot be used ({type(error).__name__})", WRONG, json=json
        )
    return Face(node, context, json)


def with_face(command: Callable[..., None]) -> Callable[..., None]:
    """A command at a client face: its first parameter, the face, is made of the options that say where and as whom."""
    arguments = list(signature(command).parameters.values())[1:]
    hints = get_type_hints(command, include_extras=True)
    options = {"node": Node, "certificate": Certificate, "key": Key, "authority": Authority}
    optional = {"passphrase": (Passphrase, None), "json": (Json, False)}

    @wraps(command)
    def run(*, node: str, json: bool, **given: Any) -> None:
        files = {name: given.pop(name) for name in ("certificate", "key", "authority", "passphrase")}
        command(face(node, Credentials(**files), json=json), **given)

    shown = [
        *(argument.replace(annotation=hints[argument.name], kind=Parameter.KEYWORD_ONLY) for argument in arguments),
        *(Parameter(name, Parameter.KEYWORD_ONLY, annotation=kind) for name, kind in options.items()),
        *(
            Parameter(name, Parameter.KEYWORD_ONLY, annotation=kind, default=default)
            for name, (kind, default) in optional.items()
        ),
    ]
    # typer makes a command's options of these two.
    run.__signature__ = signature(run).replace(parameters=shown)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    return run
