"""What is checked on running containers, from the host: who they are, what they may, what they write, how they end."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from pathlib import Path

from engine import PRODUCT, Engine, EngineError
from outside import LOOPBACK, promise

_IDLE_SECONDS = 120
_RETURNS = 30
_TICKS = os.sysconf("SC_CLK_TCK")


def byte_code(engine: Engine) -> None:
    """Whether the image's byte code is used as it is, and whether there is anything in it to install with."""
    run = ("podman", "run", "--rm", "--read-only", "--network", "none", "--entrypoint", "python", PRODUCT)
    said = engine.run(*run, "-v", "-c", "import gateway.node.node")
    stale = [line for line in said.splitlines() if "stale" in line]
    compiled = said.count("code object from '")
    promise(compiled > 500 and not stale, f"{compiled} modules of a node come from byte code, {len(stale)} are stale")
    tools = "import importlib.util as u; print([n for n in ('pip', 'setuptools', 'hatchling') if u.find_spec(n)])"
    promise(engine.run(*run, "-c", tools).strip() == "[]", "no pip, no setuptools, no build backend in the image")


def ready(engine: Engine, containers: dict[str, int]) -> None:
    """Wait until each container (its local port) is ready: as long as it does something, and no longer.

    Raises EngineError when one has ended for good, or has done nothing for two minutes.
    """
    for container, port in containers.items():
        done, changed = None, time.monotonic()
        while not _answers(port):
            state = engine.inspect(container)
            pid, returns = state["State"]["Pid"], state["RestartCount"]
            doing = (returns, _cpu_seconds(pid) // 0.5)
            if doing != done:
                done, changed = doing, time.monotonic()
            if time.monotonic() - changed > _IDLE_SECONDS or returns > _RETURNS:
                log = engine.run("podman", "logs", "--tail", "15", container)
                raise EngineError(f"{container} is not ready (ended {returns} times), and says:\n{log}")
            time.sleep(0.3)


def hardened(engine: Engine, container: str, uid: int) -> None:
    """User, root file system, capabilities and privileges of a running container, as the kernel tells them."""
    pid = engine.inspect(container)["State"]["Pid"]
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    promise(set(status["Uid"].split()) == {str(uid)}, f"{container} runs as user {uid}")
    kinds = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    promise(all(int(status[kind], 16) == 0 for kind in kinds), "… without capabilities, and none to be had")
    promise(status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", "… without new privileges, its calls filtered")
    mounts = [line.split() for line in Path(f"/proc/{pid}/mounts").read_text("utf-8").splitlines()]
    promise(any(m[1] == "/" and "ro" in m[3].split(",") for m in mounts), "… on a root file system that is read-only")
    try:
        # Even root inside could not: it is the mount that is read-only, not only the rights of the files.
        engine.run("podman", "exec", "--user", "0:0", container, "sh", "-c", "echo x > /etc/written")
    except EngineError as error:
        promise("Read-only file system" in str(error), "… where writing fails")
    else:
        promise(False, "… where writing fails")


def healthy(engine: Engine, container: str) -> None:
    """The image's own health check."""
    engine.run("podman", "healthcheck", "run", container)
    promise(True, f"the health check of {container} says well")


def written(engine: Engine, container: str) -> None:
    """Nothing is written but in the volume, and in memory."""
    mounts = Path(f"/proc/{engine.inspect(container)['State']['Pid']}/mounts").read_text("utf-8").splitlines()
    places = {line.split()[1] for line in mounts}
    changed = [line.split(" ", 1)[1] for line in engine.run("podman", "diff", container).splitlines()]
    # The engine itself makes the places where something is mounted.
    strange = [path for path in changed if not any(f"{place}/".startswith(f"{path}/") for place in places)]
    promise(not strange, f"{container} has written nothing outside of its volume {strange or ''}".rstrip())


def secret_kept(engine: Engine, password: str) -> None:
    """The database's password is in no image and in no environment."""
    seen = [
        engine.run("podman", "inspect", name) for name in ("yhdyspinta_postgres_1", "yhdyspinta_kymenlaakso_1", PRODUCT)
    ]
    promise(
        password and not any(password in text for text in seen), "the database's password is not in what can be listed"
    )


def killed(engine: Engine, container: str, port: int) -> None:
    """End a node as a power cut would; it comes back by itself, and its log checks."""
    before = engine.inspect(container)
    os.kill(before["State"]["Pid"], signal.SIGKILL)
    begun = time.monotonic()
    while engine.inspect(container)["RestartCount"] == before["RestartCount"]:
        if time.monotonic() - begun > _IDLE_SECONDS:
            raise EngineError(f"{container} was killed, and did not come back by itself")
        engine.reap()
        time.sleep(0.2)
    ready(engine, {container: port})
    promise(True, f"{container} was killed and is ready again after {time.monotonic() - begun:.1f} s")


def log_checks(engine: Engine, container: str) -> None:
    """The audit log is checked from its first entry to its last."""
    check = ("yhdyspinta", "audit", "check", "--config", "node.toml", "--json")
    report = json.loads(engine.run("podman", "exec", container, *check))
    promise(report["sound"] and report["size"] > 0, f"the log of {container} checks: {report['size']} entries")


def stopped(engine: Engine, container: str) -> None:
    """SIGTERM ends it with exit code 0."""
    begun = time.monotonic()
    engine.run("podman", "stop", "--time", "60", container)
    code = engine.inspect(container)["State"]["ExitCode"]
    promise(code == 0, f"{container} ends on its stop signal with {code}, after {time.monotonic() - begun:.1f} s")


def _answers(port: int) -> bool:
    try:
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS
