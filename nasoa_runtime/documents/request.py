"""The documents of a request: what the probe found, what was scheduled, what came of it, and that it was learned."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import AwareDatetime, Field

from nasoa_runtime.boundary import (
    MOST_REGIMES,
    FinetuneResult,
    ModelReference,
    ProbeResult,
    Regime,
    Run,
    SecondsOrZero,
)
from nasoa_runtime.documents.base import Document
from nasoa_runtime.documents.outcomes import ModelFacts


class Probe(Document):
    """``probe``: the dataset's statistics and the times seen on its node."""

    result: ProbeResult


class Schedule(Document):
    """``schedule``: what is run, decided once and whole, so that nothing of it is ever looked up again."""

    strategy: str
    regimes: tuple[Regime, ...] = Field(min_length=1, max_length=MOST_REGIMES)
    """The chosen one first, then the runners-up."""
    planned_seconds: SecondsOrZero
    candidates: int = Field(ge=1)
    """How many were ranked."""
    predictor_version: int = Field(ge=0)
    zoo_version: int = Field(ge=1)
    models: tuple[ModelReference, ...] = Field(min_length=1)
    facts: tuple[ModelFacts, ...]
    """What the predictor was told of these models, so that what is learned is described as what was predicted."""
    decided_at: AwareDatetime


class Result(Document):
    """``result``: what the fine-tuning pod came to."""

    result: FinetuneResult | None
    """``None`` where every run diverged."""
    runs: tuple[Run, ...]
    failure: str | None
    """Why there is no result."""


class Failed(Document):
    """``failed``: the request ends without a model."""

    reason: str
    message: str


class Learned(Document):
    """``learned``: the predictor has learned what the request showed."""

    version: int = Field(ge=0)
    """Of the predictor that has."""


@dataclass(frozen=True)
class RequestRecords:
    """All that is recorded of one request; absent is what has not happened yet."""

    probe: Probe | None = None
    schedule: Schedule | None = None
    result: Result | None = None
    failed: Failed | None = None
    learned: Learned | None = None

    @property
    def decided(self) -> bool:
        """Whether it is settled what is run, or that nothing is."""
        return self.schedule is not None or self.failed is not None


KINDS: dict[str, type[Document]] = {
    "probe": Probe,
    "schedule": Schedule,
    "result": Result,
    "failed": Failed,
    "learned": Learned,
}
"""A request's documents by their names."""
