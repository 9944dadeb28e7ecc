"""Texts whose key ends in a value: each value has its text, and each place that makes a key so is known here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.resources import files
from typing import get_args

import pytest

from audit.log.entries import EntryType, Outcome
from audit.questions.damage import Damaged
from audit.questions.identities import Act, Matter
from audit.questions.reviews import Verdict
from audit.questions.said import KINDS, AimedAt, Saying, Speaker, State, Step
from audit.questions.words import Told
from audit.tree.witness import _KINDS as ALARMS
from consent.checking.difference import Change
from consent.rules.law import Word
from consent.words.consents import WordKind
from consent.words.givers import GiverKind
from consent.words.targets import TargetKind
from gateway.asking.requests import State as Asked
from gateway.console.pages import PAGES
from gateway.console.wording import Words
from gateway.desk.forms import Format, Order
from gateway.desk.roles import Role
from gateway.handover.states import REACHED
from gateway.node.hold import HoldKind
from gateway.obligations.acts import OUTCOMES, Channel
from gateway.obligations.notice import Translation, drafts_by_language
from gateway.obligations.tasks import FORGOTTEN
from gateway.obligations.tasks import Kind as Task
from texts import LANGUAGES, Catalogue

#: What the values of a key are. A template that makes a key of another kind fails until its values stand here.
VALUES: dict[str, Iterable[str]] = {
    "alarm.": ALARMS,
    "change.": get_args(Change),
    "consent-rule.": Word,
    "export.": Format,
    "finding.": Damaged,
    "draft-language.": drafts_by_language(),
    "hold.": HoldKind,
    "hold.remedy-": HoldKind,
    "identity-act.": Act,
    "identity-matter.": Matter,
    "language-name.": LANGUAGES,
    "language.": LANGUAGES,
    "leg.": REACHED,
    "month.": [str(month) for month in range(1, 13)],
    "outcome.": Outcome,
    "overview.lead-": Role,
    "page.": {*(page.name for page in PAGES), "sign-in"},
    # The operator and the registrar have doors on their first page, each with what is behind it.
    "about.": {page.name for page in PAGES if page.group and {Role.OPERATOR, Role.REGISTRAR} & set(page.roles)},
    "requests.state-": Asked,
    "role.": Role,
    "rule.": {key.split(".")[1].removesuffix("#one") for key in Catalogue("audit") if key.startswith("anomaly.")},
    "rule-says.": {key.split(".")[1].removesuffix("#one") for key in Catalogue("audit") if key.startswith("anomaly.")},
    "search.": [*Order, "from", "to"],
    "speaker.": Speaker,
    "tasks.channel-": Channel,
    "tasks.kind-": Task,
    "tasks.outcome-": [FORGOTTEN, *(code for codes in OUTCOMES.values() for code in codes)],
    "tasks.translation-": [found for found in Translation if found is not Translation.REVIEWED],
    "type.": [*EntryType, *Told],
    "verdict.": Verdict,
    "verdict-says.": Verdict,
    "weekday.": [str(day) for day in range(7) if day in (0, 2, 4)],
    "word.": Saying,
    "word-aim.": AimedAt,
    "word-state.": State,
    "word-step.": Step,
}
#: Keys whose values stand in the template that makes them, or in the table of the page: rendering the page walks them.
RENDERED = {"door.why-", "ending.", "filter.", "group.", "identifier.", "person.", "timeline."}
_MADE = re.compile(r'\bt\("([a-z0-9.-]+)" ~')


def made() -> set[str]:
    folder = files("gateway.console") / "templates"
    return {key for page in folder.iterdir() for key in _MADE.findall(page.read_text("utf-8"))}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("prefix", sorted(VALUES))
def test_each_value_has_its_text(prefix: str, language: str) -> None:
    t = Words(language)

    assert [value for value in VALUES[prefix] if not t.has(f"{prefix}{value}")] == []
    assert all(t(f"{prefix}{value}", count=2) for value in VALUES[prefix])


def test_no_template_makes_a_key_of_values_that_nobody_walks() -> None:
    assert made() - VALUES.keys() - RENDERED == set()


def test_words_are_named_as_they_are_kept() -> None:
    assert {kind.value for kind in WordKind} == {kind.value for kind in KINDS}
    assert {kind.value for kind in GiverKind} == {kind.value for kind in Speaker}
    assert {kind.value for kind in TargetKind} == {kind.value for kind in AimedAt}
    named = [[Words(language)(f"word.{kind}") for kind in WordKind] for language in LANGUAGES]
    assert named == [
        ["luovutuslupa", "suostumus", "kielto", "ilmoitettu kielto"],
        ["tillstånd för utlämnande", "samtycke", "förbud", "anmält förbud"],
        ["permission", "consent", "prohibition", "reported prohibition"],
    ]
