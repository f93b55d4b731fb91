"""The generator: every candidate that fits in T_l, ranked by predicted accuracy, and what is handed over of them. Pure.

Asking changes nothing: equal requests, models, probes and predictors get equal suggestions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from nasoa_runtime.boundary import DatasetStatistics
from nasoa_runtime.online.candidates import PAPER, Grid, ModelChoice, NothingFits, Overheads, Request, Suggestion
from nasoa_runtime.online.drawing import draw
from nasoa_runtime.online.fitting import fitting
from nasoa_runtime.online.ranking import Ranking, rank
from nasoa_runtime.online.state import PredictorState
from nasoa_runtime.online.strategies import strategy_named

RUNNERS_UP = 5
"""That are handed over behind the chosen candidate, where the strategy leaves that open."""


def suggest(
    request: Request,
    models: Sequence[ModelChoice],
    dataset: DatasetStatistics,
    overheads: Overheads,
    predictor: PredictorState,
    grid: Grid = PAPER,
    runners_up: int = RUNNERS_UP,
) -> Suggestion | NothingFits:
    """Rank all that fits, and take of it what the request's strategy runs (SPEC 5, Generator).

    Raises:
        UnknownStrategyError: there is no strategy of the request's name.
    """
    strategy = strategy_named(request.strategy)
    ranking = ranked(request, models, dataset, overheads, predictor, grid)
    return ranking if isinstance(ranking, NothingFits) else strategy.suggest(ranking, runners_up)


def ranked(
    request: Request,
    models: Sequence[ModelChoice],
    dataset: DatasetStatistics,
    overheads: Overheads,
    predictor: PredictorState,
    grid: Grid = PAPER,
) -> Ranking | NothingFits:
    """All that fits in T_l, ranked, or why nothing does."""
    allowed = sorted((model for model in models if _allowed(model, request)), key=lambda model: model.name)
    if not allowed:
        return _no_model(request, models)
    chosen_from = grid.pinned(request)
    cells, least = fitting(request, allowed, dataset, overheads, chosen_from)
    if not len(cells):
        if math.isinf(least):
            return _not_measured(request, allowed)
        return _too_short(request, least, _least_of_probes(request, allowed, dataset, overheads, grid))
    drawn = draw(cells, chosen_from, request.seed)
    return rank(drawn, chosen_from, tuple(model.facts for model in allowed), dataset, predictor)


def _allowed(model: ModelChoice, request: Request) -> bool:
    if (request.model is not None and model.name != request.model) or model.name in request.infeasible:
        return False
    if request.most_parameters is not None and (
        model.facts.parameters is None or model.facts.parameters > request.most_parameters
    ):
        return False
    return (
        request.most_inference_milliseconds is None
        or model.inference_seconds_per_image * 1000 <= request.most_inference_milliseconds
    )


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


def _least_of_probes(
    request: Request, models: Sequence[ModelChoice], dataset: DatasetStatistics, overheads: Overheads, grid: Grid
) -> float:
    """The least T_l of linear probes where it is the grid alone that has none; else infinity."""
    if grid.linear_probes or request.linear_probe is not None or not request.may_probe:
        return math.inf
    only_probes = replace(grid, trainings=False, linear_probes=True).pinned(replace(request, linear_probe=True))
    return fitting(request, models, dataset, overheads, only_probes)[1]


def _not_measured(request: Request, models: Sequence[ModelChoice]) -> NothingFits:
    known = sorted({frozen for model in models for frozen in model.step_seconds})
    if known:
        field = "grid.frozenStages" if request.frozen_stages is None else "pins.frozenStages"
        message = (
            "no step time is known on this device of so many frozen stages, and there was no time to measure one: "
            f"write {' or '.join(map(str, known))}, which are known, or allow more time"
        )
        return NothingFits("NothingMeasured", message, field=f"spec.{field}")
    message = (
        f"the zoo's table has no step time for this device, and {request.time_limit_seconds:g} s are too short to "
        "measure one: allow more (a minute mostly does), or take a device that the table has"
    )
    return NothingFits("NothingMeasured", message)


def _too_short(request: Request, least: float, least_of_probes: float) -> NothingFits:
    message = f"nothing fits in {request.time_limit_seconds:g} s: the least time limit is {math.ceil(least)} s"
    if least_of_probes <= request.time_limit_seconds:
        message += " (a linear probe would fit: set grid.linearProbe to true)"
    return NothingFits("TimeLimitTooShort", message, least)
