"""Standing requests as their member's word: signed by it, and believed with a signature that the registry vouches for.

The signature is a compact JWS over the request's JSON, of a type of its own, so that no other text that a member signed
can be taken for one. It counts as long as the registry lists the certificate and the certificate's time runs: when a
member changes its key, it signs its standing requests anew. Source: RFC 7515; Act 906/2019, section 22.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

import orjson

from consent.rules.standing import StandingRequest
from gateway.wire.identifiers import IdentifierError, MemberId
from gateway.wire.problems import ProblemError
from gateway.wire.signing import KeyLookup, Signer, Verifier, open_statement, sign_statement

TYPE: Final = "yhdyspinta-standing-request+jwt"
_LIMIT: Final = 64 * 1024


def signed(request: StandingRequest, signer: Signer) -> StandingRequest:
    """The request with its member's signature."""
    return replace(request, signature=sign_statement(TYPE, _said(request), signer))


def is_vouched(request: StandingRequest, keys: KeyLookup, now: datetime) -> bool:
    """Whether the request's own member has signed exactly this, with a key that counts at that moment."""
    try:
        member = MemberId.parse(request.member)
        author, said = open_statement(TYPE, request.signature, Verifier(keys, now, _LIMIT))
    except (ProblemError, IdentifierError):
        return False
    # What was signed is what is published: another purpose or more categories would be nobody's request.
    return author == member and orjson.dumps(said, option=orjson.OPT_SORT_KEYS) == _said(request)


def _said(request: StandingRequest) -> bytes:
    return orjson.dumps(replace(request, signature="").to_dict(), option=orjson.OPT_SORT_KEYS)
