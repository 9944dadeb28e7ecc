"""Unusual patterns are seen at their threshold and not below it, explained, reviewed, and signed off once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.log.entries import Agents, Entry, new_id
from audit.questions import anomalies, reviews
from audit.questions.anomalies import Event, Thresholds
from audit.questions.query import Found, by_id
from audit.questions.reviews import ChoiceError, Kind, ReviewError, Said
from audit.questions.subjects import Subjects
from tests.audit.conftest import Bench
from tests.people import joined
from tests.properties import examples
from texts import LANGUAGES

NOON = datetime(2026, 10, 1, 9, 0, tzinfo=UTC)  # noon in Helsinki, in summer time
CUSTOMERS = "urn:yhdyspinta:id:migri-customer"
NEXT = NOON + timedelta(days=1)
LIMITS = Thresholds(bulk_lookups_per_hour=4, persons_per_day=5, night_lookups=2, denied_per_hour=3, never_clients=2)


def events(
    count: int,
    *,
    start: datetime = NOON,
    every: timedelta = timedelta(minutes=10),
    actor: str = "u-1",
    outcome: str = "success",
    persons: int = 1,
) -> list[Event]:
    return [
        Event(number, f"{actor}-{number}", start + every * number, actor, f"s-{number % persons}", outcome)
        for number in range(count)
    ]


@pytest.mark.parametrize(
    ("rule", "below", "at"),
    [
        (anomalies.bulk_lookups, events(3), events(4)),
        (anomalies.bulk_lookups, events(9, every=timedelta(minutes=21)), events(9, every=timedelta(minutes=20))),
        (anomalies.many_persons, events(9, persons=4), events(9, persons=5)),
        (
            anomalies.night_use,
            events(1, start=NOON + timedelta(hours=10)),
            events(2, start=NOON + timedelta(hours=10)),
        ),
        (anomalies.night_use, events(5, start=NOON + timedelta(hours=8)), events(2, start=NOON + timedelta(hours=17))),
        (anomalies.repeated_denials, events(2, outcome="refused"), events(3, outcome="refused")),
        (anomalies.repeated_denials, events(9), events(3, outcome="withheld")),
        (anomalies.repeated_denials, events(2, outcome="not-found"), events(3, outcome="not-found")),
    ],
    ids=["bulk", "bulk-in-an-hour", "persons", "night", "night-by-local-time", "denied", "denied-only", "nobody"],
)
def test_pattern_is_seen_at_its_threshold_and_not_below(
    rule: anomalies.Rule, below: list[Event], at: list[Event]
) -> None:
    assert rule(below, LIMITS) == []
    (seen,) = rule(at, LIMITS)
    assert seen.actor == "u-1"
    assert seen.count >= seen.threshold
    assert set(seen.entries) <= {event.id for event in at}
    for language in LANGUAGES:
        said = seen.explanation(language)
        assert str(seen.count) in said
        assert str(seen.threshold) in said
    assert len({seen.explanation(language) for language in LANGUAGES}) == 3


def test_one_night_is_one_pattern_across_midnight() -> None:
    across = events(4, start=datetime(2026, 10, 1, 20, 30, tzinfo=UTC), every=timedelta(hours=1))
    (seen,) = anomalies.night_use(across, LIMITS)
    assert seen.count == 4


def test_own_data_and_that_of_a_colleague_are_told_apart() -> None:
    limits = replace(LIMITS, staff={"u-1": "s-0", "u-2": "s-1"})
    seen = anomalies.own_entries(events(3, persons=3), limits)
    assert [(one.rule, one.entries) for one in seen] == [("own-data", ("u-1-0",)), ("colleague", ("u-1-1",))]
    assert anomalies.own_entries(events(3, persons=3), LIMITS) == []


@examples(40)
@given(st.lists(st.tuples(st.integers(0, 300), st.sampled_from(["u-1", "u-2"])), max_size=40))
def test_bulk_is_seen_exactly_when_some_hour_holds_that_many(times: list[tuple[int, str]]) -> None:
    made = [
        Event(number, str(number), NOON + timedelta(minutes=minute), actor, "s", "success")
        for number, (minute, actor) in enumerate(sorted(times))
    ]
    expected = {
        actor
        for actor in ("u-1", "u-2")
        for event in made
        if event.actor == actor
        and sum(
            1 for other in made if other.actor == actor and timedelta(0) <= other.at - event.at <= timedelta(hours=1)
        )
        >= 4
    }
    assert {one.actor for one in anomalies.bulk_lookups(made, LIMITS)} == expected


def test_patterns_are_read_from_the_log_with_those_who_never_became_clients(
    bench: Bench, make_entry: Callable[..., Entry]
) -> None:
    bench.clock.now = NOON
    with bench.log() as log:
        for number in range(4):
            bench.clock.move(minutes=1)
            # Who asks another organisation records that the question was sent, and then how it ended: one look-up.
            asked = make_entry(subject=f"{number}" * 64, agents=Agents(user="u-1"), outcome="requested")
            log.append_blocking([asked, replace(asked, id=new_id(asked.recorded), outcome="success")])
        log.append_blocking(
            [make_entry(type="receipt", subject="0" * 64), make_entry(type="receipt", subject="1" * 64)]
        )
    now = NOON + timedelta(days=91)
    with bench.engine.connect() as connection:
        fresh = anomalies.detect(connection, anomalies.Span(NOON, NEXT, NEXT), LIMITS)
        ripe = anomalies.detect(connection, anomalies.Span(now - timedelta(days=2), now, now), LIMITS)
    assert [(one.rule, one.count) for one in fresh] == [("bulk-lookups", 4)]
    assert [(one.rule, one.count) for one in ripe] == [("never-clients", 2)]


# -- reviews -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def emergency(bench: Bench, make_entry: Callable[..., Entry]) -> Entry:
    entry = make_entry(type="break-glass")
    with bench.log() as log:
        log.append_blocking([make_entry(), entry])
    return entry


def test_an_emergency_between_two_members_of_a_node_is_reviewed_once(
    bench: Bench, make_entry: Callable[..., Entry]
) -> None:
    given = make_entry(type="break-glass", message_id="m-1", agents=Agents(user="u-1", recipient="A/B/C/D"))
    came = make_entry(type="break-glass", message_id="m-1", agents=Agents(client="ward", recipient="A/B/C/D"))
    elsewhere = make_entry(type="break-glass", message_id="m-2", agents=Agents(client="ward", recipient="A/B/C/D"))
    with bench.log() as log:
        log.append_blocking([given, came, elsewhere])
    with bench.engine.connect() as connection:
        waits = reviews.unreviewed_emergencies(connection)
    assert [found.entry.id for found in waits] == [given.id, elsewhere.id]


def test_a_person_counts_once_in_a_pattern_however_many_pseudonyms_they_have(
    bench: Bench, make_entry: Callable[..., Entry]
) -> None:
    subjects, now = Subjects(b"\x01" * 32, b"\x02" * 32), bench.clock.move(seconds=0)
    with bench.writing() as connection:
        people = [
            joined(connection, subjects, [(CUSTOMERS, f"7{person}{number}00001") for number in range(3)], now)
            for person in range(2)
        ]
        pseudonyms = [subjects.pseudonyms(connection, person.id) for person in people]
    with bench.log() as log:
        log.append_blocking(
            [make_entry(subject=pseudonym, agents=Agents(user="u-1")) for known in pseudonyms for pseudonym in known]
        )
        # Whoever became a client under one pseudonym is one, however they were looked up.
        log.append_blocking([make_entry(type="receipt", subject=pseudonyms[0][2])])
        looked = [make_entry(subject=pseudonyms[0][number], agents=Agents(user="u-2")) for number in range(2)]
        log.append_blocking(looked)
    limits = Thresholds(persons_per_day=2, never_clients=1, client_within=timedelta(0))
    span = anomalies.Span(now - timedelta(hours=1), now + timedelta(hours=1), now + timedelta(days=1))
    with bench.engine.connect() as connection:
        told = anomalies.detect(connection, span, limits, anomalies.Seen(subjects=subjects))
    counts = {(seen.rule, seen.actor): seen.count for seen in told}
    assert counts == {("many-persons", "u-1"): 2, ("never-clients", "u-1"): 1}


def test_ones_own_data_is_ones_own_under_any_pseudonym(bench: Bench, make_entry: Callable[..., Entry]) -> None:
    subjects, now = Subjects(b"\x01" * 32, b"\x02" * 32), bench.clock.move(seconds=0)
    with bench.writing() as connection:
        person = joined(connection, subjects, [(CUSTOMERS, "7000001"), (CUSTOMERS, "7000002")], now)
        own, other = subjects.pseudonyms(connection, person.id)
    with bench.log() as log:
        log.append_blocking([make_entry(subject=other, agents=Agents(user="u-1"))])
    span = anomalies.Span(now - timedelta(hours=1), now + timedelta(hours=1), now)
    with bench.engine.connect() as connection:
        told = anomalies.detect(connection, span, Thresholds(staff={"u-1": own}), anomalies.Seen(subjects=subjects))
    assert [seen.rule for seen in told] == ["own-data"]


def test_emergency_waits_for_review_because_it_is_in_the_log(bench: Bench, emergency: Entry) -> None:
    with bench.engine.connect() as connection:
        (waiting,) = reviews.unreviewed_emergencies(connection)
        assert waiting.entry.id == emergency.id
    with bench.writing() as connection:
        review = reviews.open_emergency(connection, waiting, bench.clock())
        assert reviews.open_emergency(connection, waiting, bench.clock()) == review, "opened once"
        assert reviews.reviews_of(connection, emergency.id) == (review,)
        assert [one.entry.id for one in reviews.unreviewed_emergencies(connection)] == [emergency.id]
        assert reviews.waiting(connection, kind=Kind.EMERGENCY) == (review,)
        assert reviews.waiting(connection, kind=Kind.ANOMALY) == ()
        said = Said("u-9", "justified", "life in danger")
        done = reviews.sign_off(connection, review.id, said, bench.clock())
        assert (done.signed_by, done.verdict, done.remark) == ("u-9", "justified", "life in danger")
        assert reviews.unreviewed_emergencies(connection) == ()
        assert reviews.waiting(connection) == ()
        assert reviews.done(connection) == (done,)


def test_review_is_signed_off_once_with_a_verdict_that_there_is(bench: Bench, emergency: Entry) -> None:
    with bench.writing() as connection:
        found = by_id(connection, emergency.id)
        assert found is not None
        review = reviews.open_emergency(connection, found, bench.clock())
        now = bench.clock()
        for verdict, remark in (("fine", "seen"), ("justified", " "), ("justified", "x" * 2001)):
            with pytest.raises(ReviewError):
                reviews.sign_off(connection, review.id, Said("u-9", verdict, remark), now)
        reviews.sign_off(connection, review.id, Said("u-9", "escalated", "seen"), now)
        for again in (review.id, "no-such"):
            with pytest.raises(ReviewError):
                reviews.sign_off(connection, again, Said("u-9", "justified", "seen"), now)
        assert reviews.done(connection)[0].verdict == "escalated"


def test_only_an_emergency_is_opened_as_one_and_a_pattern_under_its_first_entry(
    bench: Bench, emergency: Entry, make_entry: Callable[..., Entry]
) -> None:
    (seen,) = anomalies.bulk_lookups(events(4), LIMITS)
    with bench.writing() as connection:
        review = reviews.open_anomaly(connection, seen, bench.clock())
        assert (review.kind, review.rule, review.entry) == ("anomaly", "bulk-lookups", "u-1-0")
        assert reviews.waiting(connection, kind=Kind.ANOMALY) == (review,)
        with pytest.raises(ReviewError):
            reviews.open_emergency(connection, not_an_emergency(make_entry()), bench.clock())


def test_patterns_that_begin_with_one_entry_are_each_reviewed(
    bench: Bench, emergency: Entry, make_entry: Callable[..., Entry]
) -> None:
    night = [replace(one, id=emergency.id) for one in events(4, start=NOON + timedelta(hours=12))]
    seen = (*anomalies.bulk_lookups(night, LIMITS), *anomalies.night_use(night, LIMITS))
    now = bench.clock()
    with bench.writing() as connection:
        found = by_id(connection, emergency.id)
        assert found is not None
        opened = reviews.open_anomalies(connection, seen, now)
        assert [(one.rule, review.rule, review.entry) for one, review in opened] == [
            (rule, rule, emergency.id) for rule in ("bulk-lookups", "night-use")
        ]
        assert reviews.open_anomalies(connection, seen, now + timedelta(minutes=1)) == (), "each is opened once"
        bulk, by_night = (review for _, review in opened)
        assert {one.id for one in reviews.waiting(connection, kind=Kind.ANOMALY)} == {bulk.id, by_night.id}
        assert [one.entry.id for one in reviews.unreviewed_emergencies(connection)] == [emergency.id], "once"

        for wrong in (None, "own-data", ""):
            with pytest.raises(ChoiceError, match="break-glass, bulk-lookups, night-use") as told:
                reviews.meant(connection, found, wrong, now)
            assert told.value.choices == ("break-glass", "bulk-lookups", "night-use")
        assert reviews.meant(connection, found, "night-use", now) == by_night
        said = Said("u-9", "explained", "on duty")
        reviews.sign_off(connection, by_night.id, said, now)
        assert [one.entry.id for one in reviews.unreviewed_emergencies(connection)] == [emergency.id], "it still waits"
        with pytest.raises(ChoiceError, match=r"break-glass, bulk-lookups$"):
            reviews.meant(connection, found, "night-use", now)
        reviews.sign_off(connection, reviews.meant(connection, found, "break-glass", now).id, said, now)
        assert reviews.unreviewed_emergencies(connection) == ()
        assert reviews.meant(connection, found, None, now) == bulk, "the only one need not be named"
        reviews.sign_off(connection, bulk.id, said, now)
        for none in (None, "bulk-lookups"):
            with pytest.raises(ReviewError, match="nothing of entry"):
                reviews.meant(connection, found, none, now)
        assert {one.name for one in reviews.reviews_of(connection, emergency.id)} == {
            "break-glass",
            "bulk-lookups",
            "night-use",
        }


def not_an_emergency(entry: Entry) -> Found:
    return Found(0, entry)
