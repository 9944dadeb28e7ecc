"""What waits for a registrar is one record of one register: only that record puts an end to it, and it says why."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
from sqlalchemy import update

from adapters.sdk import Change, ChangeKind
from audit.log.entries import Entry, micros, new_id
from audit.questions import links
from audit.questions.links import MOST_LINKED, LinkAct, LinkRow
from gateway.handover.changes import Changes, Teller
from gateway.handover.plan import Handovers
from gateway.person.held import HeldRecord
from gateway.person.values import Register
from gateway.storage.engine import writer
from gateway.storage.tables import held_records
from gateway.wire.problems import ProblemError
from schemas.identifiers import HETU, LOCAL, MIGRI_CUSTOMER
from tests.gateway.exchange.inprocess import Bundle, InProcess, Place, hidden_reason, node, problem_of
from tests.gateway.exchange.test_persons import CODE, OTHER_CODE, order_of, say, with_code
from tests.gateway.identity.test_identity import desk, proposed

FIRST, SECOND, THIRD_CODE = "7000001", "7000002", "030390-902N"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place.build(tmp_path_factory.mktemp("waiting"))


@pytest.fixture
async def here(place: Place, database_url: str) -> AsyncIterator[InProcess]:
    async with node(place, database_url) as running:
        yield running


def says(here: InProcess, person: str, code: str | None, **more: object) -> None:
    """From now on the register's record of this number has this identity code, as its first identifier."""

    def change(bundle: Bundle) -> None:
        if code is not None:
            with_code(code)(bundle)  # type: ignore[operator]
        resource = bundle["entry"][0]["resource"]
        resource["identifier"].reverse()
        resource.update(more)

    here.register.changed[person] = change


async def hand_over(here: InProcess, person: str, **changes: object) -> str | None:
    """Order a handover; gives why it was refused."""
    try:
        await Handovers(here.exchange).plan(order_of(here, person, **changes))
    except ProblemError as problem:
        return problem.code
    return None


async def ask(here: InProcess, person: str) -> str | None:
    """A question about the person; gives why nothing was given."""
    answer = await here.ask(person)
    return None if problem_of(answer) is None else hidden_reason(here, answer)


def waiting(here: InProcess) -> tuple[HeldRecord, ...]:
    with here.exchange.engine.connect() as connection:
        return here.exchange.held.waiting(connection)


def told(here: InProcess) -> list[tuple[object, object]]:
    """What the log says of held records, in its order."""
    return [(entry.detail["act"], entry.detail["held"]) for entry in here.entries() if "held" in entry.detail]


async def mixed(here: InProcess, way: Callable[[InProcess, str], object]) -> str:
    """Two people are known; then the first one's record names the second's identity code. Gives the id that waits."""
    for person, code in ((FIRST, CODE), (SECOND, OTHER_CODE)):
        says(here, person, code)
        assert await way(here, person) is None  # type: ignore[misc]
    says(here, FIRST, OTHER_CODE)
    assert await way(here, FIRST) == "subject-ambiguous"  # type: ignore[misc]
    (record,) = waiting(here)
    return record.id


@pytest.mark.parametrize("way", [hand_over, ask], ids=["handover", "query"])
async def test_another_persons_record_never_ends_one_that_waits(
    here: InProcess, way: Callable[[InProcess, str], object]
) -> None:
    held = await mixed(here, way)

    for name in ("Uusi", "Uudempi"):
        says(here, SECOND, OTHER_CODE, name=[{"family": name}])
        assert await way(here, SECOND) is None  # type: ignore[misc]

    assert [record.id for record in waiting(here)] == [held]
    assert told(here) == [("held", held)]
    with here.exchange.engine.connect() as connection:
        assert here.exchange.held.content(connection, held) is not None, "nothing of it is lost"


