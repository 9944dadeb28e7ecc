"""Waits of the demo end by standstill alone, and its ports are its own."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from adapters.samples import write_samples
from gateway.demo.leash import leashed
from gateway.demo.network import Network, build
from gateway.demo.patience import Patience
from gateway.demo.ports import LOOPBACK, Ports
from gateway.demo.processes import ProcessError, Processes


class Clock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def looks(patience: Patience, clock: Clock, seen: object, seconds: int) -> bool:
    """Look once a second for some seconds; whether it is over at the end."""
    over = False
    for _ in range(seconds):
        clock.now += 1
        over = patience.is_over(seen)
    return over


def test_what_moves_is_waited_for_however_long_it_takes() -> None:
    clock = Clock()
    patience = Patience(300, clock)

    assert not any(looks(patience, clock, arrived, 290) for arrived in range(100))


def test_what_stands_still_is_given_up_and_a_movement_begins_anew() -> None:
    clock = Clock()
    patience = Patience(300, clock)

    assert not looks(patience, clock, 1, 290)
    assert not looks(patience, clock, 2, 290)
    assert looks(patience, clock, 2, 20)
    assert not looks(patience, clock, 3, 1)


def test_time_in_which_nobody_could_look_is_no_standstill() -> None:
    clock = Clock()
    patience = Patience(300, clock)
    patience.is_over("starting")

    clock.now += 3600

    assert not patience.is_over("starting")


LISTEN = """
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))):
    print("listening", flush=True)
    sys.stdin.read()
"""


def listens(port: int) -> subprocess.Popen[str]:
    """A process that listens at the port; says so once it does."""
    process = subprocess.Popen(
        leashed([sys.executable, "-c", LISTEN, str(port)]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "listening\n"
    return process


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a listener bind a port that another holds")
def test_reserved_port_is_nobody_elses_before_while_and_after_a_process_listens_on_it() -> None:
    ports = Ports(1)
    [port] = ports

    def taken() -> bool:
        with socket.socket() as stranger:
            try:
                stranger.bind((LOOPBACK, port))
            except OSError:
                return True
            return False

    assert taken()
    for _ in range(2):
        process = listens(port)
        assert taken()
        process.kill()
        process.communicate()
        assert taken(), "between a kill and the next start too"
    del ports
    assert not taken()


def test_no_port_is_reserved_twice() -> None:
    reserved = [Ports(50) for _ in range(4)]

    assert len({port for ports in reserved for port in ports}) == 200


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    folder = tmp_path_factory.mktemp("demo")
    write_samples(folder / "register", count=40)
    return build(folder / "network", datetime.now(UTC), folder / "register" / "reception-centre.csv")


async def test_waiting_ends_at_once_when_a_process_has_died(network: Network) -> None:
    processes = Processes(network)
    processes.start_system("centre")
    try:
        processes.process("centre-system").kill()
        processes.process("centre-system").wait()

        with pytest.raises(ProcessError, match="centre-system ended with -9"):
            await processes.ready()
        with pytest.raises(ProcessError, match="centre-system ended with -9"):
            await processes.while_alive(asyncio.Event().wait())
    finally:
        processes.stop()


async def test_work_beside_living_processes_gives_its_result_or_its_own_error(network: Network) -> None:
    processes = Processes(network)

    async def fails() -> None:
        raise LookupError("its own")

    assert await processes.while_alive(asyncio.sleep(0, "done")) == "done"
    with pytest.raises(LookupError, match="its own"):
        await processes.while_alive(fails())
