"""The client register of an invented archipelago: a CSV export with days written 05/02/1990 and addresses in two parts.

What a mapping cannot say stands here: one transform, and one step before the mapping.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from adapters.mapped import MappedAdapter
from adapters.sdk import Manifest, Mapped, Record, Text
from adapters.transforms import Transform, TransformError

_MANIFEST = Manifest(
    "archipelago",
    Text("Saariston asiakasrekisteri", "Skärgårdens klientregister", "Client register of the archipelago"),
    ("text/csv",),
    extensions=("csv",),
)


def slashed_date(value: Any) -> str:
    """A day written 05/02/1990, the day first."""
    try:
        return datetime.strptime(str(value).strip(), "%d/%m/%Y").date().isoformat()  # noqa: DTZ007 - a day has no zone
    except ValueError:
        raise TransformError("date-form") from None


def _slashed(value: Any) -> str:
    year, month, day = str(value).split("-")
    return f"{day}/{month}/{year}"


FUNCTIONS = {
    one.name: one
    for one in (
        Transform("slashed-date", "A day written 05/02/1990.", ("05/02/1990", "1990-02-05"), slashed_date, _slashed),
    )
}


class ArchipelagoAdapter(MappedAdapter):
    """The mapping, once street and number have been put together."""

    def to_canonical(self, record: Record) -> Mapped:
        """See Adapter."""
        parts = [str(record.fields.get(name) or "").strip() for name in ("Gata", "Nummer")]
        fields = {**record.fields, "Adress": " ".join(part for part in parts if part)}
        return super().to_canonical(replace(record, fields=fields))


def adapter() -> ArchipelagoAdapter:
    """The adapter, as `yhdyspinta.adapters` finds it."""
    return ArchipelagoAdapter(_MANIFEST, __name__, "mapping.yaml", functions=FUNCTIONS)
