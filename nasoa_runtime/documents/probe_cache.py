"""Probes that are kept below a tenant's output URI, so that equal datasets are probed once."""

from __future__ import annotations

from pydantic import Field

from nasoa_runtime.boundary import Device, Digest, ProbeResult, Record, Seconds, canonical_json, digest
from nasoa_runtime.documents.base import Document


class ProbeOrigin(Record):
    """All that a probe's figures follow from: where two agree, one probe serves both."""

    dataset: Digest
    zoo: str
    """Name and version."""
    device: Device
    """With the product that the pod found."""
    batch_size: int = Field(ge=1)
    with_options: bool = False
    time_cap_seconds: Seconds

    @property
    def digest(self) -> str:
        """What the cached probe is named after."""
        return digest(canonical_json(self.model_dump(mode="json")))


class CachedProbe(Document):
    """A probe, and what it was made of."""

    origin: ProbeOrigin
    result: ProbeResult
