"""The invented persons of `adapters.samples` in the other formats, written without any mapping, so that they can
judge one.

A value that was made dirty is carried on as it stands, so that the same fault is there in every format that has a
place for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from adapters.samples.fhir import fhir
from adapters.samples.values import (
    GENDERS,
    GROUNDS,
    HOUSING,
    LANGUAGES,
    MUNICIPAL_NEEDS,
    NEEDS,
    SCHOOLING,
    URGENCY,
    VULNERABLE,
    Planted,
    Row,
    by,
    count,
    iso,
    same,
    truth,
    unspaced,
)
from adapters.workbooks import XlsxForm, write_rows

#: Each column of the register, its field in the municipality's form, and how its value is written there.
_MUNICIPAL: tuple[tuple[str, str, Callable[[str], Any]], ...] = (
    ("ASIAKASNUMERO", "asiakasnumero", same),
    ("HETU", "henkilotunnus", same),
    ("SUKUNIMI", "sukunimi", same),
    ("ETUNIMET", "etunimet", same),
    ("SUKUPUOLI", "sukupuoli", by(GENDERS)),
    ("SYNTYMAAIKA", "syntymaaika", iso),
    ("PUHELIN", "puhelin", unspaced),
    ("SAHKOPOSTI", "sahkoposti", same),
    ("OSOITE", "katuosoite", same),
    ("POSTINUMERO", "postinumero", same),
    ("POSTITOIMIPAIKKA", "postitoimipaikka", same),
    ("AIDINKIELI", "aidinkieli", by(LANGUAGES)),
    ("TULKKI", "tulkki", truth),
    ("KANSALAISUUS", "kansalaisuus", same),
    ("OLESKELULUPA", "lupa", by(GROUNDS)),
    ("LUPA_PVM", "lupa_pvm", iso),
    ("KUNTA", "kunta", same),
    ("MUUTTOPAIVA", "muuttopaiva", iso),
    ("OMATOIMINEN_MUUTTO", "omatoiminen_muutto", truth),
    ("TURVAKIELTO", "turvakielto", truth),
    ("TURVAKIELTO_VASTAANOTTAJA", "turvakielto_kunta", same),
    ("HAAVOITTUVUUS", "haavoittuvassa_asemassa", truth),
    ("HAAVOITTUVUUSPERUSTE", "haavoittuvuuden_peruste", by(VULNERABLE)),
    ("PERHEKOKO", "perhekoko", count),
    ("YKSIN_TULLUT_ALAIKAINEN", "ilman_huoltajaa", truth),
    ("EDUSTAJA", "edustaja", same),
    ("HUOLTAJA", "huoltaja", same),
    ("KIIREELLISYYS", "kiireellisyys", by(URGENCY)),
    ("ASUMINEN", "asuminen", by(HOUSING)),
    ("KOULUTUS", "koulutus", by(SCHOOLING)),
    ("AMMATTI", "ammatti", same),
    ("TULOT", "tulot", count),
    ("LASTENSUOJELU", "lastensuojelu", same),
    ("TERVEYSTARPEET", "terveys", same),
)


def municipality(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The persons as the municipality's flat objects; a field without a value is left out."""
    made = []
    for row in rows:
        person = {name: write(row[column]) for column, name, write in _MUNICIPAL if row[column]}
        if row["OLESKELULUPA"] in GROUNDS:
            person["lupa_myonnetty"] = row["OLESKELULUPA"] != "VIR"
        if row["LASTEN_IAT"]:
            person["lasten_iat"] = [int(age) for age in row["LASTEN_IAT"].split("|")]
        if row["PALVELUTARPEET"]:
            person["palvelutarpeet"] = [MUNICIPAL_NEEDS.get(need, need) for need in row["PALVELUTARPEET"].split("|")]
        made.append(person)
    return made


def municipality_json(rows: Sequence[Row]) -> bytes:
    """The same as a file."""
    return json.dumps(municipality(rows), ensure_ascii=False, indent=1).encode()


def municipality_dirt(planted: Sequence[Planted]) -> list[dict[str, Any]]:
    """The planted faults as they stand in the municipality's form."""
    names = {column: name for column, name, _ in _MUNICIPAL} | {"PALVELUTARPEET": "palvelutarpeet", "": ""}
    return _carried(planted, names)


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
    **MUNICIPAL_NEEDS,
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
_FORM_NEEDS = {**MUNICIPAL_NEEDS, "TYÖ": "työllisyys", "SOSIAALITYÖ": "sosiaalityö"}

