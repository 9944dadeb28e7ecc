"""Fetch the trust registry, believe only what is signed and fresh, and keep the last that was good until it expires.

RegistryClient runs the client workflow of The Update Framework against a folder or a web server. A refresh happens in a
copy of what is kept and takes its place only when all of it verified: a half-served, older or altered registry changes
nothing. The client is synchronous; one thread owns it. Several processes may keep theirs in one folder.
Source: TUF specification 1.0.33 section 5 (client workflow); python-tuf `tuf.ngclient`.
"""

from __future__ import annotations

import fcntl
import gc
import ipaddress
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import cast
from urllib.parse import unquote, urlsplit

import urllib3
from tuf.api import exceptions
from tuf.api.metadata import Signed, TargetFile  # type: ignore[attr-defined]
from tuf.ngclient.config import UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface
from tuf.ngclient.updater import Updater

from audit.log.failure import said
from gateway.keys.errors import TrustCode, TrustError
from gateway.registry.read import targets
from gateway.registry.read.registry import Registry
from gateway.registry.read.roles import DELEGATED

_FOLDER_URL = "folder:///"
_CHUNK = 1 << 16
#: From this many members on, a registry is kept out of the garbage collector's way.
LARGE = 1_000
_ROLES = ("root", "timestamp", "snapshot", "targets", *DELEGATED)


