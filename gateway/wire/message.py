"""The claims of a signed message, and their JSON.

A request says who asks whom for what, why, and under which rules; a response says what was decided and to which request
it belongs. Both carry the sender's latest log checkpoint, so that every message makes its receiver a witness.
Reading is strict: a claim that is missing, unknown or not exactly of its form is a ProblemError that names it.
Source: RFC 7519 (iss, aud, jti, iat, exp); RFC 9530 (digest form); RFC 9562 (UUIDv7); C2SP tlog-checkpoint.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from gateway.wire.decided import DecisionSummary
from gateway.wire.identifiers import IdentifierError, ServiceId, SubsystemId
from gateway.wire.problems import ProblemError

_Id = TypeVar("_Id", SubsystemId, ServiceId)

_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_DIGEST = re.compile(r"sha-256=:[A-Za-z0-9+/]{43}=:")
_METHOD = re.compile(r"[A-Z]{1,16}")
_TARGET = re.compile(r"/[\x21-\x7e]{0,4095}")
_MEDIA_TYPE = re.compile(r"[\x20-\x7e]{0,255}")
_CODE = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*(?:/[a-z0-9]+(?:-[a-z0-9]+)*)?")
_TOKEN = re.compile(r"[\x21-\x7e]{1,128}")
_REFERENCE = re.compile("[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,128}")
_ORIGIN = re.compile(r"[^\s+\x00-\x1f\x7f]{1,255}")
MESSAGE_VERSIONS = (1, 2, 3)
"""The versions of what travels that this node takes: 3 states by which words an answer goes; 2 by which words a
delivery goes, and no more; 1 states whole records, with a delivery only.
"""
_TIME_LIMIT = 253_402_300_799  # 9999-12-31T23:59:59Z
_CATEGORY_LIMIT = 128
_WORD_MEMBERS, _WORD_TEXT = 16, 300
Words = Mapping[str, Mapping[str, str]]
"""By which word of the person each category goes, as it travels."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a log had come: its origin, its size in entries and the hash (32 bytes) of its Merkle tree."""

    origin: str
    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class RequestClaims:
    """What a request says. Times are UTC in whole seconds; what is less than a second is dropped."""

    issuer: SubsystemId
    audience: ServiceId
    message_id: str
    issued_at: datetime
    expires_at: datetime
    method: str
    target: str
    content_type: str
    digest: str
    purpose: str
    categories: frozenset[str]
    rulebook: str
    checkpoint: Checkpoint
    case: str | None = None
    user: str | None = None

    def __post_init__(self) -> None:
        """Cut the times to the seconds that the wire carries."""
        object.__setattr__(self, "issued_at", _whole(self.issued_at))
        object.__setattr__(self, "expires_at", _whole(self.expires_at))

    def to_json(self) -> bytes:
        """The claims as UTF-8 JSON, ready to be signed."""
        claims: dict[str, Any] = {
            "iss": str(self.issuer),
            "aud": str(self.audience),
            "jti": self.message_id,
            "iat": int(self.issued_at.timestamp()),
            "exp": int(self.expires_at.timestamp()),
            "mth": self.method,
            "tgt": self.target,
            "cty": self.content_type,
            "dig": self.digest,
            "pur": self.purpose,
            "cat": sorted(self.categories),
            "rul": self.rulebook,
            "log": _print_checkpoint(self.checkpoint),
        }
        if self.case is not None:
            claims["cas"] = self.case
        if self.user is not None:
            claims["usr"] = self.user
        return _print(claims)

    @classmethod
    def from_claims(cls, claims: Mapping[str, Any]) -> RequestClaims:
        """Read parsed JSON. Raises ProblemError `claim-missing`, `claim-unknown` or `claim-invalid`."""
        reader = _Reader(claims, _REQUEST_MEMBERS, _REQUEST_OPTIONAL)
        return cls(
            issuer=reader.identifier("iss", SubsystemId.parse),
            audience=reader.identifier("aud", ServiceId.parse),
            message_id=reader.text("jti", _UUID7),
            issued_at=reader.time("iat"),
            expires_at=reader.time("exp"),
            method=reader.text("mth", _METHOD),
            target=reader.text("tgt", _TARGET),
            content_type=reader.text("cty", _MEDIA_TYPE),
            digest=reader.text("dig", _DIGEST),
            purpose=reader.text("pur", _CODE),
            categories=reader.categories("cat"),
            rulebook=reader.text("rul", _TOKEN),
            checkpoint=reader.checkpoint("log"),
            case=reader.optional("cas", _REFERENCE),
            user=reader.optional("usr", _TOKEN),
        )


