"""A reception centre's client register: its CSV export in windows-1252, and its XML export.

Both imitate the shape of such registers from public knowledge; they are no vendor's format.
"""

from __future__ import annotations

from adapters.mapped import MappedAdapter
from adapters.sdk import Manifest, Text

_CSV = Manifest(
    "reception-centre-csv",
    Text("Vastaanottokeskuksen asiakasrekisteri (CSV)", "Förläggningens klientregister (CSV)", "Reception centre, CSV"),
    ("text/csv",),
    writes=True,
    extensions=("csv",),
)
_XML = Manifest(
    "reception-centre-xml",
    Text("Vastaanottokeskuksen asiakasrekisteri (XML)", "Förläggningens klientregister (XML)", "Reception centre, XML"),
    ("application/xml", "text/xml"),
    writes=True,
    extensions=("xml",),
)


def csv_adapter() -> MappedAdapter:
    """The CSV export."""
    return MappedAdapter(_CSV, __name__, "csv.yaml")


def xml_adapter() -> MappedAdapter:
    """The XML export."""
    return MappedAdapter(_XML, __name__, "xml.yaml")
