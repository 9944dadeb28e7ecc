"""What a node's answers are: signed, bound to the request, and silent about persons where nothing may be told."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.conformance.bench import Bench, expect, expect_equal, expect_refusal, expect_silence
from gateway.conformance.case import case
from gateway.conformance.message import RESPONSE_TYPE, digest
from gateway.conformance.peers import Asked, Peer, expect_signed_refusal, is_checkpoint, stranger_question
from gateway.conformance.verdicts import Failed

_TOLERANCE = 5
_LIFETIME = 65


def _answered(bench: Bench) -> tuple[Peer, Asked]:
    """The question of the profile, and an answer to it."""
    peer = Peer.at(bench, bench.node)
    asked = peer.ask(peer.known())
    expect(asked.answer, 200)
    return peer, asked


def _claims(bench: Bench) -> tuple[Peer, Asked, Mapping[str, Any]]:
    peer, asked = _answered(bench)
    return peer, asked, asked.opened.claims


@case("NODE-6")
def signed(bench: Bench) -> None:
    """Asks the question of the profile and verifies the answer's signature with the certificates of the profile."""
    peer, asked = _answered(bench)
    opened = asked.opened
    if not any(opened.verifies(certificate) for certificate in peer.certificates()):
        raise Failed("a signature of one of the listed certificates", f"header {dict(opened.header)}")


@case("NODE-7")
def three_members(bench: Bench) -> None:
    """Reads the protected header of an answer."""
    header = _answered(bench)[1].opened.header
    expect_equal("members", ["alg", "typ", "x5t#S256"], sorted(header))
    expect_equal("typ", RESPONSE_TYPE, header["typ"])
    if header["alg"] not in {"ES256", "EdDSA"}:
        raise Failed("ES256 or EdDSA", str(header["alg"]))


@case("NODE-8")
def bound_to_the_request(bench: Bench) -> None:
    """Compares the answer's `req` with the digest of the message that was sent."""
    _, asked, claims = _claims(bench)
    expect_equal("req", digest(asked.message.encode()), claims.get("req"))


@case("NODE-9")
def signs_its_body(bench: Bench) -> None:
    """Compares the answer's `dig` and `cty` with what was received."""
    _, asked, claims = _claims(bench)
    expect_equal("dig", digest(asked.answer.body), claims.get("dig"))
    expect_equal("cty", asked.answer.header("content-type"), claims.get("cty"))


@case("NODE-10")
def names_both(bench: Bench) -> None:
    """Reads `iss` and `aud` of an answer."""
    peer, _, claims = _claims(bench)
    expect_equal("iss", peer.service("query"), claims.get("iss"))
    expect_equal("aud", peer.member.subsystem, claims.get("aud"))


@case("NODE-11")
def says_when(bench: Bench) -> None:
    """Holds the answer's `iat` against the kit's clock, and `sts` against the status of HTTP."""
    _, asked, claims = _claims(bench)
    now, issued = time.time(), claims.get("iat")
    if type(issued) is not int or not now - _LIFETIME < issued <= now + _TOLERANCE:
        raise Failed("a time at most 5 seconds ahead and 65 behind", str(issued))
    expect_equal("sts", asked.answer.status, claims.get("sts"))


@case("NODE-12")
def states_its_log(bench: Bench) -> None:
    """Reads the answer's claims."""
    claims = _claims(bench)[2]
    wanted = {"iss", "aud", "iat", "req", "sts", "cty", "dig", "log"}
    if claims.keys() - {"dec", "wrd"} != wanted:
        raise Failed(f"the claims {', '.join(sorted(wanted))}, and perhaps dec and wrd", ", ".join(sorted(claims)))
    if not is_checkpoint(claims["log"]):
        raise Failed("a checkpoint of exactly origin, size and root", str(claims["log"]))


@case("NODE-13")
def no_more_than_asked(bench: Bench) -> None:
    """Compares the permitted categories of the answer with those that were asked for."""
    claims = _claims(bench)[2]
    decided = claims.get("dec")
    if not isinstance(decided, dict) or decided.keys() != {"id", "dig", "per", "wit"}:
        raise Failed("dec with exactly id, dig, per and wit", str(decided))
    asked = bench.question.categories
    beyond = [
        category
        for category in decided["per"]
        if not any(category == wanted or category.startswith(f"{wanted}/") for wanted in asked)
    ]
    if beyond:
        raise Failed(f"nothing beyond {', '.join(asked)}", ", ".join(beyond))


@case("NODE-14")
def refusals_are_signed(bench: Bench) -> None:
    """Asks for a purpose that the service is not declared for, and reads the signed refusal."""
    peer = Peer.at(bench, bench.node)
    asked = peer.ask(replace(peer.known(), purpose="no-such-purpose"))
    expect_signed_refusal(asked, 403, code="purpose-not-declared")


@case("NODE-15")
def nobody(bench: Bench) -> None:
    """Asks about a new person, of whom no source knows."""
    peer = Peer.at(bench, bench.node)
    draft = stranger_question(peer)
    answer = peer.ask(draft).answer
    expect_refusal(answer, 404, code="not-available")
    expect_silence(answer, draft.document["subject"]["value"], '"entry"', '"Patient"')


@case("NODE-16")
def alike(bench: Bench) -> None:
    """Asks about two new persons, and compares status, code, title, detail, and which members the answers have."""
    peer = Peer.at(bench, bench.node)
    said = []
    for _ in range(2):
        answer = peer.ask(stranger_question(peer)).answer
        document = answer.document
        # The value of a member that names the answer itself, such as a reference, may differ.
        told = [document.get(name) for name in ("code", "title", "detail")]
        said.append([answer.status, *told, sorted(document)])
    expect_equal("the second answer", *said)


@case("NODE-17")
def unknown_category(bench: Bench) -> None:
    """Asks for a category that no rulebook has."""
    peer = Peer.at(bench, bench.node)
    expect_signed_refusal(
        peer.ask(replace(peer.known(), categories=("no-such-category",))), 422, code="category-unknown"
    )


@case("NODE-18")
def unknown_service(bench: Bench) -> None:
    """Asks a service of the target's subsystem that the registry does not list."""
    peer = Peer.at(bench, bench.node)
    service = f"{peer.service('query').rpartition('/')[0]}/no-such-service"
    asked = peer.ask(replace(peer.known(), service=service))
    expect(asked.answer, 404)
    expect_equal("code", "service-unknown", asked.answer.code)


@case("NODE-19")
def without_a_person(bench: Bench) -> None:
    """Asks with an empty object as the body."""
    peer = Peer.at(bench, bench.node)
    expect_signed_refusal(peer.ask(replace(peer.known(), document={})), 400, 422)
