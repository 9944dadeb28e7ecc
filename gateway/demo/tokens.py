"""Let an information system of the demo prove itself by a key of its own, too, beside its certificate."""

from __future__ import annotations

import json

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from gateway.demo.network import Network
from gateway.keys.keystore import write_secret

TOKEN_KEY = "client-token.key"  # noqa: S105  the name of a file
_REGISTERED = 'certificates = ["client.pem"]'


def let_in_by_token(network: Network, name: str) -> None:
    """Make the key, and register its public half in the settings of the party's node, which is not running yet."""
    party = network.parties[name]
    key = ec.generate_private_key(ec.SECP256R1())
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_secret(party.folder / TOKEN_KEY, text)
    public = json.loads(ECAlgorithm.to_jwk(key.public_key()))
    (party.folder / "client.jwks").write_text(json.dumps({"keys": [public]}), "utf-8")
    settings = party.config.read_text("utf-8")
    party.config.write_text(settings.replace(_REGISTERED, f'{_REGISTERED}\njwks = "client.jwks"'), "utf-8")
