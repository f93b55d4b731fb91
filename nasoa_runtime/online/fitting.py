"""What fits in T_l: for a model and a number of frozen stages, how many steps, and what the whole run takes. Pure.

The seconds of a step follow from the step-time table, corrected by what the probe saw; what T_l leaves beside start-up,
validation and upload, divided by them, is the largest number of iterations. The grid takes that and fractions of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from nasoa_runtime.boundary import DatasetStatistics
from nasoa_runtime.online.candidates import Grid, ModelChoice, Overheads, Request


@dataclass(frozen=True)
class Fits:
    """What fits before learning rates are tried, as columns; each row is one model, frozen stages and iterations."""

    model: list[int] = field(default_factory=list)
    """Index of the model."""
    frozen_stages: list[int] = field(default_factory=list)
    iterations: list[int] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)
    """Loading included."""
    seconds: list[float] = field(default_factory=list)
    """The whole run."""


def fitting(
    request: Request, models: Sequence[ModelChoice], dataset: DatasetStatistics, overheads: Overheads, grid: Grid
) -> tuple[Fits, float]:
    """All that fits, and the least T_l with which anything would; infinity where nothing was measured."""
    fits, least = Fits(), math.inf
    for index, model in enumerate(models):
        for frozen in grid.frozen_stages if request.frozen_stages is None else (request.frozen_stages,):
            if frozen in model.step_seconds:
                step, fixed = _costs(model, frozen, request, dataset, overheads)
                least = min(least, _least(step, fixed, request, overheads, grid))
                largest = _largest(step, fixed, request, dataset, overheads, grid)
                for steps in _iterations(largest, request, grid):
                    fits.model.append(index)
                    fits.frozen_stages.append(frozen)
                    fits.iterations.append(steps)
                    fits.step_seconds.append(step)
                    fits.seconds.append(fixed + steps * step)
    return fits, least


def _costs(
    model: ModelChoice, frozen: int, request: Request, dataset: DatasetStatistics, overheads: Overheads
) -> tuple[float, float]:
    """Seconds of a step with its loading, and seconds of all that is not steps."""
    loading = overheads.loading_seconds_per_image
    step = model.step_seconds[frozen] * overheads.step_correction + loading * request.batch_size
    read = overheads.validations * dataset.validation_images + dataset.test_images
    evaluation = read * (model.inference_seconds_per_image * overheads.step_correction + loading)
    return step, overheads.startup_seconds + overheads.upload_seconds + evaluation


def _least(step: float, fixed: float, request: Request, overheads: Overheads, grid: Grid) -> float:
    """The least T_l for this model and frozen stages."""
    steps = grid.least_steps if request.steps is None else request.steps
    needed = fixed + steps * step
    limit = needed / (1.0 - overheads.margin)
    while limit * (1.0 - overheads.margin) < needed:  # Rounding may have taken the last bit.
        limit = math.nextafter(limit, math.inf)
    return limit


def _largest(
    step: float, fixed: float, request: Request, dataset: DatasetStatistics, overheads: Overheads, grid: Grid
) -> int:
    """Most iterations that T_l and the cap in epochs allow; below the least ones, 0."""
    usable = request.time_limit_seconds * (1.0 - overheads.margin)
    largest = max(0, math.floor((usable - fixed) / step))
    if fixed + (largest + 1) * step <= usable:
        largest += 1  # The division may have lost the last bit either way.
    elif fixed + largest * step > usable:
        largest -= 1
    if request.steps is not None:
        return request.steps if largest >= request.steps else 0
    if largest < grid.least_steps:
        return 0
    cap = math.ceil(grid.most_epochs * dataset.images / request.batch_size)
    return min(largest, max(cap, grid.least_steps))


def _iterations(largest: int, request: Request, grid: Grid) -> tuple[int, ...]:
    if largest == 0 or request.steps is not None:
        return (largest,) if largest else ()
    steps = {max(grid.least_steps, round(largest * fraction)) for fraction in grid.fractions}
    return tuple(sorted(steps, reverse=True))
