"""Write the answers to HL7 v2 messages: MSA and ERR, for one message or for a batch of them.

An answer holds codes and places (`PID-7`), and of the message nothing but the number that its sender gave it: senders
keep answers in their logs.
Source: HL7 2.5.1 sections 2.9 (processing rules), 2.15 (MSA, ERR), tables 0008 and 0357.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Final

from adapters.hl7_heads import Head, Heads
from adapters.sdk import Finding, Limits
from adapters.texts import CODES, over
from gateway.sources.frames import framed
from gateway.wire.problem_table import PROBLEMS


class Answered(StrEnum):
    """What is said of a message (table 0008, original mode)."""

    TAKEN = "AA"  # it is on record
    ERROR = "AE"  # it is not taken, and as it stands never will be
    REFUSED = "AR"  # it is of a kind that is not taken here, or cannot be taken now


#: What is wrong with a message before or beside what its adapter finds, in words.
WORDS: Final = {
    "taken": "taken",
    "frame-missing": "bytes outside a frame; the connection is ended",
    "frame-broken": "a frame that does not end as it must; the connection is ended",
    "message-too-long": "the message is longer than this source takes",
    "message-slow": "the message did not come to its end in time",
    "no-message": "there is no HL7 message in the frame",
    "control-missing": "MSH-10 is empty or holds what no number holds",
    "control-reused": "another message of this number was taken before; give each message a number of its own",
    "batch-differs": "the batch does not hold what it says, so nothing of it is taken; send it again whole",
    "batch-too-long": "there are more messages than one frame may hold, so none is taken; send them in several",
    "batch-several": "beside a batch there is another, or a message, so none is taken; send each in a frame of its own",
    "not-now": "it cannot be taken now; send it again as it stands",
    "not-mapped": "the record cannot be taken; the report of the source tells why",
}
#: Table 0357. What is not listed is a value that is not as it must be.
_CONDITIONS: Final = {
    "no-message": "100",
    "frame-missing": "100",
    "frame-broken": "100",
    "batch-differs": "100",
    "batch-too-long": "100",
    "batch-several": "100",
    "separators": "100",
    "control-missing": "101",
    "field-missing": "101",
    "column-missing": "101",
    "code-unknown": "103",
    "code-not-in-use": "103",
    "message-type": "200",
    "not-production": "202",
    "control-reused": "205",
    "duplicate-key": "205",
    "subject-ambiguous": "206",
    "not-now": "207",
    "message-slow": "207",
}
_VALUE: Final = "102"
#: What a message is refused for that is of the wrong kind, whatever it says.
_WRONG_KIND: Final = frozenset({"message-type", "not-production", "separators", "no-message", "control-missing"})
_PLACE: Final = re.compile(r"([A-Z][A-Z0-9]{2})-([0-9]{1,3})(?:\.([0-9]{1,3}))?")
_MOST_ERRORS: Final = 10


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is wrong with a message: a code, the field where it stands, if it is one of HL7's, and words for
    it if they are not those of the code.
    """

    code: str
    place: str = ""
    words: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered to one message."""

    said: Answered
    faults: tuple[Fault, ...] = ()

    @property
    def reason(self) -> str:
        """The first code, for the log."""
        return self.faults[0].code if self.faults else "taken"


TAKEN: Final = Answer(Answered.TAKEN)


def refusal(code: str) -> Answer:
    """A message that is refused whole, for one reason."""
    said = Answered.REFUSED if code in _WRONG_KIND or code == "not-now" else Answered.ERROR
    return Answer(said, (Fault(code),))


def rejection(reason: str, findings: Sequence[Finding], limits: Limits) -> Answer:
    """A message whose record was rejected, for what was found in it or for the node's own reason."""
    faults = [
        # Findings come from a process that reads foreign bytes: of a code or place that nobody knows nothing is said.
        Fault(told.code if told.code in CODES else "not-mapped", told.position.column, _limit(told, limits))
        for told in findings
        if told.severity == "error"
    ]
    if reason in PROBLEMS:
        faults.insert(0, Fault(reason))
    faults = faults[:_MOST_ERRORS] or [Fault("not-mapped")]
    is_wrong_kind = faults[0].code in _WRONG_KIND
    return Answer(Answered.REFUSED if is_wrong_kind else Answered.ERROR, tuple(faults))


def _limit(told: Finding, limits: Limits) -> str:
    """What is said of a limit, if it is one of ours; of another text nothing is said either."""
    if told.code != "limit-exceeded":
        return ""
    known = (over(limit.name, limits).message for limit in fields(Limits))
    return told.message.en if told.message in known else ""


def acknowledgement(heads: Heads, answers: Sequence[Answer], number: str, now: datetime) -> bytes:
    """The frame that answers a frame: an acknowledgement for each message, as a batch if they came as one.

    `number` is this answer's own; the report of the source tells of it.
    """
    messages = heads.messages or (Head(),)
    is_batch = heads.is_batch or len(messages) > 1
    at = now.strftime("%Y%m%d%H%M%S+0000")
    segments = []
    if is_batch:
        segments.append(f"BHS|^~\\&|YHDYSPINTA||||{at}||||{number}|{heads.batch}")
    for index, (head, answer) in enumerate(zip(messages, answers, strict=True), 1):
        own = f"{number}-{index}" if is_batch else number
        segments.append(f"MSH|^~\\&|YHDYSPINTA||||{at}||ACK|{own}|P|2.5.1|||||FIN|UNICODE UTF-8")
        segments.append(f"MSA|{_said(answer.said, head)}|{head.control}")
        segments += [_error(fault) for fault in answer.faults]
    if is_batch:
        segments.append(f"BTS|{len(messages)}")
    return framed("".join(f"{segment}\r" for segment in segments).encode("ascii"))


def _said(said: Answered, head: Head) -> str:
    """In the enhanced mode what counts is that the message is on record (CA, CE, CR)."""
    return f"C{said[1]}" if head.is_enhanced else said


def _error(fault: Fault) -> str:
    match = _PLACE.fullmatch(fault.place)
    place = "" if match is None else f"{match[1]}^1^{match[2]}" + (f"^1^{match[3]}" if match[3] else "")
    words = (
        fault.words
        or WORDS.get(fault.code)
        or (PROBLEMS[fault.code].title.en if fault.code in PROBLEMS else fault.code)
    )
    plain = re.sub(r"[^ -\[\]-{}]|[&^]", " ", words)
    return f"ERR||{place}|{_CONDITIONS.get(fault.code, _VALUE)}^^HL70357|E|{fault.code}|||{plain}"
