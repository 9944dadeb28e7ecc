"""The year that `generate.py` lived through under the first release: its databases, and what was done in it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import make_url

from schemas.facts import Identifier
from schemas.identifiers import HETU, MIGRI_CUSTOMER, canonical
from tests.gateway.exchange.inprocess import Bundle, InProcess

DATA = Path(__file__).parent / "data"


class Clock:
    """The time, and as much more as a test has let pass."""

    def __init__(self) -> None:
        self.passed = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.passed


@dataclass(frozen=True)
class Somebody:
    """A person of the centre's register, and what they said during the year."""

    name: str
    customer: str
    code: str | None
    named: tuple[tuple[str, str], ...]
    words: tuple[dict[str, Any], ...]

    @property
    def identifiers(self) -> tuple[Identifier, ...]:
        """Whatever the person is known by, as today's code is asked for it."""
        pairs = [(MIGRI_CUSTOMER, self.customer)] + ([(HETU, self.code)] if self.code is not None else [])
        return tuple(Identifier(*canonical(*pair)) for pair in pairs)

    def refusals(self, party: str) -> Iterator[dict[str, Any]]:
        """The refusals in force that were recorded at a party."""
        return (word for word in self.words if word["said"] == "refused" and word["in_force"] and word["at"] == party)


@dataclass(frozen=True)
class Year:
    """What was done in the year, and the database of each party at its end, of this test alone."""

    kind: str
    urls: dict[str, str]

    @cached_property
    def done(self) -> dict[str, Any]:
        """The manifest."""
        document: dict[str, Any] = json.loads((DATA / f"{self.kind}.json").read_text("utf-8"))
        return document

    @cached_property
    def people(self) -> dict[str, Somebody]:
        """Everybody, by the name that tells what happened to them."""
        return {
            name: Somebody(name, told["customer"], told["code"], tuple(map(tuple, told["named"])), tuple(told["words"]))
            for name, told in self.done["people"].items()
        }

    def register(self, here: InProcess) -> None:
        """Let the node's register hold everybody as it did at the end of the year."""
        for person in self.people.values():
            for value in (person.customer, person.code):
                if value is not None:
                    here.register.changed[value] = _record(person)


def _record(person: Somebody) -> Any:
    def change(bundle: Bundle) -> None:
        resource = bundle["entry"][0]["resource"]
        resource["identifier"] = [{"system": system, "value": value} for system, value in person.named]
        if person.code is not None:
            day = person.code
            resource["birthDate"] = f"19{day[4:6]}-{day[2:4]}-{day[:2]}"
            resource["gender"] = "male" if int(day[7:10]) % 2 else "female"

    return change


def restore(url: str, party: str) -> None:
    """Fill an empty database with a party's."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        assert parsed.database is not None
        Path(parsed.database).write_bytes(gzip.decompress((DATA / f"{party}.db.gz").read_bytes()))
        return
    plain = parsed.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(gzip.decompress((DATA / f"{party}.sql.gz").read_bytes()))
