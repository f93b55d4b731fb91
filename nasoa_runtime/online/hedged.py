"""The predictor ``hedge``: the paper's rule over experts that know all of a run's description.

The mixture predicts ``sum_k alpha_k f_k``. A request's outcomes y change the weights by
``alpha_k <- alpha_k beta^loss_k``, renormalised, with loss_k the mean squared error over the request's finals from
before the update, clipped to [0, 1]. The discount is that of Theorem 1 for the next power of two of requests
(doubling), so that a few hundred move them. Weights start from what the experts lost on datasets that they had not
seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.online.description import Batch
from nasoa_runtime.online.experience import Experience
from nasoa_runtime.online.experts import Expert, NetworkExpert
from nasoa_runtime.online.forest import Forest, calibrated, fitted
from nasoa_runtime.online.hedge import doubling_beta, hedge
from nasoa_runtime.online.intervals import NOTHING_KNOWN, Intervals
from nasoa_runtime.online.left_out import judged
from nasoa_runtime.online.lessons import Lessons, network_lessons
from nasoa_runtime.online.vocabulary import Vocabulary

Floats = NDArray[np.float64]
FIRST_REFIT, REFIT_EVERY = 8, 64
"""Trees are fitted anew at the first of these versions, at each that is twice as high up to the second, and then as
often as that."""
ALGORITHM = "hedge"


@dataclass(frozen=True, eq=False)
class Hedged:
    """Experts, their weights, and how far they were off. Changes by replacement."""

    forest: Forest | None
    """The trees in use; ``None`` where there are none yet."""
    experts: tuple[Expert, ...]
    """The network last."""
    weights: Floats
    intervals: Intervals = NOTHING_KNOWN
    version: int = 0
    """Requests learned."""
    forest_digest: str | None = None
    """Of the trees as they are stored; ``None`` where there are none, or they are not stored."""
    algorithm: ClassVar[str] = ALGORITHM

    @classmethod
    def new(cls, seed: int) -> Hedged:
        """A predictor that knows nothing: the network is its only expert until trees are fitted."""
        return cls(None, (NetworkExpert.new(seed),), np.ones(1))

    @classmethod
    def started(cls, known: Experience, seed: int) -> Hedged:
        """A predictor that has learned runs from elsewhere: version 0, weights from left-out datasets."""
        vocabulary, lessons = Vocabulary.of(known.runs), Lessons.of(known)
        worth = judged(known, lessons, vocabulary, seed, with_network=True)
        forest = fitted(lessons, vocabulary, worth, seed)
        network = NetworkExpert.new(seed).taught(*network_lessons(known, seed))
        return cls(forest, (*forest.experts, network), worth.weights, calibrated(worth, seed))

    @property
    def models(self) -> tuple[str, ...]:
        """Those that have a column in the network, by their public names."""
        return self.network.encoder.models

    def with_models(self, models: Sequence[str]) -> Hedged:
        """The same: what a zoo calls a model is nothing that this predictor goes by."""
        return self

    @property
    def network(self) -> NetworkExpert:
        """The expert that learns at once."""
        network = self.experts[-1]
        assert isinstance(network, NetworkExpert)
        return network

    def predict(self, runs: Batch) -> Floats:
        """Predicted accuracies, shape (n,), not clipped. Nothing of the runs' outcomes is read."""
        mixed: Floats = self.weights @ self.opinions(runs)
        return mixed

    def interval(self, runs: Batch) -> tuple[Floats, Floats]:
        """Ends of intervals in which 90 % of accuracies should lie, each of shape (n,)."""
        return self.intervals.around(self.predict(runs), self.spread(runs))

    def spread(self, runs: Batch) -> Floats | float:
        """How far off predictions of these runs may be, on the logit scale."""
        return 1.0 if self.forest is None else self.forest.spread_of(runs)

    def opinions(self, runs: Batch) -> Floats:
        """What each expert predicts, shape (k, n)."""
        return np.array([expert.predict(runs) for expert in self.experts])

    def learn(self, request: Experience) -> Hedged:
        """The predictor that has also learned one request: what its runs showed, as far as each went."""
        if not len(request):
            return self
        ends = request.ends
        runs, reached = request.at(ends), request.reached[ends]
        opinions = self.opinions(runs)
        losses = np.mean((opinions - reached) ** 2, axis=1)
        version = self.version + 1
        return replace(
            self,
            experts=tuple(expert.learn(runs, reached) for expert in self.experts),
            weights=hedge(self.weights, losses, doubling_beta(version)),
            intervals=self.intervals.observe(self.weights @ opinions, reached, self.spread(runs)),
            version=version,
        )

    def adopting(self, forest: Forest, digest: str | None = None) -> Hedged:
        """The predictor with other trees. Experts that were there keep their weights; residuals begin anew.

        Where there were no trees before, all experts weigh the same.
        """
        experts = (*forest.experts, self.network)
        weights = self.weights if len(self.weights) == len(experts) else np.full(len(experts), 1.0 / len(experts))
        return replace(self, forest=forest, experts=experts, weights=weights, forest_digest=digest)


def last_due(version: int) -> int:
    """The last version, up to this one, at which trees are fitted anew; 0 before the first."""
    if version >= REFIT_EVERY:
        return version - version % REFIT_EVERY
    return FIRST_REFIT << ((version // FIRST_REFIT).bit_length() - 1) if version >= FIRST_REFIT else 0