#: Each column of the register and its place in the county's document.
_COUNTY: tuple[tuple[str, str, Callable[[str], Any]], ...] = (
    ("ASIAKASNUMERO", "asiakas/asiakasnumero", same),
    ("HETU", "asiakas/henkilotunnus", same),
    ("SUKUNIMI", "asiakas/sukunimi", same),
    ("ETUNIMET", "asiakas/etunimet", same),
    ("SUKUPUOLI", "asiakas/sukupuoli", by(_WORDS["gender"])),
    ("SYNTYMAAIKA", "asiakas/syntymaaika", iso),
    ("AIDINKIELI", "asiakas/aidinkieli", by(LANGUAGES)),
    ("TULKKI", "asiakas/tulkintarve", truth),
    ("KANSALAISUUS", "asiakas/kansalaisuus", same),
    ("PUHELIN", "asiakas/yhteystiedot/puhelin", unspaced),
    ("SAHKOPOSTI", "asiakas/yhteystiedot/sahkoposti", same),
    ("OSOITE", "asiakas/yhteystiedot/katuosoite", same),
    ("POSTINUMERO", "asiakas/yhteystiedot/postinumero", same),
    ("POSTITOIMIPAIKKA", "asiakas/yhteystiedot/postitoimipaikka", same),
    ("TURVAKIELTO", "asiakas/turvakielto/voimassa", truth),
    ("TURVAKIELTO_VASTAANOTTAJA", "asiakas/turvakielto/sallittuKunta", same),
    ("OLESKELULUPA", "oleskelu/peruste", by(_WORDS["permit"])),
    ("LUPA_PVM", "oleskelu/paatospaiva", iso),
    ("KUNTA", "muutto/kuntakoodi", same),
    ("MUUTTOPAIVA", "muutto/paiva", iso),
    ("OMATOIMINEN_MUUTTO", "muutto/omatoiminen", truth),
    ("HAAVOITTUVUUS", "haavoittuvuus/todettu", truth),
    ("HAAVOITTUVUUSPERUSTE", "haavoittuvuus/peruste", by(_WORDS["ground"])),
    ("PERHEKOKO", "perhe/koko", count),
    ("YKSIN_TULLUT_ALAIKAINEN", "alaikainen/ilmanHuoltajaa", truth),
)
#: Columns that are answers of an assessment: the topic, the member that holds the answer, how it is written.
_ANSWERS: tuple[tuple[str, str, str, Callable[[str], Any]], ...] = (
    ("ASUMINEN", "asuminen", "koodi", by(_WORDS["housing"])),
    ("KOULUTUS", "koulutus", "koodi", by(_WORDS["schooling"])),
    ("AMMATTI", "ammatti", "teksti", same),
    ("TULOT", "tulot", "luku", count),
    ("LASTENSUOJELU", "lastensuojelu", "teksti", same),
    ("TERVEYSTARPEET", "terveys", "teksti", same),
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
    if row["OLESKELULUPA"] in GROUNDS:
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
    ("ASIAKASNUMERO", "Asiakasnumero", same),
    ("HETU", "Henkilötunnus", same),
    ("SUKUNIMI", "Sukunimi", same),
    ("ETUNIMET", "Etunimet", same),
    ("SUKUPUOLI", "Sukupuoli", by(_WORDS["gender"])),
    ("SYNTYMAAIKA", "Syntymäaika", same),
    ("PUHELIN", "Puhelin", unspaced),
    ("SAHKOPOSTI", "Sähköposti", same),
    ("OSOITE", "Katuosoite", same),
    ("POSTINUMERO", "Postinumero", same),
    ("POSTITOIMIPAIKKA", "Postitoimipaikka", same),
    ("AIDINKIELI", "Äidinkieli", by(LANGUAGES)),
    ("TULKKI", "Tarvitsee tulkin", by(_YES)),
    ("KANSALAISUUS", "Kansalaisuus", same),
    ("OLESKELULUPA", "Oleskelulupa", by({**_WORDS["permit"], "INH": "inhimillinen syy"})),
    ("LUPA_PVM", "Luvan päivä", same),
    ("KUNTA", "Kuntanumero", same),
    ("MUUTTOPAIVA", "Muuttopäivä", same),
    ("OMATOIMINEN_MUUTTO", "Muuttaa itse", by(_YES)),
    ("TURVAKIELTO", "Turvakielto", by(_YES)),
    ("TURVAKIELTO_VASTAANOTTAJA", "Turvakiellon kunta", same),
    ("HAAVOITTUVUUS", "Haavoittuva", by(_YES)),
    ("HAAVOITTUVUUSPERUSTE", "Haavoittuvuuden peruste", by(_WORDS["ground"])),
    ("PERHEKOKO", "Perheen koko", same),
    ("YKSIN_TULLUT_ALAIKAINEN", "Ilman huoltajaa", by(_YES)),
    ("EDUSTAJA", "Edustaja", same),
    ("HUOLTAJA", "Huoltaja", same),
    ("KIIREELLISYYS", "Kiireellisyys", by(_WORDS["urgency"])),
    ("ASUMINEN", "Asuminen", by(_WORDS["housing"])),
    ("KOULUTUS", "Koulutus", by(_WORDS["schooling"])),
    ("AMMATTI", "Ammatti", same),
    ("TULOT", "Tulot", same),
    ("LASTENSUOJELU", "Lastensuojelu", same),
    ("TERVEYSTARPEET", "Terveys", same),
)


