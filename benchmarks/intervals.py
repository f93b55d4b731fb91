"""Paired differences with intervals over datasets: runs on one dataset are right and wrong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 10_000


@dataclass(frozen=True)
class Interval:
    """A mean over datasets and its 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"

    @property
    def excludes_zero(self) -> bool:
        """Whether the difference is told from none."""
        return self.low > 0 or self.high < 0


def over_datasets(values: Sequence[float]) -> Interval:
    """The mean of one value for each dataset, with its bootstrap percentile interval."""
    drawn = np.random.default_rng(0).choice(np.asarray(values, np.float64), (DRAWS, len(values))).mean(axis=1)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Interval(float(np.mean(values)), float(low), float(high))


def difference(ours: Mapping[str, Sequence[float]], theirs: Mapping[str, Sequence[float]]) -> Interval:
    """The mean over datasets of ours less theirs, each first averaged within the dataset."""
    return over_datasets([float(np.mean(ours[dataset]) - np.mean(theirs[dataset])) for dataset in ours])


def ratio(ours: Mapping[str, Sequence[float]], theirs: Mapping[str, Sequence[float]]) -> Interval:
    """Our mean over their mean; datasets are drawn for both together."""
    mine, other = (np.array([np.mean(of[dataset]) for dataset in ours]) for of in (ours, theirs))
    drawn = np.random.default_rng(0).integers(len(mine), size=(DRAWS, len(mine)))
    low, high = np.percentile(mine[drawn].mean(axis=1) / other[drawn].mean(axis=1), (2.5, 97.5))
    return Interval(float(mine.mean() / other.mean()), float(low), float(high))
