"""The predictor's whole state as one immutable value: encoder, network, version, and the UIDs it has applied.

Learning gives a new state; asking changes nothing. :mod:`nasoa_runtime.online.state_bytes` says how one is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.documents.outcomes import Outcome
from nasoa_runtime.online.algorithms import learned, make_predictor
from nasoa_runtime.online.description import Batch
from nasoa_runtime.online.encoder import Encoder
from nasoa_runtime.online.features import REQUEST_FEATURES, FeatureTable
from nasoa_runtime.online.predictor import AdaptiveMLP

APPLIED_WINDOW = 10_000
"""So many UIDs are remembered in the state itself; older ones have a marker object of their own."""


@dataclass(frozen=True, eq=False)
class PredictorState:
    """A predictor as it was after ``version`` outcomes. Never changed in place."""

    algorithm: str
    encoder: Encoder
    network: AdaptiveMLP
    version: int = 0
    """Requests learned from, each counted once."""
    layout_version: int = 0
    """Changes of the columns, each a new model; independent of ``version``."""
    applied_uids: tuple[str, ...] = ()
    """The last :data:`APPLIED_WINDOW` requests learned from, oldest first."""
    warm_start: str | None = None
    """What was learned before the first request; ``None``: nothing."""

    @classmethod
    def new(
        cls,
        algorithm: str = "adaptive-mlp",
        seed: int = 0,
        table: FeatureTable = REQUEST_FEATURES,
        models: Sequence[str] = (),
    ) -> PredictorState:
        """A predictor that has learned nothing; ``models`` have columns from the start (layout version 0)."""
        encoder = Encoder.new(table)
        network = make_predictor(algorithm, encoder.width, seed, input_energy=encoder.energy)
        fresh = cls(algorithm, encoder, network)
        return replace(fresh.with_models(models), layout_version=0)

    def applied(self, uid: str) -> bool:
        """Whether ``uid`` is among the last requests learned from."""
        return uid in self.applied_uids

    def with_models(self, models: Sequence[str]) -> PredictorState:
        """The state with a column for each of ``models``; no prediction differs by it."""
        new = [model for model in dict.fromkeys(models) if model not in self.encoder.models]
        if not new:
            return self
        encoder, network = self.encoder, self.network.copy()
        for model in new:
            encoder = encoder.grow(model)
        network.grow(len(new))
        return replace(self, encoder=encoder, network=network, layout_version=self.layout_version + len(new))

    def predict(self, runs: Batch) -> NDArray[np.float64]:
        """Predicted accuracies, shape (n,); see :meth:`AdaptiveMLP.predict` for those outside [0, 1]."""
        return self.network.predict(self.encoder.encode(runs))

    def update(self, outcomes: Sequence[Outcome], uid: str) -> PredictorState:
        """The state after the request ``uid``, with all that its runs showed, in their order.

        A UID that was applied changes nothing: the same object is returned. Models without a column get one. The
        network from before is kept where an outcome would make it diverge.

        Raises:
            ValueError: there is no outcome.
            InvalidDescription: a run is not described by the features of this predictor, or a value can't be used.
        """
        if self.applied(uid):
            return self
        if not outcomes:
            msg = f"request {uid} has no outcome to learn from"
            raise ValueError(msg)
        grown = self.with_models([outcome.description.model for outcome in outcomes])
        encoder, network = grown.encoder, grown.network
        for outcome in outcomes:
            batch = Batch.of([outcome.description], encoder.table)
            encoder = encoder.observe(encoder.transform(batch))
            network = learned(network, encoder.encode(batch)[0], outcome.accuracy)
        return replace(
            grown,
            encoder=encoder,
            network=network,
            version=self.version + 1,
            applied_uids=(*self.applied_uids, uid)[-APPLIED_WINDOW:],
        )
