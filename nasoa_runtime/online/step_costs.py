"""What a step costs: by model, frozen stages and batch size from the step-time table, and by option from its factors.

A regime's options slow a step in two ways. What is done to weights (AdamW, the average) takes longer the more of them
are trained, so it multiplies the step as it is frozen. What is done to images (mixup, mirroring, augmentation) takes as
long however much is frozen, so it adds what it adds to a step with nothing frozen. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.online.candidates import Grid, ModelChoice

Floats = NDArray[np.float64]

USUAL_FACTORS: Mapping[str, float] = {
    "adamw": 1.15,
    "ema": 1.1,
    "mirroring": 1.05,
    "mixup": 1.05,
    "rand-augment": 1.6,
    "trivial-augment": 1.4,
}
"""What is assumed of a network and device on which an option was not measured.

Rounded up from what ``option_factors`` measured on one core of a server, with batches of 32: a network of the search
space (28 pixels, 30 ms a step) and EfficientNet-Lite0 (64 pixels, 0.58 s a step). A run that was planned too fast is
planned anew by its pod, one that was planned too slow leaves time unused; so these lean to the slow side.
"""
WEIGHT_OPTIONS = ("adamw", "ema")
"""Options that work on weights; all others work on images."""


def factor(model: ModelChoice, option: str) -> float:
    """By how much an option slows a step of a model with nothing frozen; 1 for what a plain step does."""
    if option in {"sgd", "crop"}:
        return 1.0
    return model.step_factors.get(option, USUAL_FACTORS[option])


def step_seconds(models: Sequence[ModelChoice], grid: Grid, correction: float) -> Floats:
    """Seconds of every step of the grid, loading not included; NaN where the table has no row.

    Shape: models, frozen stages, batch sizes, optimizers, averages, mixed or not, mirrorings, augmentations.
    """
    shape = (len(models), len(grid.frozen_stages), len(grid.batch_sizes))
    plain = np.full(shape[:2], np.nan)
    for row, model in enumerate(models):
        for column, frozen in enumerate(grid.frozen_stages):
            plain[row, column] = model.step_seconds.get(frozen, np.nan)
    batch = np.array([[batch_factor(model, size) for size in grid.batch_sizes] for model in models])
    # Of a model without any row everything is NaN already.
    whole = np.array(
        [model.step_seconds[min(model.step_seconds)] if model.step_seconds else np.nan for model in models]
    )

    def factors(*names: str) -> Floats:
        return np.array([[factor(model, name) for name in names] for model in models])

    optimizers, averages = factors(*grid.optimizers), factors("sgd", "ema")[:, [int(ema) for ema in grid.emas]]
    mixed = factors("crop", "mixup")[:, [int(mixes) for mixes in mixings(grid)]]
    mirrored = factors("crop", "mirroring")[:, [int(mirrors) for mirrors in grid.mirrorings]]
    augmented = factors(*grid.augmentations)
    weights = optimizers[:, :, None] * averages[:, None, :]
    added = (mixed[:, :, None, None] - 1) + (mirrored[:, None, :, None] - 1) + (augmented[:, None, None, :] - 1)
    trained = plain[:, :, None, None, None] * batch[:, None, :, None, None] * correction * weights[:, None, None]
    prepared = (whole * correction)[:, None, None, None, None] * batch[:, :, None, None, None] * added[:, None]
    seconds: Floats = trained[..., None, None, None] + prepared[:, None, :, None, None]
    return seconds


def mixings(grid: Grid) -> tuple[bool, ...]:
    """Whether images are mixed, in the order of the grid's first values: how strongly they are costs nothing."""
    return tuple(dict.fromkeys(alpha > 0 for alpha in grid.mixups))


def batch_factor(model: ModelChoice, batch_size: int) -> float:
    """Seconds of a step of ``batch_size`` images over those of the batch size of the model's rows.

    Seconds are affine in the batch size between the sizes that were measured, and go on as they did beyond them; where
    one size was measured they are proportional to it.
    """
    if batch_size == model.batch_size or not model.step_seconds:
        return 1.0
    known = {model.batch_size: model.step_seconds.get(0, np.nan)} | dict(model.other_batches)
    sizes = sorted(size for size, seconds in known.items() if np.isfinite(seconds))
    if model.batch_size not in sizes or len(sizes) < 2:
        return batch_size / model.batch_size
    right = min(max(int(np.searchsorted(sizes, batch_size)), 1), len(sizes) - 1)
    low, high = sizes[right - 1], sizes[right]
    # Noise must not make a larger batch cheaper, nor a small one free.
    slope = max((known[high] - known[low]) / (high - low), 0.0)
    seconds = known[low] + slope * (batch_size - low)
    return float(max(seconds, known[sizes[0]] * min(batch_size / sizes[0], 1.0)) / known[model.batch_size])
