"""SoftHSM: tokens that behave like hardware, for tests that keep keys in them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.keys import token
from gateway.keys.token import Pkcs11KeyStore
from gateway.wire.signing import Algorithm
from tests import parts

PIN, SO_PIN = "246810", "13579111"
MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)


@dataclass(frozen=True)
class Tokens:
    """SoftHSM with two empty tokens, `virasto` and `varalla`, in a folder of its own."""

    module: Path
    folder: Path

    def generate(self, label: str, algorithm: Algorithm, name: str = "virasto") -> token.TokenEcKey | token.TokenEdKey:
        return token.generate(self.module, name, label, PIN, algorithm)

    def store(self, label: str, certificate: bytes, *, name: str = "virasto", pin: str = PIN) -> Pkcs11KeyStore:
        return Pkcs11KeyStore(self.module, name, label, pin, certificate)


@pytest.fixture(scope="session")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tokens]:
    remedy = "Install it (Debian: apt-get install softhsm2)."
    module, util = parts.file("SoftHSM", MODULES, remedy), parts.tool("softhsm2-util", remedy)
    parts.module("pkcs11")
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    settings = folder / "softhsm2.conf"
    settings.write_text(f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n")
    former = os.environ.get("SOFTHSM2_CONF")
    # The library reads this once, as it is loaded.
    os.environ["SOFTHSM2_CONF"] = str(settings)
    for label in ("virasto", "varalla"):
        subprocess.run(
            [util, "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", SO_PIN],
            check=True,
            capture_output=True,
        )
    yield Tokens(module, folder)
    if former is None:
        del os.environ["SOFTHSM2_CONF"]
    else:
        os.environ["SOFTHSM2_CONF"] = former
