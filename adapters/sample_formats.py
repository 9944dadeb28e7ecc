"""The invented persons of `adapters.samples` in the other formats, written without any mapping, so that they can
judge one.

A value that was made dirty is carried on as it stands, so that the same fault is there in every format that has a
place for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from adapters.workbooks import XlsxForm, write_rows

Row = Mapping[str, str]
Planted = Mapping[str, Any]

_NEEDS = {
    "ASUNTO": "housing",
    "KIELIKOULUTUS": "language-training",
    "PERUSOPETUS": "basic-education",
    "TYÖ": "employment-services",
    "OHJAUS": "early-guidance",
    "SOSIAALITYÖ": "social-work",
    "VAMMAISPALVELU": "disability-services",
    "TERVEYS": "basic-health-care",
    "MIELENTERVEYS": "mental-health-services",
    "KUNTOUTUS": "torture-rehabilitation",
    "NEUVOLA": "maternity-care",
    "LASTENSUOJELU": "child-welfare",
    "EDUSTAJA": "representative",
    "ALKUTOIMEENTULO": "early-income-support",
}
_MUNICIPAL_NEEDS = {
    "ASUNTO": "asunto",
    "KIELIKOULUTUS": "kielikoulutus",
    "PERUSOPETUS": "perusopetus",
    "TYÖ": "tyollisyys",
    "OHJAUS": "ohjaus",
    "SOSIAALITYÖ": "sosiaalityo",
    "VAMMAISPALVELU": "vammaispalvelu",
    "TERVEYS": "terveys",
    "MIELENTERVEYS": "mielenterveys",
    "KUNTOUTUS": "kuntoutus",
    "NEUVOLA": "neuvola",
    "LASTENSUOJELU": "lastensuojelu",
    "EDUSTAJA": "edustaja",
    "ALKUTOIMEENTULO": "alkutoimeentulo",
}
_LANGUAGES = {
    "ukraina": "uk",
    "venäjä": "ru",
    "arabia": "ar",
    "dari": "prs",
    "pashto": "ps",
    "somali": "so",
    "sorani": "ckb",
    "tigrinja": "ti",
}
_GROUNDS = {
    "TP": "asylum-granted",
    "TS": "subsidiary-protection",
    "KP": "quota-refugee",
    "TILK": "temporary-protection-with-home-municipality",
    "INH": "humanitarian",
    "VIR": "pending",
}
_GENDERS = {"M": "male", "N": "female"}
_URGENCY = {"K1": "routine", "K2": "urgent", "K3": "asap"}
_HOUSING = {"VOK": "reception-centre", "YKS": "private"}
_SCHOOLING = {"0": "none", "L": "literacy", "P": "primary", "T": "secondary", "K": "tertiary"}
_VULNERABLE = {
    "KIDUTUS": "torture",
    "VAMMA": "disability",
    "VÄKIVALTA": "violence",
    "ILMAN-HUOLTAJAA": "unaccompanied",
}


def iso(value: str) -> str:
    """A Finnish day as ISO 8601 writes it; a day that is none stays none."""
    day, month, year = value.split(".")
    return f"{year}-{int(month):02d}-{int(day):02d}"


def _by(table: Mapping[str, str]) -> Callable[[str], Any]:
    return lambda value: table.get(value, value)


def _truth(value: str) -> Any:
    return {"K": True, "E": False}.get(value, value)


def _count(value: str) -> Any:
    return int(value) if value.isdigit() else value


def _unspaced(value: str) -> str:
    return value.replace(" ", "") if any(letter.isdigit() for letter in value) else value


def _same(value: str) -> Any:
    return value


#: Each column of the register, its field in the municipality's form, and how its value is written there.
_MUNICIPAL: tuple[tuple[str, str, Callable[[str], Any]], ...] = (
    ("ASIAKASNUMERO", "asiakasnumero", _same),
    ("HETU", "henkilotunnus", _same),
    ("SUKUNIMI", "sukunimi", _same),
    ("ETUNIMET", "etunimet", _same),
    ("SUKUPUOLI", "sukupuoli", _by(_GENDERS)),
    ("SYNTYMAAIKA", "syntymaaika", iso),
    ("PUHELIN", "puhelin", _unspaced),
    ("SAHKOPOSTI", "sahkoposti", _same),
    ("OSOITE", "katuosoite", _same),
    ("POSTINUMERO", "postinumero", _same),
    ("POSTITOIMIPAIKKA", "postitoimipaikka", _same),
    ("AIDINKIELI", "aidinkieli", _by(_LANGUAGES)),
    ("TULKKI", "tulkki", _truth),
    ("KANSALAISUUS", "kansalaisuus", _same),
    ("OLESKELULUPA", "lupa", _by(_GROUNDS)),
    ("LUPA_PVM", "lupa_pvm", iso),
    ("KUNTA", "kunta", _same),
    ("MUUTTOPAIVA", "muuttopaiva", iso),
    ("OMATOIMINEN_MUUTTO", "omatoiminen_muutto", _truth),
    ("TURVAKIELTO", "turvakielto", _truth),
    ("TURVAKIELTO_VASTAANOTTAJA", "turvakielto_kunta", _same),
    ("HAAVOITTUVUUS", "haavoittuvassa_asemassa", _truth),
    ("HAAVOITTUVUUSPERUSTE", "haavoittuvuuden_peruste", _by(_VULNERABLE)),
    ("PERHEKOKO", "perhekoko", _count),
    ("YKSIN_TULLUT_ALAIKAINEN", "ilman_huoltajaa", _truth),
    ("EDUSTAJA", "edustaja", _same),
    ("HUOLTAJA", "huoltaja", _same),
    ("KIIREELLISYYS", "kiireellisyys", _by(_URGENCY)),
    ("ASUMINEN", "asuminen", _by(_HOUSING)),
    ("KOULUTUS", "koulutus", _by(_SCHOOLING)),
    ("AMMATTI", "ammatti", _same),
    ("TULOT", "tulot", _count),
    ("LASTENSUOJELU", "lastensuojelu", _same),
    ("TERVEYSTARPEET", "terveys", _same),
)


def municipality(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The persons as the municipality's flat objects; a field without a value is left out."""
    made = []
    for row in rows:
        person = {name: write(row[column]) for column, name, write in _MUNICIPAL if row[column]}
        if row["OLESKELULUPA"] in _GROUNDS:
            person["lupa_myonnetty"] = row["OLESKELULUPA"] != "VIR"
        if row["LASTEN_IAT"]:
            person["lasten_iat"] = [int(age) for age in row["LASTEN_IAT"].split("|")]
        if row["PALVELUTARPEET"]:
            person["palvelutarpeet"] = [_MUNICIPAL_NEEDS.get(need, need) for need in row["PALVELUTARPEET"].split("|")]
        made.append(person)
    return made


