"""A wellbeing services county's client information system: social-care documents in JSON, and HL7 v2 messages.

Both imitate the shape of such systems from public knowledge; they are no vendor's format.
"""

from __future__ import annotations

from adapters.mapped import MappedAdapter
from adapters.sdk import Manifest, Text

_JSON = Manifest(
    "county-json",
    Text(
        "Hyvinvointialueen asiakasasiakirja (JSON)",
        "Välfärdsområdets klienthandling (JSON)",
        "County social-care document, JSON",
    ),
    ("application/vnd.yhdyspinta.social-care+json",),
    writes=True,
    extensions=("json",),
)
_HL7 = Manifest(
    "county-hl7",
    Text(
        "Hyvinvointialueen lähete- ja potilassanomat (HL7 v2)",
        "Välfärdsområdets remiss- och patientmeddelanden (HL7 v2)",
        "County referral and patient messages, HL7 v2",
    ),
    ("application/hl7-v2+er7", "x-application/hl7-v2+er7"),
    writes=True,
    extensions=("hl7",),
)


def json_adapter() -> MappedAdapter:
    """The social-care document."""
    return MappedAdapter(_JSON, __name__, "json.yaml")


def hl7_adapter() -> MappedAdapter:
    """The messages."""
    return MappedAdapter(_HL7, __name__, "hl7.yaml")
