"""Samples that the scaffold has not seen: other systems' column names, delimiters, encodings, formats. All invented."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

CHECKS = "0123456789ABCDEFHJKLMNPRSTUVWXY"


@dataclass(frozen=True)
class Unseen:
    """A sample, its bytes, and what a person who reads it would say that its recognisable columns are."""

    name: str
    file: str
    data: bytes
    truth: dict[str, str]
    noise: tuple[str, ...]


def hetu(born: date, number: int) -> str:
    digits = f"{born:%d%m%y}{number:03d}"
    return f"{born:%d%m%y}{'A' if born.year >= 2000 else '-'}{number:03d}{CHECKS[int(digits) % 31]}"


def written(rows: Sequence[dict[str, str]], delimiter: str, encoding: str) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode(encoding)


def people(seed: int, count: int) -> list[tuple[random.Random, int, date]]:
    draw = random.Random(seed)
    return [(draw, index, date(1960, 1, 1) + timedelta(days=draw.randrange(20_000))) for index in range(count)]


def abbreviated_finnish() -> Unseen:
    """A spreadsheet's export with tabulators, in UTF-16, by someone who abbreviates."""
    rows = []
    for draw, index, born in people(11, 24):
        rows.append(
            {
                "As.nro": f"V{5000 + index}",
                "Hetu": hetu(born, 900 + index) if index % 4 else "",
                "Snimi": draw.choice(["Azimi", "Uldra", "Ihalö", "Ustan"]),
                "Kutsumanimi": draw.choice(["Salim", "Rina", "Mira", "Noria"]),
                "Synt.pvm": f"{born.day}.{born.month}.{born.year}",
                "SP": draw.choice(["M", "N"]),
                "Puh.nro": f"040 {draw.randrange(1000000, 9999999)}",
                "S-posti": f"v{index}@example.fi",
                "Lähiosoite": f"Hiekkatie {index + 1}",
                "Postinro": draw.choice(["48100", "45100"]),
                "PTP": draw.choice(["KOTKA", "KOUVOLA"]),
                "Äid.kieli": draw.choice(["arabia", "dari", "somali", "ukraina"]),
                "Tulkin tarve": draw.choice(["K", "E"]),
                "Kans.maa": draw.choice(["SYR", "AFG", "SOM"]),
                "Lupatyyppi": draw.choice(["Turvapaikka", "Kiintiö", "Perheside"]),
                "Päätöspvm": f"{1 + index}.9.2026",
                "Uusi kunta": draw.choice(["Kotka", "Kouvola", "Hamina"]),
                "Muuttopvm": f"{1 + index}.12.2026",
                "Perheen koko": str(draw.randrange(1, 7)),
                "Tuen tarpeet": draw.choice(["asunto/kielikurssi", "terveys", "koulu/asunto", "neuvola"]),
                "Kenkäkoko": str(draw.randrange(36, 46)),
                "Päivitetty": "2026-11-20",
            }
        )
    truth = {
        "As.nro": "customer-number",
        "Hetu": "identity-code",
        "Snimi": "family-name",
        "Kutsumanimi": "given-names",
        "Synt.pvm": "birth-date",
        "SP": "gender",
        "Puh.nro": "phone",
        "S-posti": "email",
        "Lähiosoite": "street",
        "Postinro": "postal-code",
        "PTP": "city",
        "Äid.kieli": "language",
        "Tulkin tarve": "interpreter",
        "Kans.maa": "citizenship",
        "Lupatyyppi": "permit-ground",
        "Päätöspvm": "permit-date",
        "Uusi kunta": "municipality",
        "Muuttopvm": "move-date",
        "Perheen koko": "family-size",
        "Tuen tarpeet": "service-needs",
        "Päivitetty": "edited",
    }
    return Unseen("itaraja", "vienti.txt", written(rows, "\t", "utf-16"), truth, ("Kenkäkoko",))


