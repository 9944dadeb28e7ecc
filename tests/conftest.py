"""What every room's tests share: how hard properties are tried. Databases, tokens and browsers are each room's own."""

from __future__ import annotations

import gc

from hypothesis import HealthCheck, Phase, settings

# How long an example takes says how busy the machine is, and nothing about the code.
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
# As many examples as properties say: `make survive S=properties`, and a test that is to find a guard gone.
settings.register_profile("long", max_examples=100, **_COMMON)
# For each change: what a fault that is there shows in, mostly in the first dozen.
settings.register_profile("full", max_examples=40, **_COMMON)
# For the inner loop: few examples, and a failing one is shown as it was found.
settings.register_profile("fast", max_examples=10, phases=[Phase.explicit, Phase.reuse, Phase.generate], **_COMMON)
settings.load_profile("long")


def pytest_collection_finish() -> None:
    """What was loaded to find the tests stays to their end: the garbage collector need not look at it again."""
    gc.collect()
    gc.freeze()
