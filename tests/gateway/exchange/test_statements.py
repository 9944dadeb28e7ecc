"""What an exchange says to the database goes to the driver; SQLAlchemy's layers stay out of its way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event

from gateway.exchange.opening import PeerCall
from gateway.exchange.transport import Reply
from gateway.handover.deliver import Deliveries
from gateway.keys.certificates import to_der
from gateway.query.ask import Consumer, Question
from gateway.registry.read.entries import Node
from gateway.sources.backends import Locator
from gateway.wire.identifiers import ServiceId
from schemas.identifiers import MIGRI_CUSTOMER
from tests.databases import database_url
from tests.gateway.exchange.inprocess import InProcess, Place, node
from tests.gateway.handover.test_deliveries import order, rows

__all__ = ["database_url"]


@contextmanager
def through_sqlalchemy(engine: Engine) -> Iterator[list[str]]:
    """The statements that do not go straight to the driver."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


class Wire:
    """Carries a message from one node in this process to another."""

    def __init__(self, sender: InProcess, receiver: InProcess) -> None:
        self._receiver = receiver
        self._certificate = to_der((sender.party.folder / "tls.pem").read_bytes())

    async def send(self, _node: Node, message: str, body: bytes, content_type: str, trace: dict[str, str]) -> Reply:
        call = PeerCall(message, body, content_type, self._certificate, "0" * 32, trace)
        answer = await self._receiver.provider.answer(call)
        return Reply(answer.status, answer.message, answer.content_type, answer.body)


async def test_no_statement_of_a_question_and_its_answer_goes_through_sqlalchemy(
    place: Place, database_url: str, tmp_path: Any
) -> None:
    async with (
        node(place, database_url) as centre,
        node(place, f"sqlite:///{tmp_path / 'consumer.db'}", of="kotka") as kotka,
    ):
        kotka.exchange.transport = Wire(kotka, centre)  # type: ignore[assignment]
        consumer = Consumer(kotka.exchange)
        service = ServiceId(centre.party.subsystem, "palvelutarve")
        question = Question(
            client="test",
            consumer=kotka.party.subsystem,
            service=service,
            locator=Locator(MIGRI_CUSTOMER, "A1"),
            purpose="service-need-lookup",
            categories=frozenset({"identity", "health-needs"}),
            case=None,
            user=None,
            emergency=None,
            trace_id="0" * 32,
            trace={},
        )
        await centre.consent("A1")
        first = await consumer.ask(question)  # what is made once for a person or a rulebook is there from now on
        with (
            through_sqlalchemy(centre.exchange.engine) as of_answer,
            through_sqlalchemy(kotka.exchange.engine) as of_ask,
        ):
            second = await consumer.ask(question)

        assert first.bundle == second.bundle
        assert [entry.outcome.value for entry in kotka.entries()].count("requested") == 2
        assert (of_ask, of_answer) == ([], [])


async def test_no_statement_of_a_handover_goes_through_sqlalchemy(
    place: Place, database_url: str, tmp_path: Any
) -> None:
    """Planned, sent and received; the first one makes what is made once."""
    async with (
        node(place, database_url) as centre,
        node(place, f"sqlite:///{tmp_path / 'recipient.db'}", of="kotka") as kotka,
    ):
        centre.exchange.transport = Wire(centre, kotka)  # type: ignore[assignment]
        working = Deliveries(centre.exchange)
        for person in ("A1", "A2"):
            with (
                through_sqlalchemy(centre.exchange.engine) as of_sender,
                through_sqlalchemy(kotka.exchange.engine) as of_recipient,
            ):
                await order(centre, person)
                for delivery in await working._claim():
                    if delivery.role == "municipality":
                        await working._attempt(delivery)

        assert [row.state for row in rows(centre).values() if row.role == "municipality"] == ["delivered"] * 2
        assert (of_sender, of_recipient) == ([], [])
