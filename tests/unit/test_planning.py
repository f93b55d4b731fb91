"""From a spec to what the generator is asked, and from its refusal to what a tenant reads."""

from __future__ import annotations

import pytest
from builders import a_request

from nasoa_runtime.api.finetune import FineTuneRequestSpec, GridSpec, Pins, RequestLimits
from nasoa_runtime.boundary import DatasetStatistics, Device, ProbeResult
from nasoa_runtime.online.candidates import Grid, NothingFits, Request
from nasoa_runtime.planning import grid_of, request_of, why_nothing_fits

PROBE = ProbeResult(
    device=Device(),
    statistics=DatasetStatistics(
        digest="a" * 64,
        classes=10,
        images=1000,
        validation_images=200,
        test_images=300,
        images_per_class_mean=100.0,
        images_per_class_std=3.0,
    ),
    startup_seconds=10.0,
    loading_seconds_per_image=0.0001,
    step_correction=1.0,
    infeasible=("huge",),
    seconds=5.0,
)


def a_spec(**overrides):
    return FineTuneRequestSpec.model_validate(a_request(**overrides)["spec"])


def test_all_that_a_request_demands_reaches_the_generator():
    pins = {"model": "small", "learningRate": 0.02, "frozenStages": 3, "steps": 70}
    limits = {"maxParameters": 1000, "maxInferenceMilliseconds": 2.5}
    assert (len(Pins.model_fields), len(RequestLimits.model_fields)) == (len(pins), len(limits))
    spec = a_spec(timeLimit="1m30s", batchSize=16, pins=pins, limits=limits)
    assert request_of(spec, PROBE) == Request(
        time_limit_seconds=90.0,
        batch_size=16,
        model="small",
        learning_rate=0.02,
        frozen_stages=3,
        steps=70,
        most_parameters=1000,
        most_inference_milliseconds=2.5,
        infeasible=frozenset({"huge"}),
        strategy="Race",
    )


def test_all_of_the_grid_reaches_the_generator():
    grid = {"learningRates": [0.5], "frozenStages": [2, 4], "stepFractions": [0.3], "maxEpochs": 7}
    assert len(GridSpec.model_fields) == len(grid)
    assert grid_of(a_spec(grid=grid)) == Grid((0.5,), (2, 4), (0.3,), 7)


def test_a_grid_that_is_left_out_is_the_generators_own():
    assert grid_of(a_spec()) == Grid()


@pytest.mark.parametrize(
    ("nothing", "message"),
    [
        pytest.param(
            NothingFits("TimeLimitTooShort", "nothing fits in 2 s: the least time limit is 13 s", 12.1),
            "spec.timeLimit: nothing fits in 2 s: the least time limit is 13 s, by this probe; write timeLimit: 16s or"
            " more, as start-up times vary",
            id="too short",
        ),
        pytest.param(
            NothingFits("UnknownModel", "the zoo has no model 'huge'"),
            "spec.pins.model: the zoo has no model 'huge'",
            id="no such model",
        ),
        pytest.param(
            NothingFits("NoModelWithinLimits", "no model of the zoo is left"),
            "spec.limits: no model of the zoo is left",
            id="limits",
        ),
        pytest.param(
            NothingFits("NothingMeasured", "there is no step time"),
            "spec.timeLimit: there is no step time",
            id="nothing measured",
        ),
    ],
)
def test_where_nothing_fits_the_field_to_change_is_named(nothing, message):
    assert why_nothing_fits(nothing) == message
