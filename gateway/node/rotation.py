"""Change a secret while nodes run: another key beside the one in use, then in its place.

The steps can be ended anywhere, by a power cut as well, and begun again: where a change stands, the file and the
database say. The order of the steps is what keeps words of people from being passed over:

1. the new key is added to the file, last: nobody writes under it;
2. the database asks for it, on record: a node that has not read it yet is held, and one that lacks it does not start;
3. after the time in which every node has looked, the database says that it is the current one, on record.

What was written under the former index key stays under it for good, and is still looked for. What the former wrapping
key has wrapped is wrapped anew, batch by batch, and only when nothing is left of it the key goes. The former token key
counts for as long as a token lives.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap
from sqlalchemy import Connection, Engine, bindparam, insert, select, update

from audit.log.entries import Entry, EntryType, Outcome, micros
from audit.log.log import Log
from audit.log.tables import entries, subjects
from audit.log.waiting import Written
from audit.questions.keys import unwrapped
from audit.tree import proofs
from audit.tree.checkpoint import Former, LogSigner, NoteError, succeeding
from gateway.keys import log_keys, ring
from gateway.node.secret_files import KnownKey, SecretState, fingerprint, known_keys, path_of
from gateway.node.wiring import NodeError, log_signer, secrets_in
from gateway.settings import Settings
from gateway.storage.engine import writer
from gateway.storage.tables import secret_fingerprints
from gateway.story import Story

BATCH: Final = 200


class Secret(StrEnum):
    """What can be changed here alone. The others have a public half that others know: those change through the
    registry, and of the log's key this command takes the last step (`Succession`).
    """

    INDEX = "index"
    WRAPPING = "wrapping"
    TOKEN = "token"  # noqa: S105 - a name

    @property
    def kept(self) -> str:
        """What is to be done with the file afterwards, and what hangs on that."""
        return {
            Secret.INDEX: "back the file up afterwards: from then on no person is found in the database without it",
            Secret.WRAPPING: "back the file up afterwards: from then on what is sealed of people opens by it alone",
            Secret.TOKEN: "let tokens under the former key run out; nothing in the database depends on it, and if the "
            "file is lost clients fetch new tokens",
        }[self]

    @property
    def setting(self) -> str:
        """Its name among the settings, and in the database."""
        return f"{self.value}_key"


class Change(StrEnum):
    """What an entry says of a secret."""

    JOINING = "joining"
    CURRENT = "current"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Beside:
    """What the command works with, beside nodes that run: their database and log, a clock, and how it waits for them.

    `user` is the pseudonym of the person at the operating system.
    """

    settings: Settings
    engine: Engine
    log: Log
    clock: Callable[[], datetime]
    settle: Callable[[], object]
    user: str


class Rotation:
    """The change of one secret. `prepare` and `carry_out` begin where a former attempt has ended."""

    def __init__(self, secret: Secret, beside: Beside) -> None:
        self._name = secret.setting
        self._secret = secret
        self._beside = beside
        self._path = path_of(beside.settings, self._name)

    def prepare(self) -> None:
        """Add the new key to the file, unless one waits there already. Raises NodeError, OSError."""
        keys, known = self._stand()
        states = {key.fingerprint: key.state for key in known}
        begun = self._waiting(keys, known) is not None or self._former_wrapping(known) is not None
        held = [states.get(self._print(key)) for key in keys]
        if begun or held[0] is SecretState.FORMER or SecretState.GONE in held:
            return
        if SecretState.CURRENT not in states.values():
            raise NodeError(
                f"the database knows no {self._name} yet", "start a node on it once, then change the secret"
            )
        # A wrapping key that nothing is under any more need not be carried along, nor a token key whose tokens ended.
        carried = {SecretState.CURRENT} if self._secret is Secret.TOKEN else set(SecretState) - {SecretState.GONE}
        kept = tuple(key for key in keys if states.get(self._print(key)) in carried)
        if len(kept) >= ring.MOST_KEYS:
            raise NodeError(f"{self._path} holds {len(kept)} keys", f"a file holds at most {ring.MOST_KEYS}")
        ring.replace(self._path, (*kept, ring.new()))

    def carry_out(self, told: Callable[[str], None] = lambda _step: None) -> int:
        """Put the new key in the place of the one in use; how many persons' keys were wrapped anew."""
        keys, known = self._stand()
        waiting = self._waiting(keys, known)
        if waiting is not None:
            if self._print(waiting) not in {key.fingerprint for key in known}:
                told("every node is to read it")
                self._move(self._print(waiting), SecretState.JOINING, Change.JOINING)
            self._beside.settle()
            self._move(self._print(waiting), SecretState.CURRENT, Change.CURRENT)
            told("what is new is written under it")
        self._settle_file()
        return self._rewrap(told) if self._secret is Secret.WRAPPING else 0

    def _settle_file(self) -> None:
        """The current key first, since commands that ask no database go by that; and none that is gone."""
        keys, known = self._stand()
        states = {key.fingerprint: key.state for key in known}
        left = [key for key in keys if states.get(self._print(key)) is not SecretState.GONE]
        ring.replace(self._path, sorted(left, key=lambda key: states.get(self._print(key)) is not SecretState.CURRENT))

    def _rewrap(self, told: Callable[[str], None]) -> int:
        _, known = self._stand()
        former = self._former_wrapping(known)
        if former is None:
            return 0
        # By now no node wraps anything with the former key any more, so a round that finds nothing is the last.
        self._beside.settle()
        current, *others = secrets_in(self._path)
        count, found = 0, -1
        while found:
            told("keys of persons are wrapped anew")
            found = rewrap(self._beside.engine, current, others)
            count += found
        self._move(former.fingerprint, SecretState.GONE, Change.GONE)
        self._settle_file()
        return count

    def _stand(self) -> tuple[tuple[bytes, ...], tuple[KnownKey, ...]]:
        with self._beside.engine.connect() as connection:
            known = known_keys(connection).get(self._name, ())
        return secrets_in(self._path), known

    def _print(self, key: bytes) -> str:
        return fingerprint(self._name, key)

    def _waiting(self, keys: tuple[bytes, ...], known: tuple[KnownKey, ...]) -> bytes | None:
        """The key that is to follow: one that joins, or one that was added and that the database does not know."""
        states = {key.fingerprint: key.state for key in known}
        joining = [key for key in keys if states.get(self._print(key)) is SecretState.JOINING]
        added = [key for key in keys[1:] if self._print(key) not in states]
        return next(iter((*joining, *added)), None)

    def _former_wrapping(self, known: tuple[KnownKey, ...]) -> KnownKey | None:
        former = (key for key in known if key.state is SecretState.FORMER)
        return next(former, None) if self._secret is Secret.WRAPPING else None

    def _move(self, print_: str, state: SecretState, change: Change) -> None:
        """Give a key its state, on record in the same transaction. Raises LogError."""

        def unit(connection: Connection) -> Written[None]:
            moved = _moved(connection, self._name, print_, state, micros(self._beside.clock()))
            detail = {"secret": self._name, "change": change.value}
            return Written(None, (_told(self._beside, detail),) if moved else ())

        self._beside.log.commit_blocking(unit)


