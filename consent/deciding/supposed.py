"""A supposed case, as a file: a person, two parties, a purpose and a day, which can be decided and explained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, time
from typing import Any, get_args, get_type_hints

import orjson

from consent.deciding.decision import decide
from consent.deciding.verdicts import Decision
from consent.rules.law import Rulebook
from consent.rules.request import Emergency, Party, Request, SubjectFacts, Way
from consent.rules.standing import StandingRequest, StandingRequestError
from consent.words.consents import ConsentRecord
from consent.words.reading import ConsentError

_KINDS = {name: tuple(get_args(kind)) for name, kind in get_type_hints(SubjectFacts).items()}
_MEMBERS = frozenset(
    ("on", "from", "to", "purpose", "way", "emergency", "categories", "facts", "words", "standing", "broken")
)


class SupposedError(ValueError):
    """A file that is no case: what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Supposed:
    """A case that nobody has: what would be asked, what the person would have said, and when."""

    request: Request
    words: tuple[ConsentRecord, ...]
    at: datetime

    def decision(self, rulebook: Rulebook) -> Decision:
        """What a rulebook decides for it."""
        return decide(self.request, rulebook, self.words, self.at)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        request = self.request
        stated = {field.name: getattr(request.stated, field.name) for field in fields(SubjectFacts)}
        return {
            "on": self.at.date().isoformat(),
            "from": _party(request.provider),
            "to": _party(request.requester),
            "purpose": request.purpose,
            "way": request.way.value,
            "emergency": request.emergency is not None,
            "categories": sorted(request.categories),
            "facts": {name: value for name, value in stated.items() if value is not None},
            "words": [_word(word) for word in self.words],
            "standing": [asked.to_dict() for asked in request.standing],
        }

    def to_json(self) -> bytes:
        """As a file."""
        return orjson.dumps(self.to_dict(), option=orjson.OPT_INDENT_2)

    @classmethod
    def from_json(cls, data: bytes) -> Supposed:
        """Read such a file. Raises SupposedError."""
        try:
            document = orjson.loads(data)
            if not isinstance(document, dict) or set(document) - _MEMBERS:
                raise SupposedError("a case has " + ", ".join(sorted(_MEMBERS)))
            return cls._read(document)
        except SupposedError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, ConsentError, StandingRequestError) as error:
            raise SupposedError(f"{type(error).__name__}: {error}") from None

    @classmethod
    def _read(cls, document: Mapping[str, Any]) -> Supposed:
        at = datetime.combine(date.fromisoformat(document["on"]), time(12), UTC)
        facts = dict(document.get("facts", {}))
        for name, value in facts.items():
            if type(value) not in _KINDS.get(name, ()):
                raise SupposedError(f"facts/{name}: there is no such fact, or not of this kind")
        words = [
            {
                "given_by": {"kind": "self"},
                **word,
                "id": f"supposed-{index + 1}",
                "version": 1,
                "recorded_at": at.isoformat(),
            }
            for index, word in enumerate(document.get("words", []))
        ]
        request = Request(
            provider=_party_of(document["from"]),
            requester=_party_of(document["to"]),
            purpose=str(document["purpose"]),
            categories=frozenset(map(str, document["categories"])),
            facts=SubjectFacts(**facts),
            emergency=Emergency("supposed") if document.get("emergency", False) else None,
            way=Way(document.get("way", Way.QUERY)),
            standing=tuple(StandingRequest.from_dict(asked) for asked in document.get("standing", [])),
        )
        return cls(request, tuple(ConsentRecord.from_dict(word) for word in words), at)


def _word(word: ConsentRecord) -> dict[str, Any]:
    return {
        "kind": word.kind.value,
        "status": word.status.value,
        "purposes": sorted(word.purposes),
        "recipients": sorted(word.recipients),
        "categories": sorted(word.categories),
    }


def _party(party: Party) -> dict[str, Any]:
    return {
        "role": party.role,
        "member": party.member,
        "municipalities": sorted(party.municipalities),
        "counties": sorted(party.counties),
    }


def _party_of(document: Mapping[str, Any]) -> Party:
    return Party(
        str(document["role"]),
        str(document.get("member", "")),
        frozenset(map(str, document.get("municipalities", []))),
        frozenset(map(str, document.get("counties", []))),
    )