def municipality_json(rows: Sequence[Row]) -> bytes:
    """The same as a file."""
    return json.dumps(municipality(rows), ensure_ascii=False, indent=1).encode()


def municipality_dirt(planted: Sequence[Planted]) -> list[dict[str, Any]]:
    """The planted faults as they stand in the municipality's form."""
    names = {column: name for column, name, _ in _MUNICIPAL} | {"PALVELUTARPEET": "palvelutarpeet", "": ""}
    return [
        {"key": one["key"], "row": one["row"] - 1, "column": names[one["column"]], "code": one["code"]}
        for one in planted
        if one["code"] not in {"column-count", "encoding", "field-missing"}
    ]


_WORDS = {
    "gender": {"M": "mies", "N": "nainen"},
    "permit": {
        "TP": "turvapaikka",
        "TS": "toissijainen suojelu",
        "KP": "kiintiöpakolainen",
        "TILK": "tilapäinen suojelu ja kotikunta",
        "INH": "yksilöllinen inhimillinen syy",
        "VIR": "päätös puuttuu",
    },
    "urgency": {"K1": "kiireetön", "K2": "kiireellinen", "K3": "erittäin kiireellinen"},
    "housing": {"VOK": "vastaanottokeskus", "YKS": "yksityismajoitus"},
    "schooling": {
        "0": "ei koulutusta",
        "L": "luku- ja kirjoitustaito",
        "P": "perusaste",
        "T": "toinen aste",
        "K": "korkea-aste",
    },
    "ground": {"KIDUTUS": "kidutus", "VAMMA": "vamma", "VÄKIVALTA": "väkivalta", "ILMAN-HUOLTAJAA": "ilman huoltajaa"},
}
_YES = {"K": "kyllä", "E": "ei"}
_COUNTY_NEEDS = {
    **_MUNICIPAL_NEEDS,
    "TYÖ": "työllisyyspalvelut",
    "OHJAUS": "alkuvaiheen ohjaus",
    "SOSIAALITYÖ": "sosiaalityö",
    "VAMMAISPALVELU": "vammaispalvelut",
    "TERVEYS": "perusterveydenhuolto",
    "MIELENTERVEYS": "mielenterveyspalvelut",
    "KUNTOUTUS": "kidutettujen kuntoutus",
    "EDUSTAJA": "edustajan määrääminen",
    "ALKUTOIMEENTULO": "alkuvaiheen toimeentulo",
}
_FORM_NEEDS = {**_MUNICIPAL_NEEDS, "TYÖ": "työllisyys", "SOSIAALITYÖ": "sosiaalityö"}

