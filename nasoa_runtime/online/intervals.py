"""How sure a prediction is: intervals on the logit scale whose width follows from how often they were missed.

An interval is ``sigmoid(logit(p) -+ width * spread)``. What the spread of a run is, is foretold by trees, from how far
runs like it were off on datasets that were left out. The width is one figure: after each request it grows where
outcomes lay outside and shrinks where they lay inside, by amounts under which in the long run :data:`COVERAGE` of
outcomes lie inside, whatever the errors' distribution and however it changes (adaptive conformal inference, Gibbs and
Candes, arXiv 2106.00170, with the quantile itself tracked, as in Angelopoulos et al., arXiv 2307.16895).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
COVERAGE = 0.9
SPEED = 0.1
"""Of a change, in widths of the start, where everything was missed."""
EDGE = 0.005
"""Accuracies nearer than this to 0 or 1 count as so far away: on few images the rest is chance."""
WIDEST = 12.0


@dataclass(frozen=True)
class Intervals:
    """The half-width on the logit scale, in spreads, and what it started from."""

    width: float
    start: float

    @classmethod
    def of(cls, predicted: Floats, reached: Floats, spread: Floats) -> Intervals:
        """Intervals that hold :data:`COVERAGE` of what was reached where these predictions were made."""
        width = float(np.quantile(distances(predicted, reached) / spread, COVERAGE))
        return cls(width, max(width, 0.1))

    def around(self, predicted: Floats, spread: Floats | float) -> tuple[Floats, Floats]:
        """Lower and upper ends, each of shape (n,), in [0, 1]; an outcome between them counts as not missed.

        What is nearer than :data:`EDGE` to 0 or 1 can't be told from it, so an end that lies there is 0 or 1.
        """
        middle, width = logit(predicted), self.width * spread
        low, high = _sigmoid(middle - width), _sigmoid(middle + width)
        # Rounding must not leave an edge outside that the logit of the edge itself lies on.
        near = EDGE * (1.0 + 1e-9)
        return np.where(low <= near, 0.0, low), np.where(high >= 1.0 - near, 1.0, high)

    def observe(self, predicted: Floats, reached: Floats, spread: Floats | float) -> Intervals:
        """The intervals after one request, whose predictions were made before it was learned."""
        missed = float(np.mean(distances(predicted, reached) > self.width * spread))
        width = self.width + SPEED * self.start * (missed - (1.0 - COVERAGE))
        return replace(self, width=min(max(width, 0.0), WIDEST))


def logit(accuracies: Floats) -> Floats:
    """The logarithms of the odds, of accuracies kept :data:`EDGE` away from 0 and 1."""
    clipped = np.clip(accuracies, EDGE, 1.0 - EDGE)
    result: Floats = np.log(clipped) - np.log1p(-clipped)
    return result


def distances(predicted: Floats, reached: Floats) -> Floats:
    """How far predictions were off, on the logit scale, shape (n,)."""
    result: Floats = np.abs(logit(reached) - logit(predicted))
    return result


def _sigmoid(values: Floats) -> Floats:
    result: Floats = 1.0 / (1.0 + np.exp(-values))
    return result


NOTHING_KNOWN = Intervals(3.0, 3.0)
"""Of a predictor that was never compared with anything."""
