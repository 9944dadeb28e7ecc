"""The evidence of one exchange as a ZIP file: which files it holds, how it is written, and how it is read back.

Reading believes nothing: names, sizes and numbers of files are bounded before anything is unpacked, and no file ever
touches the disk.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from gateway.keys.errors import TrustError

FORMAT = "yhdyspinta-evidence/2"
FORMER = "yhdyspinta-evidence/1"
"""Packages whose files for people were made otherwise, and can be compared with nothing."""
MANIFEST = "evidence.json"
FILE_LIMIT = 64 * 1024 * 1024
TOTAL_LIMIT = 256 * 1024 * 1024
COUNT_LIMIT = 500
MESSAGE_LIMIT = 1024 * 1024
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}(?:/[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}){0,4}")
#: Bytes of a ZIP's headers beside names: before a file, in the directory, and at the end.
_LOCAL, _CENTRAL, _END = 30, 46, 22
#: The flag of a file whose sizes stand behind it.
_DESCRIBED_AFTER = 8


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evidence of one exchange.

    `registries` are the registry's signed metadata and files by version; `request_registry` and `response_registry` say
    which version vouched for which message. `log` is an export of our log in the form of `audit.tree.verify`, and
    `stamped` one against the checkpoint over which `timestamp` is an RFC 3161 time stamp by one of `authorities` (PEM).
    """

    message_id: str
    direction: str
    request: str
    request_registry: int
    registries: Mapping[int, Mapping[str, bytes]] = field(repr=False)
    log: bytes = field(repr=False)
    response: str | None = None
    response_registry: int | None = None
    stamped: bytes | None = field(default=None, repr=False)
    timestamp: bytes | None = field(default=None, repr=False)
    authorities: bytes | None = field(default=None, repr=False)
    bodies: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    format: str = FORMAT

    def manifest(self) -> dict[str, Any]:
        """What the package is about, for programs."""
        return {
            "format": self.format,
            "message_id": self.message_id,
            "direction": self.direction,
            "request_registry": self.request_registry,
            "response_registry": self.response_registry,
            "bodies": sorted(self.bodies),
            "timestamp": self.timestamp is not None,
        }


def write(evidence: Evidence, extra: Mapping[str, bytes], at: datetime) -> bytes:
    """The ZIP file. `extra` are the files for people, see `gateway.evidence.presenting`; `at` dates all files."""
    files = complete(evidence, extra)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, at.timetuple()[:6])
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, files[name])
    return target.getvalue()


def complete(evidence: Evidence, extra: Mapping[str, bytes]) -> dict[str, bytes]:
    """All files of the package by name: those of the evidence, and `extra`."""
    files: dict[str, bytes] = {
        **extra,
        MANIFEST: orjson.dumps(evidence.manifest(), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS),
        "request.jws": evidence.request.encode("ascii"),
        "log/export.json": evidence.log,
    }
    if evidence.response is not None:
        files["response.jws"] = evidence.response.encode("ascii")
    for version, published in evidence.registries.items():
        files |= {f"registry/{version}/{name}": data for name, data in published.items()}
    if evidence.stamped is not None and evidence.timestamp is not None:
        files |= {
            "timestamp/export.json": evidence.stamped,
            "timestamp/checkpoint.tsr": evidence.timestamp,
            "timestamp/authority.pem": evidence.authorities or b"",
        }
    files |= {f"bodies/{part}": body for part, body in evidence.bodies.items()}
    return files


def read(data: bytes) -> tuple[Evidence, Mapping[str, bytes]]:
    """The evidence in a ZIP file, unverified, and all its files. Raises TrustError `evidence-malformed`."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = dict(_files(archive))
            _account(archive, data)
        return _evidence(files), files
    except TrustError:
        raise
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise _malformed(f"the file is no ZIP that can be read ({type(error).__name__})") from None
    except (KeyError, ValueError, TypeError, AttributeError):
        raise _malformed("the package lacks what makes it evidence of an exchange") from None


def _files(archive: zipfile.ZipFile) -> Iterator[tuple[str, bytes]]:
    entries = archive.infolist()
    if len(entries) > COUNT_LIMIT:
        raise _malformed(f"a package has at most {COUNT_LIMIT} files")
    if len({entry.filename for entry in entries}) != len(entries):
        raise _malformed("a file stands twice in the package")
    total = 0
    for entry in entries:
        if _NAME.fullmatch(entry.filename) is None or entry.flag_bits & 1:
            raise _malformed("a file of the package has a name that none may have, or is encrypted")
        with archive.open(entry) as file:
            # The sizes that the ZIP's directory tells are only claims.
            content = file.read(FILE_LIMIT + 1)
        total += len(content)
        if len(content) > FILE_LIMIT or total > TOTAL_LIMIT:
            raise _malformed("the package unpacks to more than any evidence needs")
        yield entry.filename, content


def _account(archive: zipfile.ZipFile, data: bytes) -> None:
    """See that every byte of the file is one of the package's files or says where it lies. Raises TrustError.

    A comment, or what stands before, between or after the files, is vouched for by nothing, and other programs show it.
    """
    at = directory = 0
    for entry in sorted(archive.infolist(), key=lambda entry: entry.header_offset):
        named, more = struct.unpack_from("<HH", data, entry.header_offset + 26)
        if entry.header_offset != at or more or entry.extra or entry.comment or entry.flag_bits & _DESCRIBED_AFTER:
            raise _malformed("the ZIP holds more than the files of the package")
        at += _LOCAL + named + entry.compress_size
        directory += _CENTRAL + named
    if archive.comment or archive.start_dir != at or len(data) != at + directory + _END:
        raise _malformed("the ZIP holds more than the files of the package")


def _evidence(files: Mapping[str, bytes]) -> Evidence:
    manifest = orjson.loads(files[MANIFEST])
    if manifest["format"] not in (FORMAT, FORMER):
        raise _malformed(f"the package is not of the form {FORMAT}")
    registries: dict[int, dict[str, bytes]] = {}
    for name, content in files.items():
        if name.startswith("registry/"):
            _, version, file = name.split("/", 2)
            registries.setdefault(int(version), {})[file] = content
    response = files.get("response.jws")
    return Evidence(
        message_id=str(manifest["message_id"]),
        direction=str(manifest["direction"]),
        request=files["request.jws"].decode("ascii"),
        request_registry=int(manifest["request_registry"]),
        registries=registries,
        log=files["log/export.json"],
        response=response.decode("ascii") if response is not None else None,
        response_registry=int(manifest["response_registry"]) if response is not None else None,
        stamped=files.get("timestamp/export.json"),
        timestamp=files.get("timestamp/checkpoint.tsr"),
        authorities=files.get("timestamp/authority.pem"),
        bodies={name.removeprefix("bodies/"): body for name, body in files.items() if name.startswith("bodies/")},
        format=manifest["format"],
    )


def _malformed(detail: str) -> TrustError:
    return TrustError("evidence-malformed", detail, "use the file as `yhdyspinta evidence export` wrote it")
