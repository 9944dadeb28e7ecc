"""A world of people, registers and peers for tests of who a person is: what really is so, beside what the node knows.

The world keeps its own books, in another way than the node does: who each identifier really belongs to, what was said
under it, and which identifiers honest records have shown together. What the node lets through is held against them.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Engine

from audit.questions.subjects import Subjects
from consent.words import store
from consent.words.consents import ConsentRecord, Stamp
from gateway.person.held import HeldKind, HeldRecords
from gateway.person.people import People, StaleError
from gateway.person.registrar import Registrar
from gateway.person.values import Named, Person, Register
from gateway.storage.engine import writer
from gateway.wire.problems import ProblemError
from schemas.facts import Identifier
from schemas.identifiers import HETU, LOCAL, MIGRI_CUSTOMER

MEMBER = "FI/GOV/1"
CATEGORY = "health-needs"
REGISTER = Register("register", is_authoritative=True)
SYSTEMS = (MIGRI_CUSTOMER, HETU, LOCAL)


@dataclass
class Human:
    """Somebody with an identifier of each system."""

    number: int
    identifiers: tuple[Identifier, ...]


@dataclass
class World:
    """The node's books over a database, and the world's own."""

    engine: Engine
    seed: str
    people_count: int = 4
    now: datetime = datetime(2026, 3, 2, 9, tzinfo=UTC)
    statistics: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)
        self.subjects = Subjects(b"\x01" * 32, b"\x02" * 32, members=(MEMBER,))
        self.held = HeldRecords("n", self.subjects, lambda: self.now)
        self.people = People(self.engine, self.subjects, self.held)
        self.registrar = Registrar("n", self.subjects, self.held)
        self.humans = [
            Human(number, tuple(Identifier(system, f"{self.seed}-{number}-{system}") for system in SYSTEMS))
            for number in range(self.people_count)
        ]
        self.refusals: list[tuple[str, Identifier]] = []  # standing: id of the word, under what it was said
        self.consents: list[tuple[str, Identifier]] = []
        self.shown_together: list[frozenset[Identifier]] = []  # by honest records that were settled
        self.mixed: set[int] = set()  # humans whom a record that lies has named
        self.undone: set[int] = set()

    @contextmanager
    def unit(self) -> Iterator[Connection]:
        with writer(self.engine).begin() as connection:
            yield connection

    def close(self) -> None:
        self.people.close()

    # -- steps --------------------------------------------------------------------------------------------------------

    def pick(self) -> tuple[Human, list[Identifier]]:
        human = self.draw.choice(self.humans)
        return human, self.draw.sample(human.identifiers, self.draw.randint(1, len(SYSTEMS)))

    def say(self, status: str, identifier: Identifier) -> None:
        with self.unit() as connection:
            named = Named(MEMBER, (identifier,))
            subject = self.people.file(connection, named, self.now).subject
            record = ConsentRecord.from_form(
                {
                    "status": status,
                    "given_by": {"kind": "self"},
                    "purposes": ["p"],
                    "recipients": ["r"],
                    "categories": [CATEGORY],
                },
                Stamp(
                    f"{self.seed}-{len(self.refusals) + len(self.consents)}-{self.draw.random()}",
                    subject.id,
                    f"{MEMBER}/S",
                    self.now,
                ),
            )
            store.add(connection, record)
        (self.refusals if status == "refused" else self.consents).append((record.id, identifier))
        self.statistics[status] += 1

    def withdraw(self) -> None:
        words = self.draw.choice([self.refusals, self.consents])
        if not words:
            return
        word = words.pop(self.draw.randrange(len(words)))
        with self.unit() as connection:
            store.end(connection, word[0], "withdrawn", self.now, "x")
        self.statistics["withdrawn"] += 1

    def named(self, identifiers: list[Identifier], *, believed: bool = True) -> Named:
        return Named(MEMBER, tuple(identifiers), REGISTER if believed else Register("other"))

    def recall(self, named: Named) -> Person:
        with self.engine.connect() as connection, connection.begin():
            return self.people.recall_in(connection, named)

    @staticmethod
    def lets_through(person: Person) -> bool:
        """What a basis that needs consent does: one that stands carries it, and no refusal stops it."""
        stands = any(word.status == "active" for word in person.words)
        return person.conflict is None and stands and not any(word.status == "refused" for word in person.words)

    def exchange(self, identifiers: list[Identifier], *, honest: bool, believed: bool = True) -> None:
        """A question or a handover: recall, decide, then record in a unit, as the node does."""
        named = self.named(identifiers, believed=believed)
        person = self.recall(named)
        if not honest:
            self.mixed |= {human.number for human in self.humans if set(human.identifiers) & set(identifiers)}
        released = self.lets_through(person)
        if released:
            self.check_released(identifiers)
        elif honest:
            self.check_not_stopped_for_nothing(identifiers, person)
        came_between = person.conflict is None and self.draw.random() < 0.1
        if came_between:
            # Between the decision and its record somebody of whom the item speaks refuses, under any identifier.
            human = next(human for human in self.humans if identifiers[0] in human.identifiers)
            self.say("refused", self.draw.choice(human.identifiers))
        with self.unit() as connection:
            if person.conflict is not None:
                self.held.hold(connection, person, HeldKind.HANDOVER, b"{}")
                self.statistics["held"] += 1
                return
            try:
                self.people.settle(connection, person, self.now)
            except StaleError:
                assert came_between, "busy without a reason"
                self.statistics["stale"] += 1
                return
        if released:
            self.check_released(identifiers)
        self.statistics["released" if released else "withheld"] += 1
        if honest and believed:
            self.shown_together.append(frozenset(identifiers))

    def claim(self, identifiers: list[Identifier]) -> None:
        """A peer's notice or handover: whatever it names together, nobody else's data moves otherwise after it."""
        before = self.all_outcomes()
        with self.unit() as connection:
            self.subjects.claim(connection, [(one.system, one.value) for one in identifiers], self.now)
        assert self.all_outcomes() == before, "a peer's message changed what another person's data does"
        self.statistics["claims"] += 1

    def undo(self) -> None:
        _, (first, *rest) = self.pick()
        others = [*rest, *self.draw.choice(self.humans).identifiers]
        second = self.draw.choice(others)
        self._registrar(lambda connection: self.registrar.undo(connection, first, second, "r", self.now)[0])
        self.undone |= {one.number for one in self.humans if first in one.identifiers or second in one.identifiers}
        self.statistics["undone"] += 1

    def join(self) -> None:
        human, _ = self.pick()
        first, second = self.draw.sample(human.identifiers, 2)
        self._registrar(lambda connection: self.registrar.join(connection, first, second, "r", self.now))

    def leave(self) -> None:
        """A held record leaves by one of a registrar's exits."""
        with self.engine.connect() as connection:
            waiting = self.held.waiting(connection)
        if not waiting:
            return
        record = self.draw.choice(waiting)
        decide = self.draw.choice([self.registrar.same, self.registrar.apart])
        with self.unit() as connection:
            decide(connection, record.id, "r", self.now)
        self.statistics[f"left-{'same' if decide == self.registrar.same else 'apart'}"] += 1

    def _registrar(self, act: object) -> None:
        try:
            with self.unit() as connection:
                act(connection)  # type: ignore[operator]
        except ProblemError as problem:
            if problem.code not in ("not-found", "invalid-request"):
                raise

    def step(self) -> None:
        self.now += timedelta(hours=self.draw.choice([1, 7, 30]))
        human, identifiers = self.pick()
        stranger = self.draw.choice(self.humans)
        match self.draw.choices(
            ("refuse", "consent", "withdraw", "record", "lie", "unbelieved", "claim", "undo", "join", "leave"),
            (9, 18, 12, 36, 5, 5, 7, 3, 4, 6),
        )[0]:
            case "refuse":
                self.say("refused", identifiers[0])
            case "consent":
                self.say("active", identifiers[0])
            case "withdraw":
                self.withdraw()
            case "record":
                self.exchange(identifiers, honest=True)
            case "lie":
                mixed = [*identifiers[:1], self.draw.choice(stranger.identifiers)]
                self.exchange(list(dict.fromkeys(mixed)), honest=stranger is human)
            case "unbelieved":
                self.exchange(identifiers, honest=True, believed=False)
            case "claim":
                self.claim([*identifiers, *self.draw.sample(stranger.identifiers, 1)])
            case "undo":
                self.undo()
            case "join":
                self.join()
            case "leave":
                self.leave()

    # -- what must hold -----------------------------------------------------------------------------------------------

    def check_released(self, identifiers: list[Identifier]) -> None:
        """What somebody named here has refused is never released: under any identifier that honest records showed."""
        reach = self._shown_with(identifiers)
        forbidding = [identifier for _, identifier in self.refusals if identifier in reach]
        assert not forbidding, f"released against a refusal under {forbidding[0].system}"

    def check_not_stopped_for_nothing(self, identifiers: list[Identifier], person: Person) -> None:
        """Nobody whom no record ever mixed with another is held, or loses a consent that honest records carry."""
        (human,) = [human for human in self.humans if set(identifiers) <= set(human.identifiers)]
        if human.number in self.mixed | self.undone:
            return
        assert person.conflict is None, "a person was stopped whom no held record names"
        mine = [identifier for _, identifier in self.refusals if identifier in human.identifiers]
        if mine or len(identifiers) != 1:
            return
        # Asked by the very identifier that a consent stands under, and never joined in doubt: it carries.
        if any(identifier == identifiers[0] for _, identifier in self.consents):
            alone = not any(identifiers[0] in shown and len(shown) > 1 for shown in self.shown_together)
            assert not alone or self.lets_through(person), "a consent was lost"

    def all_outcomes(self) -> list[tuple[object, tuple[str, ...]]]:
        found = []
        for human in self.humans:
            for identifiers in (list(human.identifiers), *([identifier] for identifier in human.identifiers)):
                person = self.recall(self.named(identifiers))
                found.append((person.conflict, tuple(word.id for word in person.words)))
        return found

    def _shown_with(self, identifiers: list[Identifier]) -> set[Identifier]:
        """Everything that honest records have shown together with these, however far, while nobody undid a join."""
        reach = set(identifiers)
        humans = {human.number for human in self.humans if set(human.identifiers) & reach}
        if humans & self.undone:
            return reach
        growing = True
        while growing:
            more = {one for shown in self.shown_together if shown & reach for one in shown} - reach
            reach |= more
            growing = bool(more)
        return reach
