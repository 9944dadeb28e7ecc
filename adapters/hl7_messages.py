"""Read and write HL7 v2 messages, in a stream: each message is a record, its fields named `PID-5.1`.

A field or segment that the mapping calls repeating is a list of objects: `PID-3` of its repetitions, whose members are
components (`1`, `4`), and `OBX` of its segments, whose members are fields and components (`3.1`). Only the usual
separators are read; the character set is the one that MSH-18 names.
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO

import hl7

from adapters.agreement import today
from adapters.hl7_batches import Batch, Unread, messages_of
from adapters.hl7_doubts import doubts_of, in_use, judged, of_today
from adapters.hl7_escapes import unescaped
from adapters.hl7_heads import has_separators
from adapters.limiting import LimitError
from adapters.sdk import Finding, Limits, Position, Record, Unreadable
from adapters.texts import finding, over

#: The names of MSH-18 and the encodings that they mean; none at all is read as UTF-8, of which ASCII is a part.
_CHARSETS = {
    "": "utf-8",
    "ASCII": "ascii",
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
    "8859/1": "iso-8859-1",
    "8859/15": "iso-8859-15",
}
#: The order in which segments stand in what is written.
_ORDER = ("MSH", "RF1", "PRD", "PID", "NK1", "DG1", "OBX")


@dataclass(frozen=True, slots=True)
class Hl7Form:
    """Which messages are read, which segments and fields repeat, and the field of the record's key.

    Where the key's field repeats, the key is the repetition of that type and authority: `PID-3:PI:MIGRI`.
    """

    messages: tuple[str, ...]
    repeating: frozenset[str]
    key: str


def read_hl7(stream: BinaryIO, form: Hl7Form, limits: Limits) -> Iterator[Record | Finding]:
    """The messages of a source. The row of a place is the number of the message."""
    count = 0
    batch = Batch()
    try:
        for lines in messages_of(stream, limits, batch):
            count += 1
            position = Position(row=count)
            if count > limits.records:
                yield over("records", limits, position)
                return
            if isinstance(lines, Unread):
                is_limit = lines.why not in ("line-ends", "cut")
                yield over(lines.why, limits, position) if is_limit else finding("error", lines.why, position)
            else:
                yield _record(lines, form, limits, position)
        if not batch.agrees(count):
            yield finding("error", "count-differs", Position(row=count, column=batch.at))
    except LimitError as error:
        yield over(error.limit, limits, Position(row=count + 1))


def _record(lines: list[bytes], form: Hl7Form, limits: Limits, position: Position) -> Record | Finding:
    lines[0] = lines[0].removeprefix(codecs.BOM_UTF8)
    if not has_separators(lines[0]):
        known = lines[0][:3] == b"MSH"
        return finding("error", "separators" if known else "unreadable", position)
    head = lines[0].split(b"|")
    charset = _CHARSETS.get(head[17].split(b"~")[0].decode("ascii", "replace").strip() if len(head) > 17 else "")
    if charset is None:
        return finding("error", "encoding", Position(row=position.row, column="MSH-18"))
    try:
        message = hl7.parse("\r".join(line.decode(charset) for line in lines) + "\r")
    except UnicodeDecodeError:
        return finding("error", "encoding", position)
    except (hl7.HL7Exception, ValueError, IndexError):
        return finding("error", "unreadable", position)
    fields: dict[str, Any] = {}
    seen: dict[str, int] = {}
    try:
        for segment in message:
            _add_segment(fields, seen, charset, segment, form)
    except (LookupError, ValueError, IndexError):
        return finding("error", "unreadable", position)
    kind = f"{fields.get('MSH-9.1', '')}^{fields.get('MSH-9.2', '')}"
    if kind not in form.messages:
        return finding("error", "message-type", Position(row=position.row, column="MSH-9"))
    if fields.get("PID-29.1") and fields.get("PID-30.1") == "Y":
        del fields["PID-30.1"]  # the day says that they died, and when
    if broken := _over(fields, limits):
        return over(broken, limits, position)
    return Record(_key(fields, form), fields, position, tuple(doubts_of(fields, position)))


def _add_segment(fields: dict[str, Any], seen: dict[str, int], charset: str, segment: Any, form: Hl7Form) -> None:
    name = str(segment[0])
    if not (len(name) == 3 and name.isalnum() and name.isupper()):
        raise ValueError("no segment")
    if name in form.repeating:
        fields.setdefault(name, []).append(judged(name, dict(_parts(charset, segment, 1, ""))))
        return
    seen[name] = seen.get(name, 0) + 1
    again = f"[{seen[name]}]" if seen[name] > 1 else ""  # a second one of a segment that comes once
    start = 3 if name == "MSH" else 1
    for number in range(start, len(segment)):
        whole = f"{name}{again}-{number}"
        if f"{name}-{number}" in form.repeating and not again:
            made = [dict(_components(charset, repetition, "")) for repetition in segment[number]]
            fields[whole] = [of_today(whole, item, _today()) for item in made if item]
        else:
            repetitions = in_use(
                f"{name}-{number}",
                [dict(_components(charset, repetition, "")) for repetition in segment[number]],
                _today(),
            )
            for index, parts in enumerate(repetitions, 1):
                begin = f"{whole}{f'[{index}]' if index > 1 else ''}."
                fields.update({f"{begin}{component}": text for component, text in parts.items()})


def _today() -> str:
    return today().strftime("%Y%m%d")


def _parts(charset: str, segment: Any, start: int, prefix: str) -> Iterator[tuple[str, str | Unreadable]]:
    for number in range(start, len(segment)):
        yield from _repetitions(charset, segment[number], f"{prefix}{number}")


def _repetitions(charset: str, field: Any, name: str) -> Iterator[tuple[str, str | Unreadable]]:
    for index, repetition in enumerate(field, 1):
        yield from _components(charset, repetition, f"{name}{f'[{index}]' if index > 1 else ''}.")


def _components(charset: str, repetition: Any, prefix: str) -> Iterator[tuple[str, str | Unreadable]]:
    """The components that hold something; of subcomponents the first has the component's name."""
    if isinstance(repetition, str):
        if repetition:
            yield f"{prefix}1", _plain(charset, repetition)
        return
    for number, component in enumerate(repetition, 1):
        parts = [component] if isinstance(component, str) else list(component)
        for index, part in enumerate(parts, 1):
            if str(part):
                yield f"{prefix}{number}{f'.{index}' if index > 1 else ''}", _plain(charset, str(part))


