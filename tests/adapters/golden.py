"""Golden files: what an adapter makes of the samples, kept beside it. `GOLDEN=write` writes them anew."""

from __future__ import annotations

import json
import os
from importlib.resources import files
from pathlib import Path
from typing import Any

from adapters.sdk import Mapped


def told(mapped: list[Mapped], first: int = 10) -> dict[str, Any]:
    """The bundles of the first records, and of all records how many there are and what was refused where."""
    return {
        "read": len(mapped),
        "rejected": [
            {
                "key": item.key,
                "findings": [
                    {"code": one.code, "row": one.position.row, "column": one.position.column, "target": one.target}
                    for one in item.findings
                    if one.severity == "error"
                ],
            }
            for item in mapped
            if item.bundle is None
        ],
        "bundles": [item.bundle for item in mapped[:first]],
    }


def agrees(package: str, name: str, value: Any) -> None:
    """Compare with the golden file of that name in the adapter's folder."""
    path = Path(str(files(package))) / "golden" / f"{name}.json"
    if os.environ.get("GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert json.loads(path.read_text(encoding="utf-8")) == json.loads(json.dumps(value))
