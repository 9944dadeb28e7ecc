"""What the demo's recipients ask once for all: signed by themselves, and no more than the provision gives."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from consent.rulebook import load, reference_rulebook
from gateway.demo.network import Network, Terms, build
from gateway.registry.read.asked import is_vouched
from gateway.registry.read.registry import Registry
from gateway.registry.run.authority import Authority
from tests.former import former_rulebook


def published(network: Network) -> Registry:
    content = Authority(network.folder / "authority", network.passphrase.encode()).content()
    return Registry(content, version=1, expires=datetime.now(UTC))


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    folder = tmp_path_factory.mktemp("asking")
    return published(build(folder / "network", datetime.now(UTC), folder / "register.csv"))


def test_each_recipient_asks_by_its_rights_and_has_signed_it(listed: Registry) -> None:
    asked = listed.content.standing_requests

    assert {(request.role, str(request.provision)) for request in asked} == {
        ("municipality", "681/2023 83:2"),
        ("municipality", "681/2023 86:1"),
        ("county", "681/2023 83:2"),
        ("county", "681/2023 87:1"),
    }
    assert all(is_vouched(request, listed.signing_key, datetime.now(UTC)) for request in asked)


def test_nobody_asks_for_more_than_the_provision_gives(listed: Registry) -> None:
    rulebook = load(reference_rulebook(), source="reference")

    for request in listed.content.standing_requests:
        bases = [basis for basis in rulebook.bases if basis.source and basis.source.provision == request.provision]
        given = {category for basis in bases if request.role in basis.requesters for category in basis.categories}
        assert request.categories
        assert request.categories <= given


def test_under_a_rulebook_of_the_first_form_nobody_asks(tmp_path: Path) -> None:
    terms = Terms(former_rulebook())

    assert not published(
        build(tmp_path / "network", datetime.now(UTC), tmp_path / "register.csv", terms=terms)
    ).content.standing_requests
