"""Headers that clients send and commands know too; a module that loads nothing else."""

from __future__ import annotations

from typing import Final

#: On whose behalf an information system acts: the person at its keyboard.
USER_HEADER: Final = "Yhdyspinta-User"