@dataclass(frozen=True, slots=True)
class ResponseClaims:
    """A response. `request` is the digest of the request's JWS text; `decision` is None if there was none.

    `words` is by which word of the person each category goes, where the asker takes that: see `handover.carrying`.
    """

    issuer: ServiceId
    audience: SubsystemId
    issued_at: datetime
    request: str
    status: int
    content_type: str
    digest: str
    checkpoint: Checkpoint
    decision: DecisionSummary | None = None
    words: Words | None = None

    def __post_init__(self) -> None:
        """Cut the time to the seconds that the wire carries."""
        object.__setattr__(self, "issued_at", _whole(self.issued_at))

    def to_json(self) -> bytes:
        """The claims as UTF-8 JSON, ready to be signed."""
        claims: dict[str, Any] = {
            "iss": str(self.issuer),
            "aud": str(self.audience),
            "iat": int(self.issued_at.timestamp()),
            "req": self.request,
            "sts": self.status,
            "cty": self.content_type,
            "dig": self.digest,
            "log": _print_checkpoint(self.checkpoint),
        }
        if self.decision is not None:
            claims["dec"] = {
                "id": self.decision.id,
                "dig": self.decision.digest,
                "per": sorted(self.decision.permitted),
                "wit": dict(self.decision.withheld),
            }
        if self.words is not None:
            claims["wrd"] = {category: dict(word) for category, word in self.words.items()}
        return _print(claims)

    @classmethod
    def from_claims(cls, claims: Mapping[str, Any]) -> ResponseClaims:
        """Read parsed JSON. Raises ProblemError `claim-missing`, `claim-unknown` or `claim-invalid`."""
        reader = _Reader(claims, _RESPONSE_MEMBERS, _RESPONSE_OPTIONAL)
        return cls(
            issuer=reader.identifier("iss", ServiceId.parse),
            audience=reader.identifier("aud", SubsystemId.parse),
            issued_at=reader.time("iat"),
            request=reader.text("req", _DIGEST),
            status=reader.number("sts", 100, 599),
            content_type=reader.text("cty", _MEDIA_TYPE),
            digest=reader.text("dig", _DIGEST),
            checkpoint=reader.checkpoint("log"),
            decision=reader.decision("dec"),
            words=reader.words("wrd"),
        )


_REQUEST_OPTIONAL = frozenset({"cas", "usr"})
_REQUEST_MEMBERS = _REQUEST_OPTIONAL | {
    "iss", "aud", "jti", "iat", "exp", "mth", "tgt", "cty", "dig", "pur", "cat", "rul", "log",
}  # fmt: skip
_RESPONSE_OPTIONAL = frozenset({"dec", "wrd"})
_RESPONSE_MEMBERS = _RESPONSE_OPTIONAL | {"iss", "aud", "iat", "req", "sts", "cty", "dig", "log"}


