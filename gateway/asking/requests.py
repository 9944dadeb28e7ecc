"""A member's standing requests on its own node: made and signed here, published by the authority, ended, shown.

A request is made by a right to get that the rulebook has, in a role that the registry gives the member, and signed with
the node's signing key. It asks nobody for anything until the authority has published it: what stands is what the
registry has, and what is kept here is what was signed and how far it has come. Each step is an entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final

import orjson
from sqlalchemy import Connection, Row, Select, insert, select, update

from audit.log.entries import Entry, EntryType, Outcome, micros, moment
from consent.deciding.verdicts import legal_day
from consent.rules.conditions import CONDITIONS
from consent.rules.law import Basis, Mode, Rulebook
from consent.rules.standing import StandingRequest
from gateway.registry.read.asked import signed
from gateway.registry.read.registry import Registry
from gateway.registry.read.standing import Standing
from gateway.storage.tables import standing_requests
from gateway.story import Story
from gateway.wire.identifiers import IdentifierError, MemberId, SubsystemId
from gateway.wire.problems import ProblemError
from gateway.wire.signing import Signer

MOST: Final = 1_000


class State(StrEnum):
    """How far a standing request has come."""

    WAITING = "waiting"  # signed, and not published as it was signed
    PUBLISHED = "published"
    REMOVED = "removed"  # the authority has taken it out, or it was taken back before it was published
    ENDED = "ended"  # its last day is over
    NOT_VOUCHED = "not-vouched"  # published, and not by a key that the registry lists: to be signed anew


@dataclass(frozen=True, slots=True)
class Act:
    """Who asks for the organisation: the client and the person behind it (a pseudonym), for which subsystem."""

    client: str
    user: str | None
    subsystem: SubsystemId


@dataclass(frozen=True, slots=True)
class Right:
    """A right to get that a member has in one of its roles, by which it can make a standing request."""

    basis: Basis
    role: str

    @property
    def provision(self) -> str:
        """As a standing request cites it."""
        assert self.basis.source is not None
        return str(self.basis.source.provision)


@dataclass(frozen=True, slots=True)
class Listed:
    """A standing request as it is shown: what was signed last, how far that has come, and what the registry has."""

    request: StandingRequest
    state: State
    published: StandingRequest | None
    since: datetime | None


class StandingRequests:
    """The standing requests of one node's members. Everything blocks; `standing` is what the node goes by."""

    def __init__(
        self, node: str, standing: Callable[[datetime], Standing], signer: Callable[[MemberId], Signer]
    ) -> None:
        self._node = node
        self._standing = standing
        self._signer = signer

    def rights(self, member: MemberId, now: datetime) -> tuple[Right, ...]:
        """By what the member could ask, in the order of the rulebook."""
        standing = self._standing(now)
        roles = _roles_of(standing.registry, member, now)
        return tuple(
            Right(basis, role)
            for basis in standing.rulebook.bases
            if is_right(basis, legal_day(now))
            for role in sorted(basis.requesters & roles)
        )

    def make(self, connection: Connection, act: Act, asked: StandingRequest, now: datetime) -> tuple[Listed, Entry]:
        """Sign what is asked and keep it until it is published. Raises ProblemError."""
        standing, member = self._standing(now), str(act.subsystem.member)
        _check_own(connection, standing.registry, asked.id, member)
        _check_right(standing, replace(asked, member=member), now)
        made = signed(replace(asked, member=member, signature=""), self._signer(act.subsystem.member))
        return self._kept(connection, act, made, "made", now)

    def end(self, connection: Connection, act: Act, identifier: str, last: date, now: datetime) -> tuple[Listed, Entry]:
        """Let a request end with a day, the last on which it stands; one that was never published ends at once.

        Raises ProblemError.
        """
        member = str(act.subsystem.member)
        listed = self.one(connection, act.subsystem.member, identifier, now)
        if listed is None or listed.request.member != member:
            raise ProblemError("not-found", detail="there is no standing request of that id")
        if listed.published is None:
            return self._taken_back(connection, act, listed, now)
        ended = listed.published
        if last < ended.first or (ended.last is not None and last > ended.last):
            raise ProblemError(
                "invalid-request",
                pointer="/last",
                detail="a request ends on a day on which it stands",
                remedy="name a day that is not before its first and not after its last; one that has not begun is "
                "taken out by the authority",
            )
        made = signed(replace(ended, last=last, signature=""), self._signer(act.subsystem.member))
        return self._kept(connection, act, made, "ended", now)

    def ours(self, connection: Connection, member: MemberId, now: datetime) -> tuple[Listed, ...]:
        """All that a member asks, by their ids: what was made here, and what the registry has besides."""
        registry = self._standing(now).registry
        kept = {row.id: row for row in connection.execute(_of(str(member)))}
        published = {asked.id: asked for asked in registry.content.standing_requests if asked.member == str(member)}
        return tuple(
            _listed(registry, kept.get(name), published.get(name), now) for name in sorted(kept.keys() | published)
        )

    def one(self, connection: Connection, member: MemberId, identifier: str, now: datetime) -> Listed | None:
        """One of them; None if the member has none of that id."""
        return next((item for item in self.ours(connection, member, now) if item.request.id == identifier), None)

    def of_us(self, member: MemberId, now: datetime) -> tuple[Listed, ...]:
        """What others have asked of this member once for all, as far as it is published."""
        registry = self._standing(now).registry
        names = {str(member), *_roles_of(registry, member, now)}
        return tuple(
            _listed(registry, None, asked, now)
            for asked in registry.content.standing_requests
            if asked.member != str(member) and asked.providers & names
        )

    def observe(self, connection: Connection, members: Iterable[MemberId], now: datetime) -> tuple[Entry, ...]:
        """Put on record what the registry has made of our requests since it was looked at last."""
        standing = self._standing(now)
        entries = []
        for member in members:
            published = {asked.id: asked for asked in standing.registry.content.standing_requests}
            for row in connection.execute(_of(str(member))).all():
                seen = _observed(row, published.get(row.id))
                if seen is None:
                    continue
                story = Story(node=self._node, rulebook=standing.rulebook.digest)
                entry = story.entry(
                    EntryType.REGISTRY,
                    Outcome.SUCCESS if seen is State.PUBLISHED else Outcome.STOPPED,
                    now,
                    previous=row.entry,
                    detail={"standing_request": row.id, "act": seen.value},
                )
                # By the state that was read: of two replicas one tells it.
                changed = connection.execute(
                    update(standing_requests)
                    .where(standing_requests.c.id == row.id, standing_requests.c.entry == row.entry)
                    .values(state=seen.value, changed=micros(now), entry=entry.id)
                )
                if changed.rowcount == 1:
                    entries.append(entry)
        return tuple(entries)

    def _taken_back(self, connection: Connection, act: Act, listed: Listed, now: datetime) -> tuple[Listed, Entry]:
        if listed.state is State.REMOVED:
            raise ProblemError("not-found", detail="the standing request has ended already")
        entry = self._entry(act, listed.request, Outcome.STOPPED, "taken-back", now)
        connection.execute(
            update(standing_requests)
            .where(standing_requests.c.id == listed.request.id)
            .values(state=State.REMOVED.value, changed=micros(now), entry=entry.id)
        )
        return replace(listed, state=State.REMOVED, since=now), entry

    def _kept(
        self, connection: Connection, act: Act, made: StandingRequest, said: str, now: datetime
    ) -> tuple[Listed, Entry]:
        entry = self._entry(act, made, Outcome.PENDING, said, now)
        row = {
            "member": made.member,
            "document": orjson.dumps(made.to_dict()).decode(),
            "state": State.WAITING.value,
            "changed": micros(now),
            "entry": entry.id,
        }
        mine = standing_requests.c.id == made.id
        if connection.execute(update(standing_requests).where(mine).values(row)).rowcount == 0:
            connection.execute(insert(standing_requests).values({"id": made.id, "created": micros(now), **row}))
        registry = self._standing(now).registry
        published = next((asked for asked in registry.content.standing_requests if asked.id == made.id), None)
        return Listed(made, State.WAITING, published, now), entry

    def _entry(self, act: Act, asked: StandingRequest, outcome: Outcome, said: str, now: datetime) -> Entry:
        story = Story(
            node=self._node,
            client=act.client,
            user=act.user,
            recipient=str(act.subsystem),
            purpose=asked.purpose,
            rulebook=self._standing(now).rulebook.digest,
        )
        detail = {"standing_request": asked.id, "act": said}
        return story.entry(EntryType.REGISTRY, outcome, now, detail=detail)


