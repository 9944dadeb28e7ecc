"""Write what the demo's three organisations offer one another, for `registry enrol --services`, and where they serve.

Run inside the image: `python offers.py FOLDER` writes `centre.services.json`, `kotka.services.json`,
`kymenlaakso.services.json` and `territories.json`, all taken from the reference rulebook and the demo's organisations.
"""

import json
import sys
from pathlib import Path
from typing import Any

from consent.rulebook import load, reference_rulebook
from gateway.demo.organisations import DEMO, INSTANCE, Organisation
from schemas.identifiers import HETU, MIGRI_CUSTOMER
from texts import Text

_RULEBOOK = load(reference_rulebook(), source="reference rulebook")
_CATEGORIES = sorted(_RULEBOOK.categories)


def _named(title: Text) -> dict[str, str]:
    return {"fi": title.fi, "sv": title.sv, "en": title.en}


def _service(code: str, kind: str, title: Text, purposes: set[str], **more: Any) -> dict[str, Any]:
    named = {"code": code, "kind": kind, "title": _named(title)}
    return {**named, "purposes": sorted(purposes), "categories": _CATEGORIES, **more}


def offered(organisation: Organisation) -> dict[str, Any]:
    """The services of one organisation, in the form of the registry's `services.json`."""
    handed = {part.purpose for flow in _RULEBOOK.flows.values() for part in flow.deliveries}
    if "reception-centre" in organisation.roles:
        title = Text("Palvelutarpeet", "Servicebehov", "Service needs")
        located = {"schema": "Bundle", "locator": [HETU, MIGRI_CUSTOMER], "keep_bodies": True}
        own = _service("palvelutarve", "query", title, {"service-need-lookup", "municipal-placement"}, **located)
    else:
        title = Text("Saapuvat", "Inkommande", "Inbox")
        own = _service("saapuvat", "inbox", title, handed, schema="Bundle", keep_bodies=True)
    acceptances = Text("Hyväksynnät", "Godkännanden", "Acceptances")
    notices = Text("Ilmoitukset", "Meddelanden", "Notices")
    services = [
        own,
        _service("hyvaksynnat", "acceptance", acceptances, set(_RULEBOOK.purposes)),
        _service("ilmoitukset", "notice", notices, {"withdrawal-notice"}),
    ]
    return {"subsystems": [{"subsystem": _subsystem(organisation), "services": services}]}


def _subsystem(organisation: Organisation) -> str:
    return f"{INSTANCE}/{organisation.member}/{organisation.subsystem}"


def territories(organisations: dict[str, Organisation]) -> dict[str, Any]:
    """The county and the municipality that the demo is about, with who receives for them."""
    county, municipality = organisations["kymenlaakso"], organisations["kotka"]
    return {
        "format": 1,
        "counties": [
            {"code": county.county, "name": _named(county.title), "subsystem": _subsystem(county)},
        ],
        "municipalities": [
            {
                "code": municipality.municipalities[0],
                "name": _named(municipality.title),
                "county": county.county,
                "subsystem": _subsystem(municipality),
            },
        ],
    }


def main(folder: Path) -> None:
    """Write the files."""
    organisations = {found.name: found for found in DEMO if found.name in ("centre", "kotka", "kymenlaakso")}
    for name, organisation in organisations.items():
        (folder / f"{name}.services.json").write_text(json.dumps(offered(organisation), indent=1), "utf-8")
    (folder / "territories.json").write_text(json.dumps(territories(organisations), indent=1), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
