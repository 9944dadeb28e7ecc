"""The registry: who is who, whose key, who receives for whom; and what contradicts itself is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given
from hypothesis import strategies as st

from audit.tree.checkpoint import LogSigner
from gateway.keys import certificates
from gateway.keys.errors import TrustError
from gateway.registry.read import targets, writing
from gateway.registry.read.entries import (
    ALWAYS,
    ROLES,
    SERVICE_KINDS,
    Contact,
    Content,
    County,
    Endpoint,
    Member,
    Municipality,
    Node,
    Period,
    Recipients,
    RoleTerm,
    ServiceDescriptor,
    Subsystem,
    Territory,
    Witness,
)
from gateway.registry.read.registry import Registry
from gateway.wire.identifiers import MemberId, ServiceId, SubsystemId
from gateway.wire.signing import thumbprint
from tests.gateway.registry.conftest import (
    INBOX,
    KOTKA,
    KYMENLAAKSO,
    NEED,
    NOW,
    RECEPTION,
    Authority,
    Network,
    build,
    named,
    refused,
    vouched,
)
from tests.properties import examples
from texts import Text

NETWORK = build()
LATER = NOW + timedelta(days=2)
STRANGER = SubsystemId.parse("FI-DEMO/GOV/9999999-2/muu")


def registry(content: Content = NETWORK.content, version: int = 1) -> Registry:
    return Registry(content, version=version, expires=LATER)


REGISTRY = registry()


# --- Questions and answers --------------------------------------------------------------------------------------------


def test_members_subsystems_and_services_are_found_by_their_names() -> None:
    assert [member.id for member in REGISTRY.members()] == [RECEPTION.member, KOTKA.member, KYMENLAAKSO.member]
    for subsystem in (RECEPTION, KOTKA, KYMENLAAKSO):
        member, found = REGISTRY.member(subsystem.member), REGISTRY.subsystem(subsystem)
        assert member is not None
        assert found is not None
        assert (member.id, found.id) == (subsystem.member, subsystem)
    service = REGISTRY.service(NEED)
    assert service is not None
    assert service.purposes == {"service-need-lookup"}
    assert [one.id for one in REGISTRY.services_of(KOTKA)] == [INBOX, ServiceId(KOTKA, "vanha")]
    assert [one.id for one in REGISTRY.services_of(KOTKA, "inbox")] == [INBOX]
    assert REGISTRY.instance == "FI-DEMO"
    assert REGISTRY.rulebook == b"rules: []\n"
    assert REGISTRY.anchors == (NETWORK.authority.certificate,)
    assert [witness.name for witness in REGISTRY.witnesses] == ["todistaja.example"]


def test_whoever_is_not_listed_is_nobody() -> None:
    assert REGISTRY.member(STRANGER.member) is None
    assert REGISTRY.subsystem(STRANGER) is None
    assert REGISTRY.service(ServiceId(STRANGER, "x")) is None
    assert REGISTRY.service(ServiceId(KOTKA, "x")) is None
    assert REGISTRY.services_of(STRANGER) == ()
    assert REGISTRY.node("kotka-9") is None
    assert REGISTRY.nodes_of(STRANGER.member) == ()
    assert REGISTRY.node_by_pin("A" * 43) is None
    assert REGISTRY.signing_key("A" * 43) is None
    assert REGISTRY.roles_of(STRANGER, NOW) == REGISTRY.roles_of(STRANGER.member, NOW) == frozenset()
    assert REGISTRY.recipients("999", NOW) == Recipients(None, None)
    assert REGISTRY.territory_of(STRANGER) == Territory()
    assert REGISTRY.municipality("999") is REGISTRY.county("99") is None
    assert REGISTRY.county_of("999") is None


def test_a_node_speaks_for_its_owner_and_for_those_it_serves() -> None:
    [node] = REGISTRY.nodes_of(KYMENLAAKSO.member)
    assert REGISTRY.nodes_of(KOTKA.member) == (node,)
    assert REGISTRY.node("kotka-1") is node
    assert [one.id for one in REGISTRY.nodes_of(RECEPTION.member)] == ["vastaanotto-1"]
    [pin] = node.pins
    assert REGISTRY.node_by_pin(pin) is node


def test_a_node_may_have_two_pins_while_its_certificate_changes() -> None:
    first, second = NETWORK.content.nodes
    content = replace(NETWORK.content, nodes=(replace(first, pins=first.pins | {"B" * 43}), second))
    for pin in (*first.pins, "B" * 43):
        node = registry(content).node_by_pin(pin)
        assert node is not None
        assert node.id == first.id


def test_a_signing_key_counts_while_both_registry_and_certificate_say_so() -> None:
    for member, algorithm in zip(REGISTRY.members(), ("ES256", "EdDSA", "ES256"), strict=True):
        [listed] = member.signing
        key = REGISTRY.signing_key(thumbprint(listed.certificate))
        assert key is not None
        assert (key.member, key.algorithm) == (member.id, algorithm)
        assert key.public_key == certificates.load(listed.certificate).public_key()
        assert (key.not_before, key.not_after) == (listed.not_before, listed.not_after)
        assert REGISTRY.signing_key(thumbprint(listed.certificate)) is key
    [listed] = NETWORK.content.members[0].signing
    wide = replace(listed, not_before=NOW - timedelta(days=999), not_after=NOW + timedelta(days=999))
    key = registry(NETWORK.with_member(0, signing=(wide,))).signing_key(thumbprint(listed.certificate))
    assert key is not None
    assert (key.not_before, key.not_after) == (NOW - timedelta(days=1), NOW + timedelta(days=365))


@pytest.mark.parametrize("fault", ["another authority", "another algorithm", "a TLS certificate", "no certificate"])
def test_a_certificate_unfit_for_signing_gives_no_key_and_harms_nobody_else(fault: str) -> None:
    member, key = RECEPTION.member, certificates.new_private_key("ES256")
    listed = {
        "another authority": vouched(member, Authority.make().signing(member, key)),
        "another algorithm": vouched(member, NETWORK.authority.signing(member, key), "EdDSA"),
        "a TLS certificate": vouched(member, NETWORK.authority.tls(member, "x-1", key)),
        "no certificate": vouched(member, b"nothing"),
    }[fault]
    found = registry(NETWORK.with_member(0, signing=(listed,)))
    assert found.signing_key(thumbprint(listed.certificate)) is None
    assert found.signing_key(thumbprint(NETWORK.content.members[1].signing[0].certificate)) is not None


def test_a_revoked_certificate_is_unknown_in_the_next_registry() -> None:
    name = thumbprint(NETWORK.content.members[0].signing[0].certificate)
    assert REGISTRY.signing_key(name) is not None
    assert registry(NETWORK.with_member(0, signing=())).signing_key(name) is None


def test_a_subsystem_has_its_own_roles_or_else_its_members() -> None:
    own = Subsystem(SubsystemId(KOTKA.member, "tyollisyys"), named("Työ"), (RoleTerm("employment-authority"),))
    content = NETWORK.with_member(1, subsystems=(*NETWORK.content.members[1].subsystems, own))
    found = registry(content)
    assert found.roles_of(KOTKA, NOW) == found.roles_of(KOTKA.member, NOW) == {"municipality"}
    assert found.roles_of(own.id, NOW) == {"employment-authority"}
    assert found.roles_of(SubsystemId(KOTKA.member, "kadonnut"), NOW) == frozenset()


@pytest.mark.parametrize(
    ("at", "held"),
    [
        (datetime(2025, 12, 31, 21, 59, 59, tzinfo=UTC), False),
        (datetime(2025, 12, 31, 22, 0, 0, tzinfo=UTC), True),
        (datetime(2026, 6, 30, 20, 59, 59, tzinfo=UTC), True),
        (datetime(2026, 6, 30, 21, 0, 0, tzinfo=UTC), False),
    ],
)
def test_a_role_begins_and_ends_at_finnish_midnight(at: datetime, held: bool) -> None:
    term = RoleTerm("municipality", Period(date(2026, 1, 1), date(2026, 6, 30)))
    found = registry(NETWORK.with_member(1, roles=(term,)))
    assert found.roles_of(KOTKA, at) == (frozenset({"municipality"}) if held else frozenset())


def test_recipients_are_those_of_the_municipality_and_of_its_county() -> None:
    assert REGISTRY.recipients("285", NOW) == Recipients(KOTKA, KYMENLAAKSO)
    assert REGISTRY.recipients("091", NOW) == Recipients(None, None)
    assert REGISTRY.county_of("285") == "08"
    assert REGISTRY.county_of("091") is None
    for party in (KOTKA, KOTKA.member):
        assert REGISTRY.territory_of(party) == Territory(frozenset({"285"}), frozenset())
    assert REGISTRY.territory_of(KYMENLAAKSO, NOW) == Territory(frozenset(), frozenset({"08"}))


def test_a_municipality_that_changes_county_is_found_on_either_side_of_the_day() -> None:
    change = date(2026, 7, 1)
    content = replace(
        NETWORK.content,
        municipalities=(
            Municipality("285", named("Kotka"), "08", KOTKA, Period(None, change - timedelta(days=1))),
            Municipality("285", named("Uusi Kotka"), "09", KOTKA, Period(change)),
        ),
        counties=(*NETWORK.content.counties, County("09", named("Uusi"), RECEPTION, Period(change))),
    )
    found = registry(content)
    before, after = datetime(2026, 6, 30, 12, tzinfo=UTC), datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert found.recipients("285", before) == Recipients(KOTKA, KYMENLAAKSO)
    assert found.recipients("285", after) == Recipients(KOTKA, RECEPTION)
    assert (found.county_of("285", before), found.county_of("285", after), found.county_of("285")) == ("08", "09", "09")
    assert found.territory_of(RECEPTION, before) == Territory()
    assert found.territory_of(RECEPTION, after) == found.territory_of(RECEPTION) == Territory(frozenset(), {"09"})  # type: ignore[arg-type]
    municipality = found.municipality("285", after)
    assert municipality is not None
    assert municipality.name.fi == "Uusi Kotka"
    assert found.county("09", before) is None


def test_a_registry_ends_at_its_instant() -> None:
    assert not REGISTRY.expired(LATER - timedelta(microseconds=1))
    assert REGISTRY.expired(LATER)


def test_a_renewed_registry_says_the_same_for_longer_and_leaves_the_old_as_it_was() -> None:
    fresh = REGISTRY.renewed(version=2, expires=LATER + timedelta(days=1))
    assert (fresh.version, REGISTRY.version) == (2, 1)
    assert (fresh.expired(LATER), REGISTRY.expired(LATER)) == (False, True)
    assert fresh.member(KOTKA.member) is REGISTRY.member(KOTKA.member)


# --- Contradictions ---------------------------------------------------------------------------------------------------


def _twice_a_member(network: Network) -> Content:
    return replace(network.content, members=(*network.content.members, network.content.members[0]))


def _twice_a_node(network: Network) -> Content:
    return replace(network.content, nodes=(*network.content.nodes, network.content.nodes[0]))


def _owned_by_nobody(network: Network) -> Content:
    return replace(network.content, nodes=(replace(network.content.nodes[0], owner=STRANGER.member),))


def _offered_by_nobody(network: Network) -> Content:
    return replace(network.content, services=(ServiceDescriptor(ServiceId(STRANGER, "x"), "query", named("x")),))


def _twice_a_service(network: Network) -> Content:
    one = ServiceDescriptor(NEED, "rest", named("x"))
    return replace(network.content, services=(*network.content.services, one))


def _one_pin_for_two(network: Network) -> Content:
    first, second = network.content.nodes
    return replace(network.content, nodes=(first, replace(second, pins=first.pins)))


def _one_certificate_for_two(network: Network) -> Content:
    [listed] = network.content.members[0].signing
    return network.with_member(1, signing=(replace(listed, member=KOTKA.member),))


def _one_certificate_for_both_uses(network: Network) -> Content:
    first, second = network.content.nodes
    pin = thumbprint(network.content.members[1].signing[0].certificate)
    return replace(network.content, nodes=(first, replace(second, pins=frozenset({pin}))))


@pytest.mark.parametrize(
    ("contradict", "code"),
    [
        (_twice_a_member, "registry-malformed"),
        (_twice_a_node, "registry-malformed"),
        (_owned_by_nobody, "registry-malformed"),
        (_offered_by_nobody, "registry-malformed"),
        (_twice_a_service, "registry-malformed"),
        (_one_pin_for_two, "certificate-claimed-twice"),
        (_one_certificate_for_two, "certificate-claimed-twice"),
        (_one_certificate_for_both_uses, "certificate-claimed-twice"),
    ],
)
def test_content_that_contradicts_itself_is_refused(contradict: Callable[[Network], Content], code: str) -> None:
    content = contradict(NETWORK)
    refused(code, lambda: registry(content))
    files = writing.write(content)

    def use() -> None:
        read = targets.read(files)
        registry(read)
        # The services of one subsystem are read when they are first asked for.
        assert list(read.services)

    refused(code, use)


# --- Files ------------------------------------------------------------------------------------------------------------


def test_what_is_written_reads_back_the_same_and_writes_the_same_bytes() -> None:
    files = writing.write(NETWORK.content)
    assert set(files) == set(targets.FILES)
    read = targets.read(files)
    assert read == NETWORK.content
    assert writing.write(read) == files


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
texts = st.builds(Text, names, names, names)
parts = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u200b\ufeff/\\%;"), min_size=1, max_size=8
).filter(lambda part: part not in {".", ".."})
days = st.dates(date(1000, 1, 1))
periods = st.builds(Period, st.none() | days, st.none() | days)
terms = st.lists(st.builds(RoleTerm, st.sampled_from(sorted(ROLES)), periods), max_size=2).map(tuple)
moments = st.datetimes(datetime(1970, 1, 2), datetime(9000, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001
    lambda moment: moment.replace(microsecond=0)
)
code_sets = st.frozensets(st.from_regex(r"[a-z]{1,6}(/[a-z]{1,6})?", fullmatch=True), max_size=3)


@st.composite
def members(draw: st.DrawFn) -> Member:
    member = MemberId("FI-DEMO", draw(parts), draw(parts))
    subsystems = draw(st.lists(parts, max_size=2, unique=True))
    return Member(
        member,
        draw(texts),
        draw(terms),
        tuple(Subsystem(SubsystemId(member, one), draw(texts), draw(terms)) for one in subsystems),
        tuple(
            replace(vouched(member, one), not_before=draw(moments), not_after=draw(moments))
            for one in draw(st.lists(st.binary(min_size=1, max_size=9), max_size=2))
        ),
        draw(st.lists(st.builds(Contact, texts, names, st.none() | names, st.none() | names), max_size=1).map(tuple)),
    )


@st.composite
def contents(draw: st.DrawFn) -> Content:
    listed = tuple(draw(st.lists(members(), max_size=3)))
    homes = [one.id for member in listed for one in member.subsystems]
    services = tuple(
        ServiceDescriptor(
            ServiceId(home, code),
            draw(st.sampled_from(SERVICE_KINDS)),
            draw(texts),
            draw(code_sets),
            draw(code_sets),
            draw(st.none() | names),
            tuple(draw(st.lists(names, max_size=2))),
            tuple(draw(st.lists(st.builds(Endpoint, names, names), max_size=2))),
            draw(st.none() | names),
            draw(st.booleans()),
            draw(st.booleans()),
        )
        for home in dict.fromkeys(homes)
        for code in draw(st.lists(parts, max_size=2, unique=True))
    )
    receiving = st.none() | st.sampled_from(homes) if homes else st.none()
    pins = st.frozensets(st.from_regex(r"[A-Za-z0-9_-]{43}", fullmatch=True), max_size=2)
    owners = st.sampled_from([one.id for one in listed]) if listed else st.nothing()
    nodes = st.builds(
        Node,
        st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True),
        owners,
        st.just("https://kotka.example:5500"),
        pins,
        st.frozensets(owners, max_size=2),
        names,
        names,
        st.lists(names, max_size=2).map(tuple),
    )
    return Content(
        "FI-DEMO",
        draw(texts),
        tuple(draw(st.lists(st.binary(min_size=1, max_size=9), max_size=2))),
        listed,
        tuple(draw(st.lists(nodes, max_size=2))) if listed else (),
        services,
        tuple(
            draw(
                st.lists(
                    st.builds(
                        Municipality,
                        st.from_regex(r"[0-9]{3}", fullmatch=True),
                        texts,
                        st.none() | names,
                        receiving,
                        periods,
                    ),
                    max_size=2,
                )
            )
        ),
        tuple(draw(st.lists(st.builds(County, names, texts, receiving, periods), max_size=2))),
        tuple(draw(st.lists(st.builds(Witness, names, names), max_size=1))),
        draw(st.binary(max_size=20)),
    )


@given(contents())
@examples(80)
def test_any_content_survives_its_files(content: Content) -> None:
    read = targets.read(writing.write(content))
    assert read == content
    assert writing.write(read) == writing.write(content)


@given(periods, days)
def test_a_period_covers_its_ends_and_what_is_between(period: Period, day: date) -> None:
    inside = (period.begins or date.min) <= day <= (period.ends or date.max)
    assert period.covers(day) == inside
    assert period.covers(None)
    assert ALWAYS.covers(day)


FILES = writing.write(NETWORK.content)
JSON_FILES = sorted(name for name in FILES if name.endswith(".json"))


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, one in inner for found in _places(one, (*path, key)))]


PLACES = [(name, place) for name in JSON_FILES for place in _places(json.loads(FILES[name]))]
VALUES = st.sampled_from(
    [None, True, 0, 1, -1, 1.5, "", "x", "\u0000", [], [[]], ["x"], {}, {"fi": 1}, "0001-01-01T00:00:00+14:00",
     "9999-12-31T23:59:59-14:00", "2026-13-01", "A" * 43, "https://", "FI-DEMO/GOV/1", "FI-DEMO/GOV/1/x", "285", 10**30]
)  # fmt: skip


def _spoiled(name: str, place: tuple[Any, ...], value: Any) -> dict[str, bytes]:
    document = json.loads(FILES[name])
    if not place:
        return FILES | {name: json.dumps(value).encode()}
    holder = document
    for step in place[:-1]:
        holder = holder[step]
    if value is ...:
        del holder[place[-1]]
    else:
        holder[place[-1]] = value
    return FILES | {name: json.dumps(document).encode()}


@given(st.sampled_from(PLACES), VALUES)
@example(("members.json", ("nodes", 1, "log", "origin")), None)
@examples(400)
def test_files_with_anything_anywhere_are_read_or_refused_and_nothing_else(
    place: tuple[str, tuple[Any, ...]], value: object
) -> None:
    try:
        content = targets.read(_spoiled(*place, value))
        found = registry(content)
        for service in content.services:
            assert found.service(service.id) == service
        for member in found.members():
            for listed in member.signing:
                found.signing_key(thumbprint(listed.certificate))
        found.recipients("285", NOW)
        found.roles_of(KOTKA, NOW)
        # What was read can be published again.
        assert targets.read(writing.write(content)) == content
    except TrustError as error:
        assert error.code.startswith(("registry-", "certificate-"))  # noqa: PT017


@pytest.mark.parametrize("part", ["origin", "key"])
@pytest.mark.parametrize("value", [None, ..., "", 7])
def test_half_of_a_nodes_log_is_refused(part: str, value: object) -> None:
    problem = refused(
        "registry-malformed", lambda: targets.read(_spoiled("members.json", ("nodes", 1, "log", part), value))
    )
    assert "/nodes/1" in problem.detail


def test_a_node_without_a_log_is_read_and_written_as_it_is() -> None:
    for value in (None, ...):
        content = targets.read(_spoiled("members.json", ("nodes", 1, "log"), value))
        assert (content.nodes[1].log_origin, content.nodes[1].log_key) == (None, None)
        assert targets.read(writing.write(content)) == content


@pytest.mark.parametrize("name", targets.FILES)
def test_a_file_that_is_missing_is_named(name: str) -> None:
    problem = refused("registry-malformed", lambda: targets.read({one: FILES[one] for one in FILES if one != name}))
    assert name in problem.detail


@pytest.mark.parametrize("name", JSON_FILES)
@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"format":2}', b'{"format":"1"}', b"\xff"])
def test_a_file_of_another_format_is_refused(name: str, data: bytes) -> None:
    assert name in refused("registry-malformed", lambda: targets.read(FILES | {name: data})).detail


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("network.json", ("anchors", 0), "*"),
        ("network.json", ("instance",), ...),
        ("members.json", ("members", 1, "id"), "FI-DEMO/MUN"),
        ("members.json", ("members", 1, "name", "sv"), ...),
        ("members.json", ("members", 1, "roles", 0, "role"), "king"),
        ("members.json", ("members", 1, "signing", 0, "algorithm"), "HS256"),
        ("members.json", ("members", 1, "signing", 0, "from"), "2026-01-01T00:00:00"),
        ("members.json", ("nodes", 1, "address"), "http://kotka.example"),
        ("members.json", ("nodes", 1, "pins", 0), "A" * 42),
        ("members.json", ("nodes", 1, "id"), "Kotka-1"),
        ("services.json", ("subsystems", 1, "subsystem"), ...),
        ("services.json", ("subsystems", 1, "services"), {}),
        ("territories.json", ("municipalities", 0, "code"), "28"),
        ("territories.json", ("counties", 0, "subsystem"), "Kymenlaakso"),
        ("witnesses.json", ("witnesses", 0, "key"), ""),
    ],
)
def test_what_cannot_be_read_is_told_with_its_file_and_place(name: str, place: tuple[Any, ...], value: object) -> None:
    detail = refused("registry-malformed", lambda: targets.read(_spoiled(name, place, value))).detail
    assert detail.startswith(name)
    if name != "network.json":
        assert f"/{place[0]}/{place[1]}" in detail


def test_a_member_of_another_instance_is_refused() -> None:
    refused(
        "registry-foreign", lambda: targets.read(_spoiled("members.json", ("members", 0, "id"), "SE/GOV/0000000-0"))
    )


def test_members_that_a_later_version_adds_are_ignored() -> None:
    document = json.loads(FILES["members.json"])
    document["members"][0]["colour"] = document["colour"] = "blue"
    assert targets.read(FILES | {"members.json": json.dumps(document).encode()}) == NETWORK.content


def test_one_subsystems_unreadable_services_are_its_own_outage() -> None:
    document = json.loads(FILES["services.json"])
    [spoiled] = [one for one in document["subsystems"] if one["subsystem"] == str(KOTKA)]
    spoiled["services"][0]["kind"] = "mystery"
    found = registry(targets.read(FILES | {"services.json": json.dumps(document).encode()}))
    assert found.services_of(KOTKA) == ()
    assert found.service(NEED) is not None


# --- Size -------------------------------------------------------------------------------------------------------------


def test_ten_thousand_members_with_a_hundred_thousand_services_load() -> None:
    ids = [MemberId("FI-DEMO", "MUN", f"{number:07}-0") for number in range(10_000)]
    homes = [SubsystemId(member, "kotoutuminen") for member in ids]
    title = named("Palvelu")
    content = replace(
        NETWORK.content,
        members=tuple(
            Member(
                home.member,
                title,
                (RoleTerm("municipality"),),
                (Subsystem(home, title),),
                (vouched(home.member, str(home).encode()),),
            )
            for home in homes
        ),
        nodes=tuple(
            Node(f"n-{number}", member, f"https://n-{number}.example", frozenset({f"{number:043}"}), frozenset())
            for number, member in enumerate(ids)
        ),
        services=tuple(
            ServiceDescriptor(ServiceId(home, f"palvelu-{number}"), "query", title, frozenset({"service-need-lookup"}))
            for home in homes
            for number in range(10)
        ),
        municipalities=(),
        counties=(),
    )
    read = targets.read(writing.write(content))
    assert len(read.services) == 100_000
    found = registry(read)
    for home in (homes[0], homes[5_000], homes[-1]):
        assert len(found.services_of(home)) == 10
        service = found.service(ServiceId(home, "palvelu-9"))
        assert service is not None
        assert service.purposes == {"service-need-lookup"}
        assert found.roles_of(home, NOW) == {"municipality"}
    node = found.node_by_pin(f"{9_999:043}")
    assert node is not None
    assert node.owner == ids[-1]
    assert found.member(homes[7].member) is not None


def test_a_witness_key_that_nobody_can_read_vouches_for_nothing_and_stops_nobody() -> None:
    broken = Witness("todistaja.example", "todistaja.example+no+key")
    readable = str(LogSigner(Ed25519PrivateKey.from_private_bytes(b"\x05" * 32), "witness.example").verifier)
    found = registry(replace(NETWORK.content, witnesses=(broken, Witness("witness.example", readable))))
    assert readable in {str(key) for key in found.witness_keys}
    assert len(found.witness_keys) == len(found.witnesses) - 1
