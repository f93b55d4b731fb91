"""A zoo's predictor as one immutable value: what predicts, how many requests it has learned, and which.

Learning gives a new state; asking changes nothing. :mod:`nasoa_runtime.online.state_bytes` says how one is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.documents.outcomes import OutcomeRecord
from nasoa_runtime.documents.predictor import Adoption
from nasoa_runtime.online.description import Batch
from nasoa_runtime.online.experience import Experience
from nasoa_runtime.online.forest import Forest
from nasoa_runtime.online.hedged import ALGORITHM, Hedged, last_due
from nasoa_runtime.online.intervals import Intervals
from nasoa_runtime.online.paper import PaperPredictor

Floats = NDArray[np.float64]
APPLIED_WINDOW = 10_000
"""So many UIDs are remembered in the state itself; older ones have a marker object of their own."""


@dataclass(frozen=True, eq=False)
class PredictorState:
    """A predictor as it was after ``version`` requests. Never changed in place."""

    predictor: Hedged | PaperPredictor
    version: int = 0
    """Requests learned from, each counted once."""
    layout_version: int = 0
    """Changes of the columns, each a new model; independent of ``version``."""
    applied_uids: tuple[str, ...] = ()
    """The last :data:`APPLIED_WINDOW` requests learned from, oldest first."""
    warm_start: str | None = None
    """What was learned before the first request; ``None``: nothing."""
    adoptions: tuple[Adoption, ...] = ()
    """Of trees that were fitted to outcomes, oldest first."""

    @classmethod
    def new(cls, algorithm: str = ALGORITHM, seed: int = 0, models: Sequence[str] = ()) -> PredictorState:
        """A predictor that has learned nothing; ``models`` have columns from the start (layout version 0)."""
        predictor = Hedged.new(seed) if algorithm == ALGORITHM else PaperPredictor.new(algorithm, seed)
        return replace(cls(predictor).with_models(models), layout_version=0)

    @property
    def algorithm(self) -> str:
        """Its name."""
        return self.predictor.algorithm

    @property
    def models(self) -> tuple[str, ...]:
        """Those that have a column."""
        return self.predictor.models

    @property
    def intervals(self) -> Intervals:
        """How sure predictions are."""
        return self.predictor.intervals

    @property
    def fitted_through(self) -> int:
        """The version up to which trees have seen outcomes; 0: those of the start."""
        return self.adoptions[-1].through if self.adoptions else 0

    @property
    def refit_due(self) -> int | None:
        """The version through which trees should be fitted anew; ``None`` where they are as they should be."""
        due = last_due(self.version)
        return due if self.algorithm == ALGORITHM and due > self.fitted_through else None

    def applied(self, uid: str) -> bool:
        """Whether ``uid`` is among the last requests learned from."""
        return uid in self.applied_uids

    def with_models(self, models: Sequence[str]) -> PredictorState:
        """The state with a column for each of ``models``, where the predictor has such; no prediction differs by it."""
        grown = self.predictor.with_models(models)
        new = len(grown.models) - len(self.models)
        return replace(self, predictor=grown, layout_version=self.layout_version + new) if new else self

    def predict(self, runs: Batch) -> Floats:
        """Predicted accuracies, shape (n,). They may lie outside [0, 1], where they still rank."""
        return self.predictor.predict(runs)

    def interval(self, runs: Batch) -> tuple[Floats, Floats]:
        """Ends of intervals in which 90 % of accuracies should lie, each of shape (n,)."""
        return self.predictor.interval(runs)

    def update(self, record: OutcomeRecord) -> PredictorState:
        """The state after a request, with all that its runs showed, in their order.

        A UID that was applied changes nothing: the same object is returned.

        Raises:
            ValueError: there is no outcome.
            InvalidDescription: a run is not described by the features of this predictor, or a value can't be used.
        """
        if self.applied(record.uid):
            return self
        if not record.runs:
            msg = f"request {record.uid} has no outcome to learn from"
            raise ValueError(msg)
        learned = self.predictor.learn(Experience.of_record(record))
        return replace(
            self,
            predictor=learned,
            layout_version=self.layout_version + len(learned.models) - len(self.models),
            version=self.version + 1,
            applied_uids=(*self.applied_uids, record.uid)[-APPLIED_WINDOW:],
        )

    def adopting(self, forest: Forest, digest: str, through: int) -> PredictorState:
        """The state with trees that were fitted to outcomes up to version ``through``."""
        assert isinstance(self.predictor, Hedged)
        adoption = Adoption(digest=digest, through=through, version=self.version)
        return replace(self, predictor=self.predictor.adopting(forest, digest), adoptions=(*self.adoptions, adoption))
