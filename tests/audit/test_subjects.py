"""People are known by pseudonyms only, stay one person when a second identifier comes, and can be forgotten."""

from __future__ import annotations

import hmac
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, select, update

from audit.log.entries import Entry
from audit.log.tables import entries, identifiers
from audit.log.tables import subjects as table
from audit.log.waiting import Written
from audit.questions import query
from audit.questions.check import check
from audit.questions.forgotten import scrub
from audit.questions.keys import KeyedHash, SubjectError, SubjectKeys
from audit.questions.links import LinkAct
from audit.questions.query import Filters, walk
from audit.questions.subjects import HETU_SYSTEM, NOTATION, OLD_SPELLINGS, Subject, Subjects, normalised
from audit.tree import proofs
from audit.tree.verify import verify_export
from tests.audit.conftest import Bench
from tests.people import as_recorded_before, joined, say

MIGRI = "urn:yhdyspinta:id:migri-customer"
HETU = (HETU_SYSTEM, "010190-900P")
CUSTOMER = (MIGRI, "7000001")
OTHER = (HETU_SYSTEM, "020290-901R")


@pytest.fixture
def subjects() -> Subjects:
    return Subjects(b"\x01" * 32, b"\x02" * 32)


def test_nothing_personal_is_stored(bench: Bench, subjects: Subjects) -> None:
    with bench.writing() as connection:
        subject = joined(connection, subjects, [HETU, CUSTOMER], bench.clock())
    with bench.engine.connect() as connection:
        rows = [tuple(row) for name in (table, identifiers) for row in connection.execute(select(name))]
    assert len(rows) == 4
    for value in (HETU[1], CUSTOMER[1], subject.key.hex()):
        assert value not in repr(rows)
    assert subject.key not in [bytes(cell) for row in rows for cell in row if isinstance(cell, bytes | memoryview)]
    assert subject.key.hex() not in repr(subject)
    assert len(subject.pseudonym) == 64


@pytest.mark.parametrize("value", ["010190-900P", "010190-900p", " 010190-900P ", "０10190-900P"])
def test_one_identifier_in_several_notations_is_one_person(bench: Bench, subjects: Subjects, value: str) -> None:
    with bench.writing() as connection:
        known = joined(connection, subjects, [HETU], bench.clock())
        assert subjects.find(connection, HETU_SYSTEM, value) == known
        assert subjects.find(connection, MIGRI, value) is None
    assert normalised(MIGRI, "a b") == "a b"


OLD = [
    (MIGRI, "demo-x1"),
    (MIGRI, "Demo-X1"),
    (MIGRI, "DEMO\u2010X1"),
    (MIGRI, "DEMO\u2011X1"),
    (MIGRI, "DEMO\u2013X1"),
    (MIGRI, "DEMO\u2212X1"),
    (MIGRI, "demo\u2010x1"),
    (f"{MIGRI} ", "DEMO-X1"),
    (f"{MIGRI} ", "demo-x1"),
    (HETU_SYSTEM, "010190\u2010900P"),
    (f"{HETU_SYSTEM} ", "010190-900P"),
    (f"{HETU_SYSTEM} ", "010190-900p"),
    ("1.2.246.21", "010190-900P"),
]


@pytest.mark.parametrize("spelling", OLD, ids=[ascii(row) for row in OLD])
def test_who_was_recorded_in_another_spelling_is_found_by_the_one_notation(
    bench: Bench, subjects: Subjects, spelling: tuple[str, str]
) -> None:
    today = HETU if "010190" in spelling[1] else (MIGRI, "DEMO-X1")
    with bench.writing() as connection:
        once = recorded_before(connection, subjects, spelling, bench)

        assert subjects.find(connection, *today) == once
        (known,) = subjects.ensure(connection, [today], bench.clock())
        assert known.subjects == (once,), "nobody is made anew beside them"
        assert subjects.find(connection, MIGRI, "DEMO-X2") is None
    assert len(set(subjects.blinds(*today))) == len(subjects.blinds(*today)) <= 2 + OLD_SPELLINGS
    assert subjects.blinds(*today)[0] == subjects.blind(*today)


