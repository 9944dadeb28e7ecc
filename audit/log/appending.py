"""The statements with which the log appends: they run for each batch, so they speak to the driver."""

from __future__ import annotations

from typing import Final

from sqlalchemy import bindparam, select, update

from audit.log.statements import Fixed
from audit.log.tables import checkpoints, entries, head, tiles

_HEAD_COLUMNS: Final = ("size", "frontier", "recorded", "kept", "note")
CREATE_HEAD: Final = Fixed.insert(head, "id", "origin", *_HEAD_COLUMNS, otherwise="ON CONFLICT (id) DO NOTHING")
# On SQLite the transaction has the write lock from its beginning, and there is nothing to say.
LOCK_HEAD: Final = Fixed(
    select(head.c.origin, head.c.size, head.c.frontier, head.c.note, head.c.kept)
    .where(head.c.id == 1)
    .with_for_update()
)
MOVE_HEAD: Final = Fixed(
    update(head).where(head.c.id == 1).values({name: bindparam(f"new_{name}") for name in _HEAD_COLUMNS}),
    *(f"new_{name}" for name in _HEAD_COLUMNS),
)
KEEP_CHECKPOINT: Final = Fixed.insert(checkpoints, "size", "recorded", "note")
ADD_TILE: Final = Fixed.insert(tiles, "level", "number", "root", "hashes")
BODY: Final = Fixed(select(entries.c.body).where(entries.c.idx == bindparam("idx")), "idx")