def is_right(basis: Basis, day: date) -> bool:
    """Whether a basis is a right to get, in force on a day: what a standing request can name."""
    return basis.mode is Mode.RIGHT_TO_GET and basis.source is not None and basis.in_force(day)


def _of(member: str) -> Select[Any]:
    return select(standing_requests).where(standing_requests.c.member == member).limit(MOST)


def _read(row: Row[Any]) -> StandingRequest:
    return StandingRequest.from_dict(orjson.loads(row.document))


def _listed(registry: Registry, row: Row[Any] | None, published: StandingRequest | None, now: datetime) -> Listed:
    since = None if row is None else moment(row.changed)
    if row is not None:
        made = _read(row)
        if made != published:
            is_over = row.state in (State.PUBLISHED, State.REMOVED) and published is None
            return Listed(made, State.REMOVED if is_over else State.WAITING, published, since)
    assert published is not None
    if published.last is not None and published.last < legal_day(now):
        state = State.ENDED
    elif registry.vouches_for(published, now):
        state = State.PUBLISHED
    else:
        state = State.NOT_VOUCHED
    return Listed(published, state, published, since)


def _observed(row: Row[Any], published: StandingRequest | None) -> State | None:
    """What has become of a request since it was looked at; None if nothing has."""
    if published is None:
        return State.REMOVED if row.state == State.PUBLISHED else None
    return State.PUBLISHED if row.state != State.PUBLISHED and _read(row) == published else None


