"""The audit log in a node's settings: who answers for it, how peers' logs are watched, and what counts as unusual."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field

from audit.questions.anomalies import Thresholds
from gateway.settings.values import Section


class UnusualSettings(Section):
    """When a pattern of look-ups counts as unusual. Hours are local to `zone`."""

    bulk_lookups_per_hour: int = Field(60, ge=2, description="look-ups of one user in an hour")
    persons_per_day: int = Field(100, ge=2, description="unrelated persons read by one user in a day")
    night_from: int = Field(22, ge=12, le=23, description="when night begins, the hour")
    night_until: int = Field(6, ge=0, le=12, description="when night ends, the hour")
    night_lookups: int = Field(5, ge=1, description="look-ups of one user in a night")
    denied_per_hour: int = Field(5, ge=2, description="refusals of one user in an hour")
    client_within_days: float = Field(90, gt=0, description="days within which a person looked up becomes a client")
    never_clients: int = Field(3, ge=1, description="persons looked up by one user who never did")
    zone: str = Field("Europe/Helsinki", description="time zone of the hours")

    def thresholds(self) -> Thresholds:
        """The same as the rules take them."""
        values = self.model_dump(exclude={"client_within_days"})
        return Thresholds(**values, client_within=timedelta(days=self.client_within_days))


class AuditSettings(Section):
    """The audit log: who answers for it, how peers' logs are watched, and what counts as unusual."""

    controller: str = Field("", description="name of the controller, for extracts and the record of processing")
    contact: str = Field("", description="how the controller is reached")
    officer: str = Field("", description="the data protection officer and how to reach them")
    witness_seconds: float = Field(60.0, gt=0, le=86400, description="how often peers are asked for proofs")
    cosign_seconds: float = Field(3600.0, gt=0, le=86400, description="how often witnesses are asked to cosign")
    witnesses: int = Field(5, ge=0, le=32, description="how many of the registry's witnesses are asked")
    answers_at_start: int = Field(
        0, ge=0, le=16, description="how many nodes must have said how far they know the log before data moves"
    )
    readers: list[str] = Field(default_factory=list, description="ids of nodes that may read entries, not only hashes")
    witness_algorithm: Literal["ml-dsa-44", "ed25519"] = Field(
        "ml-dsa-44", description="what the node cosigns the logs of others with"
    )
    unusual: UnusualSettings = UnusualSettings()
