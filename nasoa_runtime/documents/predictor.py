"""What a predictor's state says of itself beside its arrays, and the trees that it names by their digest."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nasoa_runtime.boundary import Digest, Finite, Record, SecondsOrZero
from nasoa_runtime.documents.base import Document

Transform = Literal["linear", "log", "log1p", "decades"]
"""``decades`` is the logarithm of a quantity that may be 0, which counts as 1e-7."""


class StoredFeature(Record):
    """What of a feature decides how the network's input is made: all but where its value comes from."""

    name: str
    transform: Transform
    typical: Finite
    spread: Finite
    optional: bool


class Adoption(Record):
    """Trees that were fitted to outcomes have taken the place of those before."""

    digest: Digest
    """Of the trees as they are stored."""
    through: int = Field(ge=1)
    """The version up to which they have seen outcomes."""
    version: int = Field(ge=1)
    """At which they were adopted: outcomes that were learned in between moved the trees before them."""


class AdoptionMarker(Document):
    """Trees have been adopted: what a rebuild goes by where the state itself can't be read."""

    adoption: Adoption


class StoredIntervals(Record):
    """Half-width of intervals on the logit scale."""

    width: SecondsOrZero
    start: SecondsOrZero


class StoredResiduals(Record):
    """Of one expert: sums and numbers of what it was off."""

    zoo: tuple[Finite, int]
    datasets: tuple[tuple[str, Finite, int], ...]
    """In the order in which they were learned of last."""


class StoredHedge(Record):
    """What ``hedge`` keeps beside arrays."""

    seed: int
    forest: Digest | None
    """Of the trees in use, which are stored apart."""
    residuals: tuple[StoredResiduals, ...] = Field(min_length=1)
    """Of each expert, the network's last."""
    past_models: tuple[str, ...]
    past_seen: int = Field(ge=0)


class PredictorMeta(Document):
    """The ``meta`` of a predictor's ``state.npz``."""

    algorithm: str
    version: int = Field(ge=0)
    """Requests learned from."""
    layout_version: int = Field(ge=0)
    layout: tuple[str, ...]
    """Names of the input's columns."""
    table: tuple[StoredFeature, ...]
    models: tuple[str, ...]
    applied_uids: tuple[str, ...]
    """The last requests learned from, oldest first."""
    warm_start: str | None
    """What was learned before the first request; ``None``: nothing."""
    intervals: StoredIntervals = StoredIntervals(width=3.0, start=3.0)
    adoptions: tuple[Adoption, ...] = ()
    hedge: StoredHedge | None = None
    """``None`` for the paper's predictors."""


class StoredForest(Document):
    """The trees of ``hedge``, in LightGBM's own text."""

    columns: tuple[str, ...]
    """Names of their inputs."""
    words: tuple[tuple[str, ...], ...]
    """Codes of each category, in the order of the table of words."""
    points: tuple[str, ...] = Field(min_length=1)
    order: tuple[str, ...] = Field(min_length=1)
    slope: Finite
    """Of the line from the order's predictions to accuracies."""
    intercept: Finite
    spread: tuple[str, ...] = Field(min_length=1)
    """How far off both together are."""
