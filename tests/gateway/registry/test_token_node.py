"""A node whose signing key lies in a token: it answers like any other, and the key is nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gateway.demo.network import Network
from gateway.keys import certificates
from gateway.keys.keystore import write_secret
from gateway.registry.run.authority import Authority
from gateway.wire.signing import thumbprint
from tests.gateway.registry.peering import Peering, hasten
from tests.gateway.running import Running, running
from tests.gateway.tokens import PIN, Tokens

pytestmark = pytest.mark.e2e


@pytest.fixture
def nodes(tokens: Tokens, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    def prepare(network: Network) -> None:
        hasten(network)
        party, now = network.parties["centre"], datetime.now(UTC)
        key = tokens.generate("centre-signing", "ES256")
        authority = Authority(network.folder / "authority", network.passphrase.encode())
        certified = authority.certify_signing(key.public_key(), party.member, now)
        key.close()
        content = authority.content()
        members = tuple(
            replace(one, signing=(certified,)) if one.id == party.member else one for one in content.members
        )
        authority.publish(replace(content, members=members), now)
        (party.folder / "signing.pem").write_bytes(certificates.to_pem(certified.certificate))
        (party.folder / "signing.key").unlink()
        write_secret(party.folder / "pin", PIN.encode())
        text = party.config.read_text("utf-8")
        before, _, after = text.partition("[signing]\n")
        after = after.partition("\n[")[2]
        place = [
            "[signing]",
            'certificate = "signing.pem"',
            f'pkcs11_module = "{tokens.module}"',
            'pkcs11_token = "virasto"',
            'pkcs11_label = "centre-signing"',
            'pkcs11_pin = "pin"',
        ]
        party.config.write_text(before + "\n".join(place) + "\n\n[" + after, "utf-8")

    with running(tmp_path_factory.mktemp("token"), nodes=("centre",), prepare=prepare) as found:
        yield found


async def test_a_node_signs_its_answers_with_a_key_that_never_leaves_its_token(nodes: Running) -> None:
    peering = Peering(nodes)
    answer = await peering.ask()
    assert (answer.status, answer.signed) == (200, True)
    certificate = certificates.to_der((nodes.party("centre").folder / "signing.pem").read_bytes())
    signing = (await peering.health())["keys"]["signing"]
    assert (signing["certificate"], signing["in_force"]) == (thumbprint(certificate), True)
    assert peering.released() == 1
    assert not list(nodes.party("centre").folder.glob("signing*.key*"))
