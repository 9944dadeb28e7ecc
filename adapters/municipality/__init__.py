"""A municipality's integration system: one flat JSON object for each person, or a workbook with a row for each; read
and written by the same mappings.
"""

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
_XLSX = Manifest(
    "municipality-xlsx",
    Text("Kunnan lomake (XLSX)", "Kommunens blankett (XLSX)", "Municipal form, XLSX"),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",),
    writes=True,
    extensions=("xlsx",),
)


def json_adapter() -> MappedAdapter:
    """The flat JSON form."""
    return MappedAdapter(_JSON, __name__, "json.yaml")


def xlsx_adapter() -> MappedAdapter:
    """The workbook."""
    return MappedAdapter(_XLSX, __name__, "xlsx.yaml")
