"""What an analysis found as tables, and as one HTML page that needs nothing else: no script, no font, no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from consent.analysis import Check, Finding
from consent.difference import Differences


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


def of_check(check: Check) -> Report:
    """The report on one rulebook."""
    rulebook = check.rulebook
    faults = check.faults
    verdict = (
        "Nothing to mend: every gap is meant, nothing contradicts, every basis can carry."
        if check.sound
        else f"{len(faults)} {'thing' if len(faults) == 1 else 'things'} to mend."
    )
    bases = tuple(
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
    explained = tuple((one.gap.id, one.gap.reason["en"], f"{_number(one.cells)}") for one in check.explained)
    return Report(
        title=f"Rulebook {rulebook.name} {rulebook.version}",
        verdict=verdict,
        good=check.sound,
        summary=(
            ("Status", rulebook.status),
            ("Digest", rulebook.digest),
            ("Points looked at (role × role × purpose × category × permit × interval)", _number(check.cells)),
            ("Given by a basis", _number(check.given)),
            ("Asked for and withheld on purpose", _number(sum(one.cells for one in check.explained))),
            ("Closed: no flow asks, no basis gives", _number(check.closed)),
            ("Intervals in which the law stands still", "; ".join(str(interval) for interval in check.intervals)),
        ),
        tables=tuple(
            table
            for table in (
                _findings("To mend", "Faults: these must go before the rulebook is used.", faults),
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
                Table(
                    "Legal bases",
                    "All bases, with the act that each stands on.",
                    ("basis", "title", "act", "in force", "the person's word", "reviewed"),
                    bases,
                ),
            )
            if table.rows
        ),
    )


def of_differences(found: Differences, swing: tuple[int, int] | None = None) -> Report:
    """The report on a change of rulebook. `swing` is how many recorded exchanges would have gone otherwise, of all."""
    summary = [
        ("From", f"{found.old.name} {found.old.version}, {found.old.digest}"),
        ("To", f"{found.new.name} {found.new.version}, {found.new.digest}"),
        ("Points compared", _number(found.cells)),
        *(
            (title, _number(sum(len(one.permits) for one in found.changes if one.change == change)))
            for change, title in _CHANGES.items()
        ),
    ]
    verdict = (
        "Nothing changes." if not (found.changes or found.prohibitions) else "The two rulebooks decide differently."
    )
    if swing is not None:
        verdict += f" {_number(swing[0])} of {_number(swing[1])} recorded exchanges would have gone otherwise."
    tables = [
        Table(
            title,
            "By whom, to whom, for what, which category, between which days.",
            ("from", "to", "purpose", "category", "days", "permits", "before", "after"),
            tuple(
                (
                    one.provider,
                    one.requester,
                    one.purpose,
                    one.category,
                    str(one.interval),
                    ", ".join(one.permits),
                    one.before or "not at all",
                    one.after or "not at all",
                )
                for one in found.changes
                if one.change == change
            ),
        )
        for change, title in _CHANGES.items()
    ]
    tables.append(
        Table("Prohibitions", "What may not move, whatever permits it.", ("prohibition", "change"), found.prohibitions)
    )
    return Report(
        title=f"From {found.old.version} to {found.new.version}",
        verdict=verdict,
        good=not found.changes,
        summary=tuple(summary),
        tables=tuple(table for table in tables if table.rows),
    )


_CHANGES = {
    "becomes-permitted": "Becomes permitted",
    "becomes-withheld": "Becomes withheld",
    "changes": "Stays, by another rule",
}


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