class _Reader:
    """Takes claims out of parsed JSON, and refuses what is not exactly of its form."""

    __slots__ = ("_claims",)

    def __init__(self, claims: Mapping[str, Any], members: frozenset[str], optional: frozenset[str]) -> None:
        if claims.keys() != members:
            # Sorted, so that the same message is always refused for the same claim.
            for name in sorted(claims.keys() - members):
                raise ProblemError(
                    "claim-unknown",
                    pointer="/" + (name if _CODE.fullmatch(name) else "?"),
                    detail="the message has a claim that this version of the protocol does not know",
                    remedy="leave it out",
                )
            for name in sorted(members - optional - claims.keys()):
                raise ProblemError(
                    "claim-missing", pointer=f"/{name}", detail=f"the claim {name} is missing", remedy="add it"
                )
        self._claims = claims

    def text(self, name: str, form: re.Pattern[str]) -> str:
        return _formed(name, self._claims[name], form)

    def optional(self, name: str, form: re.Pattern[str]) -> str | None:
        return self.text(name, form) if name in self._claims else None

    def number(self, name: str, least: int, most: int) -> int:
        value = self._claims[name]
        if type(value) is not int or not least <= value <= most:
            raise _invalid(name, f"the claim is not a whole number from {least} to {most}")
        return value

    def time(self, name: str) -> datetime:
        return datetime.fromtimestamp(self.number(name, 0, _TIME_LIMIT), UTC)

    def identifier(self, name: str, parse: Callable[[str], _Id]) -> _Id:
        value = self._claims[name]
        if not isinstance(value, str):
            raise _invalid(name, "the claim is not an identifier")
        try:
            parsed = parse(value)
        except IdentifierError as error:
            raise _invalid(name, str(error)) from None
        if str(parsed) != value:
            raise _invalid(name, "the identifier is not in its canonical spelling")
        return parsed

    def categories(self, name: str) -> frozenset[str]:
        return _codes(name, self._claims[name])

    def checkpoint(self, name: str) -> Checkpoint:
        value = self._claims[name]
        if not isinstance(value, dict) or value.keys() != {"origin", "size", "root"}:
            raise _invalid(name, "a checkpoint has the members origin, size and root")
        origin, size, root = value["origin"], value["size"], value["root"]
        if not isinstance(origin, str) or _ORIGIN.fullmatch(origin) is None:
            raise _invalid(f"{name}/origin", "an origin is a short text without blanks or plus signs")
        if type(size) is not int or size < 0:
            raise _invalid(f"{name}/size", "a size is a whole number")
        return Checkpoint(origin, size, _hash(f"{name}/root", root))

    def words(self, name: str) -> Words | None:
        if name not in self._claims:
            return None
        value = self._claims[name]
        if not isinstance(value, dict) or len(value) > _CATEGORY_LIMIT:
            raise _invalid(name, f"the claim is not an object of at most {_CATEGORY_LIMIT} categories")
        if not all(_is_word(category, said) for category, said in value.items()):
            raise _invalid(name, "under the code of each category stand the texts of one word")
        return value

    def decision(self, name: str) -> DecisionSummary | None:
        if name not in self._claims:
            return None
        value = self._claims[name]
        if not isinstance(value, dict) or value.keys() != {"id", "dig", "per", "wit"}:
            raise _invalid(name, "a decision has the members id, dig, per and wit")
        withheld = value["wit"]
        if not isinstance(withheld, dict):
            raise _invalid(f"{name}/wit", "withheld categories are an object of category and code")
        _codes(f"{name}/wit", list(withheld))
        for code in withheld.values():
            if not isinstance(code, str) or _CODE.fullmatch(code) is None:
                raise _invalid(f"{name}/wit", "a withheld category has a code")
        return DecisionSummary(
            _formed(f"{name}/id", value["id"], _TOKEN),
            _formed(f"{name}/dig", value["dig"], _DIGEST),
            _codes(f"{name}/per", value["per"]),
            tuple(sorted(withheld.items())),
        )


def _is_word(category: str, said: object) -> bool:
    """Whether something has the outer form of a word under a category; what it says, its reader judges."""
    return (
        _CODE.fullmatch(category) is not None
        and isinstance(said, dict)
        and len(said) <= _WORD_MEMBERS
        and all(isinstance(text, str) and len(text) <= _WORD_TEXT for text in said.values())
    )


def _formed(name: str, value: object, form: re.Pattern[str]) -> str:
    if not isinstance(value, str) or form.fullmatch(value) is None:
        raise _invalid(name, "the claim does not have the form that the protocol gives it")
    return value


def _codes(name: str, value: object) -> frozenset[str]:
    if not isinstance(value, list) or len(value) > _CATEGORY_LIMIT:
        raise _invalid(name, f"the claim is not a list of at most {_CATEGORY_LIMIT} categories")
    if not all(isinstance(item, str) and _CODE.fullmatch(item) for item in value):
        raise _invalid(name, "the list holds something that is not a category code")
    codes = frozenset(value)
    if len(codes) != len(value):
        raise _invalid(name, "a category stands twice in the list")
    return codes


def _hash(name: str, value: object) -> bytes:
    try:
        decoded = binascii.a2b_base64(value, strict_mode=True) if isinstance(value, str) else b""
    except ValueError:
        decoded = b""
    if len(decoded) != 32 or base64.b64encode(decoded).decode("ascii") != value:
        raise _invalid(name, "a hash is 32 bytes in base64")
    return decoded


def _print_checkpoint(checkpoint: Checkpoint) -> dict[str, str | int]:
    root = base64.b64encode(checkpoint.root).decode("ascii")
    return {"origin": checkpoint.origin, "size": checkpoint.size, "root": root}


_PRINTER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def _print(claims: dict[str, Any]) -> bytes:
    return _PRINTER.encode(claims).encode("utf-8")


def _whole(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)


def _invalid(name: str, detail: str) -> ProblemError:
    return ProblemError("claim-invalid", pointer=f"/{name}", detail=detail, remedy="follow the claim table")
