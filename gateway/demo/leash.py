"""Start a process that ends when whoever started it ends, also when that was killed and could stop nothing itself.

`leashed` puts this file before a command. Run as a program it asks the kernel to be killed with its parent and becomes
the command, under the same process id; so signals, exit codes and open files are the command's own. The kernel counts
the thread that started the process as its parent: start it from one that lives as long as the process should. Only
Linux can do this; elsewhere the command stays as it is.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def leashed(command: Sequence[str]) -> list[str]:
    """The command, so that its process dies with the one that starts it."""
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def _become(parent: int, command: list[str]) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # Whoever died before the kernel was asked is not told of any more.
    if os.getppid() == parent:
        os.execvp(command[0], command)


if __name__ == "__main__":
    _become(int(sys.argv[1]), sys.argv[2:])