def _plain(charset: str, text: str) -> str | Unreadable:
    """Without escapes. HL7's two quotation marks say that a value was deleted, which here is no value."""
    if text == '""':
        return ""
    # The library would drop what it does not know, and log the whole field.
    return unescaped(text, charset) if "\\" in text else text


def _over(fields: Mapping[str, Any], limits: Limits) -> str:
    parts = [part for value in fields.values() if isinstance(value, list) for part in value]
    texts = [*fields.values(), *(text for part in parts for text in part.values())]
    if len(texts) > limits.fields:
        return "fields"
    longest = max((len(text) for text in texts if isinstance(text, str)), default=0)
    return "field_characters" if longest > limits.field_characters else ""


def _key(fields: Mapping[str, Any], form: Hl7Form) -> str:
    name, *told = form.key.split(":")
    found = fields.get(name, "")
    if isinstance(found, list):
        # Of which authority a number is belongs to it: the same number of another one is another person's.
        asked = dict(zip(("5", "4"), told, strict=False))
        fitting = [item for item in found if all(item.get(part) == value for part, value in asked.items())]
        found = fitting[0].get("1", "") if fitting else ""
    return "" if isinstance(found, Unreadable) else str(found)


def write_hl7(fields: Mapping[str, Any], form: Hl7Form, clock: Callable[[], datetime]) -> bytes:
    """One message in UTF-8. Its control id is made of its content, so that the same content has the same one."""
    segments: dict[str, list[dict[str, Any]]] = {"RF1": [{}], "PRD": [{"1.1": "RP"}], "PID": [{"1.1": "1"}]}
    for name, value in fields.items():
        segment, _, rest = name.partition("-")
        if not rest:
            segments[segment] = [{"1.1": str(number), **one} for number, one in enumerate(value, 1)]
        elif isinstance(value, list):
            for number, repetition in enumerate(value):
                named = {f"{rest}[{number}].{component}": text for component, text in repetition.items()}
                segments.setdefault(segment, [{}])[0].update(named)
        else:
            segments.setdefault(segment, [{}])[0][rest] = value
    body = [
        _segment(name, fields)
        for name in sorted(segments, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))
        for fields in segments[name]
    ]
    control = hashlib.sha256("\r".join(body).encode()).hexdigest()[:20]
    kind = form.messages[0].split("^")
    now = clock().strftime("%Y%m%d%H%M%S+0000")
    what = f"{kind[0]}^{kind[1]}^{kind[0]}_{kind[1]}"
    head = f"MSH|^~\\&|YHDYSPINTA||||{now}||{what}|{control}|P|2.5.1|||||FIN|UNICODE UTF-8"
    return "".join(f"{line}\r" for line in (head, *body)).encode()


def _segment(name: str, members: Mapping[str, Any]) -> str:
    """A segment of members named `FIELD.COMPONENT` or `FIELD[REPETITION].COMPONENT`."""
    made: dict[int, dict[int, dict[int, str]]] = {}
    for place, text in members.items():
        field, _, component = place.partition(".")
        number, _, repetition = field.partition("[")
        index = int(repetition.rstrip("]") or 0)
        made.setdefault(int(number), {}).setdefault(index, {})[int(component or 1)] = _escaped(str(text))
    fields = []
    for position in range(1, max(made, default=0) + 1):
        repetitions = made.get(position, {})
        fields.append(
            "~".join(_joined(repetitions.get(index, {})) for index in range(max(repetitions, default=-1) + 1))
        )
    return "|".join([name, *fields])


def _joined(components: Mapping[int, str]) -> str:
    return "^".join(components.get(number, "") for number in range(1, max(components, default=0) + 1))


_ESCAPES = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\", "\r": "\\X0D\\", "\n": "\\X0A\\"}


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(letter, letter) for letter in text)
