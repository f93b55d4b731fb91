"""The mean learning rate that a recorded run has had so far: what warm-up and schedule made of the one that was set.

In a short time limit many runs never leave their warm-up, and the rate that was set says little of how far they went.
"""

from __future__ import annotations

import math

import numpy as np

from nasoa_runtime.online.records import RecordedRun

PLANNED_EPOCHS = 50.0
"""Over which every recorded schedule was laid."""
_MOMENTS = (np.arange(20) + 0.5) / 20
LEAST = 1e-12


def mean_rate(run: RecordedRun) -> float:
    """The mean over the epochs up to this point, at least :data:`LEAST`.

    The warm-up is linear from ``warmup_lr``; then the rate follows a cosine, or falls by ``decay_rate`` every
    ``decay_epochs``, or stays, as it does on a plateau's schedule until it reaches one, which nobody knows before.
    """
    moments = run.epochs * _MOMENTS
    share = np.minimum(moments / run.warmup_epochs, 1.0) if run.warmup_epochs > 0 else np.ones_like(moments)
    warming = run.warmup_lr + (run.lr - run.warmup_lr) * share
    rates = np.where(share < 1.0, warming, run.lr * _factors(run, moments))
    return max(float(rates.mean()), LEAST)


def _factors(
    run: RecordedRun, epochs: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    if run.sched == "cosine":
        return 0.5 * (1.0 + np.cos(math.pi * np.minimum(epochs / PLANNED_EPOCHS, 1.0)))
    if run.sched in {"step", "multistep"}:
        return run.decay_rate ** np.floor(epochs / max(run.decay_epochs, 1.0))
    return np.ones_like(epochs)
