"""A container engine for one run: podman, buildah and runc, with their storage in a folder that is thrown away.

Nothing of the machine's own engine is used or touched: not its images, its containers, its locks or its packet filter.
"""

from __future__ import annotations

import ast
import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PRODUCT = "localhost/yhdyspinta:dev"
POSTGRES = "docker.io/library/postgres:15"
PACKAGES = ("podman", "buildah", "runc", "conmon", "mmdebstrap", "iptables")
SUITE = "bookworm"
_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
_PR_SET_CHILD_SUBREAPER = 36
_ENDING_SECONDS = 300
_CACHE_SECONDS = 3 * 86_400

# runc and cgroupfs, since not every machine has systemd; limits below anybody's own; the host's network, so that
# no run puts a rule into the host's packet filter.
_CONTAINERS_CONF = """\
[containers]
netns = "host"
default_ulimits = ["nofile=16384:16384", "nproc=16384:16384"]
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "{folder}/libpod"
[network]
network_config_dir = "{folder}/networks"
"""
_STORAGE_CONF = """\
[storage]
driver = "overlay"
graphroot = "{folder}/storage"
runroot = "{folder}/run"
"""


class EngineError(Exception):
    """A command of the engine failed; says which, and the end of what it wrote."""


def missing() -> str:
    """Why containers cannot be made on this machine; empty if they can."""
    if sys.platform != "linux":
        return "this is not Linux"
    if os.geteuid() != 0:
        return "making a base system and running containers on it needs root"
    if not all(map(shutil.which, PACKAGES)) and shutil.which("apt-get") is None:
        return f"{', '.join(PACKAGES)} are not all here, and there is no apt-get to install them with"
    return ""


