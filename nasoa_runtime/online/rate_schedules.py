"""What warm-up and schedule make of the learning rate that was set, up to a point of a run.

In a short time limit many runs never leave their warm-up, and the rate that was set says little of how far they went;
and a run whose rate has come down reaches more than one that was stopped half-way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
WARMUP = 0.1
"""Share of our own schedules in which the rate rises."""
HOLD = 0.6
"""Share of a run in a race after which its rate comes down, if it is the one that survives; about."""
LEAST = 1e-12
_MOMENTS = (np.arange(20)[:, None] + 0.5) / 20


class Described(Protocol):
    """Described runs as columns."""

    @property
    def values(self) -> Mapping[str, Floats]: ...  # noqa: D102
    @property
    def words(self) -> Mapping[str, Any]: ...  # noqa: D102


def mean_rate(runs: Described) -> Floats:
    """The mean learning rate over a run's steps so far, shape (n,), at least :data:`LEAST`."""
    values = runs.values
    rates = values["learning_rate"] * _factors(runs, values["iterations"] * _MOMENTS)
    result: Floats = np.maximum(rates.mean(axis=0), LEAST)
    return result


def rate_now(runs: Described) -> Floats:
    """The learning rate at the point in question over the highest, shape (n,)."""
    result: Floats = _factors(runs, runs.values["iterations"][None, :])[0]
    return result


def _factors(runs: Described, steps: Floats) -> Floats:
    """The rate over the highest after numbers of steps, shape (k, n).

    The warm-up is linear; then the rate follows a cosine, or falls by ``decay_rate`` every ``decay_epochs``, or stays,
    as on a plateau's schedule until it reaches one, which nobody knows before.
    """
    values, schedule = runs.values, runs.words["schedule"]
    planned = values["planned_iterations"]
    factors = np.where(schedule == "cosine", _cosine(steps / planned), 1.0)
    falls = np.isin(schedule.astype(np.str_), ("step", "multistep"))
    if falls.any():
        epochs = steps * values["batch_size"] / values["images"]
        with np.errstate(invalid="ignore"):
            fallen = values["decay_rate"] ** np.floor(epochs / np.maximum(values["decay_epochs"], 1.0))
        factors = np.where(falls, fallen, factors)
    held = values["held"] > 0
    if held.any():
        share = np.where(values["annealed"] > 0, steps / planned, 0.0)
        factors = np.where(held, _cosine(np.maximum(share - HOLD, 0.0) / (1.0 - HOLD)), factors)
    first = np.minimum(values["warmup_rate"] / values["learning_rate"], 1.0)
    warming = steps / np.maximum(values["warmup_iterations"], LEAST)
    result: Floats = np.where(warming < 1.0, first + (1.0 - first) * warming, factors)
    return result


def _cosine(share: Floats) -> Floats:
    result: Floats = 0.5 * (1.0 + np.cos(math.pi * np.minimum(share, 1.0)))
    return result
