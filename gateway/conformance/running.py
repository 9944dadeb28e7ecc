"""Run tests against the target of a profile, one after the other, and say of each what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from cryptography.hazmat.primitives import serialization

from gateway.conformance.bench import Bench
from gateway.conformance.case import Case
from gateway.conformance.profile import Profile, ProfileError
from gateway.conformance.verdicts import Failed, NotGiven
from gateway.conformance.wire import Exchange, Stranger, client_context, without_secrets

#: How many of a failed test's exchanges are shown: the last ones, for there it failed.
SHOWN_EXCHANGES = 3


class Verdict(StrEnum):
    """What came of a test. `not-run` is one whose needs the profile does not give."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not-run"


@dataclass(frozen=True, slots=True)
class Result:
    """A test and what came of it. `missing` are the tables that the profile lacks."""

    case: Case
    verdict: Verdict
    expected: str = ""
    got: str = ""
    exchanges: tuple[Exchange, ...] = ()
    missing: tuple[str, ...] = ()


def run(
    profile: Profile, cases: Iterable[Case], told: Callable[[Result], None] = lambda _result: None,
    stranger: Stranger | None = None,
) -> list[Result]:  # fmt: skip
    """Run tests; `told` hears of each result when it is there. `stranger` is whom the kit plays with a certificate of
    its own making; a new one if it is None.
    """
    results = []
    chosen = stranger or Stranger.make()
    for case in cases:
        result = _run(profile, case, chosen)
        told(result)
        results.append(result)
    return results


def check(profile: Profile) -> None:
    """See that each key of the profile can be opened and fits its certificate. Raises ProfileError."""
    for where, identity in profile.identities():
        try:
            client_context(identity.certificate, identity)
            serialization.load_pem_private_key(identity.key.read_bytes(), identity.passphrase)
        except (OSError, ValueError, TypeError) as error:
            raise ProfileError(
                f"{where}: the key {identity.key} cannot be opened with its passphrase, or is not that of the"
                f" certificate ({type(error).__name__})"
            ) from None


def _run(profile: Profile, case: Case, stranger: Stranger) -> Result:
    missing = tuple(need for need in case.needs if not profile.has(need))
    if missing:
        return Result(case, Verdict.NOT_RUN, missing=missing)
    bench = Bench(profile, stranger)
    try:
        case.check(bench)
    except NotGiven as lacking:
        return Result(case, Verdict.NOT_RUN, missing=(str(lacking),))
    except Failed as failed:
        expected, got = failed.expected, failed.got
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        # The answer had another form than the test could read; that is the target's fault as much as a wrong status.
        expected, got = "an answer of the described form", f"one that cannot be read ({type(error).__name__}: {error})"
    else:
        return Result(case, Verdict.PASSED)
    shown = tuple(bench.wire.exchanges[-SHOWN_EXCHANGES:])
    return Result(case, Verdict.FAILED, without_secrets(expected), without_secrets(got), shown)