def swedish_windows() -> Unseen:
    """A Swedish register's export with commas and quotation marks, in windows-1252, named after whose they are."""
    rows = []
    for draw, index, born in people(12, 24):
        rows.append(
            {
                "KlientID": f"FÖ-{300 + index}".replace("Ö", "O"),
                "KlientensEfternamn": draw.choice(["Åström-Azimi", "Öresk", "Ovar"]),
                "KlientensFörnamn": draw.choice(["Salim Tov", "Mira", "Rina Noria"]),
                "Födelsedatum": born.isoformat(),
                "Kön": draw.choice(["man", "kvinna"]),
                "Mobilnr": f"+35840{draw.randrange(1000000, 9999999)}",
                "Epostadress": f"k{index}@example.fi",
                "Närmaste adress": f"Sandvägen {index}",
                "Post-nr": "65100",
                "Ort": "Vasa",
                "Kontaktspråk": draw.choice(["ukrainska", "arabiska", "persiska"]),
                "Tolkbehov": draw.choice(["ja", "nej"]),
                "Nationalitet": draw.choice(["UA", "SY", "IR"]),
                "Tillståndsgrund": draw.choice(["asyl", "tillfälligt skydd", "kvot"]),
                "Beslutsdag": f"2026-09-{1 + index:02d}",
                "Kommunkod": draw.choice(["905", "853"]),
                "Utflyttningsdatum": f"2026-12-{1 + index:02d}",
                "Spärrmarkerad": draw.choice(["nej", "ja"]),
                "Antal i familjen": str(draw.randrange(1, 6)),
                "Barnens ålder": draw.choice(["3;7", "", "12"]),
                "Yrke": draw.choice(["snickare", "sömmerska", ""]),
                "Behov av stöd": draw.choice(["bostad;språkkurs", "hälsovård", "skola;bostad"]),
                "Akthylla": f"B{index}",
            }
        )
    truth = {
        "KlientID": "customer-number",
        "KlientensEfternamn": "family-name",
        "KlientensFörnamn": "given-names",
        "Födelsedatum": "birth-date",
        "Kön": "gender",
        "Mobilnr": "phone",
        "Epostadress": "email",
        "Närmaste adress": "street",
        "Post-nr": "postal-code",
        "Ort": "city",
        "Kontaktspråk": "language",
        "Tolkbehov": "interpreter",
        "Nationalitet": "citizenship",
        "Tillståndsgrund": "permit-ground",
        "Beslutsdag": "permit-date",
        "Kommunkod": "municipality",
        "Utflyttningsdatum": "move-date",
        "Spärrmarkerad": "safety-prohibition",
        "Antal i familjen": "family-size",
        "Barnens ålder": "child-ages",
        "Yrke": "occupation",
        "Behov av stöd": "service-needs",
    }
    return Unseen("kustregistret", "export.csv", written(rows, ",", "windows-1252"), truth, ("Akthylla",))


def english_json() -> Unseen:
    """An English API's answer: camel case, booleans, lists, objects in objects."""
    records = []
    for draw, index, born in people(13, 24):
        records.append(
            {
                "clientRef": f"C{index:04d}",
                "person": {
                    "surname": draw.choice(["Uldra", "Azimi", "Ihal"]),
                    "forenames": draw.choice(["Salim", "Mira Noria"]),
                    "dateOfBirth": born.isoformat(),
                    "sex": draw.choice(["male", "female"]),
                    "finnishIdentityCode": hetu(born, 930 + index % 60),
                    "nationality": draw.choice(["SYR", "UKR"]),
                },
                "contact": {
                    "mobilePhone": f"040{draw.randrange(1000000, 9999999)}",
                    "emailAddress": f"c{index}@example.fi",
                },
                "address": {"streetAddress": f"Sand Road {index}", "zipCode": "33100", "town": "Tampere"},
                "spokenLanguage": draw.choice(["Arabic", "Ukrainian", "Dari"]),
                "interpreterNeeded": draw.choice([True, False]),
                "permit": {"permitType": draw.choice(["asylum", "quota"]), "grantedOn": f"2026-09-{1 + index:02d}"},
                "move": {
                    "destinationMunicipality": draw.choice(["837", "091"]),
                    "movingDate": f"2026-12-{1 + index:02d}",
                },
                "householdSize": draw.randrange(1, 6),
                "childrenAges": draw.choice([[3, 7], [], [11]]),
                "unaccompaniedMinor": False,
                "supportNeeds": draw.choice([["housing", "language course"], ["health care"], []]),
                "shelf": f"S{index}",
            }
        )
    truth = {
        "clientRef": "customer-number",
        "person/surname": "family-name",
        "person/forenames": "given-names",
        "person/dateOfBirth": "birth-date",
        "person/sex": "gender",
        "person/finnishIdentityCode": "identity-code",
        "person/nationality": "citizenship",
        "contact/mobilePhone": "phone",
        "contact/emailAddress": "email",
        "address/streetAddress": "street",
        "address/zipCode": "postal-code",
        "address/town": "city",
        "spokenLanguage": "language",
        "interpreterNeeded": "interpreter",
        "permit/permitType": "permit-ground",
        "permit/grantedOn": "permit-date",
        "move/destinationMunicipality": "municipality",
        "move/movingDate": "move-date",
        "householdSize": "family-size",
        "childrenAges": "child-ages",
        "unaccompaniedMinor": "unaccompanied",
        "supportNeeds": "service-needs",
    }
    data = json.dumps(records, ensure_ascii=False, indent=1).encode()
    return Unseen("lakeside-api", "clients.json", data, truth, ("shelf",))


