"""A person in every format that a node reads, each time in a way that the format's library stumbles over."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import openpyxl

from adapters.municipality import xlsx_adapter
from adapters.samples import COLUMNS

#: What must be found nowhere afterwards: the person is in no register, and in these inputs only.
SECRETS = frozenset({"Lokivuotaja", "Vuotokuja 77", "131052-900W", "kuulee-aania", "V-9900177"})

_COLUMNS = ("ASIAKASNUMERO", "HETU", "SUKUNIMI", "OSOITE", "TERVEYSTARPEET")
_CELLS = ("V-9900177", "131052-900W", "Lokivuotaja", "Vuotokuja 77", "kuulee-aania")


def malformed() -> Iterator[tuple[str, bytes]]:
    """The adapter and the bytes of each."""
    told = dict(zip(_COLUMNS, _CELLS, strict=True))
    header = ";".join(COLUMNS)
    row = ";".join(told.get(column, _CELLS[4]) for column in COLUMNS)
    for cells in (f'{row}"', f'"{row}', f"{row};", row.replace("kuulee", "k\x00\x9buulee"), f'{row}\n"{row}\n{row}"'):
        yield "reception-centre-csv", f"{header}\n{cells}\n".encode()
    yield "reception-centre-csv", f"{header}\n{row}ä\n".encode("utf-16")
    person = "".join(f"<{name}>{cell}</{name}>" for name, cell in zip(_COLUMNS, _CELLS, strict=True))
    for text in (
        f"<Asiakkaat><Asiakas numero='{_CELLS[0]}'>{person}</Asiaka></Asiakkaat>",
        f"<!DOCTYPE x [<!ENTITY e '{row}'>]><Asiakkaat><Asiakas>&e;</Asiakas></Asiakkaat>",
        f"<Asiakkaat xmlns:x='{row}'><x:Asiakas {_CELLS[2]}='{row}' {_CELLS[2]}='{row}'/></Asiakkaat>",
        f"<Asiakkaat><Asiakas numero='{_CELLS[0]}'><Henkilo>{row}<Sukunimi>&{_CELLS[2]};</Sukunimi></Henkilo>",
    ):
        yield "reception-centre-xml", text.encode()
    for adapter in ("municipality-json", "county-json", "canonical", "fhir-r4"):
        yield adapter, json.dumps([{**told, "asiakasnumero": told, "id": row}]).encode()
        yield adapter, json.dumps(told).encode()[:-2]
        yield adapter, f'{{"{_CELLS[2]}": "{row}", "{_CELLS[2]}": "\\ud800"}}'.encode()
    patient = {"resourceType": "Patient", "id": row, "birthDate": row, "identifier": [{"system": row, "value": row}]}
    entry = [{"fullUrl": row, "resource": patient}]
    yield "fhir-r4", json.dumps({"resourceType": "Bundle", "type": row, "entry": entry}).encode()
    head = "MSH|^~\\&|A|B|||20261124||REF^I12^REF_I12|1|P|2.5.1|||||FIN|"
    names = f"PID|1||{_CELLS[0]}^^^MIGRI^PI~{_CELLS[1]}^^^^NNFIN||{_CELLS[2]}^E||x|||{_CELLS[3]}\\B 3^^K"
    for charset in ("UNICODE UTF-8", "8859/15", row):
        for note in (
            f"K:\\hoito\\{_CELLS[4]}.pdf",
            f"\\C2842\\{_CELLS[4]}",
            f"\\\\{_CELLS[4]}",
            f"\\XZZ\\{_CELLS[4]}\\.brx\\",
        ):
            obx = f"OBX|1|ST|LUPA||{_CELLS[2]}\rOBX|2|ST|TERVEYS||{note}"
            yield "county-hl7", f"{head}{charset}\r{names}\r{obx}\r".encode()
    yield "county-hl7", f"{head}\rOBX|{row}|\\{row}\\\r".encode()
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Lomake"
    headings = ["Asiakasnumero", "Henkilötunnus", "Sukunimi", "Katuosoite", "Terveys", "Syntymäaika"]
    sheet.append([*headings, *sorted(xlsx_adapter().mapping.fields - set(headings))])
    sheet.append([*_CELLS, 99_999_999])
    sheet["F2"].number_format = "yyyy-mm-dd"
    sheet["E2"] = f'="{_CELLS[4]}"'
    out = io.BytesIO()
    book.save(out)
    yield "municipality-xlsx", out.getvalue()
    yield "municipality-xlsx", out.getvalue()[:-40]
