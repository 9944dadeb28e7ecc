"""How a command asks a node in the name of the person who is logged in at the operating system."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.terminal.client_face import Face
from gateway.terminal.configuration import logged_in
from gateway.web.headers import USER_HEADER


def asked(client: Face, path: str) -> dict[str, Any]:
    """What stands at a path; a refusal ends the command."""
    return client.done(*client.call("GET", path, headers={USER_HEADER: logged_in()}))


def posted(client: Face, path: str, document: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the node answers to an act; a refusal ends the command."""
    headers = {USER_HEADER: logged_in(), "Content-Type": "application/json"}
    return client.done(*client.call("POST", path, orjson.dumps(document or {}), headers))
