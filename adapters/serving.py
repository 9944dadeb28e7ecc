"""Adapters as a process of their own: it is given bytes over a socket, and gives values back as JSON.

Whatever an adapter does to foreign bytes, it does here: without keys, without the database, without the network,
without files but those of the program itself where the kernel can see to that, and within limits of memory and time
that the system keeps. A reader that dies harms nobody but the input that killed it.
Run by `gateway.reading`; imports nothing of it.

A frame is four bytes of length and a JSON document; what has a member `bytes` is followed by so many bytes.
"""

from __future__ import annotations

import ctypes
import gc
import io
import mimetypes
import os
import platform
import resource
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

from adapters.hl7_heads import heads_of
from adapters.sdk import SHIPPED, UNREADABLE, AdapterError, Finding, Limits, Mapped, Position, Record, available, load
from adapters.sdk.versions import run_sources, version_of

FLUSH: Final = 64 * 1024
#: So many more objects made than ended, and the garbage collector looks at the young ones.
GARBAGE: Final = 50_000
_NO_NEW_PRIVILEGES: Final = 38
_LENGTH: Final = struct.Struct(">I")


def main(descriptor: int, memory_mb: int, seconds: float, beside: str = "") -> None:
    """Serve until the other end closes the socket.

    To load what it serves it has `seconds` of processor time. `beside` is a folder whose adapter goes before those that
    are installed, and after what the node itself is made of.
    """
    _bound(memory_mb)
    _BUDGET.renew(seconds)
    channel = socket.socket(fileno=descriptor)
    for name in SHIPPED:
        version_of(name)
    if beside:
        sys.path.insert(0, beside)
    # Bytecode beside an adapter's source is in no digest: what was agreed on is the source.
    run_sources()
    for manifest in available():
        # What is loaded now, with the mapping files, need not be looked for when the file system is closed.
        version_of(manifest.name)
    # What is loaded by now stays for good: the collector never walks it again, and seldom what a record leaves.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE, 20, 20)
    # Files first: that needs a call more than is left afterwards.
    are_files_shut = _files_shut()
    _send(channel, [{"ready": True, "confined": _confined(), "files_shut": are_files_shut}])
    # Head, request and body mostly come together: one call to the system takes all three.
    incoming = channel.makefile("rb")
    while (request := _received(incoming)) is not None:
        _serve(channel, request, _exactly(incoming, request.get("bytes", 0)) or b"")