#: Each column of the register and its place in the county's document.
_COUNTY: tuple[tuple[str, str, Callable[[str], Any]], ...] = (
    ("ASIAKASNUMERO", "asiakas/asiakasnumero", _same),
    ("HETU", "asiakas/henkilotunnus", _same),
    ("SUKUNIMI", "asiakas/sukunimi", _same),
    ("ETUNIMET", "asiakas/etunimet", _same),
    ("SUKUPUOLI", "asiakas/sukupuoli", _by(_WORDS["gender"])),
    ("SYNTYMAAIKA", "asiakas/syntymaaika", iso),
    ("AIDINKIELI", "asiakas/aidinkieli", _by(_LANGUAGES)),
    ("TULKKI", "asiakas/tulkintarve", _truth),
    ("KANSALAISUUS", "asiakas/kansalaisuus", _same),
    ("PUHELIN", "asiakas/yhteystiedot/puhelin", _unspaced),
    ("SAHKOPOSTI", "asiakas/yhteystiedot/sahkoposti", _same),
    ("OSOITE", "asiakas/yhteystiedot/katuosoite", _same),
    ("POSTINUMERO", "asiakas/yhteystiedot/postinumero", _same),
    ("POSTITOIMIPAIKKA", "asiakas/yhteystiedot/postitoimipaikka", _same),
    ("TURVAKIELTO", "asiakas/turvakielto/voimassa", _truth),
    ("TURVAKIELTO_VASTAANOTTAJA", "asiakas/turvakielto/sallittuKunta", _same),
    ("OLESKELULUPA", "oleskelu/peruste", _by(_WORDS["permit"])),
    ("LUPA_PVM", "oleskelu/paatospaiva", iso),
    ("KUNTA", "muutto/kuntakoodi", _same),
    ("MUUTTOPAIVA", "muutto/paiva", iso),
    ("OMATOIMINEN_MUUTTO", "muutto/omatoiminen", _truth),
    ("HAAVOITTUVUUS", "haavoittuvuus/todettu", _truth),
    ("HAAVOITTUVUUSPERUSTE", "haavoittuvuus/peruste", _by(_WORDS["ground"])),
    ("PERHEKOKO", "perhe/koko", _count),
    ("YKSIN_TULLUT_ALAIKAINEN", "alaikainen/ilmanHuoltajaa", _truth),
)
#: Columns that are answers of an assessment: the topic, the member that holds the answer, how it is written.
_ANSWERS: tuple[tuple[str, str, str, Callable[[str], Any]], ...] = (
    ("ASUMINEN", "asuminen", "koodi", _by(_WORDS["housing"])),
    ("KOULUTUS", "koulutus", "koodi", _by(_WORDS["schooling"])),
    ("AMMATTI", "ammatti", "teksti", _same),
    ("TULOT", "tulot", "luku", _count),
    ("LASTENSUOJELU", "lastensuojelu", "teksti", _same),
    ("TERVEYSTARPEET", "terveys", "teksti", _same),
)


