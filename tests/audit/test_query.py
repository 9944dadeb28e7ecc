"""Every question finds what it should, page by page, and nothing that it should not."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, event, select

from audit.log.entries import Agents, Categories, Entry
from audit.log.rows import entry_row, insert_rows
from audit.log.tables import flows, metadata
from audit.questions import query, tallies, withdrawals
from audit.questions.query import Filters, QueryError, search, walk
from audit.tree import proofs
from audit.tree.merkle import ProofError
from audit.tree.verify import ExportError, verify_export
from tests.audit.conftest import START, Bench, entry_at
from tests.properties import examples

ANNA, BORIS = "a" * 64, "b" * 64


@pytest.fixture
def story(bench: Bench, make_entry: Callable[..., Entry]) -> dict[str, Entry]:
    """A small log in which everything that an officer may ask about has happened."""
    moved = bench.clock.move
    told: dict[str, Entry] = {}

    def note(name: str, **fields: object) -> Entry:
        moved(minutes=7)
        told[name] = make_entry(
            **{"subject": ANNA, "categories": Categories(("identity",), ("health-needs",)), **fields}
        )
        return told[name]

    note("disclosed")
    note("in-vain", outcome="not-found", categories=Categories())
    note("refused", outcome="refused", reason="not-permitted", categories=Categories((), ("finances",)))
    note("other-person", subject=BORIS, agents=Agents(recipient="FI/GOV/0245437-2/care", user="u-2"))
    note("consented", type="consent", consents=(("c-1", 1),), categories=Categories())
    note("under-consent", consents=(("c-1", 1),), purpose="help", bases=("law-2",))
    ended = {"status": "withdrawn", "version": 2}
    note("withdrawn", type="consent", consents=(("c-1", 2),), categories=Categories(), detail=ended)
    planned = note("planned", type="handover", outcome="planned", case="k" * 64)
    sent = note("sent", type="delivery", outcome="requested", previous=planned.id)
    note("delivered", type="delivery", previous=sent.id)
    note("accepted", type="acceptance", previous=sent.id)
    note("emergency", type="break-glass", rulebook="2026.2")
    with bench.log() as log:
        log.append_blocking(list(told.values()))
    return told


@pytest.fixture
def ask(bench: Bench, story: dict[str, Entry]) -> Callable[[Filters], list[str]]:
    names = {entry.id: name for name, entry in story.items()}

    def found(filters: Filters) -> list[str]:
        with bench.engine.connect() as connection:
            return [names[item.entry.id] for item in walk(connection, filters)]

    return found


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (query.disclosures([ANNA]), ["disclosed", "under-consent", "delivered", "emergency"]),
        (query.disclosures([ANNA], start=START + timedelta(hours=1)), ["delivered", "emergency"]),
        (query.disclosures([BORIS]), ["other-person"]),
        (query.fruitless_lookups([ANNA]), ["in-vain", "refused"]),
        (query.refusals(), ["refused"]),
        (query.refusals(reason="not-permitted"), ["refused"]),
        (query.refusals(reason="something-else"), []),
        (query.case("k" * 64), ["planned"]),
        (Filters(basis="law-2"), ["under-consent"]),
        (Filters(purpose="help"), ["under-consent"]),
        (Filters(member="FI/GOV/0245437-2", user="u-2"), ["other-person"]),
        (Filters(user="u-2"), ["other-person"]),
        (Filters(rulebook="2026.2"), ["emergency"]),
        (Filters(withheld="finances"), ["refused"]),
        (Filters(permitted="identity", subjects=(BORIS,)), ["other-person"]),
        (Filters(types=("consent", "acceptance")), ["consented", "withdrawn", "accepted"]),
        (Filters(types=("break-glass",), basis="law-1", member="FI/GOV/0246246-0"), ["emergency"]),
        (Filters(start=START + timedelta(minutes=14), end=START + timedelta(minutes=21)), ["in-vain"]),
        (query.disclosures([]), []),
        (query.person([]), []),
        (query.person(["nobody"]), []),
    ],
)
def test_question_finds_exactly_what_it_is_about(
    ask: Callable[[Filters], list[str]], filters: Filters, expected: list[str]
) -> None:
    assert ask(filters) == expected


def test_story_of_a_handover_is_told_from_any_of_its_entries(bench: Bench, story: dict[str, Entry]) -> None:
    whole = [story[name].id for name in ("planned", "sent", "delivered", "accepted")]
    with bench.engine.connect() as connection:
        for name in ("planned", "sent", "delivered", "accepted"):
            assert [item.entry.id for item in query.chain(connection, story[name].id)] == whole
        assert query.chain(connection, "no-such") == ()


def test_consents_are_told_with_what_was_disclosed_under_each(bench: Bench, story: dict[str, Entry]) -> None:
    with bench.engine.connect() as connection:
        (one,) = withdrawals.consents_of(connection, [ANNA])
        assert withdrawals.consents_of(connection, [BORIS]) == ()
    assert (one.consent, one.more) == ("c-1", False)
    assert [item.entry.id for item in one.history] == [story["consented"].id, story["withdrawn"].id]
    assert [item.entry.id for item in one.disclosed] == [story["under-consent"].id]


def test_what_left_after_a_withdrawal_is_shown_and_otherwise_nothing(
    bench: Bench, story: dict[str, Entry], make_entry: Callable[..., Entry]
) -> None:
    with bench.engine.connect() as connection:
        assert withdrawals.left_after_withdrawal(connection) == ()
    late = make_entry(subject=ANNA, consents=(("c-1", 1),))
    renewed = make_entry(subject=ANNA, consents=(("c-1", 3),))
    with bench.log() as log:
        log.append_blocking([late, renewed])
    with bench.engine.connect() as connection:
        for pseudonyms in ((), (ANNA,)):
            pairs = withdrawals.left_after_withdrawal(connection, pseudonyms)
            assert [(one.entry.id, other.entry.id) for one, other in pairs] == [(story["withdrawn"].id, late.id)]
        assert withdrawals.left_after_withdrawal(connection, (BORIS,)) == ()


@pytest.mark.parametrize("withdrawn_before", [False, True])
def test_a_receipt_after_a_withdrawal_is_no_release_after_it(
    bench: Bench, make_entry: Callable[..., Entry], withdrawn_before: bool
) -> None:
    """What was on record as leaving before is told by its receipt only; what was so afterwards did leave."""
    given = {"type": "delivery", "subject": ANNA, "consents": (("c-9", 1),)}
    requested = make_entry(**given, outcome="requested")
    receipt = make_entry(**given, outcome="success", previous=requested.id)
    ended = make_entry(
        type="consent", outcome="success", subject=ANNA, consents=(("c-9", 2),), detail={"status": "withdrawn"}
    )
    with bench.log() as log:
        log.append_blocking([ended, requested, receipt] if withdrawn_before else [requested, ended, receipt])

    with bench.engine.connect() as connection:
        pairs = withdrawals.left_after_withdrawal(connection)

    assert [(first.entry.id, later.entry.id) for first, later in pairs] == (
        [(ended.id, receipt.id)] if withdrawn_before else []
    )


def test_days_count_what_was_disclosed(bench: Bench, story: dict[str, Entry]) -> None:
    with bench.engine.connect() as connection:
        (day,) = query.heat(connection, query.disclosures([ANNA]))
    assert (day.date, day.count) == (START.date(), 4)


@examples(15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit=st.integers(1, 9), newest=st.booleans(), kind=st.sampled_from([(), ("query",), ("delivery", "consent")]))
def test_pages_put_together_are_the_whole_answer(
    bench: Bench, story: dict[str, Entry], limit: int, newest: bool, kind: tuple[str, ...]
) -> None:
    pages: list[int] = []
    after: str | None = None
    with bench.engine.connect() as connection:
        while True:
            page = search(
                connection, Filters(types=kind), order="newest" if newest else "oldest", after=after, limit=limit
            )
            assert len(page.found) <= limit
            pages += [item.index for item in page.found]
            after = page.next
            if after is None:
                break
    every = [index for index, entry in enumerate(story.values()) if not kind or entry.type in kind]
    assert pages == (every[::-1] if newest else every)


def test_page_stays_in_place_while_the_log_grows(
    bench: Bench, story: dict[str, Entry], make_entry: Callable[..., Entry]
) -> None:
    with bench.engine.connect() as connection:
        first = search(connection, Filters(), limit=5)
    with bench.log() as log:
        log.append_blocking([make_entry() for _ in range(20)])
    with bench.engine.connect() as connection:
        second = search(connection, Filters(), limit=5, after=first.next)
    assert [item.index for item in first.found + second.found] == list(range(11, 1, -1))


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "bm90LmEubnVtYmVy", "é"])
def test_cursor_that_no_page_ended_with_is_refused(bench: Bench, story: dict[str, Entry], cursor: str) -> None:
    with bench.engine.connect() as connection, pytest.raises(QueryError):
        search(connection, Filters(), after=cursor)
    with bench.engine.connect() as connection, pytest.raises(QueryError):
        search(connection, Filters(), limit=1001)


def test_what_was_searched_goes_on_record_without_values() -> None:
    filters = Filters(START, subjects=(ANNA,), purpose="care")
    assert filters.to_codes() == {"filters": "start subjects purpose"}


@pytest.mark.parametrize(
    "filters",
    [query.person([ANNA]), query.case("k"), Filters(member="m"), Filters(basis="b", start=START), Filters(user="u")],
    ids=["person", "case", "member", "basis", "user"],
)
def test_question_is_driven_by_an_index_and_sorts_nothing(bench: Bench, filters: Filters) -> None:
    if bench.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL chooses its plan by what is in the tables; the benchmark watches it")
    plans: list[str] = []

    def explain(connection: Connection) -> None:
        def seen(_c: object, cursor: object, statement: str, parameters: object, *_rest: object) -> None:
            if statement.startswith("SELECT audit_entries"):
                rows = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()  # type: ignore[attr-defined]
                plans.extend(row[3] for row in rows)

        event.listen(bench.engine, "before_cursor_execute", seen)
        search(connection, filters)
        event.remove(bench.engine, "before_cursor_execute", seen)

    with bench.engine.connect() as connection:
        explain(connection)
    assert plans
    assert not [step for step in plans if "SCAN" in step or "TEMP B-TREE" in step], plans


# -- counts ------------------------------------------------------------------------------------------------------------


def keep_all(bench: Bench) -> list[date]:
    tallies.keep_all(bench.engine, bench.clock())
    with bench.engine.connect() as connection:
        return [
            date.fromordinal(day) for day in connection.scalars(select(flows.c.day).distinct().order_by(flows.c.day))
        ]


def test_counts_are_the_same_before_and_after_days_were_kept(bench: Bench, make_entry: Callable[..., Entry]) -> None:
    with bench.log() as log:
        for day in range(4):
            for outcome in ("success", "refused", "not-found"):
                log.append_blocking([make_entry(outcome=outcome, purpose=f"p-{day % 2}")])
                bench.clock.move(hours=8)
        log.append_blocking([make_entry(type="console-read"), make_entry(type="delivery", outcome="requested")])
    window = (START + timedelta(hours=7), START + timedelta(days=3, hours=2))
    with bench.engine.connect() as connection:
        before = tallies.between(connection, *window), set(tallies.of_year(connection, 2026))
    assert keep_all(bench) == [date(2026, 10, day) for day in range(1, 5)], "today is not over"
    assert keep_all(bench) == [date(2026, 10, day) for day in range(1, 5)], "a day is counted once"
    with bench.engine.connect() as connection:
        assert (tallies.between(connection, *window), set(tallies.of_year(connection, 2026))) == before
        assert tallies.of_year(connection, 2025) == ()
    (pair,), purposes = before
    assert (pair.released, pair.refused, pair.fruitless, pair.purpose) == (3, 3, 3, None)
    assert {(one.purpose, one.released, one.refused, one.fruitless) for one in purposes} == {
        ("p-0", 2, 2, 2),
        ("p-1", 2, 2, 2),
    }


def test_a_day_is_that_of_finnish_time(bench: Bench, make_entry: Callable[..., Entry]) -> None:
    with bench.log() as log:
        bench.clock.now = datetime(2026, 12, 31, 21, 59, 59, tzinfo=UTC)
        log.append_blocking([make_entry()])
        bench.clock.move(seconds=1)  # midnight in Helsinki: the new year
        log.append_blocking([make_entry(), make_entry()])
        bench.clock.move(days=1, hours=1)
    for _ in range(2):
        with bench.engine.connect() as connection:
            years = [[one.released for one in tallies.of_year(connection, year)] for year in (2026, 2027)]
        assert years == [[1], [2]]
        assert keep_all(bench) == [date(2026, 12, 31), date(2027, 1, 1)]


def test_a_day_that_two_replicas_counted_is_kept_once(bench: Bench, make_entry: Callable[..., Entry]) -> None:
    with bench.log() as log:
        log.append_blocking([make_entry()])
    now = bench.clock.move(days=2)
    with bench.engine.connect() as connection:
        first, second = tallies.next_day(connection, now), tallies.next_day(connection, now)
    assert first is not None
    assert second is not None
    with bench.writing() as connection:
        assert tallies.keep(connection, first)
        assert not tallies.keep(connection, second)
        assert sum(one.released for one in tallies.between(connection, START, now)) == 1


@given(
    seconds=st.lists(st.integers(0, 40 * 86_400), min_size=1, max_size=30),
    window=st.tuples(st.integers(-86_400, 41 * 86_400), st.integers(-86_400, 41 * 86_400)).map(sorted),
    kept=st.integers(0, 42),
)
@examples(40)
def test_what_is_kept_never_changes_a_count(seconds: list[int], window: list[int], kept: int) -> None:
    begin = datetime(2026, 10, 10, tzinfo=UTC)  # summer time ends within the forty days
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    rows = [(at, entry_at(begin + timedelta(seconds=second))) for at, second in enumerate(sorted(seconds))]
    with engine.execution_options(writes=True).begin() as connection:
        insert_rows(connection, [entry_row(at, entry, entry.canonical()) for at, entry in rows], ())
    start, end = (begin + timedelta(seconds=at) for at in window)
    with engine.connect() as connection:
        before = tallies.between(connection, start, end)
    assert sum(one.released for one in before) == sum(start <= entry.recorded < end for _, entry in rows)
    tallies.keep_all(engine, begin + timedelta(days=kept))
    with engine.connect() as connection:
        assert tallies.between(connection, start, end) == before
    engine.dispose()


@pytest.mark.parametrize("place", ["9" * 30 + ".1", "1." + "9" * 30, "1.-1", "-" + "9" * 30 + ".1"])
def test_a_cursor_that_no_database_can_compare_is_none(bench: Bench, place: str) -> None:
    cursor = base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")
    with bench.engine.connect() as connection, pytest.raises(QueryError):
        query.search(connection, Filters(), after=cursor)


# -- proofs and exports ------------------------------------------------------------------------------------------------


def test_export_of_proofs_stands_without_the_log(bench: Bench, story: dict[str, Entry]) -> None:
    with bench.engine.connect() as connection:
        early = proofs.current(connection).note
        whole = proofs.export_proofs(
            connection, dict.fromkeys([0, 5, 11]), log_key=bench.signer.verifier, earlier=[early]
        )
    report = verify_export(whole, log_key=bench.signer.verifier)
    assert report.sound
    assert report.trusted
    assert [(index, entry.id) for index, entry in report.entries] == [
        (at, list(story.values())[at].id) for at in (0, 5, 11)
    ]
    assert not verify_export(whole).trusted


@pytest.mark.parametrize(
    ("old", "new", "index"),
    [
        (b'\\"identity\\"', b'\\"finances\\"', 0),
        (b'"index": 5', b'"index": 6', 6),
        (b"log.example.fi/node-a\\n12", b"log.example.fi/node-a\\n13", None),
    ],
    ids=["entry", "place", "checkpoint"],
)
def test_export_that_was_touched_does_not_verify(
    bench: Bench, story: dict[str, Entry], old: bytes, new: bytes, index: int | None
) -> None:
    with bench.engine.connect() as connection:
        whole = proofs.export_proofs(connection, dict.fromkeys([0, 5]), log_key=bench.signer.verifier)
    assert old in whole
    report = verify_export(whole.replace(old, new, 1), log_key=bench.signer.verifier)
    assert not report.sound
    assert report.problems[0].index == index


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"format": 1}', b"\x00", b'{"format":"yhdyspinta-audit-export/1"}']
)
def test_what_is_no_export_is_told(data: bytes) -> None:
    with pytest.raises(ExportError):
        verify_export(data)


def test_log_proves_that_nothing_changed_since_an_earlier_checkpoint_and_says_what_did(
    bench: Bench, story: dict[str, Entry], make_entry: Callable[..., Entry]
) -> None:
    with bench.engine.connect() as connection:
        early = proofs.current(connection)
    with bench.log() as log:
        log.append_blocking([make_entry() for _ in range(300)])
    forged = bench.signer.sign(12, b"\x01" * 32)
    beyond = bench.signer.sign(900, b"\x01" * 32)
    with bench.engine.connect() as connection:
        assert proofs.unchanged_since(connection, early.note, bench.signer.verifier).unchanged
        told = proofs.unchanged_since(connection, forged.note, bench.signer.verifier)
        assert "not those that were signed" in (told.problem or "")
        assert "went back" in (proofs.unchanged_since(connection, beyond.note, bench.signer.verifier).problem or "")
        with pytest.raises(ProofError):
            proofs.prove(connection, 5_000)


def test_proof_says_since_when_the_entry_existed(bench: Bench, make_entry: Callable[..., Entry]) -> None:
    with bench.log() as log:
        for _ in range(5):
            bench.clock.move(minutes=2)
            log.append_blocking([make_entry()])
    with bench.engine.connect() as connection:
        made = proofs.prove(connection, 2)
    assert (made.position, made.checkpoint.size) == (3, 5)
    assert made.since is not None
    assert made.since.size == 3


def test_entry_changed_behind_its_proof_is_not_exported_as_proven(bench: Bench, story: dict[str, Entry]) -> None:
    changed = replace(story["disclosed"], purpose="marketing").canonical().decode()
    with bench.tampering() as connection:
        connection.exec_driver_sql(f"UPDATE audit_entries SET body = '{changed}' WHERE idx = 0")
    with bench.engine.connect() as connection:
        whole = proofs.export_proofs(connection, dict.fromkeys([0]), log_key=bench.signer.verifier)
    assert not verify_export(whole, log_key=bench.signer.verifier).sound


def test_a_look_up_between_two_members_of_one_node_counts_once_and_one_from_outside_as_well(
    bench: Bench, make_entry: Callable[..., Entry]
) -> None:
    """Of the first both sides stand here; of the second we only asked, of the third only answered."""
    asking = Agents(client="client-1", user="u-1", node="node-a", recipient="FI/GOV/0245437-2/care")
    answering = replace(asking, client=None)
    pairs = [("m-1", asking), ("m-1", answering), ("m-2", asking), ("m-3", answering)]
    with bench.log() as log:
        log.append_blocking([make_entry(message_id=message, agents=agents) for message, agents in pairs])

    with bench.engine.connect() as connection:
        found = [item.entry.message_id for item in walk(connection, query.disclosures(["a" * 64]))]
        (count,) = tallies.between(connection, bench.clock() - timedelta(days=1), bench.clock() + timedelta(days=1))

    assert sorted(str(message) for message in found) == ["m-1", "m-2", "m-3"]
    assert count.released == 3
