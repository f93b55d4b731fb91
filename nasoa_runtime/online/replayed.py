"""What recorded runs let a strategy do: what it is offered, and what it ran."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.online.records import Curve, RecordedRun

R = TypeVar("R")
Floats = NDArray[np.float64]


class Learned(Protocol):
    """Chooses those of a request's runs that teach the predictor, in their order.

    ``delivered`` is the number of the run whose model was delivered, ``None`` where no run's was.
    """

    def __call__(self, runs: Sequence[R], delivered: int | None) -> Sequence[R]: ...  # noqa: D102


@dataclass(frozen=True)
class Offer:
    """A replayed request: what each recorded run has shown by the time limit, and what the predictor thinks of it."""

    seconds: float
    """The time limit."""
    curves: Sequence[Curve]
    """The points that are reached within it, of each run in the order of iterations; none is empty."""
    predict: Callable[[Sequence[RecordedRun]], Floats]
    """Predicted accuracies of points, not clipped."""
    finals: Callable[[Sequence[Curve], Sequence[RecordedRun]], Floats]
    """Predicted best accuracies at later points, given each run's curve so far."""


@dataclass(frozen=True)
class Played:
    """What a replayed request ran, and what for."""

    runs: Sequence[Curve]
    """As far as each was run."""
    delivered: int
    """The number of the run whose model is delivered."""
    seconds: float
    """What is charged."""


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """One way to spend a time limit on recorded runs."""

    name: str
    summary: str
    """A sentence for help texts and the API's documentation."""
    learned: Learned
    replay: Callable[[Offer], Played]


def every_run(runs: Sequence[R], delivered: int | None) -> Sequence[R]:
    """All of them."""
    return runs
