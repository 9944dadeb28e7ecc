"""How a test ends that does not pass."""

from __future__ import annotations


class Failed(Exception):  # noqa: N818  a verdict on the target, not an error of the kit
    """The target is not as the requirement says: what was expected of it, and what came."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}, got {got}")
        self.expected = expected
        self.got = got


class NotGiven(Exception):  # noqa: N818  says that the test cannot be run, which is nobody's error
    """The profile lacks something that the test found that it needs; says what."""