def _check_own(connection: Connection, registry: Registry, identifier: str, member: str) -> None:
    kept = connection.scalar(select(standing_requests.c.member).where(standing_requests.c.id == identifier))
    listed = (asked.member for asked in registry.content.standing_requests if asked.id == identifier)
    if any(other not in (None, member) for other in (kept, *listed)):
        raise ProblemError(
            "invalid-request",
            pointer="/id",
            detail="another member has a standing request of that id",
            remedy="begin the id with a name of your organisation",
        )


def _check_right(standing: Standing, asked: StandingRequest, now: datetime) -> None:
    """Refuse what no right to get carries. Raises ProblemError that names the member."""
    rulebook, day = standing.rulebook, max(asked.first, legal_day(now))
    held = _roles_of(standing.registry, MemberId.parse(asked.member), now)
    if asked.role not in held:
        raise _wrong("/role", "the organisation does not have this role", "use one of: " + ", ".join(sorted(held)))
    for name in sorted(set(asked.conditions) - CONDITIONS.keys()):
        known = ", ".join(sorted(CONDITIONS))
        raise _wrong("/conditions", f"the rulebook knows no condition {name}", f"use one of: {known}")
    rights = [basis for basis in rulebook.bases if is_right(basis, day) and asked.role in basis.requesters]
    if asked.purpose not in rulebook.purposes:
        raise _wrong("/purpose", "the rulebook knows no such purpose", "use one of its purposes")
    cited = [basis for basis in rights if basis.source and asked.provision.covers(basis.source.provision)]
    if not cited:
        remedy = "use one of: " + ", ".join(sorted({str(basis.source.provision) for basis in rights if basis.source}))
        raise _wrong("/provision", f"{asked.provision} gives this role no right to get", remedy)
    fitting = [basis for basis in cited if asked.purpose in basis.purposes]
    if not fitting:
        remedy = "use one of: " + ", ".join(sorted(frozenset().union(*(basis.purposes for basis in cited))))
        raise _wrong("/purpose", "the provision gives no right for this purpose", remedy)
    _check_providers(standing, asked, fitting, now)
    _check_categories(rulebook, asked, fitting)


def _check_providers(standing: Standing, asked: StandingRequest, rights: Sequence[Basis], now: datetime) -> None:
    roles = frozenset().union(*(basis.providers for basis in rights))
    for name in sorted(asked.providers):
        held = {name} if name in standing.rulebook.roles else _roles_named(standing.registry, name, now)
        if not held & roles:
            raise _wrong(
                "/providers",
                f"the provision gives no right against {name}",
                "use one of these roles, or members that have them: " + ", ".join(sorted(roles)),
            )


def _roles_named(registry: Registry, name: str, now: datetime) -> frozenset[str]:
    try:
        return _roles_of(registry, MemberId.parse(name), now)
    except IdentifierError:
        return frozenset()


def _roles_of(registry: Registry, member: MemberId, now: datetime) -> frozenset[str]:
    """The roles of a member and of its subsystems: a request is made in any of them."""
    known = registry.member(member)
    systems = () if known is None else (subsystem.id for subsystem in known.subsystems)
    return registry.roles_of(member, now).union(*(registry.roles_of(system, now) for system in systems))


def _check_categories(rulebook: Rulebook, asked: StandingRequest, rights: Sequence[Basis]) -> None:
    given = frozenset().union(*(basis.categories for basis in rights))
    for category in sorted(asked.categories):
        if not rulebook.covers(given, category):
            raise _wrong(
                "/categories",
                f"the provision gives no right to {category}",
                "use one of: " + ", ".join(sorted(given)),
            )


def _wrong(pointer: str, detail: str, remedy: str) -> ProblemError:
    return ProblemError("invalid-request", pointer=pointer, detail=detail, remedy=remedy)