def test_who_was_recorded_in_two_spellings_is_known_as_both_and_the_one_notation_comes_first(
    bench: Bench, subjects: Subjects
) -> None:
    with bench.writing() as connection:
        old = recorded_before(connection, subjects, (MIGRI, "demo-x1"), bench)
        new = joined(connection, subjects, [(MIGRI, "DEMO-X1-")], bench.clock())
        connection.execute(
            update(identifiers).where(identifiers.c.subject == new.id).values(blind=subjects.blind(MIGRI, "DEMO-X1"))
        )

        (known,) = subjects.known(connection, [(MIGRI, "DEMO-X1")])
        assert known.subjects == (new, old)
        assert subjects.find(connection, MIGRI, "DEMO-X1") == new


def recorded_before(connection: Connection, subjects: Subjects, spelling: tuple[str, str], bench: Bench) -> Subject:
    """A person whom a former version recorded as the identifier came, under the index that it made then."""
    found = joined(connection, subjects, [spelling], bench.clock())
    as_recorded_before(connection, b"\x02" * 32, found.id, spelling)
    return found


def test_pseudonyms_and_hashes_of_two_nodes_cannot_be_compared(bench: Bench, subjects: Subjects) -> None:
    other = Subjects(b"\x01" * 32, b"\x03" * 32)
    with bench.writing() as connection:
        assert other.blind(*HETU) != subjects.blind(*HETU)
        assert other.case("c") != subjects.case("c")
        assert other.user("s", "u") != subjects.user("s", "u")
        assert other.find(connection, *HETU) is None
    with pytest.raises(SubjectError):
        Subjects(b"short", b"\x02" * 32)
    with bench.writing() as connection, pytest.raises(SubjectError):
        subjects.ensure(connection, [], bench.clock())


@pytest.mark.parametrize(
    "spelling",
    ["ada", " ada ", "ADA", "\u00a0Ada", "\uff21da"],
    ids=["small", "blanks", "capitals", "no-break", "wide"],
)
def test_a_user_is_one_person_however_the_name_is_spelt(subjects: Subjects, spelling: str) -> None:
    assert subjects.user("s", spelling) == subjects.user("s", "Ada")
    assert subjects.users("s", spelling) == subjects.users("s", "Ada")
    assert subjects.user("s", spelling) != subjects.user("s", "Adam")


def test_a_user_is_one_person_whether_characters_are_composed_or_not(subjects: Subjects) -> None:
    assert subjects.user("s", "Sin\u00e4  H\u00e4m\u00e4l\u00e4inen") == subjects.user(
        "s", "sina\u0308 ha\u0308ma\u0308la\u0308inen"
    )


def test_customer_number_and_later_identity_code_are_one_history(
    bench: Bench, subjects: Subjects, make_entry: Callable[..., Entry]
) -> None:
    """First known by customer number, then by identity code elsewhere, at last by both: nothing is split."""
    with bench.log() as log:

        def record(*known: tuple[str, str]) -> str:
            def unit(connection: object) -> Written[str]:
                subject = joined(connection, subjects, list(known), bench.clock.move(minutes=1))  # type: ignore[arg-type]
                return Written(subject.pseudonym, (make_entry(subject=subject.pseudonym),))

            return log.commit_blocking(unit).value

        first, second = record(CUSTOMER), record(HETU)
        assert first != second
        assert record(CUSTOMER, HETU) == first, "filed under the identifier that comes first"
        assert record(HETU) == second, "each entry keeps the pseudonym it was written under"
        record(OTHER)
    with bench.engine.connect() as connection:
        for known in (CUSTOMER, HETU):
            subject = subjects.find(connection, *known)
            assert subject is not None
            pseudonyms = subjects.pseudonyms(connection, subject.id)
            assert set(pseudonyms) == {first, second}
            assert [item.index for item in walk(connection, query.person(pseudonyms))] == [0, 1, 2, 3]


def test_links_of_links_lead_to_one_person_and_each_keeps_its_own_subject(bench: Bench, subjects: Subjects) -> None:
    numbers = [(MIGRI, str(number)) for number in range(4)]
    with bench.writing() as connection:
        met = [joined(connection, subjects, [number], bench.clock.move(minutes=1)) for number in numbers]
        for first, second in ((2, 3), (0, 1), (3, 1)):
            say(connection, met[first], met[second], LinkAct.CONFIRMED, bench.clock())
        assert [subjects.find(connection, *number) for number in numbers] == met
        assert set(subjects.group(connection, met[3].id)) == {subject.id for subject in met}
        assert subjects.group(connection, "nobody") == ()


