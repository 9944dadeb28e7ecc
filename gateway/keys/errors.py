"""Why something is not trusted: one error with a code for each reason."""

from __future__ import annotations

from typing import Literal

TrustCode = Literal[
    "registry-unavailable",  # nothing could be fetched and nothing is kept
    "registry-expired",  # what is there is past its time: the mirror is frozen, or was not refreshed
    "registry-rolled-back",  # an older version was served than one already seen
    "registry-unsigned",  # too few valid signatures of the role's keys
    "registry-altered",  # a file is not the one that was signed
    "registry-malformed",  # signed, but not in the form that nodes read
    "registry-foreign",  # the registry of another instance
    "certificate-claimed-twice",
    "certificate-malformed",
    "certificate-chain",  # issued by none of the registry's anchors
    "certificate-key-usage",
    "certificate-key-kind",  # neither P-256 nor Ed25519
    "certificate-expired",
    "certificate-not-yet-valid",
    "key-unreadable",  # wrong passphrase, wrong PIN, or no such key
    "key-mismatch",  # the key is not that of the certificate
    "request-malformed",
    "request-refused",
    "evidence-malformed",
    "evidence-incomplete",  # this node does not hold all that makes the evidence
    "evidence-unsound",  # what the evidence says does not hold
    "timestamp-refused",
]


class TrustError(Exception):
    """Something that cannot be trusted; `code` says in which way, `detail` what was seen, `remedy` what would help."""

    def __init__(self, code: TrustCode, detail: str, remedy: str = "") -> None:
        self.code: TrustCode = code
        self.detail = detail
        self.remedy = remedy
        super().__init__(f"{code}: {detail}" + (f" ({remedy})" if remedy else ""))
