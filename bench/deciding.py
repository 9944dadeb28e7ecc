"""How long a decision takes, and that it does not depend on how many other people have consented.

Microseconds of CPU, medians, held against what one ES256 verification costs in the same run. The rulebook is the
reference cut down to sixty bases, those between the roles that are measured first, and the reference with as many
further bases between these as make a thousand. The consents are read from an SQLite database in which 0,
1 000 or 20 000 other people have consented too.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import Engine

from bench.figures import Figure
from consent.deciding.decision import decide
from consent.deciding.verdicts import Decision
from consent.rulebook import load, reference_rulebook
from consent.rules.law import Rulebook
from consent.rules.request import Party, Request
from consent.words import store
from consent.words.consents import ConsentRecord, Evidence, WordStatus
from consent.words.givers import Giver, GiverKind
from consent.words.tables import metadata
from gateway.storage import engine as storage

PART = "deciding"
BASES = (60, 1_000)
ROUNDS = 3000
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
OTHERS = (0, 1_000, 20_000)


def run() -> list[Figure]:
    """Measure."""
    reference = load(reference_rulebook(), source="reference")
    asked = frozenset(code for code, category in reference.categories.items() if category.parent is None)
    figures = []
    for count in BASES:
        rulebook = sized(reference, count)
        for number, (title, request, consents) in enumerate(cases(reference, asked)):
            taken, _ = measured(lambda request=request, consents=consents: decide(request, rulebook, consents, AT))  # noqa: B023
            verification, _ = measured(verification_of())
            what = f"{len(rulebook.bases):,} bases, {title}"
            goal = 1.5 if number == 0 else None
            figures.append(
                Figure(PART, what, "µs of CPU", taken, "an ES256 verification", verification, goal, "at most")
            )
    alone, *beside = (with_others(others)[0] for others in OTHERS)
    for others, taken in zip(OTHERS[1:], beside, strict=True):
        what = f"read the consents of one person beside {others:,} others'"
        figures.append(Figure(PART, what, "µs of CPU", taken, "beside nobody's", alone, 1.5, "at most"))
    return figures


def cases(rulebook: Rulebook, asked: frozenset[str]) -> list[tuple[str, Request, Sequence[ConsentRecord]]]:
    """The requests that are measured."""
    centre, kotka = Party("reception-centre"), Party("municipality", "kotka", frozenset({"285"}))
    kymenlaakso = Party("county", "kymenlaakso", frozenset(), frozenset({"kymenlaakso"}))
    facts = rulebook.cases["p01-asylum-adult"].facts
    handover = Request(centre, kotka, "reception-to-municipality", asked, facts)
    lookup = Request(centre, kotka, "service-need-lookup", asked, facts)
    both = (record("c1"), record("c2", status=WordStatus.REFUSED))
    few = frozenset({"identity", "language", "housing"})
    return [
        ("three categories asked for", replace(lookup, categories=few), ()),
        ("all categories, look-up by a municipality", lookup, ()),
        ("all categories, handover to a municipality", handover, ()),
        (
            "all categories, handover to a county",
            replace(handover, requester=kymenlaakso, purpose="reception-to-county"),
            (),
        ),
        ("all categories, facts unknown (admission)", replace(lookup, facts=None, known=False), ()),
        ("all categories, a consent and a refusal stand", handover, both),
    ]


def verification_of() -> Callable[[], object]:
    """One verification of an ES256 signature."""
    key, text = ec.generate_private_key(ec.SECP256R1()), b"x" * 1_000
    signature, public, algorithm = (
        key.sign(text, ec.ECDSA(hashes.SHA256())),
        key.public_key(),
        ec.ECDSA(hashes.SHA256()),
    )
    return lambda: public.verify(signature, text, algorithm)


def sized(rulebook: Rulebook, count: int) -> Rulebook:
    """The rulebook with so many bases: cut down to those between the roles that are measured first, and then others; or
    with further ones between these, out of force.
    """
    measured_first = [
        basis
        for basis in rulebook.bases
        if "reception-centre" in basis.providers and "municipality" in basis.requesters
    ]
    others = [basis for basis in rulebook.bases if basis not in measured_first]
    bases = [*measured_first, *others][:count]
    pattern = next(basis for basis in bases if basis.id == "assessment-municipality")
    further = replace(
        pattern,
        starts=None,
        ends=datetime(2000, 1, 1, tzinfo=UTC).date(),
        purposes=frozenset({"reception-to-municipality", "service-need-lookup"}),
        providers=frozenset({"reception-centre"}),
        requesters=frozenset({"municipality"}),
    )
    bases.extend(replace(further, id=f"further-{number}") for number in range(count - len(bases)))
    return rulebook.with_bases(bases)


def record(identifier: str, subject: str = "s-measured", status: WordStatus = WordStatus.ACTIVE) -> ConsentRecord:
    """A consent or refusal of health needs."""
    return ConsentRecord(
        id=identifier,
        version=1,
        status=status,
        subject=subject,
        given_by=Giver(GiverKind.SELF),
        purposes=frozenset({"reception-to-municipality"}),
        recipients=frozenset({"municipality"}),
        categories=frozenset({"health-needs"}),
        starts=None,
        ends=None,
        language="fi",
        evidence=Evidence(),
        recorded_by="bench",
        recorded_at=AT,
    )


def with_others(others: int) -> tuple[float, float]:
    """Reading one person's consents beside those of so many others."""
    with tempfile.TemporaryDirectory() as folder:
        engine: Engine = storage.create(f"sqlite:///{Path(folder) / 'bench.db'}")
        metadata.create_all(engine)
        with engine.execution_options(writes=True).begin() as connection:
            for number in range(others):
                store.add(connection, record(f"o{number}", f"s-{number}"))
            store.add(connection, record("mine"))
        with engine.connect() as connection:
            figures = measured(lambda: connection.execute(store.words(["s-measured"])).all())
        engine.dispose()
    return figures


def measured(act: Callable[[], Decision | object]) -> tuple[float, float]:
    """Median and 99th percentile of one call, in microseconds."""
    for _ in range(200):
        act()
    times = []
    for _ in range(ROUNDS):
        begun = time.thread_time_ns()
        act()
        times.append((time.thread_time_ns() - begun) / 1000)
    return statistics.median(times), statistics.quantiles(times, n=100)[98]
