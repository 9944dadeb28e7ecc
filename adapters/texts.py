"""The words of findings, in one place: what is wrong and how to mend it, by code."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from adapters.sdk import Finding, Limits, Position, Severity, Text

_NOWHERE = Position()

#: How a finding of the schema is called where it has words of its own; for all others there is `schema`.
FINDINGS: Final = {"subject-form": "hetu-form", "subject-check": "hetu-check"}

_TEXTS: dict[str, tuple[Text, Text]] = {
    "field-missing": (
        Text("Pakollinen tieto puuttuu.", "En obligatorisk uppgift saknas.", "A required value is missing."),
        Text("Täydennä tieto lähdejärjestelmässä.", "Komplettera i källsystemet.", "Fill it in in the source system."),
    ),
    "hetu-form": (
        Text(
            "Henkilötunnuksen muoto on väärä.",
            "Personbeteckningen har fel form.",
            "The identity code has a wrong form.",
        ),
        Text("Muoto on PPKKVVxNNNT.", "Formen är DDMMÅÅxNNNT.", "The form is DDMMYYxNNNT."),
    ),
    "hetu-check": (
        Text(
            "Henkilötunnuksen tarkistusmerkki ei täsmää.",
            "Personbeteckningens kontrolltecken stämmer inte.",
            "The check character of the identity code is wrong.",
        ),
        Text(
            "Tarkista tunnus henkilön asiakirjasta.",
            "Kontrollera beteckningen i personens handling.",
            "Check the code against the person's document.",
        ),
    ),
    "date-form": (
        Text(
            "Päivämäärää ei ole tai sen muoto on väärä.",
            "Datumet finns inte eller har fel form.",
            "There is no such date.",
        ),
        Text(
            "Kirjoita esimerkiksi 5.2.1990.",
            "Skriv till exempel 5.2.1990.",
            "Write for example 5.2.1990 or 1990-02-05.",
        ),
    ),
    "code-unknown": (
        Text("Koodia ei ole koodistossa.", "Koden finns inte i kodsystemet.", "The code is not in its code table."),
        Text(
            "Käytä koodiston koodia tai lisää koodi kuvaukseen.",
            "Använd en kod i tabellen eller lägg till koden i mappningen.",
            "Use a code of the table, or add the code to the mapping.",
        ),
    ),
    "not-yes-no": (
        Text("Arvo ei ole kyllä eikä ei.", "Värdet är varken ja eller nej.", "The value is neither yes nor no."),
        Text("Kirjoita K tai E.", "Skriv K eller E.", "Write K or E."),
    ),
    "not-a-number": (
        Text("Arvo ei ole kokonaisluku.", "Värdet är inte ett heltal.", "The value is not a whole number."),
        Text("Kirjoita vain numeroita.", "Skriv bara siffror.", "Write digits only."),
    ),
    "postal-code-form": (
        Text(
            "Postinumerossa ei ole viittä numeroa.",
            "Postnumret har inte fem siffror.",
            "The postal code is not five digits.",
        ),
        Text("Korjaa postinumero.", "Rätta postnumret.", "Mend the postal code."),
    ),
    "phone-form": (
        Text(
            "Puhelinnumero ei ole puhelinnumero.",
            "Telefonnumret är inget telefonnummer.",
            "This is not a telephone number.",
        ),
        Text("Kirjoita numero kansainvälisesti.", "Skriv numret internationellt.", "Write it as +358 …"),
    ),
    "email-form": (
        Text(
            "Sähköpostiosoitteen muoto on väärä.",
            "E-postadressen har fel form.",
            "The e-mail address has a wrong form.",
        ),
        Text("Muoto on nimi@palvelin.", "Formen är namn@server.", "The form is name@host."),
    ),
    "country-form": (
        Text("Maakoodin muoto on väärä.", "Landskoden har fel form.", "The country code has a wrong form."),
        Text("Käytä ISO 3166 -koodia.", "Använd en ISO 3166-kod.", "Use an ISO 3166 code, for example UKR."),
    ),
    "encoding": (
        Text("Merkistöä ei voi lukea.", "Teckenkodningen kan inte läsas.", "The characters cannot be decoded."),
        Text(
            "Tallenna UTF-8:na tai windows-1252:na.",
            "Spara som UTF-8 eller windows-1252.",
            "Save as UTF-8 or windows-1252.",
        ),
    ),
    "column-count": (
        Text(
            "Rivillä on eri määrä sarakkeita kuin otsikossa.",
            "Raden har ett annat antal kolumner än rubriken.",
            "The row has another number of columns than the header.",
        ),
        Text(
            "Tarkista erottimet ja lainausmerkit.",
            "Kontrollera avgränsare och citattecken.",
            "Check the delimiters and quotation marks of the row.",
        ),
    ),
    "quotation": (
        Text(
            "Lainausmerkki jää sulkematta ja nielee seuraavia rivejä.",
            "Ett citattecken sluts inte och slukar följande rader.",
            "A quotation mark is not closed and swallows further rows.",
        ),
        Text(
            "Sulje tai kahdenna lainausmerkki sillä rivillä, jolla se alkaa.",
            "Slut eller dubblera citattecknet på raden där det börjar.",
            "Close or double the quotation mark in the row where it opens.",
        ),
    ),
    "contradictory": (
        Text(
            "Tietue sanoo saman asian kahdesti eri tavoin.",
            "Posten säger samma sak två gånger på olika sätt.",
            "The record says the same thing twice, and not alike.",
        ),
        Text(
            "Korjaa lähdejärjestelmässä se, joka on väärin.",
            "Rätta det som är fel i källsystemet.",
            "Mend in the source system which of the two is wrong.",
        ),
    ),
    "misplaced": (
        Text(
            "Turvakielto on paikassa, jossa sitä ei lueta.",
            "Spärrmarkeringen står där den inte läses.",
            "A safety prohibition stands where it is not read.",
        ),
        Text(
            "Merkitse turvakielto henkilöön (Patient.meta.security).",
            "Märk spärren på personen (Patient.meta.security).",
            "Put it on the person (Patient.meta.security).",
        ),
    ),
    "damaged-text": (
        Text(
            "Tekstissä on merkkejä, jotka on luettu väärin tai jotka kääntävät kirjoitussuunnan.",
            "Texten har tecken som har lästs fel eller som vänder skrivriktningen.",
            "The text holds characters that were read wrongly, or that turn the direction of writing.",
        ),
        Text(
            "Korjaa teksti lähdejärjestelmässä tai vie tiedosto oikealla merkistöllä.",
            "Rätta texten i källsystemet eller exportera med rätt teckenkodning.",
            "Mend the text in the source system, or export with the right characters.",
        ),
    ),
    "number-in-identifier": (
        Text(
            "Tunnus on luku, joten sen etunollat ovat kadonneet.",
            "Beteckningen är ett tal, så dess inledande nollor har försvunnit.",
            "An identifier is a number, so that zeros before it are lost.",
        ),
        Text(
            "Muotoile sarake tekstiksi ennen vientiä.",
            "Formatera kolumnen som text före exporten.",
            "Format the column as text before it is exported.",
        ),
    ),
    "identity-disagrees": (
        Text(
            "Henkilötunnus kertoo toisen syntymäajan tai sukupuolen kuin tietue.",
            "Personbeteckningen anger en annan födelsedag eller ett annat kön än posten.",
            "The identity code tells another day of birth or sex than the record.",
        ),
        Text(
            "Tarkista, ettei kahden henkilön tietoja ole sekoittunut.",
            "Kontrollera att inte två personers uppgifter har blandats ihop.",
            "Check that two persons' data have not been mixed.",
        ),
    ),
    "date-future": (
        Text("Päivä on tulevaisuudessa.", "Dagen ligger i framtiden.", "The day lies ahead."),
        Text("Tarkista vuosi.", "Kontrollera året.", "Check the year."),
    ),
    "no-record": (
        Text(
            "Lähteessä ei ole yhtään tietuetta.",
            "Källan innehåller ingen post.",
            "There is no record in the source.",
        ),
        Text(
            "Tarkista, että tietueen nimi ja tiedoston asettelu ovat ne, jotka kuvaus sanoo.",
            "Kontrollera att postens namn och filens uppställning är de som mappningen anger.",
            "Check that the record's name and the layout are those that the mapping says.",
        ),
    ),
    "header-unknown": (
        Text(
            "Otsikkorivillä ei ole yhtäkään kuvauksen saraketta.",
            "Rubrikraden har ingen av mappningens kolumner.",
            "The header has none of the mapping's columns.",
        ),
        Text(
            "Tarkista erotin ja se, monesko rivi on otsikko.",
            "Kontrollera avgränsaren och vilken rad som är rubrik.",
            "Check the delimiter, and which row is the header.",
        ),
    ),
    "count-differs": (
        Text(
            "Lähde sanoo tietueita olevan toisen määrän kuin niitä on.",
            "Källan anger ett annat antal poster än det finns.",
            "The source names another number of records than there are.",
        ),
        Text(
            "Tarkista, ettei lähteestä puutu loppuosa tai seuraava sivu.",
            "Kontrollera att slutet eller nästa sida inte saknas.",
            "Check that neither its end nor a next page is missing.",
        ),
    ),
    "group-apart": (
        Text(
            "Yhteen kuuluvat rivit eivät ole peräkkäin.",
            "Rader som hör ihop står inte efter varandra.",
            "Rows that belong together do not stand together.",
        ),
        Text("Lajittele vienti tuon sarakkeen mukaan.", "Sortera exporten efter kolumnen.", "Sort by that column."),
    ),
    "code-not-in-use": (
        Text("Koodi ei ole käytössä.", "Koden är inte i bruk.", "The code is not in use."),
        Text(
            "Käytä voimassa olevaa koodia tai korjaa koodiston päivät.",
            "Använd en giltig kod eller rätta tabellens datum.",
            "Use a code in force, or mend the dates in the table.",
        ),
    ),
    "join-apart": (
        Text(
            "Rivi kuuluu tietueelle, jota lähteessä ei ole.",
            "Raden hör till en post som inte finns i källan.",
            "The row belongs to a record that is not in the source.",
        ),
        Text(
            "Tarkista avain molemmissa taulukoissa.",
            "Kontrollera nyckeln i båda bladen.",
            "Check the key in both sheets.",
        ),
    ),
    "sheet-missing": (
        Text(
            "Työkirjassa ei ole tuon nimistä taulukkoa.",
            "Arbetsboken har inget blad med det namnet.",
            "The workbook has no sheet of that name.",
        ),
        Text(
            "Nimeä taulukko niin kuin kuvaus sanoo, tai korjaa kuvaus.",
            "Ge bladet det namn som mappningen anger, eller rätta mappningen.",
            "Name the sheet as the mapping says, or mend the mapping.",
        ),
    ),
    "delimiter": (
        Text(
            "Tiedosto sanoo toisen erottimen kuin kuvaus.",
            "Filen anger en annan avgränsare än mappningen.",
            "The file names another delimiter than the mapping.",
        ),
        Text(
            "Muuta kuvauksen erotin tai vie tiedosto sillä erottimella.",
            "Ändra mappningens avgränsare eller exportera med den.",
            "Change the mapping's delimiter, or export with that one.",
        ),
    ),
    "column-missing": (
        Text("Otsikosta puuttuu sarake.", "En kolumn saknas i rubriken.", "The header lacks a column."),
        Text("Vie tiedosto kaikilla sarakkeilla.", "Exportera med alla kolumner.", "Export the file with all columns."),
    ),
    "column-unmapped": (
        Text(
            "Saraketta ei lueta eikä ohiteta nimeltä.",
            "Kolumnen varken läses eller förbigås vid namn.",
            "The column is neither mapped nor ignored by name.",
        ),
        Text("Lisää sarake kuvaukseen.", "Lägg till kolumnen i mappningen.", "Map it, or list it under `ignored`."),
    ),
    "not-taken": (
        Text(
            "Tieto jää pois, koska se, mihin se kuuluu, puuttuu.",
            "Uppgiften faller bort, eftersom det den hör till saknas.",
            "The value is left out, for what it belongs to is missing.",
        ),
        Text("Täydennä, mihin tieto kuuluu.", "Komplettera det som uppgiften hör till.", "Fill in what it belongs to."),
    ),
    "duplicate-key": (
        Text(
            "Sama asiakas on tiedostossa kahdesti.", "Samma klient finns två gånger.", "The same client is there twice."
        ),
        Text("Poista toinen rivi.", "Ta bort den ena raden.", "Remove one of the two."),
    ),
    "unreadable": (
        Text("Tietuetta ei voi lukea.", "Posten kan inte läsas.", "The record cannot be read."),
        Text("Vie tiedosto uudelleen.", "Exportera filen på nytt.", "Export the file again."),
    ),
    "limit-exceeded": (
        Text(
            "Lähde ylittää rajan {limit} ({most}).",
            "Källan överskrider gränsen {limit} ({most}).",
            "The source goes over the limit {limit} ({most}).",
        ),
        Text(
            "Jaa lähde osiin tai nosta rajaa asetuksissa.",
            "Dela källan eller höj gränsen i inställningarna.",
            "Split the source, or raise that limit in the settings.",
        ),
    ),
    "duplicate-member": (
        Text(
            "Sama nimi on oliossa kahdesti.", "Samma namn finns två gånger i objektet.", "An object has a name twice."
        ),
        Text("Jätä toinen pois.", "Lämna bort det ena.", "Leave one of the two out."),
    ),
    "control-character": (
        Text(
            "Arvossa on ohjausmerkkejä.",
            "Värdet innehåller styrtecken.",
            "The value holds control characters.",
        ),
        Text("Poista merkit.", "Ta bort tecknen.", "Remove these characters."),
    ),
    "language-unknown": (
        Text("Kieltä ei tunneta.", "Språket är okänt.", "There is no such language."),
        Text(
            "Käytä ISO 639 -koodia, esimerkiksi uk.",
            "Använd en ISO 639-kod, till exempel uk.",
            "Use a code of ISO 639, for example uk or ukr.",
        ),
    ),
    "separators": (
        Text(
            "Viestin erottimet eivät ole |^~\\&.",
            "Meddelandets avgränsare är inte |^~\\&.",
            "The separators of the message are not |^~\\&.",
        ),
        Text(
            "Lähetä viesti tavallisin erottimin.",
            "Skicka meddelandet med vanliga avgränsare.",
            "Send the message with the usual separators.",
        ),
    ),
    "one-person": (
        Text(
            "Paketissa ei ole täsmälleen yhtä henkilöä.",
            "Bunten gäller inte exakt en person.",
            "The bundle is not about exactly one person.",
        ),
        Text("Lähetä paketti henkilöä kohti.", "Skicka en bunt per person.", "Send one bundle for each person."),
    ),
    "message-type": (
        Text(
            "Viesti on muuta tyyppiä kuin tässä luetaan.",
            "Meddelandet är av en annan typ än den som läses här.",
            "The message is of another type than is read here.",
        ),
        Text(
            "Lähetä REF^I12 tai ADT^A01, A04, A08.",
            "Skicka REF^I12 eller ADT^A01, A04, A08.",
            "Send REF^I12 or ADT^A01, A04, A08.",
        ),
    ),
    "doctype": (
        Text(
            "Asiakirjatyyppimäärittely ei ole sallittu.",
            "Dokumenttyp är inte tillåten.",
            "A document type is not allowed.",
        ),
        Text("Poista DOCTYPE.", "Ta bort DOCTYPE.", "Remove the DOCTYPE."),
    ),
    "no-place": (
        Text(
            "Vastaanottajan muodossa ei ole paikkaa tälle tiedolle.",
            "Mottagarens format har ingen plats för uppgiften.",
            "The recipient's format has no place for this value.",
        ),
        Text("Lue tieto kanonisessa muodossa.", "Läs uppgiften i kanonisk form.", "Read it in the canonical form."),
    ),
    "schema": (
        Text("Tieto ei täytä skeemaa.", "Uppgiften uppfyller inte schemat.", "The schema refuses the value."),
        Text("Korjaa tieto lähdejärjestelmässä.", "Rätta i källsystemet.", "Mend the value in the source system."),
    ),
}

CODES = frozenset(_TEXTS)


def finding(severity: Severity, code: str, position: Position, target: str | None = None) -> Finding:
    """A finding with its words."""
    message, hint = _TEXTS[code]
    return Finding(severity, code, position, target, message, hint)


def missing_columns(columns: Sequence[str], header: Collection[str], row: int) -> Finding:
    """The one finding for all columns that a header lacks, with the names in it that come nearest to them."""
    lacking = finding("error", "column-missing", Position(row=row, column=", ".join(columns)))
    near = {name: found for name in columns for found in difflib.get_close_matches(name, header, 1, 0.7)}
    if not near:
        return lacking
    told = ", ".join(f"{found} ({name})" for name, found in near.items())
    hint = Text(
        f"Otsikossa on lähes samanniminen: {told}. Korjaa kuvaus tai vienti.",
        f"Rubriken har en nästan likadan: {told}. Rätta mappningen eller exporten.",
        f"The header has one almost like it: {told}. Mend the mapping or the export.",
    )
    return replace(lacking, hint=hint)


def damage(position: Position, target: str) -> Finding:
    """The finding for damaged text. A name that is none finds nobody and offends its bearer, so it stops the record."""
    return finding("error" if "/name/" in target else "warning", "damaged-text", position, target)


def over(limit: str, limits: Limits, position: Position = _NOWHERE) -> Finding:
    """The finding that a source goes over one of its limits, which it names by its member of Limits."""
    message, hint = _TEXTS["limit-exceeded"]
    most = getattr(limits, limit)
    named = Text(*(text.format(limit=limit, most=most) for text in (message.fi, message.sv, message.en)))
    return Finding("error", "limit-exceeded", position, None, named, hint)