def _bound(memory_mb: int) -> None:
    """The limits that the system keeps. Time is set anew for each record."""
    most = memory_mb * 1024 * 1024
    for kind, limit in (
        (resource.RLIMIT_AS, most),
        (resource.RLIMIT_CORE, 0),  # a core file would hold what was read
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        resource.setrlimit(kind, (limit, limit))
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


@dataclass(slots=True)
class _Budget:
    """Processor time: the system ends this process at the second that is set here, whatever an adapter is at.

    The system counts in whole seconds, so it is told only when the second has changed, and not for each record.
    """

    until: int = 0

    def renew(self, seconds: float) -> None:
        """From now on so many seconds of processor time, or one more."""
        until = int(time.process_time() + max(1.0, seconds)) + 1
        if until != self.until:
            resource.setrlimit(resource.RLIMIT_CPU, (until, resource.getrlimit(resource.RLIMIT_CPU)[1]))
            self.until = until


_BUDGET: Final = _Budget()


def _ticking(seconds: float) -> Callable[[], float]:
    """A clock that gives the time of a record anew whenever it is asked, which is once for each."""

    def tell() -> float:
        _BUDGET.renew(seconds)
        return time.monotonic()

    return tell


#: What a reader never does: it opens no connection, and becomes no other program. By machine, as the kernel has them.
_REFUSED_CALLS: Final = {
    "x86_64": (0xC000003E, (41, 42, 49, 59, 101, 310, 311, 322)),
    "aarch64": (0xC00000B7, (198, 203, 200, 221, 117, 270, 271, 281)),
}


def _confined() -> bool:
    """Whether the kernel refuses sockets, other programs and other processes' memory from now on (seccomp)."""
    machine = _REFUSED_CALLS.get(platform.machine())
    if machine is None or not sys.platform.startswith("linux"):
        return False
    audited, calls = machine
    load_word, jump_if_equal, give_back = 0x20, 0x15, 0x06
    kill, refuse, let_be = 0x80000000, 0x00050000 | 1, 0x7FFF0000
    program = [
        (load_word, 0, 0, 4),  # of which machine the call is
        (jump_if_equal, 1, 0, audited),
        (give_back, 0, 0, kill),
        (load_word, 0, 0, 0),  # which call it is
        *((jump_if_equal, len(calls) - index, 0, call) for index, call in enumerate(calls)),
        (give_back, 0, 0, let_be),
        (give_back, 0, 0, refuse),
    ]
    packed = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    code = ctypes.create_string_buffer(packed, len(packed))
    pointer = struct.pack("@HP", len(program), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    set_seccomp, filtering = 22, 2
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        return False
    return bool(libc.prctl(set_seccomp, filtering, ctypes.create_string_buffer(pointer, len(pointer)), 0, 0) == 0)


#: What a reader may still open, besides where Python looks for modules: time zones, and what kinds of files are called.
_OPEN_FILES: Final = ("/usr/share/zoneinfo", "/etc/localtime", "/dev/null", "/dev/urandom", *mimetypes.knownfiles)
_LIBRARIES: Final = ("/lib", "/lib64", "/usr/lib", "/usr/local/lib")
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
#: The rights over files that each version of Landlock knows: what a rule does not give back is refused.
_RIGHTS: Final = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 4: 0x7FFF, 5: 0xFFFF}


def _files_shut() -> bool:
    """Whether the kernel refuses every file but programs' own from now on, to read and to write (Landlock)."""
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    if version < 1:
        return False  # a kernel without it, or with it switched off
    handled = _RIGHTS[min(version, max(_RIGHTS))]
    attribute = ctypes.create_string_buffer(struct.pack("=Q", handled), 8)
    ruleset = libc.syscall(_CREATE_RULESET, attribute, ctypes.c_size_t(8), ctypes.c_uint32(0))
    if ruleset < 0:
        return False
    try:
        for path in dict.fromkeys((*sys.path, sys.prefix, sys.base_prefix, *_LIBRARIES, *_OPEN_FILES)):
            _allow(libc, ruleset, str(path))
        if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
            return False
        return bool(libc.syscall(_RESTRICT_SELF, ruleset, ctypes.c_uint32(0)) == 0)
    finally:
        os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str) -> None:
    """Let a file, or all beneath a folder, be read. What is not there, nobody needs."""
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        rights = _READ_FILE | _READ_FOLDER if Path(path).is_dir() else _READ_FILE
        rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, place), 12)
        beneath = 1
        libc.syscall(_ADD_RULE, ruleset, beneath, rule, ctypes.c_uint32(0))
    finally:
        os.close(place)


def _serve(channel: socket.socket, request: dict[str, Any], body: bytes) -> None:
    waiting: list[dict[str, Any]] = []
    size = 0
    try:
        _BUDGET.renew(request.get("seconds", 10.0))
        for answer in _answers(request, body):
            data = answer.pop("body", None)
            waiting.append(answer)
            size += len(answer["json"]) if "json" in answer else 256
            if data is not None:
                _send(channel, waiting)
                channel.sendall(data)
                waiting, size = [], 0
            elif size > FLUSH:
                _send(channel, waiting)
                waiting, size = [], 0
            _BUDGET.renew(request.get("seconds", 10.0))
    except AdapterError as error:
        waiting.append({"error": "adapter", "text": str(error)})
    except MemoryError:
        waiting = [{"error": "memory"}]
    except Exception as error:
        # Its text may hold what was read.
        waiting.append({"error": "fault", "text": type(error).__name__})
    _send(channel, [*waiting, {"end": True}])


