"""Say a decision in one paragraph of plain Finnish, Swedish or English that a lawyer can check.

The day and the rulebook's version first; then what is given, each basis once with its act, its provision in the
reader's manner, its ground in the GDPR and what carried it; then what is withheld, with the rulebook's own reason where
it has one. Categories stand in the rulebook's order. An obligation is named only if the node carries it out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from typing import Final

from consent.deciding.verdicts import Decision, PermittedCategory, WithheldCategory, legal_day
from consent.rules.law import RETAIN, Basis, Gap, Prohibition, Rulebook, Word
from consent.rules.provisions import article
from consent.rules.request import Way
from texts import LANGUAGES, OTHERWISE, Catalogue, day

_TEXTS: Final = Catalogue("consent")
#: Obligations that nodes carry out; those at the recipient's only of a rulebook that says on whom they fall. What is
#: only passed on is not promised.
CARRIED_OUT: Final = frozenset({"minimise", "review", "hide-from-subject"})
AT_THE_RECIPIENT: Final = frozenset({"notify-subject", "retain-at-most", "no-onward-disclosure"})


def explain(decision: Decision, rulebook: Rulebook, language: str = "en") -> str:
    """The decision as a paragraph in `fi`, `sv` or `en`; any other language gets English.

    The rulebook is the one that was decided by.
    """
    words = _Words(rulebook, language if language in LANGUAGES else OTHERWISE)
    on = legal_day(decision.at)
    sentences = [
        words.text(
            "opening",
            day=day(on, words.language),
            version=f"{rulebook.name} {rulebook.version}",
            provider=words.role(decision.provider),
            requester=words.role(decision.requester),
            purpose=words.purpose(decision.purpose),
        )
    ]
    certain = [permitted for permitted in decision.permitted if not permitted.possible]
    if not decision.permitted:
        sentences.append(words.text("denied"))
    sentences += words.given(certain)
    open_ = [permitted for permitted in decision.permitted if permitted.possible]
    if open_:
        needs = ", ".join(words.fact(need) for need in sorted({need for item in open_ for need in item.needs}))
        sentences.append(words.text("possible", categories=words.categories(open_), needs=needs))
    if decision.emergency:
        sentences.append(words.text("emergency"))
    overridden = [permitted for permitted in decision.permitted if permitted.overridden is not None]
    if overridden:
        sentences.append(words.text("overridden", categories=words.categories(overridden)))
    by_reason: dict[str, list[WithheldCategory]] = defaultdict(list)
    for held in sorted(decision.withheld, key=words.place):
        by_reason[words.why(decision, held, on)].append(held)
    for reason, categories in by_reason.items():
        sentences.append(words.text("withheld", categories=words.categories(categories), reason=reason))
    carried_out = CARRIED_OUT | (AT_THE_RECIPIENT & rulebook.obligations.keys())
    kept = [obligation for obligation in decision.obligations if obligation in carried_out]
    if kept:
        said = [text for obligation in kept for text in words.obligation(obligation, decision)]
        sentences.append(words.text("obligations", obligations="; ".join(dict.fromkeys(said))))
    return " ".join(sentences)


def condition(name: str, language: str = "en") -> str:
    """What a condition of the rulebook asks, in `fi`, `sv` or `en`; its name if it has no words."""
    return _TEXTS.named("conditions", name, language)


def gap_for(rulebook: Rulebook, decision: Decision, category: str, day: date) -> Gap | None:
    """Why the rulebook means to give nothing of a category here, if it says so."""
    ground = decision.request.stated.permit_ground
    for gap in rulebook.gaps:
        if (
            gap.in_force(day)
            and (not gap.purposes or decision.purpose in gap.purposes)
            and (not gap.providers or decision.provider in gap.providers)
            and (not gap.requesters or decision.requester in gap.requesters)
            and (not gap.permits or ground in gap.permits)
            and (not gap.categories or rulebook.covers(gap.categories, category))
        ):
            return gap
    return None


#: Reasons behind which the rulebook's own reason for a gap may stand: no basis came near.
_FAR: Final = frozenset({"no-basis", "basis-not-in-force", "subject-group"})


class _Words:
    def __init__(self, rulebook: Rulebook, language: str) -> None:
        self._rulebook = rulebook
        self.language = language
        self._places = {code: place for place, code in enumerate(rulebook.categories)}

    def text(self, name: str, **values: str) -> str:
        sentence = self._said(name, **values)
        return sentence[0].upper() + sentence[1:]

    def _said(self, name: str, **values: str) -> str:
        return _TEXTS(name, self.language, **values)

    def role(self, code: str) -> str:
        return self._rulebook.roles.get(code, {}).get(self.language, code)

    def purpose(self, code: str) -> str:
        return self._rulebook.purposes.get(code, {}).get(self.language, code)

    def place(self, item: PermittedCategory | WithheldCategory) -> tuple[int, str]:
        """Where a category stands in the rulebook's order."""
        return self._places.get(item.category, len(self._places)), item.category

    def categories(self, items: Iterable[PermittedCategory | WithheldCategory]) -> str:
        names = []
        for item in sorted(items, key=self.place):
            known = self._rulebook.categories.get(item.category)
            names.append(known.title[self.language] if known is not None else item.category)
        return ", ".join(dict.fromkeys(names))

    def given(self, permitted: Iterable[PermittedCategory]) -> list[str]:
        """A sentence for each basis, and for each thing that carried it."""
        groups: dict[tuple[str, bool, str | None], list[PermittedCategory]] = defaultdict(list)
        for item in sorted(permitted, key=self.place):
            groups[item.basis, item.consent_id is not None, item.standing].append(item)
        return [self._basis(self._rulebook.basis(group[0]), items) for group, items in groups.items()]

    def _basis(self, basis: Basis | None, items: list[PermittedCategory]) -> str:
        if basis is None:
            return ""
        return self.text(
            "basis",
            categories=self.categories(items),
            title=basis.title[self.language],
            statute=basis.cited(self.language),
            gdpr=self._ground(basis),
            carried=self._carried(basis, items[0]),
            review="" if basis.reviewed else self._said("unreviewed"),
        )

    def _ground(self, basis: Basis) -> str:
        if basis.source is None or not basis.source.gdpr:
            return ""
        articles = [article(text, self.language) for text in basis.source.gdpr]
        said = f" {self._said('and')} ".join([", ".join(articles[:-1]) or articles[0], articles[-1]])
        said = articles[0] if len(articles) == 1 else said
        return self._said("gdpr", articles=said)

    def _carried(self, basis: Basis, item: PermittedCategory) -> str:
        if item.consent_id is not None:
            name = "carried-by-permission" if basis.word is Word.PERMISSION else "carried-by-consent"
            return self._said(name)
        if item.standing is not None:
            return self._said("carried-by-request", id=item.standing)
        return ""

    def why(self, decision: Decision, held: WithheldCategory, day: date) -> str:
        """Why a category is withheld: the rulebook's own reason first, where no basis came near."""
        gap = gap_for(self._rulebook, decision, held.category, day)
        # What an emergency leaves out, help does not need; that only a part is given, is said where one is.
        if gap is not None and (
            decision.request.emergency or not self._gives_a_part(gap, decision, held.category, day)
        ):
            gap = None
        # A reason that lies in the permit says more than a condition of whichever basis came nearest.
        by_permit = gap is not None and bool(gap.permits) and held.code == "condition-unmet"
        if gap is not None and (held.code in _FAR or by_permit):
            return gap.reason[self.language]
        return self.reason(held.code, held.nearest_basis, held.unmet)

    def _gives_a_part(self, gap: Gap, decision: Decision, category: str, day: date) -> bool:
        """Whether a basis stands for a part of a category of which a gap says that no more than a part is given."""
        known = self._rulebook.categories.get(category)
        if not gap.categories or known is None or not known.parts:
            return True
        triple = decision.provider, decision.requester, decision.purpose
        return any(self._rulebook.carriers(triple, part, day) for part in known.parts)

    def reason(self, code: str, nearest: str | None, unmet: str | None) -> str:
        named: Basis | Prohibition | None = None
        if nearest is not None:
            named = self._rulebook.basis(nearest) or next(
                (prohibition for prohibition in self._rulebook.prohibitions if prohibition.id == nearest), None
            )
        title = named.title[self.language] if named is not None else (nearest or "")
        if isinstance(named, Basis) and named.source is not None:
            title = f"{title}, {named.cited(self.language)}"
        template = _TEXTS.named("reasons", code, self.language)
        return template.format(basis=title, unmet=self._unmet(code, named, unmet or ""))

    def fact(self, name: str) -> str:
        return _TEXTS.named("facts", name, self.language)

    def obligation(self, name: str, decision: Decision) -> list[str]:
        """What an obligation asks, in one way or more: by how the data moves, and by which basis."""
        known = self._rulebook.obligations.get(name)
        if known is None:
            return [_TEXTS.named("obligation", name, self.language)]
        said = []
        for item in sorted(decision.permitted, key=self.place):
            basis = self._rulebook.basis(item.basis)
            if basis is None or name not in basis.obligations:
                continue
            period = self._rulebook.retention.get(basis.retention or "")
            by_word = item.consent_id is not None and decision.request.way is Way.HANDOVER
            if name == RETAIN and period is not None:
                said.append(period.says[self.language])
            elif by_word and known.by_word_says is not None:
                said.append(known.by_word_says[self.language])
            else:
                said.append(known.says[self.language])
        # A prohibition may ask it where no basis does.
        return list(dict.fromkeys(said)) or [known.says[self.language]]

    def _unmet(self, code: str, named: Basis | Prohibition | None, unmet: str) -> str:
        if code == "condition-unmet":
            return _TEXTS.named("conditions", unmet, self.language)
        if code != "basis-not-in-force" or named is None or not unmet:
            return unmet
        over = named.ends is not None and unmet == named.ends.isoformat()
        return self._said("until" if over else "since", day=day(date.fromisoformat(unmet), self.language))