def county(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The persons as the county's social-care documents."""
    return [_document(row, index) for index, row in enumerate(rows)]


def _document(row: Row, index: int) -> dict[str, Any]:
    document: dict[str, Any] = {"asiakirja": {"tyyppi": "palvelutarpeen arviointi", "versio": 1}}
    for column, path, write in _COUNTY:
        if row[column]:
            *parents, last = path.split("/")
            holder = document
            for name in parents:
                holder = holder.setdefault(name, {})
            holder[last] = write(row[column])
    if row["OLESKELULUPA"] in _GROUNDS:
        document["oleskelu"]["myonnetty"] = row["OLESKELULUPA"] != "VIR"
    if row["LASTEN_IAT"]:
        document["perhe"]["lastenIat"] = [int(age) for age in row["LASTEN_IAT"].split("|")]
    close = [("edustaja", row["EDUSTAJA"]), ("huoltaja", row["HUOLTAJA"])]
    if any(name for _, name in close):
        document["laheiset"] = [{"suhde": kind, "nimi": name} for kind, name in close if name]
    urgency = _WORDS["urgency"].get(row["KIIREELLISYYS"], row["KIIREELLISYYS"])
    document["palvelutarpeet"] = [
        {"luokka": _COUNTY_NEEDS.get(need, need), "kiireellisyys": urgency}
        | ({"kuvaus": "Arvioitu yhdessä asiakkaan kanssa."} if (index + number) % 5 == 0 else {})
        for number, need in enumerate(row["PALVELUTARPEET"].split("|"))
    ]
    document["arviot"] = [
        {"aihe": topic, member: write(row[column])} for column, topic, member, write in _ANSWERS if row[column]
    ]
    if row["TERVEYSTARPEET"].startswith("astma"):
        document["diagnoosit"] = [{"koodi": "J45.9", "nimi": "Astma"}]
    if index % 7 == 0:
        document["suunnitelma"] = {"otsikko": "Asiakassuunnitelma", "alkaa": "2026-12-01", "paattyy": "2027-11-30"}
        document["asiakirja"]["laadittu"] = "2026-11-24"
    return document


#: Each column of the register and its heading in the municipality's workbook.
_FORM: tuple[tuple[str, str, Callable[[str], Any]], ...] = (
    ("ASIAKASNUMERO", "Asiakasnumero", _same),
    ("HETU", "Henkilötunnus", _same),
    ("SUKUNIMI", "Sukunimi", _same),
    ("ETUNIMET", "Etunimet", _same),
    ("SUKUPUOLI", "Sukupuoli", _by(_WORDS["gender"])),
    ("SYNTYMAAIKA", "Syntymäaika", _same),
    ("PUHELIN", "Puhelin", _unspaced),
    ("SAHKOPOSTI", "Sähköposti", _same),
    ("OSOITE", "Katuosoite", _same),
    ("POSTINUMERO", "Postinumero", _same),
    ("POSTITOIMIPAIKKA", "Postitoimipaikka", _same),
    ("AIDINKIELI", "Äidinkieli", _by(_LANGUAGES)),
    ("TULKKI", "Tarvitsee tulkin", _by(_YES)),
    ("KANSALAISUUS", "Kansalaisuus", _same),
    ("OLESKELULUPA", "Oleskelulupa", _by({**_WORDS["permit"], "INH": "inhimillinen syy"})),
    ("LUPA_PVM", "Luvan päivä", _same),
    ("KUNTA", "Kuntanumero", _same),
    ("MUUTTOPAIVA", "Muuttopäivä", _same),
    ("OMATOIMINEN_MUUTTO", "Muuttaa itse", _by(_YES)),
    ("TURVAKIELTO", "Turvakielto", _by(_YES)),
    ("TURVAKIELTO_VASTAANOTTAJA", "Turvakiellon kunta", _same),
    ("HAAVOITTUVUUS", "Haavoittuva", _by(_YES)),
    ("HAAVOITTUVUUSPERUSTE", "Haavoittuvuuden peruste", _by(_WORDS["ground"])),
    ("PERHEKOKO", "Perheen koko", _same),
    ("YKSIN_TULLUT_ALAIKAINEN", "Ilman huoltajaa", _by(_YES)),
    ("EDUSTAJA", "Edustaja", _same),
    ("HUOLTAJA", "Huoltaja", _same),
    ("KIIREELLISYYS", "Kiireellisyys", _by(_WORDS["urgency"])),
    ("ASUMINEN", "Asuminen", _by(_WORDS["housing"])),
    ("KOULUTUS", "Koulutus", _by(_WORDS["schooling"])),
    ("AMMATTI", "Ammatti", _same),
    ("TULOT", "Tulot", _same),
    ("LASTENSUOJELU", "Lastensuojelu", _same),
    ("TERVEYSTARPEET", "Terveys", _same),
)


def form(rows: Sequence[Row]) -> list[dict[str, str]]:
    """The persons as the rows of the municipality's workbook."""
    made = []
    for row in rows:
        cells = {heading: str(write(row[column])) if row[column] else "" for column, heading, write in _FORM}
        permit = row["OLESKELULUPA"]
        cells["Lupa myönnetty"] = ("ei" if permit == "VIR" else "kyllä") if permit in _GROUNDS else ""
        cells["Lasten iät"] = row["LASTEN_IAT"].replace("|", ";")
        cells["Palvelutarpeet"] = ";".join(_FORM_NEEDS.get(need, need) for need in row["PALVELUTARPEET"].split("|"))
        cells["Alkuvaiheen tulot"] = cells["Lisätiedot"] = ""
        made.append(cells)
    return made


#: Each column of the register that is an OBX of the county's messages: its OBX-3, and how OBX-5 is written.
_OBSERVED: tuple[tuple[str, str, Callable[[str], Any]], ...] = (
    ("TULKKI", "TULKKI", _same),
    ("OLESKELULUPA", "LUPA", _by(_GROUNDS)),
    ("LUPA_PVM", "LUPA-PAIVA", lambda value: iso(value).replace("-", "")),
    ("KUNTA", "MUUTTO-KUNTA", _same),
    ("MUUTTOPAIVA", "MUUTTO-PAIVA", lambda value: iso(value).replace("-", "")),
    ("OMATOIMINEN_MUUTTO", "MUUTTO-OMATOIMINEN", _same),
    ("TURVAKIELTO", "TURVAKIELTO", _same),
    ("TURVAKIELTO_VASTAANOTTAJA", "TURVAKIELTO-KUNTA", _same),
    ("HAAVOITTUVUUS", "HAAVOITTUVA", _same),
    ("HAAVOITTUVUUSPERUSTE", "HAAVOITTUVUUSPERUSTE", _by(_VULNERABLE)),
    ("PERHEKOKO", "PERHEKOKO", _same),
    ("YKSIN_TULLUT_ALAIKAINEN", "ILMAN-HUOLTAJAA", _same),
    ("ASUMINEN", "ASUMINEN", _by(_HOUSING)),
    ("KOULUTUS", "KOULUTUS", _by(_SCHOOLING)),
    ("AMMATTI", "AMMATTI", _same),
    ("TULOT", "TULOT", _same),
    ("LASTENSUOJELU", "LASTENSUOJELU", _same),
    ("TERVEYSTARPEET", "TERVEYS", _same),
)


def hl7(rows: Sequence[Row]) -> bytes:
    """The persons as HL7 v2 messages, REF^I12 and ADT^A08 in turn, one after the other."""
    return "".join(_message(row, index) for index, row in enumerate(rows)).encode()


def _message(row: Row, index: int) -> str:
    kind = "REF^I12^REF_I12" if index % 2 == 0 else "ADT^A08^ADT_A01"
    system = "MSH|^~\\&|ASIAKASTIETO|ESIMERKKIALUE"
    lines = [f"{system}|||20261124080000+0200||{kind}|M{index + 1:05d}|P|2.5.1|||||FIN|UNICODE UTF-8"]
    urgency = {"K1": "R", "K2": "U", "K3": "A"}.get(row["KIIREELLISYYS"], row["KIIREELLISYYS"])
    lines.append(f"RF1||{urgency}" if row["KIIREELLISYYS"] else "RF1|")
    lines.append("PRD|RP|Esimerkki^Elli")
    numbers = [f"{row['HETU']}^^^^NNFIN"] if row["HETU"] else []
    numbers.append(f"{row['ASIAKASNUMERO']}^^^MIGRI^PI")
    telecom = [f"{_unspaced(row['PUHELIN'])}^PRN^PH"] if row["PUHELIN"] else []
    telecom += [f"^NET^Internet^{row['SAHKOPOSTI']}"] if row["SAHKOPOSTI"] else []
    person = {
        1: "1",
        3: "~".join(numbers),
        5: f"{row['SUKUNIMI']}^{row['ETUNIMET']}",
        7: iso(row["SYNTYMAAIKA"]).replace("-", ""),
        8: {"M": "M", "N": "F"}[row["SUKUPUOLI"]],
        11: f"{row['OSOITE']}^^{row['POSTITOIMIPAIKKA']}^^{row['POSTINUMERO']}",
        13: "~".join(telecom),
        15: _LANGUAGES[row["AIDINKIELI"]],
        26: row["KANSALAISUUS"],
    }
    lines.append("PID|" + "|".join(person.get(number, "") for number in range(1, 27)))
    close = [("EDUSTAJA", row["EDUSTAJA"]), ("HUOLTAJA", row["HUOLTAJA"])]
    lines += [f"NK1|{number}|{name}|{kind}" for number, (kind, name) in enumerate(close, 1) if name]
    observed = [(code, str(write(row[column]))) for column, code, write in _OBSERVED if row[column]]
    if row["OLESKELULUPA"] in _GROUNDS:
        observed.append(("LUPA-MYONNETTY", "E" if row["OLESKELULUPA"] == "VIR" else "K"))
    observed += [("LAPSEN-IKA", age) for age in row["LASTEN_IAT"].split("|") if age]
    observed += [("PALVELUTARVE", _NEEDS.get(need, need)) for need in row["PALVELUTARPEET"].split("|") if need]
    lines += [f"OBX|{number}|ST|{code}||{text}||||||F" for number, (code, text) in enumerate(observed, 1)]
    return "".join(f"{line}\r" for line in lines)


def fhir(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The persons as R4 bundles of another system: ids of its own, full URLs, the Finnish profiles' extensions."""
    return [_r4(row, index) for index, row in enumerate(rows)]


def _extension(name: str, *parts: tuple[str, str, Any]) -> dict[str, Any]:
    return {
        "url": f"urn:yhdyspinta:extension:{name}",
        "extension": [{"url": url, kind: value} for url, kind, value in parts if value not in ("", None)],
    }


def _coding(system: str, code: str) -> dict[str, str]:
    return {"system": f"urn:yhdyspinta:codes:{system}", "code": code}


def _r4(row: Row, index: int) -> dict[str, Any]:
    person = f"urn:uuid:00000000-0000-4000-8000-{index:012d}"
    official = "https://hl7.fi/fhir/finnish-base-profiles/"
    kinds = "http://terminology.hl7.org/CodeSystem/v2-0203"
    permit = _GROUNDS.get(row["OLESKELULUPA"], row["OLESKELULUPA"])
    patient: dict[str, Any] = {
        "resourceType": "Patient",
        "id": f"p{index}",
        "meta": {"profile": [official + "StructureDefinition/fi-base-patient"]},
        "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">-</div>'},
        "extension": [
            {
                "url": official + "StructureDefinition/municipality-code",
                "valueCoding": {"system": "urn:oid:1.2.246.537.6.21.2003", "code": row["KUNTA"]},
            },
            _extension(
                "residence-permit",
                ("ground", "valueCoding", _coding("permit-ground", permit)),
                ("granted", "valueBoolean", row["OLESKELULUPA"] != "VIR"),
                ("decided", "valueDate", iso(row["LUPA_PVM"]) if row["LUPA_PVM"] else ""),
            ),
            _extension(
                "move",
                ("date", "valueDate", iso(row["MUUTTOPAIVA"])),
                ("independent", "valueBoolean", row["OMATOIMINEN_MUUTTO"] == "K"),
            ),
            _extension("family", ("size", "valueInteger", int(row["PERHEKOKO"]))),
        ],
        "identifier": [{"system": "urn:yhdyspinta:id:migri-customer", "value": row["ASIAKASNUMERO"]}],
        "active": True,
        "name": [{"use": "official", "family": row["SUKUNIMI"], "given": row["ETUNIMET"].split()}],
        "gender": _GENDERS[row["SUKUPUOLI"]],
        "birthDate": iso(row["SYNTYMAAIKA"]),
        "telecom": [{"system": "phone", "use": "mobile", "value": _unspaced(row["PUHELIN"])}],
        "address": [
            {
                "use": "home",
                "line": [row["OSOITE"]],
                "postalCode": row["POSTINUMERO"],
                "city": row["POSTITOIMIPAIKKA"],
            }
        ],
        "communication": [
            {
                "language": {"coding": [{"system": "urn:ietf:bcp:47", "code": _LANGUAGES[row["AIDINKIELI"]]}]},
                "preferred": True,
            }
        ],
    }
    if row["HETU"]:
        code = {"use": "official", "type": {"coding": [{"system": kinds, "code": "NNFIN"}]}}
        patient["identifier"].insert(0, {**code, "system": "urn:oid:1.2.246.21", "value": row["HETU"]})
    if row["TURVAKIELTO"] == "K":
        label = {"system": official + "CodeSystem/fi-base-security-label-cs", "code": "TURVAKIELTO"}
        patient["meta"]["security"] = [label]
    if not row["SUKUNIMI"]:
        del patient["name"][0]["family"]
    entries = [{"fullUrl": person, "resource": patient}]
    for number, need in enumerate(row["PALVELUTARPEET"].split("|")):
        request = {
            "resourceType": "ServiceRequest",
            "id": f"s{index}-{number}",
            "status": "active",
            "intent": "proposal",
            "code": {"coding": [_coding("service-need", _NEEDS.get(need, need))]},
            "subject": {"reference": person},
            "priority": _URGENCY.get(row["KIIREELLISYYS"], row["KIIREELLISYYS"]),
            "authoredOn": "2026-11-24T08:00:00+02:00",
        }
        entries.append({"fullUrl": f"https://example.fi/fhir/ServiceRequest/s{index}-{number}", "resource": request})
    return {"resourceType": "Bundle", "id": f"b-{row['ASIAKASNUMERO']}", "type": "collection", "entry": entries}


def _carried(planted: Sequence[Planted], names: Mapping[str, str], shift: int = 1) -> list[dict[str, Any]]:
    """The planted faults that a format has a place for, as they stand there."""
    return [
        {"key": one["key"], "row": one["row"] - shift, "column": names[one["column"]], "code": one["code"]}
        for one in planted
        if one["code"] not in {"column-count", "encoding", "field-missing"} and one["column"] in names
    ]


def _need_places(rows: Sequence[Row], planted: Sequence[Planted], place: Callable[[Row, int], str]) -> dict[str, str]:
    """Where the need that does not exist stands: in the row that has it."""
    found = next(one for one in planted if one["column"] == "PALVELUTARPEET")
    row = rows[found["row"] - 2]
    needs = row["PALVELUTARPEET"].split("|")
    return {"PALVELUTARPEET": place(row, next(index for index, need in enumerate(needs) if need not in _NEEDS))}


def all_of(rows: Sequence[Row], planted: Sequence[Planted]) -> dict[str, tuple[str, bytes, list[dict[str, Any]]]]:
    """By the adapter's name: the file, its content, and the planted faults in the order of its records."""
    documents = {column: path for column, path, _ in _COUNTY} | {"": ""}
    documents |= _need_places(rows, planted, lambda _, index: f"palvelutarpeet[{index + 1}]/luokka")
    headings = {column: heading for column, heading, _ in _FORM} | {"": "", "PALVELUTARPEET": "Palvelutarpeet"}
    cells = form(rows)
    return {
        "municipality-json": ("municipality.json", municipality_json(rows), municipality_dirt(planted)),
        "municipality-xlsx": (
            "municipality.xlsx",
            write_rows(cells, list(cells[0]), XlsxForm("Lomake", "Asiakasnumero")),
            # The workbook has words for yes and no, so that another word is an unknown code there.
            [
                {**one, "code": "code-unknown"} if one["code"] == "not-yes-no" else one
                for one in _carried(planted, headings, 0)
            ],
        ),
        "county-json": (
            "county.json",
            json.dumps(county(rows), ensure_ascii=False, indent=1).encode(),
            _carried(planted, documents),
        ),
        "county-hl7": ("county.hl7", hl7(rows), _carried(planted, _HL7_PLACES)),
        "fhir-r4": ("fhir-r4.json", json.dumps(fhir(rows), ensure_ascii=False).encode(), _carried(planted, _R4_PLACES)),
    }


_HL7_PLACES = {
    "HETU": "PID-3[1]/1",
    "PUHELIN": "PID-13[1]/1",
    "POSTINUMERO": "PID-11.5",
    "SYNTYMAAIKA": "PID-7.1",
    "": "",
}
_R4_PLACES = {
    "HETU": "/entry/0/resource/identifier/0/value",
    "SYNTYMAAIKA": "/entry/0/resource/birthDate",
    "KUNTA": "/entry/0/resource/extension",
}
