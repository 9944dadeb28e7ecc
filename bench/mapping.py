"""How fast a mapping maps, against the same record mapped by hand, and whether memory stays flat on a large file.

The hand-written mapping does what the compiled one does, in the plainest Python: the same checks, the same bundle, the
same validation, the origin of each value. The file of a million records is made while it is read.
"""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from adapters.keys import Keys
from adapters.samples import COLUMNS, samples_rows
from adapters.sdk import Limits, Origin, Position, Record, load
from adapters.transforms import TRANSFORMS
from bench.figures import Figure, ratio
from schemas.catalogue import catalogue

ROUNDS = 7
REPEATS = 150
#: Mapping a million records takes minutes and tells no more of memory than mapping some of them.
MAPPED_ONE_IN = 50
CODES = "urn:yhdyspinta:codes:"


def run() -> list[Figure]:
    """Map one record over and over, by the mapping and by hand, in turn; then files of a thousand and a million."""
    adapter = load("reception-centre-csv")
    record = Record("DEMO-1001", samples_rows(40)[0], Position(row=2))
    compiled = adapter.to_canonical(record)
    assert compiled.bundle == by_hand(record)[0], "the hand-written mapping must make the same bundle"
    assert dict(compiled.provenance) == by_hand(record)[1], "and know the same origins"
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(_rate(lambda: adapter.to_canonical(record)))
        theirs.append(_rate(lambda: by_hand(record)))
    return [
        ratio(
            "mapping",
            "records mapped, validated and traced to their cells",
            "/s",
            ours,
            "the same by hand",
            theirs,
            goal=0.5,
        ),
        *memory(),
    ]


