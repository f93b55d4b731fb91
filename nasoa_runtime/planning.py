"""From a request to what is suggested for it. Planning in advance and planning for real are this one function. Pure."""

from __future__ import annotations

import math

from nasoa_runtime.api.finetune import FineTuneRequestSpec
from nasoa_runtime.boundary import ProbeResult
from nasoa_runtime.documents.zoo import ZooManifest
from nasoa_runtime.durations import duration, seconds
from nasoa_runtime.online.candidates import Grid, NothingFits, Request, Suggestion
from nasoa_runtime.online.decision import model_choices, overheads
from nasoa_runtime.online.generator import suggest
from nasoa_runtime.online.state import PredictorState

HEADROOM = 1.25
"""An advised time limit over the least one: the next probe may see the node busier."""


def suggest_for(
    spec: FineTuneRequestSpec, zoo: ZooManifest, probe: ProbeResult, predictor: PredictorState
) -> Suggestion | NothingFits:
    """The schedule that ``predictor`` suggests for a request, or why there is none.

    Args:
        spec: what is asked for.
        zoo: what there is to choose from.
        probe: what is known of the dataset, and of the device that the request runs on.
        predictor: what has been learned so far; asking changes nothing.
    """
    return suggest(
        request_of(spec, probe),
        model_choices(zoo.models, probe, spec.batch_size),
        probe.statistics,
        overheads(zoo.models, probe),
        predictor,
        grid_of(spec),
    )


def request_of(spec: FineTuneRequestSpec, probe: ProbeResult) -> Request:
    """What the generator must keep to."""
    return Request(
        time_limit_seconds=seconds(spec.time_limit),
        batch_size=spec.batch_size,
        model=spec.pins.model,
        learning_rate=spec.pins.learning_rate,
        frozen_stages=spec.pins.frozen_stages,
        steps=spec.pins.steps,
        most_parameters=spec.limits.max_parameters,
        most_inference_milliseconds=spec.limits.max_inference_milliseconds,
        infeasible=frozenset(probe.infeasible),
        strategy=spec.strategy,
    )


def grid_of(spec: FineTuneRequestSpec) -> Grid:
    """What the generator chooses among."""
    return Grid(
        learning_rates=spec.grid.learning_rates,
        frozen_stages=spec.grid.frozen_stages,
        fractions=spec.grid.step_fractions,
        most_epochs=spec.grid.max_epochs,
    )


def why_nothing_fits(nothing: NothingFits) -> str:
    """Why there is no schedule: the field that rules it out, and what to write instead."""
    fields = {"UnknownModel": "spec.pins.model", "NoModelWithinLimits": "spec.limits"}
    message = f"{fields.get(nothing.reason, 'spec.timeLimit')}: {nothing.message}"
    if nothing.least_seconds is None:
        return message
    enough = duration(math.ceil(HEADROOM * nothing.least_seconds))
    return f"{message}, by this probe; write timeLimit: {enough} or more, as start-up times vary"
