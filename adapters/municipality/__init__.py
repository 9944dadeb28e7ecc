"""A municipality's integration system: one flat JSON object for each person, read and written by the same mapping."""

from __future__ import annotations

from adapters.mapped import MappedAdapter
from adapters.sdk import Manifest, Text

_JSON = Manifest(
    "municipality-json",
    Text("Kunnan kotoutumisjärjestelmä (JSON)", "Kommunens integrationssystem (JSON)", "Municipal integration system"),
    ("application/json",),
    writes=True,
    extensions=("json",),
)


def json_adapter() -> MappedAdapter:
    """The flat JSON form."""
    return MappedAdapter(_JSON, __name__, "json.yaml")
