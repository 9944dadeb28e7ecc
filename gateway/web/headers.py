"""Headers that clients send, in a module that loads nothing else: commands know them too.

The caller's references travel in headers where there is no JSON for them: addresses are written down by whatever they
pass.
"""

from __future__ import annotations

from typing import Final

CASE_HEADER: Final = "Yhdyspinta-Case"
#: On whose behalf an information system acts: the person at its keyboard.
USER_HEADER: Final = "Yhdyspinta-User"
