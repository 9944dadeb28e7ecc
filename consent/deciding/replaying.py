"""Write a decision down so that it can be made again, and make it again.

A recorded decision holds what it was made of: the request with its facts, the consents by id and version, the moment,
and the text that came out. It is personal data and is stored sealed under the person's key. With the rulebook of that
time the same decision must come out, byte for byte; with another rulebook one sees what would have gone otherwise. The
words of an emergency's justification are not part of it: that there was one is all that a decision depends on. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

import orjson

from consent.deciding.decision import decide
from consent.deciding.verdicts import Decision
from consent.rules.law import Rulebook
from consent.rules.request import Emergency, Party, Request, SubjectFacts, Way
from consent.rules.standing import StandingRequest
from consent.words.consents import ConsentRecord

FACTS: Final = tuple(field.name for field in fields(SubjectFacts))


@dataclass(frozen=True, slots=True)
class Recorded:
    """A decision as it was written down. `canonical` is the text that came out then."""

    request: Request
    considered: tuple[tuple[str, int], ...]
    at: datetime
    canonical: bytes


def written(decision: Decision) -> bytes:
    """The decision and all that it was made of, as canonical JSON."""
    request = decision.request
    document = {
        "at": decision.at.isoformat(),
        "considered": decision.considered,
        "decision": decision.canonical().decode(),
        "request": {
            "categories": sorted(request.categories),
            "emergency": request.emergency is not None,
            "facts": _facts(request.facts),
            "known": request.known,
            "provider": _party(request.provider),
            "purpose": request.purpose,
            "requester": _party(request.requester),
            **_handed_over(request),
            **({"restricted": sorted(request.restricted)} if request.restricted else {}),
        },
    }
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def read(data: bytes) -> Recorded:
    """Read what `written` wrote. Raises ValueError if it is anything else."""
    try:
        document = orjson.loads(data)
        stated = document["request"]
        facts = stated["facts"]
        return Recorded(
            request=Request(
                provider=_party_of(stated["provider"]),
                requester=_party_of(stated["requester"]),
                purpose=stated["purpose"],
                categories=frozenset(stated["categories"]),
                facts=None if facts is None else SubjectFacts(**facts),
                known=stated["known"],
                emergency=Emergency("") if stated["emergency"] else None,
                way=Way(stated.get("way", Way.QUERY)),
                standing=tuple(StandingRequest.from_dict(asked) for asked in stated.get("standing", ())),
                restricted=frozenset(stated.get("restricted", ())),
            ),
            considered=tuple((str(id_), int(version)) for id_, version in document["considered"]),
            at=datetime.fromisoformat(document["at"]),
            canonical=document["decision"].encode(),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a recorded decision: {error}") from None


def again(recorded: Recorded, rulebook: Rulebook, consents: Sequence[ConsentRecord]) -> Decision:
    """The decision made again by a rulebook. `consents` are those that `considered` names, in its order."""
    return decide(recorded.request, rulebook, consents, recorded.at)


def _handed_over(request: Request) -> dict[str, Any]:
    """By which way it goes and under which standing requests; nothing for a query, as it always was."""
    if request.way is Way.QUERY:
        return {}
    return {"way": request.way.value, "standing": [asked.to_dict() for asked in request.standing]}


def _facts(facts: SubjectFacts | None) -> dict[str, Any] | None:
    if facts is None:
        return None
    # Every fact is a plain value: `asdict` would copy each of them deeply, a tenth of what recording an exchange took.
    return {name: value for name in FACTS if (value := getattr(facts, name)) is not None}


def _party(party: Party) -> dict[str, Any]:
    return {
        "counties": sorted(party.counties),
        "member": party.member,
        "municipalities": sorted(party.municipalities),
        "role": party.role,
    }


def _party_of(document: dict[str, Any]) -> Party:
    return Party(
        document["role"],
        document["member"],
        frozenset(document["municipalities"]),
        frozenset(document["counties"]),
    )
