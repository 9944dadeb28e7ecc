"""What every adapter must hold, asked of this one. The same as `yhdyspinta adapter test`."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.sdk.testing import CHECKS, Package, open_folder


@pytest.fixture(scope="module")
def package() -> Package:
    return open_folder(Path(__file__).parent.parent)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_the_adapter_holds(check, package: Package) -> None:
    if not check.applies(package):
        pytest.skip("an adapter that only reads has no round trip")

    faults = check.faults(package)

    assert not faults, "\n".join(faults)
