"""`make containers`: build the images, run three organisations in containers, carry the main job through, and check.

As root on a machine with Debian's packages it makes all that it needs, the base image included, and takes everything
away again. Elsewhere it says loudly why it does nothing; with CI=true that is a failure. Exit code 0 otherwise means
that every line with a ✓ was seen.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import inspection
import kit
from engine import HERE, PRODUCT, Engine, EngineError, missing
from outside import LOOPBACK, PromiseError, Register, System, ask, hand_over, promise

NODES = {"centre": 0, "kotka": 4, "kymenlaakso": 8}
COMPOSE = ("podman-compose", "--project-name", "yhdyspinta", "--in-pod", "false", "--file", str(HERE / "compose.yaml"))
_BEGUN = time.monotonic()


def main() -> int:
    """Do it all; the exit code."""
    reason = missing()
    if reason:
        print(f"\n*** CONTAINERS WERE NEITHER BUILT NOR RUN: {reason}. ***\n", file=sys.stderr)
        return 1 if os.environ.get("CI") == "true" else 0
    # SIGTERM tidies up as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with Engine() as engine:
            with _step("tools"):
                engine.install()
            rules = _packet_filter()
            images(engine)
            network(engine)
            promise(not engine.left(), "no process is left")
        promise(not engine.mounts() and not engine.folder.exists(), "no mount and no file is left")
        promise(_packet_filter() == rules, "the host's packet filter is as it was")
    except (EngineError, PromiseError) as error:
        print(f"    ✗ {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; everything was taken down", file=sys.stderr)
        return 130
    _say("done")
    return 0


def images(engine: Engine) -> None:
    """From nothing to the two images."""
    with _step("base from Debian's packages"):
        known = engine.make_base()
        print("    it had been made before" if known else "    it was made anew")
    with _step("Dockerfiles are read by hadolint"):
        engine.lint()
    with _step("images"):
        engine.build()
        for line in engine.run("podman", "images", "--format", "{{.Repository}}:{{.Tag}} {{.Size}}").splitlines():
            print(f"    {line}")
        inspection.byte_code(engine)


def network(engine: Engine) -> None:
    """Three organisations, from their keys to the end of their containers."""
    state, first = engine.folder / "state", _free_ports(13)
    engine.environment |= {"STATE": str(state), "POSTGRES_PORT": str(first + 12)}
    with _step("members enrol and join, each in a container of its own"):
        engine.run(str(HERE / "prepare"), str(state), str(first))
        export = _export(engine)
    with ExitStack() as stack:
        register = Register(export, first + 3)
        stack.callback(register.close)
        local = {f"yhdyspinta_{name}_1": first + offset + 2 for name, offset in NODES.items()}
        with _step("compose up"):
            stack.callback(engine.run, *COMPOSE, "down", "--timeout", "60")
            stack.push(_Logs(engine, (*local, "yhdyspinta_postgres_1")))
            engine.run(*COMPOSE, "up", "--detach", "--no-build")
            inspection.ready(engine, local)
            promise(True, "three nodes are ready, one of them on PostgreSQL")
        systems = {name: System(name, first + offset + 1, state) for name, offset in NODES.items()}
        with _step("the main job"):
            handover = hand_over(systems, register)
            ask(systems, register)
        with _step("containers as they run"):
            for container in local:
                inspection.hardened(engine, container, 10001)
                inspection.healthy(engine, container)
            inspection.hardened(engine, "yhdyspinta_postgres_1", 999)
            inspection.secret_kept(engine, (state / "postgres" / "password").read_text("ascii").strip())
        with _step("the conformance kit, from a container of its own"):
            ports = {name: first + offset for name, offset in NODES.items()}
            kit.conforms(engine, state, ports, register.person)
        with _step("killed, and back"):
            for container in ("yhdyspinta_centre_1", "yhdyspinta_kymenlaakso_1"):
                inspection.killed(engine, container, local[container])
            states = [part["state"] for part in systems["centre"].got(f"/v1/handovers/{handover}")["deliveries"]]
            promise(states.count("accepted") == 2, "what was accepted before still is")
            for container in local:
                inspection.log_checks(engine, container)
        with _step("told to end"):
            for container in local:
                inspection.written(engine, container)
            for container in (*local, "yhdyspinta_postgres_1"):
                inspection.stopped(engine, container)


class _Logs:
    """At a failure, the last words of the containers; their logs go with them."""

    def __init__(self, engine: Engine, containers: tuple[str, ...]) -> None:
        self._engine, self._containers = engine, containers

    def __enter__(self) -> None:
        """Nothing to begin."""

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or not issubclass(kind, EngineError | PromiseError):
            return
        for container in self._containers:
            with suppress(EngineError):
                print(
                    f"--- {container}\n{self._engine.run('podman', 'logs', '--tail', '15', container)}", file=sys.stderr
                )


def _export(engine: Engine) -> bytes:
    """An export of the reception centre's register with invented persons, made by the product's own samples."""
    code = (
        "import pathlib, sys, tempfile\nfrom adapters.samples import write_samples\n"
        "folder = pathlib.Path(tempfile.mkdtemp())\nwrite_samples(folder)\n"
        "sys.stdout.write((folder / 'reception-centre.csv').read_bytes().hex())"
    )
    run = ("podman", "run", "--rm", "--read-only", "--network", "none", "--tmpfs", "/tmp", "--entrypoint", "python")
    return bytes.fromhex(engine.run(*run, PRODUCT, "-c", code))


def _free_ports(count: int) -> int:
    """The first of so many ports in a row that nobody listens on, below those of outgoing connections."""
    for first in range(18_400, 32_000, count):
        with ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.socket()).bind((LOOPBACK, port))
            except OSError:
                continue
            return first
    raise EngineError(f"there are no {count} free ports in a row on loopback")


def _packet_filter() -> list[str]:
    """Chains and rules of the host's packet filter, without their counters."""
    lines: list[str] = []
    for table in ("filter", "nat"):
        done = subprocess.run(["iptables", "-t", table, "-S"], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise EngineError(f"the packet filter cannot be read: {done.stderr.strip()}")
        lines += [f"{table} {line}" for line in done.stdout.splitlines()]
    return lines


@contextmanager
def _step(what: str) -> Iterator[None]:
    _say(what)
    yield


def _say(what: str) -> None:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"[{time.monotonic() - _BEGUN:6.1f} s, {used.ru_utime + used.ru_stime:6.1f} s of CPU] {what}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
