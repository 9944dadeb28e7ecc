"""The bodies of messages between nodes, as the description of the face towards peers tells them.

They are read, and refused, after their signature was verified, where each is received. A member that is not known is
passed over: a peer may be a version ahead.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from gateway.handover.receive import MOST_NAMED
from gateway.sources.backends import MOST_IDENTIFIERS
from gateway.web.forms import EmergencyForm, PersonForm, Shown

Token = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,64}$")]
_Line = Annotated[str, Field(max_length=256)]


class QueryMessage(Shown):
    """`query`: about one person."""

    subject: PersonForm
    emergency: EmergencyForm | None = None


class HandoverMessage(Shown):
    """`inbox`: a handover."""

    handover: Token
    delivery: Token
    flow: str
    consents: Annotated[list[dict[str, Any]], Field(max_length=MOST_NAMED)] = Field(default=[])
    tells: bool = Field(False, description="the sender tells the person of what goes by their word")
    bundle: dict[str, Any]


class PeerContact(Shown):
    """Who is responsible from now on; there are no other members."""

    name: _Line
    organisation: _Line | None = None
    role: _Line | None = None
    phone: _Line | None = None
    email: _Line | None = None


class AcceptanceMessage(Shown):
    """`acceptance`: who is responsible from now on."""

    delivery: Token
    contact: PeerContact


class NoticeMessage(Shown):
    """`notice`: a consent was withdrawn, or data may not be used any more."""

    notice: Token
    consent: Token
    categories: Annotated[list[Token], Field(max_length=MOST_NAMED)]
    subject: Annotated[list[PersonForm], Field(min_length=1, max_length=MOST_IDENTIFIERS)]
    messages: Annotated[list[Token], Field(max_length=MOST_NAMED)] = Field(default=[])
    onward: bool = Field(False, description="it is passed on: the data came to its sender from somebody else")


class Alarm(Shown):
    """Two statements of this node's log that contradict each other."""

    kind: Literal["fork", "rollback", "inconsistent"]
    first: str
    second: str


class Judged(Shown):
    """Whether this node's own tree contradicts the two statements too."""

    borne_out: bool


class ConsistencyProof(Shown):
    """The proof from one size; null if the log never had it."""

    size: int
    proof: list[str] | None


class Consistency(Shown):
    """A checkpoint, and proofs that the log only grew up to it."""

    checkpoint: str
    proofs: list[ConsistencyProof]


MESSAGES = (QueryMessage, HandoverMessage, AcceptanceMessage, NoticeMessage)
