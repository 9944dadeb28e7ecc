"""Everything that the reports and anomaly rules say to people, in Finnish, Swedish and English.

A text that is asked for in another language is given in English. Codes without a text of their own (a member's id, a
purpose of a newer rulebook) are shown as they are.
"""

from __future__ import annotations

from typing import Final

LANGUAGES: Final = ("fi", "sv", "en")

_TEXTS: Final[dict[str, tuple[str, str, str]]] = {
    # data categories
    "category.identity": ("henkilötiedot", "personuppgifter", "identity"),
    "category.contact": ("yhteystiedot", "kontaktuppgifter", "contact details"),
    "category.contact/address": ("osoite", "adress", "address"),
    "category.language": ("kieli ja tulkkaus", "språk och tolkning", "language and interpretation"),
    "category.family": ("perhe", "familj", "family"),
    "category.family/size-and-ages": ("perheen koko ja iät", "familjens storlek och åldrar", "family size and ages"),
    "category.residence-permit": ("oleskelulupa", "uppehållstillstånd", "residence permit"),
    "category.move": ("muutto", "flytt", "move"),
    "category.housing": ("asuminen", "boende", "housing"),
    "category.education": ("koulutus", "utbildning", "education"),
    "category.employment": ("työ", "sysselsättning", "employment"),
    "category.social-needs": ("sosiaalihuollon tarpeet", "behov av socialvård", "social care needs"),
    "category.social-needs/early-support": (
        "alkuvaiheen tuen tarpeet",
        "behov av stöd i inledningsskedet",
        "needs for early support",
    ),
    "category.health-needs": ("terveydenhuollon tarpeet", "behov av hälso- och sjukvård", "health care needs"),
    "category.child-protection": ("lastensuojelu", "barnskydd", "child protection"),
    "category.vulnerability": ("haavoittuva asema", "utsatt ställning", "vulnerability"),
    "category.vulnerability/fact": (
        "tieto haavoittuvasta asemasta",
        "uppgift om utsatt ställning",
        "fact of vulnerability",
    ),
    "category.guardianship": ("huolto ja edustus", "vårdnad och företrädande", "guardianship"),
    "category.finances": ("talous", "ekonomi", "finances"),
    "category.finances/early-support": (
        "talous: alkuvaiheen tuki",
        "ekonomi: stöd i inledningsskedet",
        "finances: early support",
    ),
    # what happened
    "type.query": ("tietojen haku", "hämtning av uppgifter", "look-up"),
    "type.handover": ("siirto", "överföring", "handover"),
    "type.delivery": ("tietojen luovutus", "utlämnande av uppgifter", "disclosure"),
    "type.break-glass": ("haku hätätilanteessa", "hämtning i nödsituation", "emergency access"),
    "type.consent": ("suostumus", "samtycke", "consent"),
    "type.refusal": ("kielto", "förbud", "refusal"),
    "outcome.success": ("luovutettu", "utlämnat", "disclosed"),
    "outcome.partial": ("luovutettu osittain", "delvis utlämnat", "disclosed in part"),
    "outcome.refused": ("evätty", "avslaget", "refused"),
    "outcome.withheld": ("ei luovutettu", "inte utlämnat", "withheld"),
    "outcome.not-found": ("ei tietoja", "inga uppgifter", "nothing found"),
    "outcome.failed": ("epäonnistui", "misslyckades", "failed"),
    "outcome.stopped": ("keskeytetty", "avbrutet", "stopped"),
    # the sentence that the person reads
    "usage": (
        "{who} sai tietojasi: {categories}. Käyttötarkoitus: {purpose}.",
        "{who} fick uppgifter om dig: {categories}. Användningsändamål: {purpose}.",
        "{who} received your data: {categories}. Purpose: {purpose}.",
    ),
    "usage.none": ("ei tietoryhmiä", "inga uppgiftsgrupper", "no categories"),
    "unknown": ("ei tiedossa", "inte känt", "not known"),
    # the person's extract
    "extract.title": ("Tietojesi luovutukset", "Utlämnande av dina uppgifter", "Disclosures of your data"),
    "extract.lead": (
        "Tästä näet, kuka on saanut tietojasi tämän palvelun kautta, mitä tietoja ja millä perusteella.",
        "Här ser du vem som har fått uppgifter om dig genom den här tjänsten, vilka uppgifter och på vilken grund.",
        "This shows who has received your data through this service, which data, and on which basis.",
    ),
    "extract.period": ("Ajanjakso", "Period", "Period"),
    "extract.from-start": ("lokin alusta", "från loggens början", "from the start of the log"),
    "extract.made": ("Tuloste tehty", "Utdraget gjort", "Made on"),
    "extract.controller": ("Rekisterinpitäjä", "Personuppgiftsansvarig", "Controller"),
    "extract.when": ("Aika (Suomen aikaa)", "Tid (finsk tid)", "Time (Finnish time)"),
    "extract.who": ("Saaja", "Mottagare", "Recipient"),
    "extract.from": ("Luovuttaja", "Utlämnare", "Given by"),
    "extract.what": ("Tiedot", "Uppgifter", "Data"),
    "extract.why": ("Käyttötarkoitus", "Användningsändamål", "Purpose"),
    "extract.basis": ("Peruste", "Grund", "Basis"),
    "extract.result": ("Tapahtuma", "Händelse", "Event"),
    "extract.nothing": (
        "Tietojasi ei ole luovutettu tänä aikana.",
        "Inga uppgifter om dig har lämnats ut under denna tid.",
        "None of your data was disclosed in this period.",
    ),
    "extract.fruitless": (
        "Haut, joissa tietojasi ei luovutettu",
        "Hämtningar där inga uppgifter lämnades ut",
        "Look-ups in which nothing was disclosed",
    ),
    "extract.consents": ("Suostumuksesi ja kieltosi", "Dina samtycken och förbud", "Your consents and refusals"),
    "extract.recorded": ("kirjattu", "antecknat", "recorded"),
    "extract.withdrawn": ("peruttu", "återkallat", "withdrawn"),
    "extract.explain-title": ("Näin luet tulosteen", "Så läser du utdraget", "How to read this"),
    "extract.explain-1": (
        (
            "Viranomainen saa tietojasi vain, kun laki sallii sen tai kun olet antanut suostumuksen. Jokaisella "
            "rivillä lukee, kumpi on kyseessä."
        ),
        (
            "En myndighet får dina uppgifter bara när lagen tillåter det eller när du har gett ditt samtycke. På varje "
            "rad står vilketdera det är fråga om."
        ),
        "An authority gets your data only where the law allows it or you have consented. Each line says which it was.",
    ),
    "extract.explain-2": (
        "Työntekijöiden nimiä ei näytetä. Organisaatio, joka sai tiedot, vastaa siitä, kuka siellä näki ne.",
        "De anställdas namn visas inte. Den organisation som fick uppgifterna ansvarar för vem som där såg dem.",
        "The names of employees are not shown. The organisation that received the data answers for who saw it there.",
    ),
    "extract.explain-3": (
        (
            "Jos jokin rivi näyttää väärältä, ota yhteyttä rekisterinpitäjän tietosuojavastaavaan. Sinulla on oikeus "
            "saada selvitys ja tehdä valitus tietosuojavaltuutetulle."
        ),
        (
            "Om en rad verkar fel, kontakta den personuppgiftsansvariges dataskyddsombud. Du har rätt att få en "
            "utredning och att lämna in klagomål till dataombudsmannen."
        ),
        (
            "If a line looks wrong, contact the controller's data protection officer. You have the right to an "
            "explanation, and to lodge a complaint with the Data Protection Ombudsman."
        ),
    ),
    "extract.explain-4": (
        "Jokainen rivi on kirjattu lokiin, jota kukaan ei voi jälkikäteen muuttaa huomaamatta.",
        "Varje rad finns i en logg som ingen kan ändra i efterhand utan att det märks.",
        "Each line stands in a log that nobody can change afterwards without it being noticed.",
    ),
    "extract.hidden": (
        "Rivejä, joista laki kieltää kertomasta henkilölle: {count}. Tämä tieto on vain tietosuojavastaavalle.",
        "Rader som enligt lag inte får visas för personen: {count}. Den här uppgiften är endast för dataskyddsombudet.",
        "Lines that the law forbids showing to the person: {count}. This note is for the data protection officer only.",
    ),
    # the record of processing
    "processing.title": (
        "Seloste käsittelytoimista",
        "Register över behandling",
        "Record of processing activities",
    ),
    "processing.lead": (
        "Yleisen tietosuoja-asetuksen 30 artiklan mukainen seloste.",
        "Register enligt artikel 30 i den allmänna dataskyddsförordningen.",
        "The record required by Article 30 of the General Data Protection Regulation.",
    ),
    "processing.controller": ("Rekisterinpitäjä", "Personuppgiftsansvarig", "Controller"),
    "processing.officer": ("Tietosuojavastaava", "Dataskyddsombud", "Data protection officer"),
    "processing.year": ("Vuosi", "År", "Year"),
    "processing.purpose": ("Käyttötarkoitus", "Ändamål", "Purpose"),
    "processing.bases": ("Oikeusperusteet", "Rättsliga grunder", "Legal bases"),
    "processing.subjects": ("Rekisteröidyt", "Registrerade", "Data subjects"),
    "processing.categories": ("Tietoryhmät", "Kategorier av uppgifter", "Categories of data"),
    "processing.recipients": ("Vastaanottajat", "Mottagare", "Recipients"),
    "processing.retention": ("Säilytysaika", "Lagringstid", "Retention"),
    "processing.measures": ("Turvatoimet", "Säkerhetsåtgärder", "Security measures"),
    "processing.transfers": (
        "Siirrot kolmansiin maihin",
        "Överföringar till tredjeland",
        "Transfers to third countries",
    ),
    "processing.released": ("Luovutuksia", "Utlämnanden", "Disclosures"),
    "processing.refused": ("Evättyjä", "Avslag", "Refused"),
    "processing.total": ("Yhteensä", "Totalt", "In all"),
    "processing.none": ("ei siirtoja", "inga överföringar", "none"),
    # anomalies
    "anomaly.bulk-lookups": (
        (
            "Sama käyttäjä teki {count} hakua tunnin sisällä (raja {threshold}). Syynä voi olla ruuhkapäivä tai "
            "järjestelmän eräajo."
        ),
        (
            "Samma användare gjorde {count} hämtningar inom en timme (gräns {threshold}). Orsaken kan vara en hektisk "
            "dag eller en satskörning."
        ),
        "One user made {count} look-ups within an hour (threshold {threshold}). A busy day or a batch may explain it.",
    ),
    "anomaly.many-persons": (
        (
            "Sama käyttäjä haki {count} eri henkilön tietoja yhden päivän aikana (raja {threshold}). Syynä voi olla "
            "vastuu suuresta ryhmästä."
        ),
        (
            "Samma användare hämtade uppgifter om {count} olika personer under en dag (gräns {threshold}). Orsaken kan "
            "vara ansvar för en stor grupp."
        ),
        (
            "One user looked up {count} different persons in one day (threshold {threshold}). Responsibility for a "
            "large group may explain it."
        ),
    ),
    "anomaly.night-use": (
        "Sama käyttäjä teki {count} hakua yhden yön aikana (raja {threshold}). Syynä voi olla päivystys.",
        "Samma användare gjorde {count} hämtningar under en natt (gräns {threshold}). Orsaken kan vara jour.",
        "One user made {count} look-ups in one night (threshold {threshold}). Being on call may explain it.",
    ),
    "anomaly.repeated-denials": (
        (
            "Sama käyttäjä sai {count} epäystä tunnin sisällä (raja {threshold}). Syynä voi olla väärä asetus tai "
            "puuttuva suostumus."
        ),
        (
            "Samma användare fick {count} avslag inom en timme (gräns {threshold}). Orsaken kan vara en felaktig "
            "inställning eller ett samtycke som saknas."
        ),
        (
            "One user was refused {count} times within an hour (threshold {threshold}). A wrong setting or a missing "
            "consent may explain it."
        ),
    ),
    "anomaly.never-clients": (
        (
            "Sama käyttäjä haki {count} sellaisen henkilön tietoja, josta ei tullut asiakasta (raja {threshold}). "
            "Syynä voi olla muutto, joka peruuntui."
        ),
        (
            "Samma användare hämtade uppgifter om {count} personer som inte blev klienter (gräns {threshold}). Orsaken "
            "kan vara en flytt som ställdes in."
        ),
        (
            "One user looked up {count} persons who did not become clients (threshold {threshold}). Moves that were "
            "called off may explain it."
        ),
    ),
    "anomaly.own-data": (
        "Käyttäjä haki omia tietojaan ({count} kertaa). Omat tiedot pyydetään tietopyynnöllä.",
        (
            "Användaren hämtade sina egna uppgifter ({count} gånger). Egna uppgifter ska begäras genom en begäran om "
            "information."
        ),
        "The user looked up their own data ({count} times). One's own data is to be had by a request for access.",
    ),
    "anomaly.colleague": (
        "Käyttäjä haki työtoverin tietoja ({count} kertaa). Syynä voi olla, että työtoveri on myös asiakas.",
        "Användaren hämtade en kollegas uppgifter ({count} gånger). Orsaken kan vara att kollegan också är klient.",
        "The user looked up a colleague's data ({count} times). The colleague may be a client as well.",
    ),
}


def text(key: str, language: str) -> str:
    """The text of this key. Raises KeyError for a key that is not in the catalogue."""
    texts = _TEXTS[key]
    return texts[LANGUAGES.index(language)] if language in LANGUAGES else texts[2]


def label(kind: str, code: str, language: str) -> str:
    """What a code is called (`kind` is category, type or outcome); the code itself if it has no name here."""
    key = f"{kind}.{code}"
    return text(key, language) if key in _TEXTS else code