@pytest.mark.parametrize("way", [hand_over, ask], ids=["handover", "query"])
@pytest.mark.parametrize("mended", ["as it was before", "with another change", "without a code"])
async def test_a_record_that_waits_is_ended_by_the_record_of_the_same_key(
    here: InProcess, mended: str, way: Callable[[InProcess, str], object]
) -> None:
    held = await mixed(here, way)

    says(here, FIRST, None if mended == "without a code" else CODE)
    if mended == "with another change":
        says(here, FIRST, CODE, name=[{"family": "Uusi"}])
    assert await way(here, FIRST) is None  # type: ignore[misc]

    assert waiting(here) == ()
    assert told(here) == [("held", held), ("corrected", held)]


async def test_a_record_that_waits_is_ended_where_nothing_of_the_mended_one_is_given(here: InProcess) -> None:
    held = await mixed(here, ask)
    await say(here, "refused", MIGRI_CUSTOMER, FIRST)
    says(here, FIRST, CODE)

    answer = await here.ask(FIRST, categories=frozenset({"health-needs"}))

    assert problem_of(answer) == "not-available"
    assert [entry.reason for entry in here.entries() if entry.outcome == "refused"][-1] == "not-permitted"
    assert waiting(here) == ()
    assert told(here) == [("held", held), ("corrected", held)]


async def test_another_register_with_the_same_key_does_not_end_it(here: InProcess) -> None:
    held = await mixed(here, hand_over)
    says(here, FIRST, CODE, name=[{"family": "Uusi"}])

    assert await hand_over(here, FIRST, register=Register("another", is_authoritative=True)) is None

    assert [record.id for record in waiting(here)] == [held]


async def test_a_record_without_a_key_is_ended_by_one_that_names_the_same_and_by_no_other(here: InProcess) -> None:
    says(here, FIRST, CODE, birthDate="1991-01-01")
    assert await hand_over(here, FIRST, record_key=None) == "subject-ambiguous"
    (record,) = waiting(here)

    for named in ({"system": HETU, "value": CODE}, {"system": MIGRI_CUSTOMER, "value": FIRST}):
        says(here, FIRST, CODE, identifier=[named])
        assert await hand_over(here, FIRST, record_key=None) is None
    assert [other.id for other in waiting(here)] == [record.id]
    says(here, FIRST, CODE)
    assert await hand_over(here, FIRST, record_key=None) is None

    assert waiting(here) == ()


async def test_a_record_that_waits_in_two_flows_waits_in_each_and_its_correction_ends_both(here: InProcess) -> None:
    held = await mixed(here, hand_over)

    for _ in range(2):
        assert await hand_over(here, FIRST, flow="F3") == "subject-ambiguous"
    assert len(waiting(here)) == 2
    assert held in {record.id for record in waiting(here)}
    says(here, FIRST, CODE)
    assert await hand_over(here, FIRST) is None

    assert waiting(here) == ()


async def test_the_index_key_may_change_while_a_record_waits(here: InProcess) -> None:
    held = await mixed(here, hand_over)
    here.exchange.subjects.keys.use((b"\x01" * 32,), (b"\x0c" * 32, b"\x02" * 32))

    says(here, FIRST, OTHER_CODE, name=[{"family": "Uusi"}])
    assert await hand_over(here, FIRST) == "subject-ambiguous"
    assert [record.id for record in waiting(here)] == [held]
    says(here, FIRST, CODE)
    assert await hand_over(here, FIRST) is None

    assert waiting(here) == ()


async def test_a_record_that_its_register_takes_back_does_not_wait_on(here: InProcess) -> None:
    held = await mixed(here, hand_over)
    register = Register("register", is_authoritative=True)
    teller = Teller("c", here.party.subsystem, register, "0" * 32)

    other = Change(ChangeKind.WITHDRAWN, ((HETU, OTHER_CODE),), SECOND)
    await Changes(here.exchange).take(other, teller)
    assert [record.id for record in waiting(here)] == [held]
    await Changes(here.exchange).take(Change(ChangeKind.WITHDRAWN, ((MIGRI_CUSTOMER, FIRST),), FIRST), teller)

    assert waiting(here) == ()
    assert told(here)[-1] == ("corrected", held)


