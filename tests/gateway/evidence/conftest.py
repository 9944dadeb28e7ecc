"""A network whose nodes have exchanged a query, a refusal and a handover, and a time stamping authority of our own."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from sqlalchemy import select

from gateway.demo.network import Network
from gateway.evidence import package
from gateway.storage.tables import deliveries, inbox, messages, timestamps
from tests.gateway.evidence.following import exported
from tests.gateway.running import Running, running, sign_with_ed25519
from tests.waiting import until


@dataclass
class StampingAuthority:
    """An RFC 3161 authority: `openssl ts` behind a web server on loopback."""

    folder: Path
    port: int = 0
    root: Path = field(init=False)

    def __post_init__(self) -> None:
        self.root = self.folder / "root.pem"
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        self._openssl("req", "-x509", *key, "-keyout", "root.key", "-out", "root.pem", "-subj", "/CN=Test stamps",
                      "-days", "30", "-addext", "keyUsage=critical,keyCertSign")  # fmt: skip
        self._openssl("req", *key, "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=Test stamps 1")
        (self.folder / "tsa.ext").write_text(
            "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
            "extendedKeyUsage=critical,timeStamping\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
        )
        self._openssl("x509", "-req", "-in", "tsa.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial",
                      "-out", "tsa.pem", "-days", "30", "-extfile", "tsa.ext")  # fmt: skip
        (self.folder / "ts.cnf").write_text(
            "[tsa]\ndefault_tsa = one\n[one]\nserial = serial\nsigner_cert = tsa.pem\nsigner_key = tsa.key\n"
            "signer_digest = sha256\ndefault_policy = 1.2.3.4.1\ndigests = sha256, sha384, sha512\n"
            "ess_cert_id_alg = sha256\n"
        )
        (self.folder / "serial").write_text("01\n")

    def stamp(self, query: bytes) -> bytes:
        (self.folder / "query.tsq").write_bytes(query)
        self._openssl("ts", "-reply", "-config", "ts.cnf", "-queryfile", "query.tsq", "-out", "reply.tsr")
        return (self.folder / "reply.tsr").read_bytes()

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)


@pytest.fixture(scope="package")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StampingAuthority]:
    """The time stamping authority, answering."""
    made = StampingAuthority(tmp_path_factory.mktemp("tsa"))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            reply = made.stamp(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made
    server.shutdown()
    server.server_close()


@dataclass(frozen=True)
class Exchanged:
    """The nodes, and the ids of messages that they have exchanged."""

    nodes: Running
    query: str
    refused: str
    handover: str
    acceptance: str


@pytest.fixture(scope="package")
def exchanged(tmp_path_factory: pytest.TempPathFactory, authority: StampingAuthority) -> Iterator[Exchanged]:
    """Two nodes after a query, a refused query, a handover and its acceptance."""

    def prepare(network: Network) -> None:
        sign_with_ed25519(network, "kotka")
        for party in network.parties.values():
            with party.config.open("a") as file:
                file.write(
                    f'\n[timestamps]\nurl = "http://127.0.0.1:{authority.port}/"\n'
                    f'authorities = ["{authority.root}"]\nevery_seconds = 0.5\n'
                )

    with running(tmp_path_factory.mktemp("evidence"), prepare=prepare) as nodes:
        yield asyncio.run(_exchange(nodes))


async def _exchange(nodes: Running) -> Exchanged:
    async with nodes.client("kotka") as session:
        async with session.post("/v1/queries", json=nodes.question()) as answer:
            assert answer.status == 200, await answer.text()
            query = (await answer.json())["message_id"]
        unknown = nodes.question(subject={"system": "urn:oid:1.2.246.21", "value": "010190-900P"})
        async with session.post("/v1/queries", json=unknown) as answer:
            assert answer.status == 404
        export = nodes.export.read_bytes().split(b"\r\n")
        async with (
            nodes.client("centre") as centre,
            centre.post(
                "/v1/handovers?flow=F1&adapter=reception-centre-csv", data=b"\r\n".join([export[0], export[2], b""]),
                headers={"Content-Type": "text/csv"},
            ) as answer,
        ):  # fmt: skip
            assert answer.status == 201, await answer.text()
        (arrived,) = await until(lambda: nodes.rows("kotka", select(inbox.c.id)))
        contact = {"contact": {"name": "Vastaanottotiimi"}}
        async with session.post(f"/v1/inbox/{arrived.id}/acceptance", json=contact) as answer:
            assert answer.status == 201
    accepted = select(deliveries.c.id).where(deliveries.c.kind == "acceptance", deliveries.c.state == "accepted")
    await until(lambda: nodes.rows("kotka", accepted))
    for party in ("centre", "kotka"):
        last = len(nodes.entries(party))
        await until(lambda: nodes.rows(party, select(timestamps.c.size).where(timestamps.c.size >= last)))  # noqa: B023
    sent = nodes.rows("kotka", select(messages.c.message_id, messages.c.service).order_by(messages.c.at))
    ours = [row.message_id for row in sent if row.service.endswith("palvelutarve")]
    return Exchanged(
        nodes,
        query,
        next(one for one in ours if one != query),
        next(row.message_id for row in sent if row.service.endswith("saapuvat")),
        next(row.message_id for row in sent if row.service.endswith("hyvaksynnat")),
    )


@pytest.fixture(scope="package")
def sound(exchanged: Exchanged, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a package that holds."""
    file = exported(exchanged, "kotka", exchanged.query, tmp_path_factory.mktemp("sound") / "e.zip")
    return dict(package.read(file.read_bytes())[1])