def finnish_xml() -> Unseen:
    """An XML export with attributes and elements that repeat."""
    from lxml import etree

    root = etree.Element("Vienti")
    for draw, index, born in people(14, 24):
        client = etree.SubElement(root, "Hakija", tunnus=f"H{index:03d}")
        person = etree.SubElement(client, "Nimi")
        etree.SubElement(person, "Suku").text = draw.choice(["Azimi", "Ovär"])
        etree.SubElement(person, "Etu").text = draw.choice(["Salim", "Mira Rina"])
        etree.SubElement(client, "Syntynyt").text = f"{born.day}.{born.month}.{born.year}"
        etree.SubElement(client, "Sukupuoli").text = draw.choice(["mies", "nainen"])
        etree.SubElement(client, "Kieli").text = draw.choice(["tigrinja", "ranska", "swahili"])
        address = etree.SubElement(client, "Osoite")
        etree.SubElement(address, "Katu").text = f"Myllyrinne {index}"
        etree.SubElement(address, "Postinumero").text = "20100"
        etree.SubElement(address, "Postitoimipaikka").text = "Turku"
        etree.SubElement(client, "Kotikunta").text = "853"
        etree.SubElement(client, "Lupaperuste").text = draw.choice(["toissijainen suojelu", "turvapaikka"])
        for need in draw.choice([("asunto",), ("asunto", "koulu"), ("neuvola", "kielikurssi")]):
            etree.SubElement(client, "Tarve").text = need
    truth = {
        "@tunnus": "customer-number",
        "Nimi/Suku": "family-name",
        "Nimi/Etu": "given-names",
        "Syntynyt": "birth-date",
        "Sukupuoli": "gender",
        "Kieli": "language",
        "Osoite/Katu": "street",
        "Osoite/Postinumero": "postal-code",
        "Osoite/Postitoimipaikka": "city",
        "Kotikunta": "municipality",
        "Lupaperuste": "permit-ground",
        "Tarve": "service-needs",
    }
    data: bytes = etree.tostring(root, xml_declaration=True, encoding="ISO-8859-1")
    return Unseen("saaristo", "vienti.xml", data, truth, ())


def english_workbook() -> Unseen:
    """A caseworker's own workbook: a cover sheet first, real dates and numbers in its cells."""
    import openpyxl

    book = openpyxl.Workbook()
    book.active.title = "Cover"
    book.active["A1"] = "Clients of the house"
    sheet = book.create_sheet("Clients")
    truth = {
        "Client no": "customer-number",
        "Last name": "family-name",
        "First names": "given-names",
        "DOB": "birth-date",
        "Sex": "gender",
        "Mobile": "phone",
        "Language": "language",
        "Needs interpreter": "interpreter",
        "Permit type": "permit-ground",
        "Municipality": "municipality",
        "Moving date": "move-date",
        "Household": "family-size",
        "Support needs": "service-needs",
    }
    sheet.append([*truth, "Locker"])
    for draw, index, born in people(15, 24):
        sheet.append(
            [
                f"W{index:03d}",
                draw.choice(["Uldra", "Azimi"]),
                draw.choice(["Salim", "Mira Noria"]),
                born,
                draw.choice(["F", "M"]),
                f"040{draw.randrange(1000000, 9999999)}",
                draw.choice(["Arabic", "Somali", "Dari"]),
                draw.choice(["yes", "no"]),
                draw.choice(["asylum", "quota"]),
                draw.choice(["Tampere", "Lahti"]),
                date(2026, 12, 1) + timedelta(days=index),
                draw.randrange(1, 6),
                draw.choice(["housing; language course", "school", "health care; housing"]),
                index,
            ]
        )
    out = io.BytesIO()
    book.save(out)
    return Unseen("house-book", "clients.xlsx", out.getvalue(), truth, ("Locker",))


ALL = (abbreviated_finnish, swedish_windows, english_json, finnish_xml, english_workbook)
