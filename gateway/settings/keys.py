"""The keys in a node's settings: what signs for each member, what connects, and secrets that never leave the node."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from gateway.settings.values import Member, SecretFile, SecretFileOrNone, Section


class KeySettings(Section):
    """A private key in an encrypted PKCS#8 file, or in a token reached through PKCS#11."""

    certificate: Path = Field(description="the certificate, PEM or DER")
    key: SecretFileOrNone = Field(None, description="the private key, encrypted PKCS#8 in PEM")
    passphrase: SecretFileOrNone = Field(None, description="file with the passphrase of the key")
    pkcs11_module: Path | None = Field(None, description="library of the token")
    pkcs11_token: str | None = Field(None, description="label of the token")
    pkcs11_label: str | None = Field(None, description="label of the key in the token")
    pkcs11_pin: SecretFileOrNone = Field(None, description="file with the PIN")

    @model_validator(mode="after")
    def _one_kind(self) -> KeySettings:
        token = (self.pkcs11_module, self.pkcs11_token, self.pkcs11_label, self.pkcs11_pin)
        if (self.key is None) == (self.pkcs11_module is None):
            raise ValueError("give either `key` (a file) or `pkcs11_module` with token, label and pin")
        if self.pkcs11_module is not None and any(part is None for part in token):
            raise ValueError("a PKCS#11 key needs pkcs11_module, pkcs11_token, pkcs11_label and pkcs11_pin")
        return self

    @property
    def place(self) -> tuple[Path | str | None, ...]:
        """Where the key lies, by which two settings are of one key."""
        return (self.key,) if self.key is not None else (self.pkcs11_module, self.pkcs11_token, self.pkcs11_label)


class MemberSettings(Section):
    """A further member that the node speaks for, with what is its own.

    Two members of one node are two controllers: they share the process, the disk and the log, and nothing else. The
    first that `node.subsystems` names signs with `signing` and is described in `[audit]`; each other one stands here.
    """

    id: Member = Field(description="the member, INSTANCE/CLASS/MEMBER")
    signing: KeySettings = Field(description="its own signing key")
    controller: str = Field("", description="name of the controller, for extracts and the record of processing")
    contact: str = Field("", description="how the controller is reached")
    officer: str = Field("", description="the data protection officer and how to reach them")


class SecretSettings(Section):
    """Files of 32 random bytes in base64, several lines while one is changed. They never leave the node."""

    wrapping_key: SecretFile = Field(
        Path("secrets/wrapping.key"),
        description="wraps the keys of data subjects; without it every sealed body is lost",
    )
    index_key: SecretFile = Field(Path("secrets/index.key"), description="makes persons findable by their identifiers")
    log_key: SecretFile = Field(Path("secrets/log.key"), description="signs the log's checkpoints (Ed25519)")
    witness_key: SecretFile = Field(Path("secrets/witness.key"), description="cosigns the logs of others")
    token_key: SecretFile = Field(Path("secrets/token.key"), description="signs access tokens")


class TlsSettings(Section):
    """Keys for TLS, one for each face."""

    peers: KeySettings = Field(description="towards other nodes; its certificate is pinned in the registry")
    clients: KeySettings | None = Field(None, description="towards own systems; without it that of the peers")
    client_authorities: list[Path] = Field(default_factory=list, description="issuers of the clients' certificates")