def test_a_doubtful_or_undone_join_shows_and_forgets_nobody_elses_entries(bench: Bench, subjects: Subjects) -> None:
    for act in (LinkAct.JOINED, LinkAct.UNDONE, LinkAct.APART, LinkAct.PLACED):
        with bench.writing() as connection:
            now = bench.clock.move(minutes=1)
            one = joined(connection, subjects, [(MIGRI, f"{act}-1")], now)
            two = joined(connection, subjects, [(MIGRI, f"{act}-2")], now)
            say(connection, one, two, act, now)
            assert subjects.group(connection, one.id) == (one.id,)
            assert subjects.pseudonyms(connection, one.id) == (one.pseudonym,)
            subjects.destroy(connection, one.id, now)
            assert subjects.by_id(connection, two.id) == two


def test_what_others_claim_is_found_under_each_identifier_and_joins_nobody(bench: Bench, subjects: Subjects) -> None:
    with bench.writing() as connection:
        now = bench.clock()
        one, two = (joined(connection, subjects, [identifier], now) for identifier in (CUSTOMER, HETU))

        claim = subjects.claim(connection, [CUSTOMER, HETU], now)

        assert claim not in (one, two)
        for subject in (one, two):
            assert subjects.group(connection, subject.id) == (subject.id,)
            assert subjects.pseudonyms(connection, subject.id) == (subject.pseudonym, claim.pseudonym)
        subjects.destroy(connection, one.id, now)
        assert subjects.by_id(connection, claim.id) == claim, "the other may still read it"
        assert subjects.pseudonyms(connection, two.id) == (two.pseudonym, claim.pseudonym)
        subjects.destroy(connection, two.id, now)
        assert subjects.by_id(connection, claim.id) is None


def test_a_claim_about_one_person_is_that_persons(bench: Bench, subjects: Subjects) -> None:
    with bench.writing() as connection:
        one = joined(connection, subjects, [CUSTOMER, HETU], bench.clock())
        assert subjects.claim(connection, [CUSTOMER, HETU], bench.clock()) == one
        assert subjects.claim(connection, [HETU], bench.clock()) == subjects.find(connection, *HETU)


def test_members_of_one_node_have_no_person_in_common(bench: Bench, subjects: Subjects) -> None:
    here, there = subjects.of("FI/GOV/1"), subjects.of("FI/GOV/2")
    with bench.writing() as connection:
        mine = joined(connection, here, [HETU], bench.clock())
        assert there.find(connection, *HETU) is None
        theirs = joined(connection, there, [HETU], bench.clock())
        assert here.find(connection, *HETU) == mine != theirs
        both = Subjects(b"\x01" * 32, b"\x02" * 32, members=("FI/GOV/1", "FI/GOV/2"))
        assert both.find(connection, *HETU) == mine


def test_an_identifier_in_a_former_notation_is_found_and_written_anew(bench: Bench, subjects: Subjects) -> None:
    mine = subjects.of("FI/GOV/1")
    with bench.writing() as connection:
        known = joined(connection, mine, [HETU], bench.clock())
        former = mine.blinds(*HETU)[1]
        connection.execute(update(identifiers).values(blind=former, notation=1, member=None, system=None))
        assert mine.find(connection, *HETU) == known
        assert subjects.of("FI/GOV/2").find(connection, *HETU) == known, "a former version kept no members apart"
        mine.ensure(connection, [HETU], bench.clock())
        assert sorted(connection.scalars(select(identifiers.c.notation))) == [1, NOTATION]
        assert mine.find(connection, *HETU) == known


