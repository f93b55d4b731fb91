"""The paper's predictors as a zoo's predictor: an encoder of what they are told, and a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.online.algorithms import learned, make_predictor
from nasoa_runtime.online.description import Batch
from nasoa_runtime.online.encoder import Encoder
from nasoa_runtime.online.experience import Experience
from nasoa_runtime.online.features import PAPER_FEATURES, FeatureTable
from nasoa_runtime.online.intervals import NOTHING_KNOWN, Intervals
from nasoa_runtime.online.predictor import AdaptiveMLP

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PaperPredictor:
    """``adaptive-mlp``, or one of its baselines. Changes by replacement."""

    algorithm: str
    encoder: Encoder
    network: AdaptiveMLP
    intervals: Intervals = NOTHING_KNOWN

    @classmethod
    def new(cls, algorithm: str, seed: int, table: FeatureTable = PAPER_FEATURES) -> PaperPredictor:
        """A predictor that has learned nothing and knows no model."""
        encoder = Encoder.new(table)
        network = make_predictor(algorithm, encoder.width, seed, input_energy=encoder.energy)
        return cls(algorithm, encoder, network)

    @property
    def models(self) -> tuple[str, ...]:
        """Those that have a column."""
        return self.encoder.models

    def with_models(self, models: Sequence[str]) -> PaperPredictor:
        """The same with a column for each of ``models``; no prediction differs by it."""
        new = [model for model in dict.fromkeys(models) if model not in self.encoder.models]
        if not new:
            return self
        encoder, network = self.encoder, self.network.copy()
        for model in new:
            encoder = encoder.grow(model)
        network.grow(len(new))
        return replace(self, encoder=encoder, network=network)

    def predict(self, runs: Batch) -> Floats:
        """Predicted accuracies, shape (n,), not clipped."""
        return self.network.predict(self.encoder.encode(runs))

    def interval(self, runs: Batch) -> tuple[Floats, Floats]:
        """Ends of intervals in which 90 % of accuracies should lie, each of shape (n,)."""
        return self.intervals.around(self.predict(runs), 1.0)

    def learn(self, request: Experience) -> PaperPredictor:
        """The predictor that has also learned the ends of one request's runs, in their order.

        The network from before is kept where an outcome would make it diverge.
        """
        ends = request.ends
        runs, reached = request.at(ends), request.reached[ends]
        grown = self.with_models([runs.models[index] for index in runs.model_index])
        intervals = self.intervals.observe(grown.predict(runs), reached, 1.0)
        encoder, network = grown.encoder, grown.network
        for number, accuracy in enumerate(reached):
            one = runs.take(np.array([number]))
            encoder = encoder.observe(encoder.transform(one))
            network = learned(network, encoder.encode(one)[0], float(accuracy))
        return replace(grown, encoder=encoder, network=network, intervals=intervals)
