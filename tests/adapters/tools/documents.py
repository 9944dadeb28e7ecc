"""Read the fenced blocks of a page of the documentation, in their order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs" / "adapters"

_FENCE = re.compile(r"^```(\w+)?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, what stands after it on the fence, its text, the heading that it is under."""

    language: str
    about: str
    text: str
    heading: str


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text("utf-8")
    for found in _FENCE.finditer(text):
        headings = re.findall(r"^## (.+)$", text[: found.start()], re.MULTILINE)
        yield Block(found[1] or "", found[2].strip(), found[3], headings[-1] if headings else "")
