"""What an expert is off by, on a zoo as a whole and on each dataset, since it was fitted: running and shrunken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.online.description import Batch

Floats = NDArray[np.float64]
SHRINKAGE = 3.0
"""How many outcomes without any residual a dataset starts with."""
ZOO_SHRINKAGE = 30.0
"""How many a zoo starts with: what is true of it is learned from many datasets."""
MOST_DATASETS = 1000
"""Those learned of last are kept."""


@dataclass(frozen=True)
class Residuals:
    """Sums of what was reached less what was predicted, and their numbers."""

    zoo: tuple[float, int] = (0.0, 0)
    datasets: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    """Less the zoo's residual; those learned of last come last."""

    def of(self, runs: Batch) -> Floats:
        """What is added to each prediction, shape (n,)."""
        names = runs.datasets.tolist()
        own = {name: _shrunken(self.datasets.get(name, (0.0, 0)), SHRINKAGE) for name in set(names)}
        return _shrunken(self.zoo, ZOO_SHRINKAGE) + np.array([own[name] for name in names], np.float64)

    def observe(self, runs: Batch, errors: Floats) -> Residuals:
        """Residuals that also cover ``errors``, shape (n,), reached less predicted without residuals, of ``runs``."""
        total, count = self.zoo
        datasets = dict(self.datasets)
        common = _shrunken(self.zoo, ZOO_SHRINKAGE)
        for dataset, error in zip(runs.datasets, errors.tolist(), strict=True):
            own, number = datasets.pop(dataset, (0.0, 0))
            datasets[dataset] = (own + error - common, number + 1)
            total, count = total + error, count + 1
        kept = dict(list(datasets.items())[-MOST_DATASETS:])
        return Residuals((total, count), kept)


def _shrunken(sum_and_count: tuple[float, int], shrinkage: float) -> float:
    total, count = sum_and_count
    return total / (count + shrinkage)