def form(rows: Sequence[Row]) -> list[dict[str, str]]:
    """The persons as the rows of the municipality's workbook."""
    made = []
    for row in rows:
        cells = {heading: str(write(row[column])) if row[column] else "" for column, heading, write in _FORM}
        permit = row["OLESKELULUPA"]
        cells["Lupa myönnetty"] = ("ei" if permit == "VIR" else "kyllä") if permit in GROUNDS else ""
        cells["Lasten iät"] = row["LASTEN_IAT"].replace("|", ";")
        cells["Palvelutarpeet"] = ";".join(_FORM_NEEDS.get(need, need) for need in row["PALVELUTARPEET"].split("|"))
        cells["Alkuvaiheen tulot"] = cells["Lisätiedot"] = ""
        made.append(cells)
    return made


#: Each column of the register that is an OBX of the county's messages: its OBX-3, and how OBX-5 is written.
_OBSERVED: tuple[tuple[str, str, Callable[[str], Any]], ...] = (
    ("TULKKI", "TULKKI", same),
    ("OLESKELULUPA", "LUPA", by(GROUNDS)),
    ("LUPA_PVM", "LUPA-PAIVA", lambda value: iso(value).replace("-", "")),
    ("KUNTA", "MUUTTO-KUNTA", same),
    ("MUUTTOPAIVA", "MUUTTO-PAIVA", lambda value: iso(value).replace("-", "")),
    ("OMATOIMINEN_MUUTTO", "MUUTTO-OMATOIMINEN", same),
    ("TURVAKIELTO", "TURVAKIELTO", same),
    ("TURVAKIELTO_VASTAANOTTAJA", "TURVAKIELTO-KUNTA", same),
    ("HAAVOITTUVUUS", "HAAVOITTUVA", same),
    ("HAAVOITTUVUUSPERUSTE", "HAAVOITTUVUUSPERUSTE", by(VULNERABLE)),
    ("PERHEKOKO", "PERHEKOKO", same),
    ("YKSIN_TULLUT_ALAIKAINEN", "ILMAN-HUOLTAJAA", same),
    ("ASUMINEN", "ASUMINEN", by(HOUSING)),
    ("KOULUTUS", "KOULUTUS", by(SCHOOLING)),
    ("AMMATTI", "AMMATTI", same),
    ("TULOT", "TULOT", same),
    ("LASTENSUOJELU", "LASTENSUOJELU", same),
    ("TERVEYSTARPEET", "TERVEYS", same),
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
    telecom = [f"{unspaced(row['PUHELIN'])}^PRN^PH"] if row["PUHELIN"] else []
    telecom += [f"^NET^Internet^{row['SAHKOPOSTI']}"] if row["SAHKOPOSTI"] else []
    person = {
        1: "1",
        3: "~".join(numbers),
        5: f"{row['SUKUNIMI']}^{row['ETUNIMET']}",
        7: iso(row["SYNTYMAAIKA"]).replace("-", ""),
        8: {"M": "M", "N": "F"}[row["SUKUPUOLI"]],
        11: f"{row['OSOITE']}^^{row['POSTITOIMIPAIKKA']}^^{row['POSTINUMERO']}",
        13: "~".join(telecom),
        15: LANGUAGES[row["AIDINKIELI"]],
        26: row["KANSALAISUUS"],
    }
    lines.append("PID|" + "|".join(person.get(number, "") for number in range(1, 27)))
    close = [("EDUSTAJA", row["EDUSTAJA"]), ("HUOLTAJA", row["HUOLTAJA"])]
    lines += [f"NK1|{number}|{name}|{kind}" for number, (kind, name) in enumerate(close, 1) if name]
    observed = [(code, str(write(row[column]))) for column, code, write in _OBSERVED if row[column]]
    if row["OLESKELULUPA"] in GROUNDS:
        observed.append(("LUPA-MYONNETTY", "E" if row["OLESKELULUPA"] == "VIR" else "K"))
    observed += [("LAPSEN-IKA", age) for age in row["LASTEN_IAT"].split("|") if age]
    observed += [("PALVELUTARVE", NEEDS.get(need, need)) for need in row["PALVELUTARPEET"].split("|") if need]
    lines += [f"OBX|{number}|ST|{code}||{text}||||||F" for number, (code, text) in enumerate(observed, 1)]
    return "".join(f"{line}\r" for line in lines)


def _carried(planted: Sequence[Planted], names: Mapping[str, str], shift: int = 1) -> list[dict[str, Any]]:
    """The planted faults that a format has a place for, as they stand there."""
    return [
        {"key": fault["key"], "row": fault["row"] - shift, "column": names[fault["column"]], "code": fault["code"]}
        for fault in planted
        if fault["code"] not in {"column-count", "encoding", "field-missing"} and fault["column"] in names
    ]


def _need_places(rows: Sequence[Row], planted: Sequence[Planted], place: Callable[[Row, int], str]) -> dict[str, str]:
    """Where the need that does not exist stands: in the row that has it."""
    found = next(fault for fault in planted if fault["column"] == "PALVELUTARPEET")
    row = rows[found["row"] - 2]
    needs = row["PALVELUTARPEET"].split("|")
    return {"PALVELUTARPEET": place(row, next(index for index, need in enumerate(needs) if need not in NEEDS))}


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
                {**fault, "code": "code-unknown"} if fault["code"] == "not-yes-no" else fault
                for fault in _carried(planted, headings, 0)
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
