"""Standing requests at the desk: what the organisation asks once for all, made and ended by a registrar, and shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection

from audit.log.entries import Entry, EntryType
from gateway.asking.forms import Id, StandingForm
from gateway.asking.requests import Act, Listed, Right, StandingRequests
from gateway.desk.asking import Answered, Note, Question
from gateway.desk.reading import Reading
from gateway.desk.roles import EVERYONE, REGISTRAR
from gateway.registry.read.standing import Standing
from gateway.wire.identifiers import MemberId, SubsystemId
from gateway.wire.problems import ProblemError
from gateway.wire.signing import Signer


@dataclass(frozen=True, slots=True)
class Asked:
    """What the organisation asks, what is asked of it, and by which rights it could ask; whether it can sign here."""

    ours: tuple[Listed, ...]
    of_us: tuple[Listed, ...]
    rights: tuple[Right, ...]
    can_sign: bool


class Requests(Question[Asked], named="standing-requests", roles=EVERYONE):
    """What the organisation asks once for all, and what is asked of it."""

    def read(self, reading: Reading) -> Answered[Asked]:
        """The answer and its note."""
        if reading.context.standing() is None:
            return Answered(Asked((), (), (), can_sign=False), Note(found=False))
        requests, member, now = _requests(reading), _subsystem(reading).member, reading.now
        told = Asked(
            requests.ours(reading.connection, member, now),
            requests.of_us(member, now),
            requests.rights(member, now),
            can_sign=reading.context.signer is not None,
        )
        return Answered(told, Note(bool(told.ours), detail={"requests": len(told.ours)}))


class MakeRequest(StandingForm, Question[Listed], named="standing-request", kind=EntryType.REGISTRY, roles=REGISTRAR):
    """Make and sign a standing request."""

    def read(self, reading: Reading) -> Answered[Listed]:
        """Nothing is read; the request is made in the transaction that records it."""
        requests, act = _requests(reading), _act(reading)
        asked = self.request(str(act.subsystem.member))
        return _written(lambda connection: requests.make(connection, act, asked, reading.now))


class EndRequest(Question[Listed], named="standing-request-end", kind=EntryType.REGISTRY, roles=REGISTRAR):
    """Sign that a standing request ends with a day."""

    id: Id
    last: date

    def read(self, reading: Reading) -> Answered[Listed]:
        """Nothing is read; the request ends in the transaction that records it."""
        requests, act = _requests(reading), _act(reading)
        return _written(lambda connection: requests.end(connection, act, self.id, self.last, reading.now))


def _written(write: Callable[[Connection], tuple[Listed, Entry]]) -> Answered[Listed]:
    def unit(connection: Connection) -> tuple[Listed, tuple[Entry, ...]]:
        listed, entry = write(connection)
        return listed, (entry,)

    return Answered(None, None, write=unit)


def _requests(reading: Reading) -> StandingRequests:
    context = reading.context

    def standing(_now: object) -> Standing:
        latest = context.standing()
        if latest is None:
            raise ProblemError("registry-unavailable", detail="the node has no registry that it can believe")
        return latest

    def signer(member: MemberId) -> Signer:
        if context.signer is None:
            raise ProblemError("registry-unavailable", detail="nothing is signed beside the node")
        return context.signer(member)

    return StandingRequests(context.node, standing, signer)


def _subsystem(reading: Reading) -> SubsystemId:
    """For which subsystem the asker acts: of their own member, else the node's first."""
    own = reading.asker.member
    known = reading.context.subsystems
    found = [known_id for known_id in known if own is None or known_id.member == MemberId.parse(own)]
    if not found:
        raise ProblemError("not-found", detail="this node does not speak for that organisation")
    return found[0]


def _act(reading: Reading) -> Act:
    return Act(reading.asker.client, reading.asker.user, _subsystem(reading))
