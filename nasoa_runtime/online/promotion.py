"""What a started run will reach, given its curve so far: boosted trees on pairs of points of recorded curves.

Trees are fitted to the gain: best accuracy at a later point less best accuracy now. They see the full description at
the point now, how far the later point is, and the curve up to now; of the later point nothing but its epochs and
iterations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.online.recorded_features import CODED, EPOCHS, ITERATIONS, Vocabulary
from nasoa_runtime.online.records import Curve, RecordedRun
from nasoa_runtime.online.trees import Trees, fit

Floats = NDArray[np.float64]
STARTS, ENDS = 9, 3
"""Points of a curve from which it is foretold, evenly in the logarithm, and how many later points for each."""


@dataclass(frozen=True)
class Promotion:
    """The fitted model."""

    vocabulary: Vocabulary
    trees: Trees

    def finals(self, prefixes: Sequence[Curve], targets: Sequence[RecordedRun]) -> Floats:
        """Predicted best accuracies, shape (n,), at ``targets``, the points to which the runs would go on.

        Args:
            prefixes: what each run has shown so far, at least one point.
            targets: a later point of each, or its last one again; only its epochs and iterations are read.
        """
        best = np.array([prefix[-1].best_acc for prefix in prefixes])
        further = np.array([t.iterations > p[-1].iterations for p, t in zip(prefixes, targets, strict=True)])
        gains = self.trees.predict(described(self.vocabulary, prefixes, targets))
        result: Floats = best + np.where(further, np.maximum(gains, 0.0), 0.0)
        return result


def described(vocabulary: Vocabulary, prefixes: Sequence[Curve], targets: Sequence[RecordedRun]) -> Floats:
    """The trees' input, shape (n, columns)."""
    now = vocabulary.describe([prefix[-1] for prefix in prefixes])
    later = np.log([(target.epochs, target.iterations) for target in targets])
    ahead = later[:, 1] - now[:, ITERATIONS]
    seen = np.array([_seen(prefix) for prefix in prefixes])
    return np.column_stack([now, later, ahead, later[:, 0] - now[:, EPOCHS], seen])


def fit_promotion(vocabulary: Vocabulary, curves: Sequence[Curve], seed: int, members: int) -> Promotion | None:
    """Fit to pairs of points of ``curves``, later points drawn from ``seed``; ``None`` if no curve has two points."""
    random = np.random.default_rng((seed, 2))
    prefixes: list[Curve] = []
    targets: list[RecordedRun] = []
    for curve in curves:
        for start in log_spaced(len(curve), STARTS):
            drawn = np.exp(random.uniform(np.log(start + 1), np.log(len(curve)), ENDS))
            for end in np.unique(np.round(drawn).astype(int) - 1):
                if end > start:
                    prefixes.append(curve[: start + 1])
                    targets.append(curve[end])
    if not prefixes:
        return None
    gains = np.array([t.best_acc - p[-1].best_acc for p, t in zip(prefixes, targets, strict=True)])
    features = described(vocabulary, prefixes, targets)
    return Promotion(vocabulary, fit(features, gains, CODED, seed, members))


def log_spaced(length: int, count: int) -> list[int]:
    """At most ``count`` indices of a curve of ``length`` points, evenly in the logarithm, from first to last."""
    return sorted({round(float(place)) - 1 for place in np.geomspace(1, length, count)})


def _seen(prefix: Curve) -> tuple[float, ...]:
    last = prefix[-1]
    half, previous = prefix[(len(prefix) - 1) // 2], prefix[max(0, len(prefix) - 2)]
    return (
        last.acc,
        last.best_acc,
        half.best_acc,
        last.best_acc - half.best_acc,
        previous.best_acc,
        prefix[0].best_acc,
    )
