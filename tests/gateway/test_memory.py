"""What a node no longer uses goes back to the system, whichever thread took it."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import weakref
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from gateway.node.parts import assemble
from gateway.node.upkeep import Upkeep
from gateway.settings import load
from gateway.web.authentication import Callers
from tests.gateway.exchange.inprocess import Place, utc_now
from tests.waiting import until

pytestmark = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="this C library's allocator has no settings"
)

THREADS = 6
#: Each thread takes its first block while all others hold theirs; how many heaps there are then, the library tells.
_HEAPS = f"""
import ctypes, tempfile, threading
from gateway.node import memory
{{before}}
library = ctypes.CDLL(None)
library.malloc.restype = library.fopen.restype = ctypes.c_void_p
together = threading.Barrier({THREADS})
def take():
    library.malloc(1000)
    together.wait()
threads = [threading.Thread(target=take) for _ in range({THREADS})]
for thread in threads: thread.start()
for thread in threads: thread.join()
with tempfile.NamedTemporaryFile() as file:
    stream = ctypes.c_void_p(library.fopen(file.name.encode(), b"w"))
    library.malloc_info(0, stream)
    library.fclose(stream)
    print(file.read().count(b"<heap nr="))
"""
#: A block of 16 MiB has come and gone, after which the library, left to itself, takes one of 1 MiB out of a heap.
_LARGE = """
import ctypes
from gateway.node import memory
{before}
library = ctypes.CDLL(None)
class Told(ctypes.Structure): _fields_ = [(f"at_{{number}}", ctypes.c_size_t) for number in range(10)]
library.mallinfo2.restype = Told
library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
library.free(library.malloc(16 << 20))
before = library.mallinfo2().at_4
library.malloc(1 << 20)
print(library.mallinfo2().at_4 - before)
"""
#: Blocks of a page each are freed but for one in sixteen, the last of them too: nothing is free at the heap's end.
_FREED = """
import ctypes
from pathlib import Path
from gateway.node import memory
library = ctypes.CDLL(None)
library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
def own():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon:")).split()[1])
blocks = [library.malloc(4096) for _ in range(16_000)]
for block in blocks: ctypes.memset(block, 1, 4096)
for number, block in enumerate(blocks):
    if number % 16 != 15: library.free(block)
before = own()
given = memory.give_back()
print(int(given), before - own())
"""
#: Few enough to stay below what wakes the collector of a node.
_CYCLES = """
import gc, weakref
from gateway.cli.node import GARBAGE, _loaded
from gateway.node import memory
_loaded()
class Held: pass
kept = []
for _ in range(GARBAGE // 10):
    held = Held(); held.itself = held; held.holds = bytes(1000); kept.append(weakref.ref(held))
del held
before = sum(ref() is not None for ref in kept)
memory.give_back()
print(before, sum(ref() is not None for ref in kept))
"""


def told(script: str) -> list[int]:
    """The numbers that a process of its own prints."""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return [int(number) for number in done.stdout.split()]


def test_many_threads_share_few_heaps() -> None:
    from gateway.node import memory

    (settled,) = told(_HEAPS.format(before="assert memory.settle()"))
    (left,) = told(_HEAPS.format(before=""))

    assert settled <= memory.HEAPS < left


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="this C library does not tell")
def test_large_blocks_come_from_the_system_whatever_has_been_freed() -> None:
    (settled,) = told(_LARGE.format(before="assert memory.settle()"))
    (left,) = told(_LARGE.format(before=""))

    assert settled >= 1 << 20
    assert left == 0


def test_free_pages_between_used_ones_go_back() -> None:
    given, kibibytes = told(_FREED)

    assert given
    assert kibibytes > 16_000 * 4 // 2


def test_what_only_refers_to_itself_does_not_wait_for_more_of_its_kind() -> None:
    before, after = told(_CYCLES)

    assert before > 4000
    assert after == 0


class Ring:
    """Refers to itself, so that nothing but the collector ends it."""

    def __init__(self) -> None:
        self.itself = self


async def test_a_node_gives_back_while_it_runs(tmp_path: Path) -> None:
    settings = load(Place.build(tmp_path).network.parties["centre"].config, {})
    async with AsyncExitStack() as stack:
        parts = await assemble(settings, stack)
        upkeep = Upkeep(parts, Callers((), tokens=None, clock=utc_now))
        gc.disable()
        stack.callback(gc.enable)
        kept = weakref.ref(Ring())
        await upkeep.start()
        stack.push_async_callback(upkeep.stop)

        await until(lambda: kept() is None)
