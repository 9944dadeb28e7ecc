"""What it costs to start: seconds of the processor and modules until a command answers and until a node is ready.

A command is measured as its process ends, a node in the moment in which all its faces are open. Both are seconds of the
processor, which do not depend on what else the machine does. The node is one of the demo's, with its console, over a
database that is up to date; what a node loads besides is what its settings ask for.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

from adapters.samples import write_samples
from bench.figures import Figure
from gateway.demo.network import build
from gateway.demo.organisations import DEMO

PART: Final = "starting"
COMMAND_GOAL: Final = 0.5
NODE_GOAL: Final = 2.5

_COMMAND: Final = """
import json, sys, time
from gateway.cli.main import app
try:
    app(sys.argv[1:])
except SystemExit as ended:
    if ended.code:
        raise
    print("\\n" + json.dumps([time.process_time(), len(sys.modules)]))
"""
_NODE: Final = """
import asyncio, json, sys, time
from pathlib import Path
from gateway.node.node import Node
from gateway.settings import load

def ready():
    print("\\n" + json.dumps([time.process_time(), len(sys.modules)]))
    node.stop()

async def main():
    global node
    node = Node(load(Path(sys.argv[1])), ready=ready)
    await node.run()

asyncio.run(main())
"""


def run(*, rounds: int = 5) -> list[Figure]:
    """Measure each as often as that; a first round, which is not counted, makes databases and compiled files."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        write_samples(Path(folder) / "register", count=40)
        organisations = [organisation for organisation in DEMO if organisation.name in {"centre", "kotka"}]
        export = Path(folder) / "register" / "reception-centre.csv"
        network = build(Path(folder) / "network", datetime.now(UTC), export, organisations=organisations)
        published = str(network.folder / "authority")
        return [
            *_figures("yhdyspinta --help", COMMAND_GOAL, rounds, _COMMAND, ["--help"]),
            *_figures("yhdyspinta registry show", COMMAND_GOAL, rounds, _COMMAND, ["registry", "show", published]),
            *_figures("node until it is ready", NODE_GOAL, rounds, _NODE, [str(network.parties["kotka"].config)]),
        ]


def _figures(what: str, goal: float, rounds: int, code: str, arguments: list[str]) -> list[Figure]:
    measured = [_measured(code, arguments) for _ in range(rounds + 1)][1:]
    seconds = tuple(found[0] for found in measured)
    modules = median(found[1] for found in measured)
    return [
        Figure(PART, what, "CPU s", median(seconds), None, None, goal, "at most", rounds, seconds),
        Figure(PART, what, "modules", modules, rounds=rounds),
    ]


def _measured(code: str, arguments: list[str]) -> tuple[float, int]:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    if done.returncode != 0 or not lines or not lines[-1].startswith("["):
        raise RuntimeError(f"{arguments} ended with {done.returncode}: {done.stderr[-1000:]}")
    seconds, modules = json.loads(lines[-1])
    return float(seconds), int(modules)
