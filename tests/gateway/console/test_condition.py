"""The console says first of all whether the node is held, why, and what ends that; and what ends soon."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gateway.console.office import Condition
from gateway.keys.expiry import Ending
from gateway.node.hold import HoldKind
from tests.gateway.console.conftest import NOW, World, serving

LANGUAGES = ("fi", "sv", "en")
LEFT = [timedelta(days=20), timedelta(days=1, hours=2), timedelta(hours=5), timedelta(days=-2)]


@pytest.mark.parametrize("kind", list(HoldKind))
def test_hold_is_shown_with_its_reason_and_what_ends_it_in_each_language(world: World, kind: HoldKind) -> None:
    world.office = replace(world.office, condition=lambda: Condition(kind, 7, NOW))
    with serving(world) as running:
        visitor = running.enter()
        pages = [visitor.get("/", headers={"accept-language": language}).text for language in LANGUAGES]

    for page in pages:
        assert 'role="alert"' in page
        assert "2026" in page.split('role="alert"')[1].split("</div>")[0]
        assert "7" in page.split('role="alert"')[1].split("</div>")[0]
    assert len({page.split('role="alert"')[1].split("</div>")[0] for page in pages}) == len(LANGUAGES)
    assert ("end-hold" in pages[0]) == (kind in {HoldKind.OLDER, HoldKind.ANOTHER})


def test_what_ends_soon_is_shown_with_the_days_that_are_left(world: World) -> None:
    whats = ["keys.signing", "keys.peers", "keys.clients", "registry.anchors.abc"]
    found = [Ending.of(what, NOW + left, NOW) for what, left in zip(whats, LEFT, strict=True)]
    endings = tuple(ending for ending in found if ending is not None)
    world.office = replace(world.office, condition=lambda: Condition(endings=endings))
    with serving(world) as running:
        page = running.enter().get("/").text

    told = page.split('class="endings"')[1].split("</ul>")[0]
    assert told.count("<li") == 4
    for text in (
        "20 days left",
        "1 day left",
        "less than a day left",
        "has ended",
        "A certificate authority of the registry",
    ):
        assert text in told
    assert told.count('class="attention"') == 3


def test_node_that_is_well_says_nothing_of_it(world: World) -> None:
    with serving(world) as running:
        page = running.enter().get("/").text

    assert "The node releases nothing" not in page
    assert "Ends soon" not in page
