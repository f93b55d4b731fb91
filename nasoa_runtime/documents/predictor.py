"""What a predictor's state says of itself, beside its arrays."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nasoa_runtime.boundary import Finite, Record
from nasoa_runtime.documents.base import Document

Transform = Literal["linear", "log", "log1p"]


class StoredFeature(Record):
    """What of a feature decides how the network's input is made: all but where its value comes from."""

    name: str
    transform: Transform
    typical: Finite
    spread: Finite
    optional: bool


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
