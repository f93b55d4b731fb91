"""Runs with what they showed, as columns: what predictors are fitted to, whoever ran them.

A run is a description and the points of its learning curve. Recorded files, packaged records and the outcomes of a
zoo's own requests all become this.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.documents.outcomes import Outcome, OutcomeRecord
from nasoa_runtime.online.description import Batch
from nasoa_runtime.online.recorded_features import described
from nasoa_runtime.online.records import Curve

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Experience:
    """n runs, and m points of their curves, those of a run together and in the order of steps."""

    runs: Batch
    """As they were at their ends."""
    requests: NDArray[np.object_]
    """Of each run the request that it was a part of, shape (n,), or what else its order is learned among; empty for
    recorded runs, which are put in order within time limits."""
    run: Indices
    """Of each point the number of its run, shape (m,), ascending."""
    steps: Floats
    reached: Floats
    """Best accuracy so far."""
    annealed: Floats
    seconds: Floats
    """That the run had taken; NaN where that is not known."""

    def __len__(self) -> int:
        return len(self.runs)

    @classmethod
    def of_curves(cls, curves: Sequence[Curve], *, best_so_far: bool = True) -> Experience:
        """Recorded curves; with ``best_so_far`` a point has reached the best up to it, else what was measured there."""
        points = [point for curve in curves for point in curve]
        count = len(points)
        return cls(
            described([curve[-1] for curve in curves]),
            np.full(len(curves), "", np.object_),
            np.repeat(np.arange(len(curves)), [len(curve) for curve in curves]),
            np.array([point.iterations for point in points], np.float64),
            np.array([point.best_acc if best_so_far else point.acc for point in points], np.float64),
            np.zeros(count),
            np.array([point.gpu_seconds for point in points], np.float64),
        )

    @classmethod
    def of_record(cls, record: OutcomeRecord) -> Experience:
        """What one request showed."""
        outcomes = record.runs
        runs = Batch.of([outcome.description for outcome in outcomes], dataset=record.dataset)
        points = [_points(outcome) for outcome in outcomes]
        columns = np.array([point for own in points for point in own], np.float64).reshape(-1, 4).T
        return cls(
            runs,
            np.full(len(outcomes), record.uid, np.object_),
            np.repeat(np.arange(len(outcomes)), [len(own) for own in points]),
            *columns,
        )

    @classmethod
    def concatenated(cls, parts: Sequence[Experience]) -> Experience:
        """The runs of all parts, of which there is one at least, in their order."""
        first = np.cumsum([0, *(len(part) for part in parts[:-1])])
        return cls(
            Batch.concatenated([part.runs for part in parts]),
            np.concatenate([part.requests for part in parts]),
            np.concatenate([part.run + number for part, number in zip(parts, first, strict=True)]),
            np.concatenate([part.steps for part in parts]),
            np.concatenate([part.reached for part in parts]),
            np.concatenate([part.annealed for part in parts]),
            np.concatenate([part.seconds for part in parts]),
        )

    @property
    def ends(self) -> Indices:
        """Of each run the number of its last point."""
        return np.searchsorted(self.run, np.arange(len(self)), side="right") - 1

    def at(self, points: Indices) -> Batch:
        """The runs of these points, described as they were there."""
        batch = self.runs.take(self.run[points])
        return batch.at(self.steps[points], annealed=self.annealed[points])

    def subset(self, wanted: NDArray[np.bool_]) -> Experience:
        """Some of the runs, shape (n,), with all of their points."""
        points = wanted[self.run]
        numbers = np.cumsum(wanted) - 1
        return Experience(
            self.runs.take(wanted),
            self.requests[wanted],
            numbers[self.run[points]],
            *(column[points] for column in (self.steps, self.reached, self.annealed, self.seconds)),
        )

    def spread(self, most: int) -> Indices:
        """At most so many points of each run, evenly in the logarithm of their place, first and last among them."""
        bounds = np.searchsorted(self.run, np.arange(len(self) + 1))
        chosen = [
            start + np.array(log_spaced(int(end - start), most), np.int64) for start, end in itertools.pairwise(bounds)
        ]
        return np.concatenate(chosen) if chosen else np.empty(0, np.int64)


def _points(outcome: Outcome) -> list[tuple[float, float, float, float]]:
    """Steps, accuracy, whether annealed, and seconds, of the points of an outcome; its end where it has none."""
    values = outcome.description.values
    end = (float(values["iterations"] or 1), outcome.accuracy, float(values["annealed"] or 0), np.nan)
    if outcome.failure is not None or not outcome.points:
        return [end]
    return [(point.steps, point.accuracy, float(point.annealed), point.seconds) for point in outcome.points]


def log_spaced(length: int, count: int) -> list[int]:
    """At most ``count`` indices of a curve of ``length`` points, evenly in the logarithm, from first to last."""
    return sorted({round(float(place)) - 1 for place in np.geomspace(1, length, count)})