class Succession:
    """The log goes on under the key that the registry lists for it; the one before it signs no more."""

    def __init__(self, beside: Beside, listed: str | None) -> None:
        self._beside = beside
        self._listed = listed
        self._path = beside.settings.secrets.log_key

    def carry_out(self, told: Callable[[str], None] = lambda _step: None) -> None:
        """Let the former key go. Begins where a former attempt has ended. Raises NodeError, LogError, OSError."""
        signer = log_signer(self._beside.settings)
        if signer.coming is None:
            raise NodeError(
                f"{self._path} holds no key that is to follow",
                "ask for one first: yhdyspinta registry enrol --renew log",
            )
        if self._listed != str(signer.coming):
            # A peer knows the log by what the registry lists: it would take the new key's word for nobody's.
            raise NodeError(
                "the registry does not list the new key for this node's log yet",
                "have the authority take the request in (`registry add`), and run this again afterwards",
            )
        told("every peer is to know the new key, and every node of this database to sign by both")
        self._join(signer)
        self._beside.settle()
        self._handed_on(signer)  # nothing is on record as changed that cannot be
        self._record(signer, Change.CURRENT)
        last = self._handed_on(signer)
        log_keys.keep_former(log_keys.former_file(self._path), (*signer.verifier.former, last))
        ring.replace(self._path, secrets_in(self._path)[1:])
        told("the log is signed by the new key alone")

    def _join(self, signer: LogSigner) -> None:
        """Put on record that the key is to follow, by both keys: a log that stands still would wait for good."""
        with contextlib.suppress(NodeError):
            self._handed_on(signer)
            return
        self._record(signer, Change.JOINING)

    def _handed_on(self, signer: LogSigner) -> Former:
        """The key that is followed, with the log's last checkpoint by both. Raises NodeError if only one signed it."""
        assert signer.coming is not None
        with self._beside.engine.connect() as connection:
            former = Former(signer.verifier, proofs.current(connection).note)
        try:
            # By both keys, as every checkpoint since all nodes know the second: the former's word for what follows.
            succeeding(signer.coming, (*signer.verifier.former, former))
        except NoteError:
            raise NodeError(
                "the newest checkpoint is not signed by both keys: a node of this database has not read the second one",
                "see that each node runs and can read log.key, and run this again",
            ) from None
        return former

    def _record(self, signer: LogSigner, change: Change) -> None:
        detail: dict[str, str | int] = {
            "secret": "log_key",
            "change": change.value,
            "former": signer.verifier.key_id.hex(),
            "key": str(signer.coming),
        }

        def unit(connection: Connection) -> Written[None]:
            # Each attempt asks anew. That it changed is told once: one that was ended after this step has told it.
            bodies = select(entries.c.body).where(entries.c.type == EntryType.SECRET.value)
            if change is Change.CURRENT and any(
                Entry.parse(body).detail == detail for body in connection.scalars(bodies)
            ):
                return Written(None, ())
            return Written(None, (_told(self._beside, detail),))

        self._beside.log.commit_blocking(unit)