def _rate(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    for _ in range(REPEATS):
        work()
    return REPEATS / (time.perf_counter() - started)


def memory(records: int = 1_000_000) -> list[Figure]:
    """The most memory that a file takes, each in a process of its own; what is mapped is let go at once."""
    small, large = _peak(1_000), _peak(records)
    return [
        ratio(
            "mapping",
            f"peak memory for a file of {records:,} records, one in {MAPPED_ONE_IN} of them mapped",
            "MB",
            [large],
            "a file of 1,000",
            [small],
            goal=1.2,
            sense="at most",
        )
    ]


def _peak(records: int) -> float:
    """MB at the peak of a process that maps so many records."""
    code = f"from bench.mapping import stream; stream({records})"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(done.stdout)


class Endless(io.RawIOBase):
    """A CSV file of so many clients, made while it is read; every key is another."""

    def __init__(self, records: int) -> None:
        row = samples_rows(40)[0]
        header = io.StringIO()
        csv.writer(header, delimiter=";").writerow(COLUMNS)
        line = io.StringIO()
        csv.writer(line, delimiter=";").writerow(row.values())
        self._row = line.getvalue().encode().partition(b";")[2]
        self._held = header.getvalue().encode()
        self._number = 0
        self._records = records

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with the next rows."""
        while len(self._held) < len(buffer) and self._number < self._records:
            until = min(self._number + 500, self._records)
            self._held += b"".join(b"D-%d;%s" % (number, self._row) for number in range(self._number, until))
            self._number = until
        given = self._held[: len(buffer)]
        buffer[: len(given)] = given
        self._held = self._held[len(given) :]
        return len(given)


def stream(records: int) -> None:
    """Read a file of so many records, remember every key, map one in fifty, print the peak of this process in MB."""
    import resource

    adapter = load("reception-centre-csv")
    keys = Keys()
    read = 0
    for item in adapter.read(Endless(records), Limits(total_bytes=10_000_000_000, records=records)):  # type: ignore[arg-type]
        assert isinstance(item, Record)
        assert not keys.again(item.key)
        assert read % MAPPED_ONE_IN or adapter.to_canonical(item).bundle is not None
        read += 1
    assert read == records
    sys.stdout.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


_LANGUAGE = {"ukraina": "uk", "venäjä": "ru", "arabia": "ar", "dari": "prs", "pashto": "ps", "somali": "so"}
_LANGUAGE |= {"sorani": "ckb", "tigrinja": "ti", "ranska": "fr", "swahili": "sw", "englanti": "en"}
_GENDER = {"M": "male", "N": "female", "X": "other"}
_PERMIT = {"TP": "asylum-granted", "TS": "subsidiary-protection", "KP": "quota-refugee", "INH": "humanitarian"}
_URGENCY = {"K1": "routine", "K2": "urgent", "K3": "asap", "K4": "stat"}
_HOUSING = {"VOK": "reception-centre", "YKS": "private", "KPA": "municipal-place", "VUO": "own-rental"}
_SCHOOLING = {"0": "none", "L": "literacy", "P": "primary", "T": "secondary", "K": "tertiary"}
_NEED = {
    "ASUNTO": "housing",
    "KIELIKOULUTUS": "language-training",
    "TYÖ": "employment-services",
    "OHJAUS": "early-guidance",
    "SOSIAALITYÖ": "social-work",
    "TERVEYS": "basic-health-care",
    "ALKUTOIMEENTULO": "early-income-support",
}


def by_hand(record: Record) -> tuple[dict[str, Any], dict[str, Origin]]:
    """The record of the bench by plain code. Raises KeyError or ValueError for a value that is wrong."""
    row = record.fields
    origins: dict[str, Origin] = {}
    line = record.position.row

    def of(pointer: str, column: str, transform: str, value: Any) -> Any:
        origins[pointer] = Origin(Position("", line, column), transform)
        return value

    def text(pointer: str, column: str) -> str:
        value = row[column].strip()
        if not value.isprintable():
            raise ValueError(column)
        return str(of(pointer, column, "text", value))

    def via(pointer: str, column: str, transform: str) -> Any:
        return of(pointer, column, transform, TRANSFORMS[transform].forward(row[column]))

    p = "/entry/0/resource"
    identifiers = []
    if row["HETU"]:
        identifiers.append(
            {"system": "urn:oid:1.2.246.21", "value": via(f"{p}/identifier/{len(identifiers)}/value", "HETU", "hetu")}
        )
    identifiers.append(
        {
            "system": "urn:yhdyspinta:id:migri-customer",
            "value": text(f"{p}/identifier/{len(identifiers)}/value", "ASIAKASNUMERO"),
        }
    )
    extensions: list[dict[str, Any]] = []

    def extension(url: str, *parts: tuple[str, str, str, Callable[[str], Any]]) -> None:
        made = []
        at = f"{p}/extension/{len(extensions)}/extension"
        for name, kind, column, make in parts:
            if row[column]:
                made.append({"url": name, kind: make(f"{at}/{len(made)}/{kind}")})
        if made:
            extensions.append({"url": url, "extension": made})

    def coding(system: str, column: str, transform: str, table: dict[str, str] | None) -> Callable[[str], Any]:
        def make(at: str) -> Any:
            code = table[row[column]] if table is not None else row[column]
            return {"system": system, "code": of(f"{at}/code", column, transform, code)}

        return make

    def truth(column: str) -> Callable[[str], Any]:
        return lambda at: via(at, column, "yes-no")

    def day(column: str) -> Callable[[str], Any]:
        return lambda at: via(at, column, "fi-date")

    if row["TULKKI"]:
        extensions.append(
            {
                "url": "http://hl7.org/fhir/StructureDefinition/patient-interpreterRequired",
                "valueBoolean": via(f"{p}/extension/0/valueBoolean", "TULKKI", "yes-no"),
            }
        )
    if row["KANSALAISUUS"]:
        at = f"{p}/extension/{len(extensions)}/extension/0/valueCodeableConcept/coding/0/code"
        concept = {"coding": [{"system": "urn:iso:std:iso:3166", "code": via(at, "KANSALAISUUS", "country")}]}
        extensions.append(
            {
                "url": "http://hl7.org/fhir/StructureDefinition/patient-citizenship",
                "extension": [{"url": "code", "valueCodeableConcept": concept}],
            }
        )
    ours = "urn:yhdyspinta:extension:"
    extension(
        ours + "residence-permit",
        (
            "ground",
            "valueCoding",
            "OLESKELULUPA",
            coding(CODES + "permit-ground", "OLESKELULUPA", "code lupa", _PERMIT),
        ),
        (
            "granted",
            "valueBoolean",
            "OLESKELULUPA",
            lambda at: of(at, "OLESKELULUPA", "table myönnetty", row["OLESKELULUPA"] not in ("VIR", "KIEL")),
        ),
        ("decided", "valueDate", "LUPA_PVM", day("LUPA_PVM")),
    )
    extension(
        ours + "move",
        ("municipality", "valueCoding", "KUNTA", coding(CODES + "municipality", "KUNTA", "code municipality", None)),
        ("date", "valueDate", "MUUTTOPAIVA", day("MUUTTOPAIVA")),
        ("independent", "valueBoolean", "OMATOIMINEN_MUUTTO", truth("OMATOIMINEN_MUUTTO")),
    )
    extension(ours + "safety-prohibition", ("active", "valueBoolean", "TURVAKIELTO", truth("TURVAKIELTO")))
    extension(ours + "vulnerability", ("fact", "valueBoolean", "HAAVOITTUVUUS", truth("HAAVOITTUVUUS")))
    ages = [age for age in row["LASTEN_IAT"].split("|") if age.strip()]
    family = f"{p}/extension/{len(extensions)}/extension"
    parts = [{"url": "size", "valueInteger": via(f"{family}/0/valueInteger", "PERHEKOKO", "number")}]
    for index, age in enumerate(ages, 1):
        value = TRANSFORMS["number"].forward(age)
        made = of(f"{family}/{index}/valueInteger", "LASTEN_IAT", "number", value)
        parts.append({"url": "child-age", "valueInteger": made})
    extensions.append({"url": ours + "family", "extension": parts})
    language = of(
        f"{p}/communication/0/language/coding/0/code", "AIDINKIELI", "code kieli", _LANGUAGE[row["AIDINKIELI"]]
    )
    patient: dict[str, Any] = {
        "resourceType": "Patient",
        "id": "patient-1",
        "extension": extensions,
        "identifier": identifiers,
        "name": [
            {
                "family": text(f"{p}/name/0/family", "SUKUNIMI"),
                "given": via(f"{p}/name/0/given", "ETUNIMET", "words"),
            }
        ],
        "gender": of(f"{p}/gender", "SUKUPUOLI", "table sukupuoli", _GENDER[row["SUKUPUOLI"]]),
        "birthDate": via(f"{p}/birthDate", "SYNTYMAAIKA", "fi-date"),
        "telecom": [{"system": "phone", "value": via(f"{p}/telecom/0/value", "PUHELIN", "phone")}],
        "address": [
            {
                "line": [text(f"{p}/address/0/line/0", "OSOITE")],
                "postalCode": via(f"{p}/address/0/postalCode", "POSTINUMERO", "postal-code"),
                "city": text(f"{p}/address/0/city", "POSTITOIMIPAIKKA"),
            }
        ],
        "communication": [
            {"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": language}]}, "preferred": True}
        ],
    }
    if row["SAHKOPOSTI"]:
        mail = via(f"{p}/telecom/1/value", "SAHKOPOSTI", "email")
        patient["telecom"].append({"system": "email", "value": mail})
    resources = [patient]
    about = {"reference": "Patient/patient-1"}
    for index, need in enumerate(row["PALVELUTARPEET"].split("|"), 1):
        at = f"/entry/{len(resources)}/resource"
        code = of(f"{at}/code/coding/0/code", "PALVELUTARPEET", "code tarve", _NEED[need])
        urgency = of(f"{at}/priority", "KIIREELLISYYS", "table kiireellisyys", _URGENCY[row["KIIREELLISYYS"]])
        resources.append(
            {
                "resourceType": "ServiceRequest",
                "id": f"service-request-{index}",
                "status": "active",
                "intent": "proposal",
                "code": {"coding": [{"system": CODES + "service-need", "code": code}]},
                "subject": about,
                "priority": urgency,
            }
        )
    answers: tuple[tuple[str, str, str, Callable[[str], Any]], ...] = (
        (
            "housing-situation",
            "ASUMINEN",
            "valueCodeableConcept",
            lambda at: choice(at, "ASUMINEN", "asuminen", _HOUSING),
        ),
        ("schooling", "KOULUTUS", "valueCodeableConcept", lambda at: choice(at, "KOULUTUS", "koulutus", _SCHOOLING)),
        ("occupation", "AMMATTI", "valueString", lambda at: text(at, "AMMATTI")),
        ("income", "TULOT", "valueInteger", lambda at: via(at, "TULOT", "number")),
        ("child-protection", "LASTENSUOJELU", "valueString", lambda at: text(at, "LASTENSUOJELU")),
        ("health", "TERVEYSTARPEET", "valueString", lambda at: text(at, "TERVEYSTARPEET")),
    )
    systems = {"asuminen": CODES + "housing-situation", "koulutus": CODES + "schooling"}

    def choice(at: str, column: str, table: str, codes: dict[str, str]) -> Any:
        code = of(f"{at}/coding/0/code", column, f"table {table}", codes[row[column]])
        return {"coding": [{"system": systems[table], "code": code}]}

    number = 0
    for topic, column, kind, make in answers:
        if row[column]:
            number += 1
            at = f"/entry/{len(resources)}/resource"
            resources.append(
                {
                    "resourceType": "Observation",
                    "id": f"observation-{number}",
                    "status": "final",
                    "code": {"coding": [{"system": CODES + "observation", "code": topic}]},
                    "subject": about,
                    kind: make(f"{at}/{kind}"),
                }
            )
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for one in resources]}
    if catalogue().validate_bundle(bundle):
        raise ValueError("the schema refuses the record")
    return bundle, origins
