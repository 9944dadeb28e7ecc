"""Which of a person's words count for an item, and whether its identifiers are known to belong to two persons. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from audit.log.entries import micros
from audit.questions.links import SEPARATE, Link, LinkAct, Web
from audit.questions.subjects import Known
from consent.words.consents import ConsentRecord
from gateway.person.values import ConflictReason, Correction, Named

Systems = Sequence[tuple[str, str | None]]
"""Subjects with the system of each of their identifiers; None where it was not kept."""


def counting(
    words: Sequence[ConsentRecord], known: Sequence[Known], web: Web, member: str
) -> tuple[tuple[ConsentRecord, ...], tuple[ConsentRecord, ...]]:
    """The words that count for a decision, and those that are shown to a human, in the order given."""
    starts = _starts(known)
    protects = web.protective(starts)
    certain = _certain(known, web)
    counts = []
    shown = []
    for word in words:
        until = protects.get(word.subject)
        if word.forbids:
            # A prohibition holds wherever the person may be meant, whoever of this node recorded it.
            if until is not None and micros(word.recorded_at) <= until:
                counts.append(word)
                shown.append(word)
            continue
        if word.subject in certain:
            shown.append(word)
        if until is not None and _carries(word, known, web, member):
            counts.append(word)
    return tuple(counts), tuple(shown)


def _carries(word: ConsentRecord, known: Sequence[Known], web: Web, member: str) -> bool:
    """Whether a permission or consent may carry data of an item that names these identifiers."""
    # The consents of another member of the same node carry nothing for this one.
    if member and not word.recorded_by.startswith(f"{member}/"):
        return False
    reach = web.connected((word.subject,))
    # An item that names somebody else as well may be about that somebody: then nobody's consent carries it.
    if not all(any(subject.id in reach for subject in item.subjects) for item in known if item.subjects):
        return False
    given = micros(word.recorded_at)
    for link in web.touching(reach):
        # What was said before a join that nobody has confirmed, or before one that was undone, may be another's.
        if link.act is LinkAct.JOINED and link.joined > given:
            return False
        if link.act in (LinkAct.UNDONE, LinkAct.PLACED) and link.at > given:
            return False
    return True


def conflict_of(
    named: Named, known: Sequence[Known], web: Web, systems: Systems
) -> tuple[ConflictReason | None, str | None]:
    """Why the identifiers that an authoritative record names are known to be two persons; None if nothing says so.

    The second value is the system of which there would be two values, for a register that corrects itself.
    """
    starts = _starts(known)
    if len(named.identifiers) < 2 or not starts:
        return None, None
    if is_settled(named, known, web):
        return None, None
    if named.contradicts_itself:
        return ConflictReason.BIRTH, None
    groups = [web.certain(subject.id for subject in item.subjects) for item in known if item.subjects]
    for link in web.links:
        ends = (_group_of(link.first, groups), _group_of(link.second, groups))
        if link.act in SEPARATE and None not in ends and ends[0] != ends[1]:
            return ConflictReason.NOT_THE_SAME, None
    doubled = _doubled(named, known, web.connected(starts), systems)
    return (None, None) if doubled is None else (ConflictReason.TWO_VALUES, doubled)


def parted(subjects: Sequence[str], web: Web, systems: Systems) -> ConflictReason | None:
    """Why subjects that somebody says are one person are known to be several; None if nothing says so."""
    of = dict[str, set[str]]()
    for subject, system in systems:
        if system is not None:
            of.setdefault(subject, set()).add(system)
    certain = {subject: web.certain((subject,)) for subject in subjects}
    connected = {subject: web.connected((subject,)) for subject in subjects}
    # Each with each: what joins two of them by way of a third must not join two persons either.
    for first, second in combinations(subjects, 2):
        if certain[first] != certain[second]:
            apart = (link for link in web.links if link.act in SEPARATE)
            if any(_lies_between(link, certain[first], certain[second]) for link in apart):
                return ConflictReason.NOT_THE_SAME
        if connected[first] != connected[second] and _systems(connected[first], of) & _systems(connected[second], of):
            return ConflictReason.TWO_VALUES
    return None


def _lies_between(link: Link, mine: frozenset[str], theirs: frozenset[str]) -> bool:
    return (link.first in mine and link.second in theirs) or (link.first in theirs and link.second in mine)


def _systems(subjects: Iterable[str], of: Mapping[str, set[str]]) -> set[str]:
    return {system for subject in subjects for system in of.get(subject, ())}


def corrects(named: Named, known: Sequence[Known], former: Mapping[str, str], system: str | None) -> Correction | None:
    """What a register takes back that names another value of a system under the record key of a former one.

    `former` is what the register's record named before, by system.
    """
    if system is None or named.key is None:
        return None
    subject = former.get(system)
    present = {subject.id for item in known for subject in item.subjects}
    return None if subject is None or subject in present else Correction(subject, system)


def without(web: Web, subject: str) -> Web:
    """The same web without the links of one subject."""
    return Web(tuple(link for link in web.links if subject not in (link.first, link.second)))


def is_settled(named: Named, known: Sequence[Known], web: Web) -> bool:
    """Whether all identifiers are known, and are one person without any doubt."""
    certain = _certain(known, web)
    return all(item.subjects and item.subjects[0].id in certain for item in known) and len(known) == len(
        named.identifiers
    )


def _doubled(named: Named, known: Sequence[Known], joined: Iterable[str], systems: Systems) -> str | None:
    held = set(joined)
    # An identifier that stands in two notations has two subjects, and is one identifier all the same.
    leading = {subject.id: item.subjects[0].id for item in known for subject in item.subjects}
    found: dict[str, set[str]] = {}
    for subject, system in systems:
        if system is not None and subject in held:
            found.setdefault(system, set()).add(leading.get(subject, subject))
    for item in known:
        # One that is not known yet stands for itself.
        found.setdefault(item.system, set()).add(item.subjects[0].id if item.subjects else item.value)
    return next((system for system in sorted(found) if len(found[system]) > 1), None)


def _certain(known: Sequence[Known], web: Web) -> frozenset[str]:
    """Who the first known identifier is beyond doubt."""
    first = next((item for item in known if item.subjects), None)
    return web.certain(subject.id for subject in first.subjects) if first is not None else frozenset()


def _group_of(subject: str, groups: Sequence[frozenset[str]]) -> int | None:
    return next((number for number, group in enumerate(groups) if subject in group), None)


def _starts(known: Sequence[Known]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(subject.id for item in known for subject in item.subjects))
