"""Write a profile for a running demo network, from the state file that `yhdyspinta demo --state FILE` wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gateway.conformance.message import certificate_of, thumbprint
from gateway.conformance.profile import ProfileError

#: The first person of the demo's register, by the number that the register gives.
KNOWN = {"system": "urn:yhdyspinta:id:migri-customer", "value": "DEMO-1001"}
_SENDER, _RECEIVER, _OTHER = "centre", "kotka", "kymenlaakso"


def profile_of(state: Path) -> str:
    """The text of a profile. Raises ProfileError."""
    try:
        parties = json.loads(state.read_bytes())["parties"]
        return "\n\n".join(_tables(parties)) + "\n"
    except OSError as error:
        raise ProfileError(f"{error.filename or state} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ProfileError(f"{state} is no state file of the demo ({type(error).__name__}: {error})") from None


def _tables(parties: dict[str, Any]) -> list[str]:
    sender, receiver, other = (parties[name] for name in (_SENDER, _RECEIVER, _OTHER))
    question = {"service": sender["services"]["palvelutarve"], "purpose": "service-need-lookup"}
    question |= {"categories": ["identity", "language", "housing"], "person": KNOWN}
    handover = {
        "flow": "F1",
        "municipality": "285",
        "role": "municipality",
        "consented_category": "health-needs",
        "consent_purposes": ["reception-to-municipality"],
    }
    services = {"query": "palvelutarve", "acceptance": "hyvaksynnat", "notice": "ilmoitukset"}
    return [
        "# A demo network: the kit plays its reception centre, its municipality and its county.",
        _table("sending", _client(sender)),
        _table("receiving", _client(receiver)),
        _table("query", question),
        _table("handover", handover),
        _table("node", _peer(sender, receiver, services)),
        _table("inbox", _peer(receiver, sender, {"inbox": "saapuvat"})),
        _table("other_member", _member(other)),
    ]


def _client(party: dict[str, Any]) -> dict[str, Any]:
    client = party["client"]
    found = {
        "url": party["client_api"],
        "authority": client["authority"],
        "certificate": client["certificate"],
        "key": client["key"],
        "passphrase_file": client["passphrase_file"],
    }
    if "token_key" in client:
        audience = f"urn:yhdyspinta:node:{party['node']}"
        found["tokens"] = {"client": client["name"], "key": client["token_key"], "audience": audience}
    return found


def _peer(target: dict[str, Any], played: dict[str, Any], services: dict[str, str]) -> dict[str, Any]:
    return {
        "id": target["node"],
        "address": target["peer_address"],
        "anchors": target["keys"]["anchors"],
        "signing": [target["keys"]["signing_certificate"]],
        "pins": [thumbprint(certificate_of(Path(target["keys"]["tls_certificate"])))],
        "services": {kind: target["services"][code] for kind, code in services.items()},
        "member": _member(played),
    }


def _member(party: dict[str, Any]) -> dict[str, Any]:
    names = ("signing_certificate", "signing_key", "tls_certificate", "tls_key", "passphrase_file")
    return {"subsystem": party["subsystem"], "node": party["node"]} | {name: party["keys"][name] for name in names}


def _table(name: str, members: dict[str, Any]) -> str:
    """A TOML table; its own tables follow it."""
    plain = [f"{key} = {json.dumps(value)}" for key, value in members.items() if not isinstance(value, dict)]
    inner = [_table(f"{name}.{key}", value) for key, value in members.items() if isinstance(value, dict)]
    return "\n\n".join(["\n".join([f"[{name}]", *plain]), *inner])