@pytest.mark.parametrize(
    ("births", "reasons"),
    [
        (("1955-05-05", "1990-02-02"), ("birth", "two-values")),
        (("1990-02-02", "1955-05-05"), ("two-values", "birth")),
    ],
    ids=["birth-first", "two-values-first"],
)
async def test_the_reason_is_that_of_the_record_that_waits(
    here: InProcess, births: tuple[str, str], reasons: tuple[str, str]
) -> None:
    for person, code in ((FIRST, CODE), (SECOND, OTHER_CODE)):
        says(here, person, code)
        assert await hand_over(here, person) is None
    seen = []
    for birth in (*births, births[1]):
        says(here, FIRST, OTHER_CODE, birthDate=birth)
        assert await hand_over(here, FIRST) == "subject-ambiguous"
        (record,) = waiting(here)
        seen.append((record.id, record.reason))

    assert [reason for _, reason in seen] == [*reasons, reasons[1]]
    assert seen[1] == seen[2], "the same again is put aside once"
    (first, _), (second, _), _ = seen
    assert told(here) == [("held", first), ("corrected", first), ("held", second)]


async def test_what_was_said_of_a_record_is_not_said_of_one_that_names_somebody_else(here: InProcess) -> None:
    held = await mixed(here, hand_over)
    identity, registrar, other = desk(here)
    await identity.take(registrar, held)
    proposal = proposed(await identity.same(registrar, held))
    with writer(here.exchange.engine).begin() as connection:
        connection.execute(update(held_records).values(created=held_records.c.created - 86_400_000_000))
    (since,) = {record.created for record in waiting(here) if record.id == held}
    says(here, "7000003", THIRD_CODE)
    assert await hand_over(here, "7000003") is None

    says(here, FIRST, THIRD_CODE)
    assert await hand_over(here, FIRST) == "subject-ambiguous"

    (record,) = waiting(here)
    assert record.id not in {held, proposal}
    assert record.created == since, "a register that names somebody else each day is overdue all the same"
    assert record.owner == registrar.name
    for act in (identity.approve(other, proposal), identity.same(other, held), identity.apart(other, held)):
        with pytest.raises(ProblemError) as late:
            await act
        assert late.value.code == "not-found"


@pytest.mark.parametrize("way", [hand_over, ask], ids=["handover", "query"])
async def test_whoever_decides_sees_whom_a_record_names_and_that_is_on_record(
    here: InProcess, way: Callable[[InProcess, str], object]
) -> None:
    held = await mixed(here, way)
    identity, registrar, _ = desk(here)

    opened = await identity.open(registrar, held)

    assert {(item.system, item.value) for item in opened.identifiers} == {(HETU, OTHER_CODE), (MIGRI_CUSTOMER, FIRST)}
    assert (opened.record_key, opened.known_apart) == (FIRST, "two-values")
    entry: Entry = here.entries()[-1]
    assert (entry.detail["act"], entry.detail["held"], entry.agents.user) == ("opened", held, registrar.user)
    assert entry.subject is not None


async def test_an_organisation_opens_what_is_its_own(here: InProcess) -> None:
    held = await mixed(here, hand_over)
    identity, registrar, _ = desk(here)
    neighbour = replace(registrar, subsystem=here.place.network.parties["kotka"].subsystem)

    with pytest.raises(ProblemError) as refused:
        await identity.open(neighbour, held)

    assert refused.value.code == "not-found"
    assert told(here) == [("held", held)]


async def test_a_record_with_more_identifiers_than_one_person_has_waits(here: InProcess) -> None:
    now = here.exchange.clock()
    with writer(here.exchange.engine).begin() as connection:
        subjects = here.exchange.subjects.of(str(here.party.member))
        pairs = ((MIGRI_CUSTOMER, FIRST), *((LOCAL, f"K-{number}") for number in range(MOST_LINKED)))
        first, *others = (known.subjects[0].id for known in subjects.ensure(connection, pairs, now))
        for other in others:
            links.add(connection, LinkRow(new_id(now), first, other, LinkAct.ATTACHED, micros(now), "register"))

    says(here, FIRST, CODE)

    for _ in range(2):
        assert await hand_over(here, FIRST) == "subject-ambiguous"
        (record,) = waiting(here)
        assert record.reason == "too-many"
