"""What the systems of identifiers are called at the command line."""

from __future__ import annotations

from typing import Final

from schemas.identifiers import HETU, LOCAL, MIGRI_CUSTOMER

SYSTEMS: Final = {"hetu": HETU, "migri": MIGRI_CUSTOMER, "local": LOCAL}
