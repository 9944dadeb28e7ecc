"""HL7 v2 messages of a county's system, and a sender of them over MLLP."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.sources.frames import BEGIN, CLOSE, framed


def message(control: str, number: str = "C-1", *, event: str = "A08", **parts: str) -> bytes:
    """A patient message about the customer of this number."""
    name, born, mode = parts.get("name", "Enkö^Salim Tov"), parts.get("born", "19900205"), parts.get("mode", "P")
    at, accept = parts.get("at", "20261128080000"), parts.get("accept", "")
    head = f"MSH|^~\\&|KANTA|COUNTY|||{at}||ADT^{event}^ADT_A01|{control}|{mode}|2.5.1|||{accept}|||UNICODE UTF-8"
    segments = [
        head,
        f"PID|1||{number}^^^MIGRI^PI||{name}||{born}|M",
        *(f"OBX|{index}|ST|{code}||{value}||||||F" for index, (code, value) in enumerate(_FACTS.items(), 1)),
    ]
    return "".join(f"{segment}\r" for segment in segments).encode()


_FACTS = {"TURVAKIELTO": "E", "MUUTTO-KUNTA": "285", "LUPA": "quota-refugee", "LUPA-MYONNETTY": "K"}


def batch(*messages: bytes, count: int | None = None) -> bytes:
    """The messages as a batch, which says how many they are."""
    told = len(messages) if count is None else count
    return b"BHS|^~\\&|KANTA|COUNTY|||||||B-7\r" + b"".join(messages) + b"BTS|%d\r" % told


@dataclass
class Sender:
    """The other end of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> str:
        """Send bytes as they are; the next answer without its frame, or what came until the end."""
        self.writer.write(data)
        return await self.answer()

    async def answer(self) -> str:
        try:
            return (await self.reader.readuntil(CLOSE)).removeprefix(BEGIN).removesuffix(CLOSE).decode()
        except asyncio.IncompleteReadError as error:
            return error.partial.decode("latin-1")

    async def say(self, body: bytes) -> str:
        """Send one message in its frame."""
        return await self.send(framed(body))

    async def is_ended(self) -> bool:
        """Whether the other end has closed the connection; waits until it has said something or has."""
        return not await self.reader.read(1)


@asynccontextmanager
async def sender(port: int, context: ssl.SSLContext | None = None) -> AsyncIterator[Sender]:
    """A connection to a listener on loopback."""
    name = "localhost" if context is not None else None
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    try:
        yield Sender(reader, writer)
    finally:
        writer.close()


async def is_heard(port: int, context: ssl.SSLContext | None, body: bytes) -> bool:
    """Whether a message gets an answer in HL7."""
    try:
        async with sender(port, context) as other:
            return bool(said(await other.say(body)))
    except OSError:  # TLS says no by one too
        return False


def said(answer: str) -> list[str]:
    """What an answer says of each message: `AA C1`."""
    rows = [line.split("|") for line in answer.split("\r")]
    return [f"{row[1]} {row[2]}".strip() for row in rows if row[0] == "MSA"]


def codes(answer: str) -> list[str]:
    """The codes of what an answer finds wrong."""
    return [line.split("|")[5] for line in answer.split("\r") if line.startswith("ERR|")]
