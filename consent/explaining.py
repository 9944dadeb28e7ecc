"""Say a decision in one paragraph of plain Finnish, Swedish or English that a lawyer can check."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any

from ruamel.yaml import YAML

from consent.decision import Decision
from consent.rulebook import Basis, Prohibition, Rulebook

LANGUAGES = ("fi", "sv", "en")


def explain(decision: Decision, rulebook: Rulebook, language: str = "en") -> str:
    """The decision as a paragraph in `fi`, `sv` or `en`; any other language gets English.

    The rulebook is the one that was decided by.
    """
    words = _Words(rulebook, language if language in LANGUAGES else "en")
    parties = {
        "provider": words.role(decision.provider),
        "requester": words.role(decision.requester),
        "purpose": words.purpose(decision.purpose),
    }
    certain = [permitted for permitted in decision.permitted if not permitted.possible]
    open_ = [permitted for permitted in decision.permitted if permitted.possible]
    sentences: list[str] = []
    if certain:
        sentences.append(
            words.text("permitted", categories=words.categories(one.category for one in certain), **parties)
        )
    if open_:
        needs = ", ".join(words.fact(need) for need in sorted({need for one in open_ for need in one.needs}))
        sentences.append(
            words.text("possible", categories=words.categories(one.category for one in open_), needs=needs)
        )
    if not decision.permitted:
        sentences.append(words.text("denied", **parties))
    by_basis: dict[str, list[str]] = defaultdict(list)
    for permitted in decision.permitted:
        by_basis[permitted.basis].append(permitted.category)
    for identifier, categories in by_basis.items():
        sentences.append(words.basis(rulebook.basis(identifier), categories))
    by_consent = [permitted.category for permitted in decision.permitted if permitted.consent_id is not None]
    if by_consent:
        sentences.append(words.text("carried-by-consent", categories=words.categories(by_consent)))
    if decision.emergency:
        sentences.append(words.text("emergency"))
    overridden = [permitted.category for permitted in decision.permitted if permitted.overridden is not None]
    if overridden:
        sentences.append(words.text("overridden", categories=words.categories(overridden)))
    by_reason: dict[str, list[str]] = defaultdict(list)
    for held in decision.withheld:
        by_reason[words.reason(held.code, held.nearest_basis, held.unmet)].append(held.category)
    for reason, categories in by_reason.items():
        sentences.append(words.text("withheld", categories=words.categories(categories), reason=reason))
    if decision.obligations:
        sentences.append(
            words.text(
                "obligations",
                obligations=", ".join(words.obligation(obligation) for obligation in decision.obligations),
            )
        )
    return " ".join(sentences)


def condition(name: str, language: str = "en") -> str:
    """What a condition of the rulebook asks, in `fi`, `sv` or `en`; its name if it has no words."""
    words = _texts()["conditions"].get(name, {})
    return str(words.get(language if language in LANGUAGES else "en", name))


class _Words:
    def __init__(self, rulebook: Rulebook, language: str) -> None:
        self._rulebook = rulebook
        self._language = language
        self._texts = _texts()

    def text(self, name: str, **values: str) -> str:
        sentence = str(self._texts[name][self._language]).format(**values)
        return sentence[0].upper() + sentence[1:]

    def role(self, code: str) -> str:
        return self._rulebook.roles.get(code, {}).get(self._language, code)

    def purpose(self, code: str) -> str:
        return self._rulebook.purposes.get(code, {}).get(self._language, code)

    def categories(self, codes: Iterable[str]) -> str:
        names = []
        for code in codes:
            known = self._rulebook.categories.get(code)
            names.append(known.title[self._language] if known is not None else code)
        return ", ".join(names)

    def basis(self, basis: Basis | None, categories: Iterable[str]) -> str:
        if basis is None:
            return ""
        return self.text(
            "basis",
            categories=self.categories(categories),
            title=basis.title[self._language],
            statute=basis.cited(self._language),
            review="" if basis.reviewed else str(self._texts["unreviewed"][self._language]),
        )

    def reason(self, code: str, nearest: str | None, unmet: str | None) -> str:
        named: Basis | Prohibition | None = None
        if nearest is not None:
            named = self._rulebook.basis(nearest) or next(
                (prohibition for prohibition in self._rulebook.prohibitions if prohibition.id == nearest), None
            )
        title = named.title[self._language] if named is not None else (nearest or "")
        template = self._texts["reasons"].get(code, {}).get(self._language, code)
        return str(template).format(basis=title, unmet=self._unmet(code, named, unmet or ""))

    def fact(self, name: str) -> str:
        return str(self._texts["facts"].get(name, {}).get(self._language, name))

    def obligation(self, name: str) -> str:
        return str(self._texts["obligation"].get(name, {}).get(self._language, name))

    def _unmet(self, code: str, named: Basis | Prohibition | None, unmet: str) -> str:
        if code == "condition-unmet":
            return str(self._texts["conditions"].get(unmet, {}).get(self._language, unmet))
        if code != "basis-not-in-force" or named is None:
            return unmet
        over = named.ends is not None and unmet == named.ends.isoformat()
        return str(self._texts["until" if over else "since"][self._language]).format(day=self._day(unmet))

    def _day(self, iso: str) -> str:
        if self._language == "en" or not iso:
            return iso
        year, month, day = iso.split("-")
        return f"{int(day)}.{int(month)}.{year}"


@cache
def _texts() -> Any:
    return YAML(typ="safe", pure=True).load((files("consent") / "texts.yaml").read_text(encoding="utf-8"))
