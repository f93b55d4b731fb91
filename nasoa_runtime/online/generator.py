"""The generator: every candidate that fits in T_l, ranked by predicted accuracy. Pure.

For a model and a number of frozen stages, the seconds of a step follow from the step-time table, corrected by what
the probe saw; what T_l leaves beside start-up, validation and upload, divided by them, is the largest number of
iterations. The grid takes that and fractions of it, at each learning rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.online.candidates import (
    Candidate,
    Grid,
    ModelChoice,
    NothingFits,
    Overheads,
    Request,
    Statistics,
    Suggestion,
)
from nasoa_runtime.online.features import Batch
from nasoa_runtime.online.state import PredictorState

DEFAULT_GRID = Grid()
SCORE_STEP = 1e-4
"""Predictions closer than this are equal, and the cheaper candidate wins: a hundredth of a percent decides nothing."""


@dataclass(frozen=True)
class _Fits:
    """The grid before the predictor sees it, as columns of one row a candidate."""

    model_index: list[int] = field(default_factory=list)
    frozen_stages: list[int] = field(default_factory=list)
    iterations: list[int] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def suggest(
    request: Request,
    models: Sequence[ModelChoice],
    statistics: Statistics,
    overheads: Overheads,
    predictor: PredictorState,
    grid: Grid = DEFAULT_GRID,
    runners_up: int = 5,
) -> Suggestion | NothingFits:
    """Rank all that fits and take the best (SPEC 5, Generator).

    Candidates whose predictions round to the same are ordered by seconds (cheapest first), then by model,
    frozen stages and learning rate, so that equal inputs give equal schedules. Learning rates that the predictor does
    not tell apart, as when it knows nothing of them yet, take turns from one version to the next, the grid's middle
    first: that costs nothing by all that is known, and shows how they differ.
    """
    allowed = sorted((model for model in models if _allowed(model, request)), key=lambda model: model.name)
    if not allowed:
        return _no_model(request, models)
    rates = grid.learning_rates if request.learning_rate is None else (request.learning_rate,)
    fits, least = _Fits(), math.inf
    for index, model in enumerate(allowed):
        for frozen in grid.frozen_stages if request.frozen_stages is None else (request.frozen_stages,):
            if frozen in model.step_seconds:
                step, fixed = _costs(model, frozen, request, statistics, overheads)
                least = min(least, _least(step, fixed, request, overheads, grid))
                largest = _largest(step, fixed, request, statistics, overheads, grid)
                for steps in _iterations(largest, request, grid):
                    fits.model_index.append(index)
                    fits.frozen_stages.append(frozen)
                    fits.iterations.append(steps)
                    fits.step_seconds.append(step)
                    fits.seconds.append(fixed + steps * step)
    if not fits.iterations:
        return _too_short(request, least)
    return _rank(fits, rates, allowed, statistics, predictor, runners_up)


def _allowed(model: ModelChoice, request: Request) -> bool:
    if (request.model is not None and model.name != request.model) or model.name in request.infeasible:
        return False
    if request.most_parameters is not None and (model.parameters is None or model.parameters > request.most_parameters):
        return False
    return (
        request.most_inference_milliseconds is None
        or model.inference_seconds_per_image * 1000 <= request.most_inference_milliseconds
    )


def _costs(
    model: ModelChoice, frozen: int, request: Request, statistics: Statistics, overheads: Overheads
) -> tuple[float, float]:
    """Seconds of a step with its loading, and seconds of all that is not steps."""
    loading = overheads.loading_seconds_per_image
    step = model.step_seconds[frozen] * overheads.step_correction + loading * request.batch_size
    read = overheads.validations * statistics.validation_images + statistics.test_images
    evaluation = read * (model.inference_seconds_per_image * overheads.step_correction + loading)
    return step, overheads.startup_seconds + overheads.upload_seconds + evaluation


def _usable(request: Request, overheads: Overheads) -> float:
    return request.time_limit_seconds * (1.0 - overheads.margin)


def _least(step: float, fixed: float, request: Request, overheads: Overheads, grid: Grid) -> float:
    """The least T_l for this model and frozen stages."""
    steps = grid.least_steps if request.steps is None else request.steps
    needed = fixed + steps * step
    limit = needed / (1.0 - overheads.margin)
    while limit * (1.0 - overheads.margin) < needed:  # Rounding may have taken the last bit.
        limit = math.nextafter(limit, math.inf)
    return limit


def _largest(
    step: float, fixed: float, request: Request, statistics: Statistics, overheads: Overheads, grid: Grid
) -> int:
    """Most iterations that T_l and the cap in epochs allow; below the least ones, 0."""
    usable = _usable(request, overheads)
    largest = max(0, math.floor((usable - fixed) / step))
    if fixed + (largest + 1) * step <= usable:
        largest += 1  # The division may have lost the last bit either way.
    elif fixed + largest * step > usable:
        largest -= 1
    if request.steps is not None:
        return request.steps if largest >= request.steps else 0
    if largest < grid.least_steps:
        return 0
    cap = math.ceil(grid.most_epochs * statistics.images / request.batch_size)
    return min(largest, max(cap, grid.least_steps))


def _iterations(largest: int, request: Request, grid: Grid) -> tuple[int, ...]:
    if largest == 0 or request.steps is not None:
        return (largest,) if largest else ()
    steps = {max(grid.least_steps, round(largest * fraction)) for fraction in grid.fractions}
    return tuple(sorted(steps, reverse=True))


def _rank(
    fits: _Fits,
    rates: tuple[float, ...],
    models: Sequence[ModelChoice],
    statistics: Statistics,
    predictor: PredictorState,
    runners_up: int,
) -> Suggestion:
    index = np.repeat(np.array(fits.model_index, np.int64), len(rates))
    frozen = np.repeat(np.array(fits.frozen_stages), len(rates))
    iterations = np.repeat(np.array(fits.iterations), len(rates))
    seconds = np.repeat(np.array(fits.seconds), len(rates))
    learning_rate = np.tile(np.array(rates, np.float64), len(fits.iterations))
    turn = np.tile(_turns(rates, predictor.version), len(fits.iterations))
    count = index.shape[0]
    values = {
        "classes": np.full(count, float(statistics.classes)),
        "images_per_class_mean": np.full(count, statistics.images_per_class_mean),
        "images_per_class_std": np.full(count, statistics.images_per_class_std),
        "iterations": iterations.astype(np.float64),
        "learning_rate": learning_rate,
        "frozen_stages": frozen.astype(np.float64),
        **{
            name: _column([getattr(model, name) for model in models])[index]
            for name in ("domain_similarity", "source_accuracy", "parameters", "macs")
        },
    }
    scores = predictor.scores(Batch(values, tuple(model.name for model in models), index))
    steps = np.round(scores / SCORE_STEP)
    order = np.lexsort((turn, frozen, index, seconds, -steps))

    def candidate(row: int) -> Candidate:
        return Candidate(
            model=models[index[row]].name,
            learning_rate=float(learning_rate[row]),
            frozen_stages=int(frozen[row]),
            iterations=int(iterations[row]),
            step_seconds=fits.step_seconds[row // len(rates)],
            seconds=float(seconds[row]),
            predicted_accuracy=float(min(max(scores[row], 0.0), 1.0)),
        )

    best = [int(row) for row in order[:1]]
    regimes = {(index[best[0]], frozen[best[0]], learning_rate[best[0]])}
    other_model: int | None = None
    for row in order[1:]:
        regime = (index[row], frozen[row], learning_rate[row])
        if other_model is None and index[row] != index[best[0]]:
            other_model = int(row)
        if len(best) <= runners_up and regime not in regimes:
            regimes.add(regime)
            best.append(int(row))
        if len(best) > runners_up and (other_model is not None or len(models) == 1):
            break
    if runners_up and other_model is not None and other_model not in best:
        best[-1] = other_model
    return Suggestion(candidate(best[0]), tuple(candidate(row) for row in best[1:]), count, predictor.version)


def _turns(rates: tuple[float, ...], version: int) -> NDArray[np.int64]:
    """The place of each rate among equals at this version; at version 0 the middle comes first, then its neighbours."""
    logarithms = np.log(np.array(rates, np.float64))
    # Of two neighbours the larger comes first: short schedules need it sooner than long ones need the smaller.
    distance = np.round(np.abs(logarithms - np.median(logarithms)), 1)
    places = np.empty(len(rates), np.int64)
    places[np.lexsort((-logarithms, distance))] = np.arange(len(rates))
    return (places - version) % len(rates)


def _column(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array([math.nan if value is None else float(value) for value in values])


def _no_model(request: Request, models: Sequence[ModelChoice]) -> NothingFits:
    names = sorted(model.name for model in models)
    if request.model is not None and request.model not in names:
        known = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
        return NothingFits("UnknownModel", f"the zoo has no model {request.model!r}; it has: {known or 'none'}")
    limits = []
    if request.most_parameters is not None:
        limits.append(f"at most {request.most_parameters} parameters")
    if request.most_inference_milliseconds is not None:
        limits.append(f"at most {request.most_inference_milliseconds:g} ms an image")
    if request.infeasible:
        limits.append("fitting in memory")
    what = " and ".join(limits) or "to choose from"
    return NothingFits("NoModelWithinLimits", f"no model of the zoo is left with {what}")


def _too_short(request: Request, least: float) -> NothingFits:
    if math.isinf(least):
        message = (
            f"the zoo's table has no step time for this device at batch size {request.batch_size}, and "
            f"{request.time_limit_seconds:g} s are too short to measure one: allow more (a minute mostly does), or "
            "take a batch size, a device and frozen stages that the table has"
        )
        return NothingFits("NothingMeasured", message)
    return NothingFits(
        "TimeLimitTooShort",
        f"nothing fits in {request.time_limit_seconds:g} s: the least time limit is {math.ceil(least)} s",
        least,
    )