def _told(beside: Beside, detail: Mapping[str, str | int]) -> Entry:
    story = Story(client="yhdyspinta node rotate", user=beside.user, node=beside.settings.node.id)
    return story.entry(EntryType.SECRET, Outcome.SUCCESS, beside.clock(), detail=detail)


def _moved(connection: Connection, name: str, print_: str, state: SecretState, at: int) -> bool:
    """Write the state of a key, and that the one before it is not the current one. Whether anything changed."""
    table = secret_fingerprints
    known = {key.fingerprint: key.state for key in known_keys(connection).get(name, ())}
    if known.get(print_) is state:
        return False
    this = (table.c.name == name) & (table.c.fingerprint == print_)
    if print_ not in known:
        row = {"name": name, "fingerprint": print_, "at": at, "state": state.value}
        connection.execute(insert(table), row)
        return True
    if state is SecretState.CURRENT:
        former = (table.c.name == name) & (table.c.state == SecretState.CURRENT.value)
        # Of a token key nothing is read any more once its tokens have ended.
        connection.execute(update(table).where(former).values(state=SecretState.FORMER.value))
    connection.execute(update(table).where(this).values(state=state.value, at=at))
    return True


def rewrap(engine: Engine, current: bytes, former: list[bytes]) -> int:
    """Wrap all keys of persons that former keys have wrapped with the current one; how many they were.

    In batches, each a short transaction of its own, so that nodes go on meanwhile. A key that was destroyed in between
    is not brought back.
    """
    table, last, count = subjects, "", 0
    anew = (
        update(table)
        .where(table.c.id == bindparam("of"), table.c.wrapped_key == bindparam("before"))
        .values(wrapped_key=bindparam("after"))
    )
    while True:
        with engine.connect() as connection:
            batch = connection.execute(
                select(table.c.id, table.c.wrapped_key)
                .where(table.c.id > last, table.c.wrapped_key.is_not(None))
                .order_by(table.c.id)
                .limit(BATCH)
            ).all()
        if not batch:
            return count
        last = batch[-1].id
        changes = [change for row in batch if (change := _anew(row.id, bytes(row.wrapped_key), current, former))]
        if changes:
            with writer(engine).begin() as connection:
                count += sum(connection.execute(anew, change).rowcount for change in changes)


def _anew(id_: str, wrapped: bytes, current: bytes, former: list[bytes]) -> dict[str, Any] | None:
    try:
        aes_key_unwrap(current, wrapped)
    except InvalidUnwrap:
        return {"of": id_, "before": wrapped, "after": aes_key_wrap(current, unwrapped(former, wrapped))}
    return None