def base_tag() -> str:
    """The image that the Dockerfile starts from."""
    found = re.search(r"^ARG BASE=(\S+)$", (HERE / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert found is not None, "docker/Dockerfile names no ARG BASE"
    return found[1]


class Engine:
    """Podman with everything that it keeps in `folder`. Use as a context: at the end nothing is left of it."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="yhdyspinta-containers-"))
        self.log = self.folder / "log"
        self.environment = {**os.environ, **(environment or {})}
        self._groups = _groups()

    def __enter__(self) -> Engine:
        # What runs in the background (conmon) becomes a child of this process and not of the machine's first one, so
        # that none of it can be left behind unseen.
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1)
        for name, text in (("containers", _CONTAINERS_CONF), ("storage", _STORAGE_CONF)):
            path = self.folder / f"{name}.conf"
            path.write_text(text.format(folder=self.folder), "utf-8")
            self.environment[f"CONTAINERS_{'STORAGE_' if name == 'storage' else ''}CONF"] = str(path)
        # There need not be a systemd whose timers could run health checks; they are run by hand here.
        self.environment |= {"DISABLE_HC_SYSTEMD": "true", "ENGINE": "podman", "IMAGE": PRODUCT}
        return self

    def __exit__(self, *_: object) -> None:
        # A second Ctrl-C may not stop the tidying up.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        with suppress(EngineError, OSError):
            self.run("podman", "rm", "--all", "--force", "--time", "10")
        self.left()
        # More than once: the same place may be mounted over itself.
        for _attempt in range(10):
            for place in sorted(_mounts(self.folder), reverse=True):
                subprocess.run(["umount", "--lazy", place], check=False)
        for group in sorted(_groups() - self._groups, reverse=True):
            with suppress(OSError):
                group.rmdir()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(
        self,
        *command: str,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        codes: tuple[int, ...] = (0,),
    ) -> str:
        """Run a command with this engine's settings; returns what it wrote. Raises EngineError on other exit codes."""
        with self.log.open("ab") as log:
            log.write(f"$ {' '.join(command)}\n".encode())
            log.flush()
            done = subprocess.run(
                command,
                env={**self.environment, **(environment or {})},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
            log.write(done.stdout)
        text = done.stdout.decode("utf-8", "replace")
        if done.returncode not in codes:
            end = "\n".join(text.splitlines()[-25:])
            raise EngineError(f"`{' '.join(command[:6])} …` ended with {done.returncode}:\n{end}")
        return text

    def inspect(self, container: str) -> dict[str, Any]:
        """What podman knows of a container."""
        found: list[dict[str, Any]] = json.loads(self.run("podman", "inspect", "--type", "container", container))
        return found[0]

    def reap(self) -> list[int]:
        """Collect processes that ended in the background; returns those that are still there."""
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text("ascii")
        return [int(pid) for pid in children.split()]

    def left(self) -> list[int]:
        """Processes that are still there when those of stopped containers have had their time to end."""
        until = time.monotonic() + _ENDING_SECONDS
        while (pids := self.reap()) and time.monotonic() < until:
            time.sleep(0.1)
        return pids

    def mounts(self) -> list[str]:
        """What of this engine is mounted."""
        return _mounts(self.folder)

    # -- images ----------------------------------------------------------------------------------------------------

    def install(self) -> None:
        """Install what is missing: Debian's packages, and the two tools of the lock in an environment of their own."""
        if not all(map(shutil.which, PACKAGES)):
            apt = ("apt-get", "-o", "DPkg::Lock::Timeout=600", "-qq")
            quiet = {"DEBIAN_FRONTEND": "noninteractive"}
            self.run(*apt, "update", environment=quiet)
            self.run(*apt, "install", "--yes", "--no-install-recommends", *PACKAGES, environment=quiet)
        tools = self.folder / "tools"
        self.run(sys.executable, "-m", "venv", str(tools))
        install = ("install", "--quiet", "--disable-pip-version-check", "--require-hashes")
        self.run(str(tools / "bin" / "pip"), *install, "--requirement", str(HERE / "tools.lock"))
        self.environment["PATH"] = f"{tools / 'bin'}:{self.environment['PATH']}"

    def make_base(self) -> bool:
        """Make the base that the Dockerfile names from Debian's packages; whether it had been made before."""
        kept = _cache() / f"{SUITE}.tar"
        # Not for long: Debian mends faults in what it is made of.
        known = kept.is_file() and time.time() - kept.stat().st_mtime < _CACHE_SECONDS
        if not known:
            fresh = kept.with_suffix(".new.tar")
            include = "--include=python3,python3-venv,ca-certificates"
            self.run("mmdebstrap", "--mode=root", "--variant=minbase", include, SUITE, str(fresh))
            fresh.replace(kept)
        self.run("podman", "import", "--quiet", str(kept), base_tag())
        return known

    def lint(self) -> None:
        """Let hadolint read the Dockerfiles."""
        self.run("hadolint", *(str(path) for path in (HERE / "Dockerfile", HERE / "postgres" / "Dockerfile")))

    def build(self) -> None:
        """Build the image of the node, and that of PostgreSQL."""
        build = (
            "buildah",
            "--runtime",
            shutil.which("runc") or "runc",
            "bud",
            "--format",
            "docker",
            "--network",
            "host",
        )
        self.run(
            *build, *self._of_the_host(), "--file", str(HERE / "Dockerfile"), "--tag", PRODUCT, ".", cwd=HERE.parent
        )
        self.run(*build, "--tag", POSTGRES, str(HERE / "postgres"))

    def _of_the_host(self) -> list[str]:
        """The host's own package index and certificate authorities, as build secrets: none of it is in the image."""
        listed = self.run(str(self.folder / "tools" / "bin" / "pip"), "config", "list")
        text, authorities = host_settings(listed, os.environ)
        settings = self.folder / "pip.conf"
        settings.write_text(text, "utf-8")
        given = ["--secret", f"id=pip.conf,src={settings}"]
        return [*given, "--secret", f"id=authorities.pem,src={authorities}"] if authorities else given


def host_settings(listed: str, environment: Mapping[str, str]) -> tuple[str, str | None]:
    """From what `pip config list` prints: settings of pip for inside the build, and the host's file of authorities.

    What lies in files of the host is not there inside, and is left out; the lock's hashes say that what comes from
    elsewhere is the same.
    """
    found: dict[str, str] = {}
    for key, value in re.findall(r"^[^=\s]*\.([a-z-]+)=('.*'|\".*\")$", listed, re.MULTILINE):
        # The environment is listed first, and goes before the files.
        found.setdefault(key, str(ast.literal_eval(value)))
    lines = ["[global]"]
    for key in ("index-url", "extra-index-url", "trusted-host", "proxy"):
        words = [word for word in found.get(key, "").split() if not word.startswith(("file:", "/"))]
        lines += [f"{key} = {' '.join(words)}"] if words else []
    candidates = (found.get("cert", ""), environment.get("SSL_CERT_FILE", ""), _AUTHORITIES)
    authorities = next((path for path in candidates if path and Path(path).is_file()), None)
    if authorities is not None:
        lines.append("cert = /run/secrets/authorities.pem")
    return "\n".join(lines) + "\n", authorities


def _cache() -> Path:
    """A folder that outlives the run, readable and writable by this user only. Nothing depends on what is in it."""
    folder = Path(tempfile.gettempdir()) / f"yhdyspinta-base-{os.geteuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    # A folder that somebody else has put there could hold somebody else's base.
    if folder.is_symlink() or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise EngineError(f"{folder} is not this user's alone: remove it")
    return folder


def _mounts(folder: Path) -> list[str]:
    places = [line.split()[1] for line in Path("/proc/self/mounts").read_text("utf-8").splitlines()]
    return [place for place in places if place.startswith(f"{folder}/")]


def _groups() -> set[Path]:
    """Control groups of containers that exist now."""
    return {path for top in Path("/sys/fs/cgroup").glob("**/libpod_parent") for path in (top, *top.glob("**/"))}