def test_after_shredding_no_query_finds_the_person_and_all_proofs_still_hold(
    bench: Bench, subjects: Subjects, make_entry: Callable[..., Entry]
) -> None:
    with bench.log() as log:

        def meet(connection: object) -> Written[str]:
            subject = joined(connection, subjects, [HETU, CUSTOMER], bench.clock())  # type: ignore[arg-type]
            return Written(subject.id, [make_entry(subject=subject.pseudonym) for _ in range(3)])

        identifier = log.commit_blocking(meet).value
        log.append_blocking([make_entry() for _ in range(300)])
    with bench.engine.connect() as connection:
        pseudonyms = subjects.pseudonyms(connection, identifier)
        assert [item.index for item in walk(connection, query.person(pseudonyms))] == [0, 1, 2]
        before = proofs.export_proofs(connection, dict.fromkeys([0, 1, 2]), log_key=bench.signer.verifier)
        stored = [bytes(row) for row in connection.scalars(select(identifiers.c.blind))]
        stored += [bytes(row) for row in connection.scalars(select(table.c.wrapped_key))]

    with bench.writing() as connection:
        assert subjects.destroy(connection, identifier, bench.clock())[0] == identifier
    with bench.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        scrub(connection)

    with bench.engine.connect() as connection:
        for known in (HETU, CUSTOMER):
            assert subjects.find(connection, *known) is None
        assert subjects.by_id(connection, identifier) is None
        assert subjects.pseudonyms(connection, identifier) == ()
        assert list(walk(connection, query.person(subjects.pseudonyms(connection, identifier)))) == []
        assert connection.scalars(select(identifiers.c.blind)).all() == []
        after = proofs.export_proofs(connection, dict.fromkeys([0, 1, 2]), log_key=bench.signer.verifier)
        assert len(list(walk(connection, Filters()))) == 303, "the entries themselves stay"
        assert connection.scalar(select(entries.c.subject).where(entries.c.idx == 0)) == pseudonyms[0]
    for whole in (before, after):
        assert verify_export(whole, log_key=bench.signer.verifier).sound
    assert check(bench.engine, log_key=bench.signer.verifier).sound
    if bench.engine.dialect.name == "sqlite":
        from pathlib import Path

        file = Path(str(bench.engine.url.database))
        for path in file.parent.glob(f"{file.name}*"):
            assert not [secret for secret in stored if secret in path.read_bytes()], path.name

    with bench.writing() as connection:
        fresh = joined(connection, subjects, [HETU], bench.clock())
        assert fresh.pseudonym not in pseudonyms, "whoever comes again begins anew"


def test_shredding_reaches_all_that_stand_for_the_person_and_is_told_for_nobody(
    bench: Bench, subjects: Subjects
) -> None:
    with bench.writing() as connection:
        one = joined(connection, subjects, [CUSTOMER], bench.clock())
        two = joined(connection, subjects, [HETU], bench.clock.move(minutes=1))
        say(connection, one, two, LinkAct.CONFIRMED, bench.clock())
        assert set(subjects.destroy(connection, two.id, bench.clock())) == {one.id, two.id}
        assert connection.execute(select(table).where(table.c.wrapped_key.is_not(None))).all() == []
        with pytest.raises(SubjectError):
            subjects.destroy(connection, "nobody", bench.clock())


def test_keys_of_few_persons_are_kept_open_where_few_are_to_be() -> None:
    keys = SubjectKeys((b"w" * 32,), (b"i" * 32,), cached=2)
    own = [bytes([number]) * 32 for number in range(5)]
    wrapped = [keys.wrap(key) for key in own]

    assert [keys.unwrap(key) for key in [*wrapped, *wrapped]] == [*own, *own]
    assert list(keys._unwrapped) == wrapped[-2:]


def test_another_nodes_wrapping_key_opens_nothing(bench: Bench, subjects: Subjects) -> None:
    from cryptography.hazmat.primitives.keywrap import InvalidUnwrap

    with bench.writing() as connection:
        joined(connection, subjects, [HETU], bench.clock())
        with pytest.raises(InvalidUnwrap):
            Subjects(b"\x09" * 32, b"\x02" * 32).find(connection, *HETU)


@given(st.binary(min_size=32, max_size=200), st.binary(max_size=300))
def test_the_keyed_hash_is_hmac_sha_256(key: bytes, message: bytes) -> None:
    keyed = KeyedHash(key)

    assert keyed.of(message) == hmac.digest(key, message, "sha256")
    assert keyed.of(message) == hmac.digest(key, message, "sha256"), "one use must not change the next"