def _answers(request: dict[str, Any], body: bytes) -> Iterator[dict[str, Any]]:
    # Files that were replaced under a running node are another adapter than the one whose name its records bear.
    if "digest" in request:
        made = version_of(request["adapter"])
        if request["digest"] not in (made.digest, made.former):
            yield {"error": "version"}
            return
    match request["do"]:
        case "list":
            yield {"adapters": [_manifest(manifest) for manifest in available()]}
        case "describe":
            mapping = getattr(load(request["adapter"]), "mapping", None)
            yield {
                "fields": sorted(mapping.fields) if mapping is not None else None,
                "optional": sorted(mapping.optional) if mapping is not None else [],
            }
        case "convert":
            # A source is read for its keys before its first record is answered: each record is progress.
            limits = Limits(**request["limits"], clock=_ticking(request.get("seconds", 10.0)))
            for mapped in load(request["adapter"]).convert(io.BytesIO(body), limits):
                yield {"json": _mapped(mapped)}
        case "heads":
            heads = heads_of(io.BytesIO(body), Limits(**request["limits"]))
            messages = [[head.control, head.is_enhanced, head.digest] for head in heads.messages]
            yield {
                "messages": messages,
                "is_batch": heads.is_batch,
                "batch": heads.batch,
                "is_several": heads.is_several,
            }
        case "map":
            adapter = load(request["adapter"])
            for key, fields, position in orjson.loads(body):
                yield {"json": _mapped(adapter.to_canonical(Record(key, _readable(fields), Position(*position))))}
        case "render":
            rendered = load(request["adapter"]).from_canonical(orjson.loads(body))
            yield {
                "media_type": rendered.media_type,
                "findings": [_finding(finding) for finding in rendered.findings],
                "bytes": len(rendered.body),
                "body": rendered.body,
            }


def _readable(value: Any) -> Any:
    """A field as it was given; what its source could not say comes as `{"unreadable": true}`."""
    if isinstance(value, dict):
        if value == {"unreadable": True}:
            return UNREADABLE
        return {name: _readable(member) for name, member in value.items()}
    return [_readable(item) for item in value] if isinstance(value, list) else value


def _manifest(manifest: Any) -> dict[str, Any]:
    return {
        "name": manifest.name,
        "title": manifest.title.to_dict(),
        "media_types": list(manifest.media_types),
        "reads": manifest.reads,
        "writes": manifest.writes,
        "extensions": list(manifest.extensions),
        "version": [(made := version_of(manifest.name)).declared, made.digest, made.former],
    }


def _mapped(mapped: Mapped) -> bytes:
    return orjson.dumps(
        {
            "key": mapped.key,
            "bundle": mapped.bundle,
            "findings": [_finding(finding) for finding in mapped.findings],
            "position": [mapped.position.file, mapped.position.row, mapped.position.column],
            "change": None if mapped.change is None else [mapped.change.kind, mapped.change.identifiers],
        }
    )


def _finding(finding: Finding) -> list[Any]:
    position = finding.position
    return [
        finding.severity,
        finding.code,
        [position.file, position.row, position.column],
        finding.target,
        list(finding.message.to_dict().values()),
        list(finding.hint.to_dict().values()),
    ]


def _send(channel: socket.socket, answers: list[dict[str, Any]]) -> None:
    frames = []
    for answer in answers:
        data = answer["json"] if "json" in answer else orjson.dumps(answer)
        frames.append(_LENGTH.pack(len(data)) + data)
    channel.sendall(b"".join(frames))


def _received(incoming: BinaryIO) -> dict[str, Any] | None:
    head = _exactly(incoming, _LENGTH.size)
    if head is None:
        return None
    data = _exactly(incoming, _LENGTH.unpack(head)[0])
    return None if data is None else dict(orjson.loads(data))


def _exactly(incoming: BinaryIO, count: int) -> bytes | None:
    """So many bytes; None if the other end was closed before."""
    found = incoming.read(count)
    return found if len(found) == count else None
