"""What a face answers when the node itself fails: the code, when to come again, and nothing of the failure's text."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI
from sqlalchemy import Engine

from audit.log.entries import Entry
from audit.log.log import Log
from audit.tree.checkpoint import LogSigner
from gateway.storage import engine as storage
from gateway.web.problems import install


async def get(app: FastAPI, path: str, language: str = "en") -> httpx.Response:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        return await client.get(path, headers={"Accept-Language": language})


@pytest.mark.parametrize(
    ("language", "title"), [("fi", "Sisäinen virhe"), ("sv", "Internt fel"), ("en", "Internal error")]
)
async def test_a_failure_that_nobody_foresaw_says_nothing_of_itself(language: str, title: str) -> None:
    app = FastAPI()
    install(app)

    @app.get("/")
    async def fail() -> None:
        raise RuntimeError("person 010190-900P")

    answer = await get(app, "/", language)

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "urn:yhdyspinta:problem:internal-error", "title": title, "status": 500, "code": "internal-error",
    }  # fmt: skip


@pytest.mark.parametrize("url", ["sqlite:////no/such/folder/node.db", "postgresql://node@/node?host=/no/such/folder"])
async def test_while_the_database_is_away_a_face_says_when_to_come_again(url: str) -> None:
    app = FastAPI()
    install(app)
    away = storage.create(url)

    @app.get("/")
    async def read() -> None:
        away.connect()

    answer = await get(app, "/")

    assert (answer.status_code, answer.json()["code"]) == (503, "log-not-durable")
    assert answer.headers["retry-after"] == "5"


async def test_what_the_log_cannot_record_is_refused_and_may_be_asked_again(engine: Engine) -> None:
    app = FastAPI()
    install(app)
    signer = LogSigner(Ed25519PrivateKey.from_private_bytes(b"\x07" * 32), "yhdyspinta/node")
    log = Log(engine, signer, origin=signer.name, clock=lambda: datetime.now(UTC))

    @app.get("/")
    async def record() -> None:
        await log.append([Entry(type="query", outcome="success", recorded=datetime.now(UTC))])

    answer = await get(app, "/")

    assert (answer.status_code, answer.json()["code"]) == (503, "log-not-durable")
    assert answer.headers["retry-after"] == "5"
