"""The predictor ``hedge``: the paper's rule over experts that know all of a run's description.

The mixture predicts ``sum_k alpha_k f_k``. A request's outcomes y change the weights by
``alpha_k <- alpha_k beta^loss_k``, renormalised, with loss_k the mean squared error over the request's finals from
before the update, clipped to [0, 1]. The discount is that of Theorem 1 for the next power of two of requests
(doubling), so that a few hundred move them. Weights start from what the experts lost on datasets that they had not
seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.online.experts import Expert, NetworkExpert, Target, fit_trees
from nasoa_runtime.online.hedge import doubling_beta, hedge
from nasoa_runtime.online.left_out import judged, taught
from nasoa_runtime.online.lessons import Lessons
from nasoa_runtime.online.promotion import Promotion, fit_promotion
from nasoa_runtime.online.recorded_features import Vocabulary
from nasoa_runtime.online.records import Curve, RecordedRun
from nasoa_runtime.online.trees import MEMBERS

Floats = NDArray[np.float64]
FIRST_REFIT = 32
"""Trees are fitted anew at this version, and at each that is twice as high."""


def best_accuracy(point: RecordedRun) -> float:
    """What a request delivers that stops at this point."""
    return point.best_acc


def accuracy_here(point: RecordedRun) -> float:
    """What was measured at this point."""
    return point.acc


@dataclass(frozen=True)
class Hedged:
    """Experts, their weights, and all that was learned. Changes by replacement."""

    experts: tuple[Expert, ...]
    weights: Floats
    promotion: Promotion | None
    known: tuple[Curve, ...]
    """Runs that were learned, as far as they went: what the next refit sees."""
    target: Target
    seed: int
    version: int = 0
    """Requests learned."""

    @classmethod
    def new(cls, seed: int, target: Target = best_accuracy) -> Hedged:
        """A predictor that knows nothing: the network is its only expert until trees are fitted."""
        return cls((NetworkExpert.new(seed),), np.ones(1), None, (), target, seed)

    @classmethod
    def started(cls, curves: Sequence[Curve], seed: int, target: Target = best_accuracy) -> Hedged:
        """A predictor that has learned whole runs from elsewhere: version 0, weights from left-out datasets."""
        fresh = replace(cls.new(seed, target), known=tuple(curves))
        return refitted(fresh, taught(curves, seed, target))

    def predict(self, runs: Sequence[RecordedRun]) -> Floats:
        """Predicted accuracies, shape (n,), not clipped. Nothing of the runs' outcomes is read."""
        mixed: Floats = self.weights @ np.array([expert.predict(runs) for expert in self.experts])
        return mixed

    def finals(self, prefixes: Sequence[Curve], targets: Sequence[RecordedRun]) -> Floats:
        """Predicted best accuracies at ``targets``, shape (n,), given each run's curve so far."""
        if self.promotion is None:
            return carried_on(self.predict, prefixes, targets)
        return self.promotion.finals(prefixes, targets)

    def learn(self, runs: Sequence[Curve]) -> Hedged:
        """The predictor that has also learned one request: what its runs showed, as far as each went."""
        if not runs:
            return self
        ends = [run[-1] for run in runs]
        reached = np.array([self.target(end) for end in ends])
        losses = np.array([np.mean((expert.predict(ends) - reached) ** 2) for expert in self.experts])
        version = self.version + 1
        learned = replace(
            self,
            experts=tuple(expert.learn(ends, reached) for expert in self.experts),
            weights=hedge(self.weights, losses, doubling_beta(version)),
            known=(*self.known, *runs),
            version=version,
        )
        if not refit_due(version):
            return learned
        network = next(expert for expert in learned.experts if isinstance(expert, NetworkExpert))
        return refitted(learned, network)


def refitted(state: Hedged, network: NetworkExpert) -> Hedged:
    """The state with trees fitted to all that is known. Experts that are there keep their weights."""
    vocabulary = Vocabulary.of([curve[0] for curve in state.known])
    lessons = Lessons.of(state.known, vocabulary, state.target)
    worth = judged(state.known, lessons, state.seed, state.target)
    points = fit_trees("points", vocabulary, lessons.points, lessons.reached, state.seed, MEMBERS)
    order = fit_trees("order", vocabulary, lessons.placed, lessons.places, state.seed, MEMBERS)
    experts = (points, replace(order, slope=worth.slope, intercept=worth.intercept), network)
    weights = state.weights if len(state.weights) == len(experts) else worth.weights
    promotion = fit_promotion(vocabulary, state.known, state.seed, MEMBERS)
    return replace(state, experts=experts, weights=weights, promotion=promotion)


def carried_on(
    predict: Callable[[Sequence[RecordedRun]], Floats], prefixes: Sequence[Curve], targets: Sequence[RecordedRun]
) -> Floats:
    """Finals without a model of curves: the best so far, and what the predictor thinks is still gained."""
    now = [prefix[-1] for prefix in prefixes]
    gains = np.maximum(predict(targets) - predict(now), 0.0)
    return np.array([point.best_acc for point in now]) + gains


def refit_due(version: int) -> bool:
    """Whether trees are fitted anew at this version: at the first refit's, and at each that is twice as high."""
    quotient, rest = divmod(version, FIRST_REFIT)
    return rest == 0 and quotient > 0 and quotient & (quotient - 1) == 0
