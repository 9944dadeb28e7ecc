"""What an analysis found as tables, and as one HTML page that needs nothing else: no script, no font, no network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from consent.checking.analysis import Check, Finding
from consent.checking.coverage import Coverage
from consent.checking.difference import Differences, Group
from consent.checking.explaining import explain
from consent.checking.invariants import Proof
from consent.rules.law import Basis, Prohibition, Rulebook
from texts import LANGUAGES


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts."""

    title: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What is told: a title, a verdict in one sentence, some numbers, and tables."""

    title: str
    verdict: str
    good: bool
    summary: tuple[tuple[str, str], ...]
    tables: tuple[Table, ...]

    def html(self) -> str:
        """The report as a page of its own."""
        return _template().render(
            title=self.title, verdict=self.verdict, good=self.good, summary=self.summary, tables=self.tables
        )


def of_check(check: Check, proofs: Sequence[Proof] = ()) -> Report:
    """The report on one rulebook, with what became of its invariants."""
    rulebook = check.rulebook
    faults = check.faults
    broken = [proof for proof in proofs if not proof.holds]
    number = len(faults) + len(broken)
    verdict = (
        "Nothing to mend: every gap is meant, nothing contradicts, every basis can carry."
        if not number
        else f"{number} {'thing' if number == 1 else 'things'} to mend."
    )
    explained = tuple((gap.gap.id, gap.gap.reason["en"], f"{_number(gap.cells)}") for gap in check.explained)
    return Report(
        title=f"Rulebook {rulebook.name} {rulebook.version}",
        verdict=verdict,
        good=not number,
        summary=(
            ("Status", rulebook.status),
            ("Digest", rulebook.digest),
            ("Points looked at (role × role × purpose × category × permit × interval)", _number(check.cells)),
            ("Given by a basis", _number(check.given)),
            ("Asked for and withheld on purpose", _number(sum(gap.cells for gap in check.explained))),
            ("Closed: no flow asks, no basis gives", _number(check.closed)),
            ("Intervals in which the law stands still", "; ".join(str(interval) for interval in check.intervals)),
        ),
        tables=tuple(
            table
            for table in (
                _findings("To mend", "Faults: these must go before the rulebook is used.", faults),
                _proofs(rulebook, proofs),
                _stopped(rulebook),
                _sourceless(rulebook),
                Table(
                    "Gaps that are meant",
                    "What flows ask for and the law withholds.",
                    ("gap", "reason", "points"),
                    explained,
                ),
                _findings(
                    "Worth knowing",
                    "Not faults: the author should know of them.",
                    tuple(finding for finding in check.findings if not finding.fault),
                ),
                _bases(rulebook),
            )
            if table.rows
        ),
    )


def of_differences(found: Differences, swing: tuple[int, int] | None = None) -> Report:
    """The report on a change of rulebook. `swing` is how many recorded exchanges would have gone otherwise, of all."""
    groups = found.groups()
    classes: Counter[tuple[str, str]] = Counter()
    for group in groups:
        classes[group.was.value, group.becomes.value] += group.points
    summary = [
        ("From", f"{found.old.name} {found.old.version}, {found.old.digest}"),
        ("To", f"{found.new.name} {found.new.version}, {found.new.digest}"),
        ("Points compared", _number(found.cells)),
        *(
            (title, _number(sum(len(change.permits) for change in found.changes if change.change == kind)))
            for kind, title in _CHANGES.items()
        ),
    ]
    verdict = (
        "Nothing changes." if not (found.changes or found.prohibitions) else "The two rulebooks decide differently."
    )
    if swing is not None:
        verdict += f" {_number(swing[0])} of {_number(swing[1])} recorded exchanges would have gone otherwise."
    tables = [
        Table(
            "Classes of change",
            "From the strongest: duty, may-give, right, on-request, unless-refused, word, emergency, nothing.",
            ("from", "to", "points"),
            tuple((was, becomes, _number(points)) for (was, becomes), points in classes.items()),
        ),
        Table(
            "Changes by basis",
            "By which bases it was given and is given, who gives what to whom, at how many points.",
            ("class", "bases", "who and what", "points"),
            tuple(_grouped(group) for group in groups),
        ),
        Table("Prohibitions", "What may not move although a basis gives it.", ("id", "change"), found.prohibitions),
    ]
    return Report(
        title=f"From {found.old.version} to {found.new.version}",
        verdict=verdict,
        good=not found.changes,
        summary=tuple(summary),
        tables=tuple(table for table in tables if table.rows),
    )


def _grouped(group: Group) -> tuple[str, ...]:
    """A group as a row that is read in 80 columns: what is long, breaks at its commas."""
    return (
        f"{group.was.value} → {group.becomes.value}",
        f"{_list(group.old_bases) or 'none'} → {_list(group.new_bases) or 'none'}",
        f"{_list(group.providers)} → {_list(group.requesters)} ({_list(group.purposes)}): {_list(group.categories)}",
        _number(group.points),
    )


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)


_CHANGES = {
    "becomes-permitted": "Becomes permitted",
    "becomes-withheld": "Becomes withheld",
    "changes": "Stays, by another rule",
}


def _bases(rulebook: Rulebook) -> Table:
    """All bases, with the act that each stands on."""
    rows = tuple(
        (
            basis.id,
            basis.title["en"],
            basis.cited("en"),
            f"{basis.starts or '…'} – {basis.ends or '…'}",
            basis.word.value,
            "yes" if basis.reviewed else "no",
        )
        for basis in rulebook.bases
    )
    columns = ("basis", "title", "act", "in force", "the person's word", "reviewed")
    return Table("Legal bases", "All bases, with the act that each stands on.", columns, rows)


def _proofs(rulebook: Rulebook, proofs: Sequence[Proof]) -> Table:
    """Each invariant, proved or broken; what breaks one is said in three languages."""
    rows = []
    for proof in proofs:
        told = f"proved at {_number(proof.points)} points"
        if proof.counterexample is not None:
            decision = proof.counterexample.supposed.decision(rulebook)
            told = "broken: " + " / ".join(explain(decision, rulebook, language) for language in LANGUAGES)
        rows.append((proof.invariant.id, proof.invariant.says["en"], told))
    return Table("Invariants", "What must hold of the whole rulebook.", ("id", "says", "outcome"), tuple(rows))


def _stopped(rulebook: Rulebook) -> Table:
    """What each prohibition stops, and what it marks."""
    rows = []
    for prohibition in rulebook.prohibitions:
        stops = [basis.id for basis in rulebook.bases if _stops(rulebook, prohibition, basis)]
        source = str(prohibition.source.provision) if prohibition.source is not None else "none"
        rows.append(
            (prohibition.id, source, f"{len(stops)}: {', '.join(stops)}", ", ".join(sorted(prohibition.obliges)))
        )
    return Table(
        "What prohibitions stop",
        "The bases that each stops while it applies, and what it asks of the others.",
        ("prohibition", "provision", "stops", "marks"),
        tuple(rows),
    )


def _stops(rulebook: Rulebook, prohibition: Prohibition, basis: Basis) -> bool:
    return prohibition.stops(basis) and any(
        rulebook.touches(prohibition.categories, category) for category in basis.categories
    )


def _sourceless(rulebook: Rulebook) -> Table:
    """Bases of which nothing says where they stand, and those that were amended since somebody here read them."""
    rows = []
    for basis in rulebook.bases:
        if basis.source is None and (basis.statute is None or basis.statute.section is None):
            rows.append((basis.id, "no section is named"))
        elif basis.source is not None and basis.source.amended_unread:
            rows.append((basis.id, f"amended, unread: {', '.join(basis.source.amended_unread)}"))
    return Table("Sources", "Bases without a section, or amended since they were read.", ("basis", "what"), tuple(rows))


def of_coverage(found: Coverage, language: str = "en") -> Report:
    """The report on an act: its moments with a basis, without one and why, or unaccounted for."""
    rows = []
    for moment in found.moments:
        named = [basis.id for basis in moment.bases] + [prohibition.id for prohibition in moment.prohibitions]
        why = [entry.reason[language] for entry in moment.without]
        rows.append(
            (
                moment.provision.said(language),
                ", ".join(named) or "; ".join(why) or "UNACCOUNTED FOR",
                ", ".join(moment.amended_unread),
            )
        )
    missing = len(found.missing)
    return Report(
        title=f"{found.act.name[language]} ({found.act.number})",
        verdict="Every moment is accounted for." if not missing else f"{missing} moments are unaccounted for.",
        good=not missing,
        summary=(
            ("Text", found.act.eli or ""),
            ("Moments", _number(len(found.moments))),
            ("Amended, unread", _number(found.unread)),
        ),
        tables=(
            Table(
                "Moments", "By what each is accounted for.", ("provision", "basis, or why none", "unread"), tuple(rows)
            ),
        ),
    )


def _findings(title: str, caption: str, findings: Sequence[Finding]) -> Table:
    return Table(
        title,
        caption,
        ("what", "about", "where", "what is seen", "points"),
        tuple(
            (
                finding.kind,
                finding.about,
                finding.where,
                finding.message,
                _number(finding.cells) if finding.cells else "",
            )
            for finding in findings
        ),
    )


def _number(value: int) -> str:
    return f"{value:,}".replace(",", " ")


@cache
def _template() -> Template:
    environment = Environment(loader=PackageLoader("consent", "templates"), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("report.html")
