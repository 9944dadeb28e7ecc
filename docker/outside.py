"""The world outside of the containers: the organisations' own systems, which call their nodes over mutual TLS.

Knows nothing of the product's code, only what docs/clients.md says: addresses, certificates, calls.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

LOOPBACK = "127.0.0.1"
CSV = "text/csv; charset=windows-1252"
CUSTOMER = "urn:yhdyspinta:id:migri-customer"
_PATIENCE_SECONDS = 120


class PromiseError(Exception):
    """Something that was promised was not seen."""


def promise(kept: object, what: str) -> None:
    """Raises PromiseError unless it was kept."""
    if not kept:
        raise PromiseError(what)
    print(f"    ✓ {what}", flush=True)


class _Connection(http.client.HTTPSConnection):
    """Reaches a node on loopback under the name that its certificate has."""

    def connect(self) -> None:
        self.sock = self.tls.wrap_socket(  # type: ignore[attr-defined]
            socket.create_connection((LOOPBACK, self.port), 60), server_hostname=self.host
        )


@dataclass(frozen=True)
class System:
    """An information system of an organisation, with the certificate that `yhdyspinta client add` made for it."""

    name: str
    port: int
    state: Path

    def call(
        self,
        method: str,
        path: str,
        body: bytes | Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        shows_certificate: bool = True,
    ) -> tuple[int, Any]:
        """Call the organisation's node; status and document."""
        context = ssl.create_default_context(cafile=str(self.state / "post" / "authority.pem"))
        if shows_certificate:
            clients = self.state / self.name / "clients"
            secret = (self.state / self.name / "passphrase").read_text("ascii").strip()
            context.load_cert_chain(clients / "system.pem", clients / "system.key", secret)
        connection = _Connection(f"{self.name}-1", self.port)
        connection.tls = context  # type: ignore[attr-defined]
        given = dict(headers or {})
        if isinstance(body, Mapping):
            body, given["Content-Type"] = json.dumps(body).encode(), "application/json"
        try:
            connection.request(method, path, body, given)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        return answer.status, json.loads(data) if data else None

    def got(self, path: str) -> Any:
        """What the node answers to a GET that must succeed."""
        status, document = self.call("GET", path)
        if status != 200:
            raise PromiseError(f"{self.name}: GET {path.partition('?')[0]} is answered {status}")
        return document


class Register:
    """The reception centre's client register: one person's row of an export, asked for by the centre's node.

    It knows that person by the customer number only, and nobody else.
    """

    def __init__(self, export: bytes, port: int) -> None:
        self.rows = b"".join(export.splitlines(keepends=True)[:2])
        self.person = export.splitlines()[1].split(b";")[0].decode("ascii")
        self.asked = 0
        register = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
                register.asked += 1
                if asked["subject"] != {"system": CUSTOMER, "value": register.person}:
                    self.send_response(404)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(200)
                self.send_header("Content-Type", CSV)
                self.send_header("Content-Length", str(len(register.rows)))
                self.end_headers()
                self.wfile.write(register.rows)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer((LOOPBACK, port), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


def until(look: Callable[[], Any], what: str) -> Any:
    """Look until there is something. Gives up when what is seen has not changed for two minutes."""
    seen, changed = None, time.monotonic()
    while True:
        found, now = look()
        if found:
            return found
        if now != seen:
            seen, changed = now, time.monotonic()
        if time.monotonic() - changed > _PATIENCE_SECONDS:
            raise PromiseError(f"{what}: nothing changed for {_PATIENCE_SECONDS} seconds; last seen: {now}")
        time.sleep(0.2)


def hand_over(systems: Mapping[str, System], register: Register) -> str:
    """One person from the reception centre to both recipients, until each has accepted; returns the handover's id."""
    status, answer = systems["centre"].call(
        "POST",
        "/v1/handovers?flow=F1&adapter=reception-centre-csv",
        register.rows,
        {"Content-Type": CSV, "Idempotency-Key": "containers-1"},
    )
    promise(status == 201 and answer["handed_over"] == 1, "the reception centre's node takes a handover")
    handover = str(answer["handovers"][0]["id"])
    for name, adapter in (("kotka", "municipality-json"), ("kymenlaakso", "county-json")):
        _accept(systems[name], adapter)

    def settled() -> tuple[bool, list[str]]:
        states = [part["state"] for part in systems["centre"].got(f"/v1/handovers/{handover}")["deliveries"]]
        return states.count("accepted") == 2, states

    until(settled, "both acceptances reach the reception centre")
    promise(True, "both recipients have received and accepted it, and the reception centre knows")
    return handover


def _accept(system: System, adapter: str) -> None:
    def arrived() -> tuple[list[Any], int]:
        items = system.got("/v1/inbox?state=received")["items"]
        return items, len(items)

    [item] = until(arrived, f"a delivery to {system.name}")
    document = system.got(f"/v1/inbox/{item['id']}")
    promise("identity" in document["categories"], f"{system.name} opens it: {len(document['categories'])} categories")
    promise(system.call("GET", f"/v1/inbox/{item['id']}?adapter={adapter}")[0] == 200, f"… and as {adapter} too")
    if system.name == "kotka":
        promise("health-needs" not in document["categories"], "without consent the municipality gets no health needs")
    contact = {"contact": {"name": "Vastaanottotiimi", "phone": "05 000 0000"}}
    status, _ = system.call("POST", f"/v1/inbox/{item['id']}/acceptance", contact)
    promise(status in (200, 201), f"{system.name} accepts it")


def ask(systems: Mapping[str, System], register: Register) -> None:
    """The municipality asks about the person; who shows no certificate asks nothing."""
    question = {
        "service": "FI-DEMO/GOV/9000001-1/vastaanotto/palvelutarve",
        "subject": {"system": CUSTOMER, "value": register.person},
        "purpose": "service-need-lookup",
        "categories": ["identity", "language", "housing"],
        "user": "kotka-caseworker-1",
    }
    status, _ = systems["kotka"].call("POST", "/v1/queries", question, shows_certificate=False)
    promise(status == 401 and register.asked == 0, "a caller without a certificate is refused (401)")
    status, answer = systems["kotka"].call("POST", "/v1/queries", question)
    permitted = answer.get("decision", {}).get("permitted", []) if status == 200 else answer
    promise(status == 200 and "identity" in permitted, f"the municipality's question is answered: {permitted}")
    promise(register.asked == 1, "… from the reception centre's own register")