class DirectoryFetcher(FetcherInterface):
    """Reads a publication from a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = self._path(unquote(url.removeprefix(_FOLDER_URL)))
        # A name that leads out of the folder is answered like one that is not there.
        if not path.resolve().is_relative_to(self._folder) or not path.is_file():
            raise exceptions.DownloadHTTPError("there is no such file", 404)
        return self._chunks(path)

    def _path(self, name: str) -> Path:
        return self._folder / name

    @staticmethod
    def _chunks(path: Path) -> Iterator[bytes]:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk


class HttpFetcher(FetcherInterface):
    """Reads a publication from a web server: https, or plain http on a loopback address. Follows no redirect."""

    def __init__(self, *, timeout_seconds: float = 10.0) -> None:
        timeout = urllib3.Timeout(total=timeout_seconds)
        self._pool = urllib3.PoolManager(cert_reqs="CERT_REQUIRED", timeout=timeout, retries=False)

    def _fetch(self, url: str) -> Iterator[bytes]:
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname)):
            raise exceptions.DownloadError("the registry is read over https, or over http on a loopback address only")
        response = self._pool.request("GET", url, preload_content=False, redirect=False)
        if response.status != 200:
            response.release_conn()
            raise exceptions.DownloadHTTPError(f"the server answered {response.status}", response.status)
        return self._chunks(response)

    @staticmethod
    def _chunks(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        try:
            yield from response.stream(_CHUNK)
        except urllib3.exceptions.HTTPError as error:
            raise exceptions.DownloadError(f"the server stopped answering ({type(error).__name__})") from None
        finally:
            response.release_conn()


class _KeptFetcher(DirectoryFetcher):
    """Serves what an earlier refresh has kept, under the names that a publication has."""

    def _path(self, name: str) -> Path:
        folder, _, file = name.partition("/")
        if folder == "targets":
            return self._folder / "targets" / file
        # `12.snapshot.json` is kept as `snapshot.json`. The workflow finds the kept roots by itself; none is later.
        if file.endswith(".root.json"):
            return self._folder / "none"
        return self._folder / "current" / "metadata" / (file.split(".", 1)[1] if file[:1].isdigit() else file)


class RegistryClient:
    """A node's copy of the trust registry.

    `registry` is the last that was good, `problem` why the latest refresh failed (None if it did not), `refreshed` when
    one last succeeded (UTC).
    """

    def __init__(
        self,
        source: str | Path,
        cache: Path,
        root: bytes,
        *,
        instance: str | None = None,
        fetcher: FetcherInterface | None = None,
    ) -> None:
        """`source` is a folder or an address of a publication, `root` the root metadata that was handed over."""
        self._base, self._fetcher = _source(source, fetcher)
        self._cache = cache
        self._root = root
        self._instance = instance
        self._digests: dict[str, str] = {}
        self.registry: Registry | None = None
        self.problem: TrustError | None = None
        self.refreshed: datetime | None = None

    def refresh(self, now: datetime) -> Registry:
        """Fetch what is new. Returns the registry to use from now on: the new one, or the last good until it expires.

        Raises TrustError if there is none: `registry-expired`, or why the first could not be had.
        """
        try:
            self._adopt(self._load(self._base, self._fetcher, now))
            self.problem = None
            self.refreshed = now
        except TrustError as error:
            self.problem = error
            if self.registry is None:
                self._restore(now)
        return self.current(now)

    def current(self, now: datetime) -> Registry:
        """The registry in force. Raises TrustError `registry-expired`, or why there has never been one."""
        if self.registry is None:
            raise self.problem or TrustError("registry-unavailable", "the registry has not been fetched yet")
        if self.registry.expired(now):
            raise TrustError(
                "registry-expired",
                f"the registry that is kept was good until {self.registry.expires.isoformat()}",
                str(self.problem) if self.problem is not None else "refresh it",
            )
        return self.registry

    def vouched(self, version: int) -> dict[str, bytes]:
        """The signed metadata and the files of one version that this node has used, as evidence; empty if unknown."""
        folder = self._cache / "history" / str(version)
        if not folder.is_dir():
            return {}
        found = {
            f"metadata/{path.relative_to(folder).as_posix()}": path.read_bytes()
            for path in sorted(folder.rglob("*.json"))
            if path.is_file() and not path.is_symlink()
        }
        names = (folder / "files.txt").read_text("utf-8").split()
        return found | {
            f"targets/{name.split('.', 1)[1]}": (self._cache / "targets" / name).read_bytes() for name in names
        }

    def _restore(self, now: datetime) -> None:
        """Without the source: what was kept is verified again, from the handed-over root on."""
        if not (self._cache / "current" / "metadata").is_dir():
            return
        try:
            self._adopt(self._load(_FOLDER_URL, _KeptFetcher(self._cache), now))
        except TrustError as error:
            if error.code == "registry-expired":
                self.problem = error

    def _adopt(self, registry: Registry) -> None:
        former = self.registry
        if former is not None and registry.version < former.version:
            raise TrustError("registry-rolled-back", f"version {registry.version} was served after {former.version}")
        self.registry = registry

    def _load(self, base: str, fetcher: FetcherInterface, now: datetime) -> Registry:
        with _translated():
            (self._cache / "targets").mkdir(parents=True, exist_ok=True)
            lock = (self._cache / ".lock").open("w")
        with lock:
            # A command keeps its copy where the node that runs does: each would take away what the other is writing.
            fcntl.flock(lock, fcntl.LOCK_EX)
            return self._loaded(base, fetcher, now)

    def _loaded(self, base: str, fetcher: FetcherInterface, now: datetime) -> Registry:
        work = self._cache / "work"
        with _translated():
            metadata = self._prepare(work)
            # Lengths are bounded by signed metadata; these bound what is read before a signature was checked.
            config = UpdaterConfig(max_root_rotations=64, snapshot_max_length=4_000_000)
            updater = Updater(
                str(metadata), f"{base}metadata/", None, f"{base}targets/", fetcher, config, bootstrap=self._root
            )
            trusted = updater._trusted_set
            # python-tuf reads the clock itself; here the caller's clock decides, like everywhere else in a node.
            trusted.reference_time = now
            updater.refresh()
            files, digests = self._files(updater)
            # From here on every role has been verified; the first to expire ends the whole.
            roles = cast("Mapping[str, Signed]", trusted)
            expires = min(roles[name].expires for name in _ROLES)
            version = roles["snapshot"].version
        registry = self._built(files, digests, version, expires)
        self._keep(metadata, version, digests)
        self._digests = digests
        return registry

    def _prepare(self, work: Path) -> Path:
        shutil.rmtree(work, ignore_errors=True)
        current, former = self._cache / "current", self._cache / "former"
        if not current.exists() and former.is_dir():
            # A crash between the two renamings of `_keep`: without this a node would forget what it has already seen.
            former.rename(current)
        kept = current / "metadata"
        metadata = work / "metadata"
        if kept.is_dir():
            shutil.copytree(kept, metadata, symlinks=True)
        else:
            metadata.mkdir(parents=True)
        return metadata

    def _files(self, updater: Updater) -> tuple[dict[str, Path], dict[str, str]]:
        found: dict[str, Path] = {}
        digests: dict[str, str] = {}
        for name in targets.FILES:
            info: TargetFile | None = updater.get_targetinfo(name)
            if info is None:
                raise TrustError("registry-malformed", f"the registry has no {name}")
            digests[name] = info.hashes["sha256"]
            path = self._cache / "targets" / f"{digests[name]}.{name}"
            if self._digests.get(name) != digests[name] and updater.find_cached_target(info, str(path)) is None:
                partial = path.with_name(f".{path.name}")
                updater.download_target(info, str(partial))
                partial.replace(path)
            found[name] = path
        return found, digests

    def _built(self, files: dict[str, Path], digests: dict[str, str], version: int, expires: datetime) -> Registry:
        former = self.registry
        if former is not None and digests == self._digests:
            return former.renewed(version=version, expires=expires)
        known = None
        if former is not None and digests[targets.SERVICES] == self._digests.get(targets.SERVICES):
            known = former.content.services
        with _collector_resting():
            content = targets.read({name: path.read_bytes() for name, path in files.items()}, services=known)
            if self._instance is not None and content.instance != self._instance:
                raise TrustError("registry-foreign", f"this is the registry of {content.instance}")
            registry = Registry(content, version=version, expires=expires)
            if len(content.members) >= LARGE:
                # It lives for hours and has no cycles: the collector need never walk it, which would take a second.
                gc.freeze()
            return registry

    def _keep(self, metadata: Path, version: int, digests: Mapping[str, str]) -> None:
        history = self._cache / "history" / str(version)
        try:
            shutil.rmtree(history, ignore_errors=True)
            shutil.copytree(metadata, history, symlinks=True)
            (history / "files.txt").write_text(
                "\n".join(f"{digest}.{name}" for name, digest in digests.items()), "utf-8"
            )
            current = self._cache / "current"
            retired = self._cache / "former"
            shutil.rmtree(retired, ignore_errors=True)
            if current.exists():
                current.rename(retired)
            (self._cache / "work").rename(current)
        except OSError as error:
            raise TrustError("registry-unavailable", f"the registry cannot be kept: {said(error)}") from None


def _source(source: str | Path, fetcher: FetcherInterface | None) -> tuple[str, FetcherInterface]:
    if isinstance(source, str) and "://" in source:
        return (source if source.endswith("/") else f"{source}/"), fetcher if fetcher is not None else HttpFetcher()
    return _FOLDER_URL, fetcher if fetcher is not None else DirectoryFetcher(Path(source))


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or (host is not None and ipaddress.ip_address(host).is_loopback)
    except ValueError:
        return False


@contextmanager
def _translated() -> Iterator[None]:
    """Tell python-tuf's errors in the words of TrustError."""
    try:
        yield
    except TrustError:
        raise
    except exceptions.ExpiredMetadataError as error:
        raise TrustError("registry-expired", f"what is served is past its time: {error}") from None
    except exceptions.BadVersionNumberError as error:
        raise TrustError("registry-rolled-back", f"an older version is served than was seen: {error}") from None
    except exceptions.UnsignedMetadataError as error:
        raise TrustError("registry-unsigned", f"too few of the role's keys have signed: {error}") from None
    except (exceptions.LengthOrHashMismatchError, exceptions.DownloadLengthMismatchError) as error:
        raise TrustError("registry-altered", f"a file is not the one that was signed: {error}") from None
    except exceptions.DownloadError as error:
        raise TrustError("registry-unavailable", f"the registry cannot be fetched: {error}") from None
    except exceptions.RepositoryError as error:
        code: TrustCode = "registry-malformed"
        raise TrustError(code, f"the registry's metadata cannot be read: {error}") from None
    except OSError as error:
        raise TrustError("registry-unavailable", f"the registry cannot be kept: {said(error)}") from None


@contextmanager
def _collector_resting() -> Iterator[None]:
    """A large registry makes a million small objects, none of them garbage: the collector would walk them in vain."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
