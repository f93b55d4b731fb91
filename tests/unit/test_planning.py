"""From a spec to what the generator is asked, and from its refusal to what a tenant reads."""

from __future__ import annotations

from dataclasses import replace

import pytest
from builders import a_request
from request_simulation import a_model as a_zoo_model

from nasoa_runtime.api.finetune import FineTuneRequestSpec, GridSpec, Pins, RequestLimits
from nasoa_runtime.boundary import DatasetStatistics, Device, ProbeResult, StepFactors
from nasoa_runtime.online.candidates import DEFAULT, PAPER, Grid, NothingFits, Request
from nasoa_runtime.online.decision import model_choices
from nasoa_runtime.planning import grid_of, measured_batch_size, request_of, why_nothing_fits

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
    pins = {
        "model": "small", "learningRate": 0.02, "frozenStages": 3, "steps": 70, "optimizer": "AdamW", "batchSize": 16,
        "weightDecay": 0.03, "layerDecay": 0.8, "labelSmoothing": 0.2, "mixup": 0.4, "mirroring": True,
        "augmentation": "RandAugment", "ema": True, "linearProbe": False,
    }  # fmt: skip
    limits = {"maxParameters": 1000, "maxInferenceMilliseconds": 2.5}
    assert (len(Pins.model_fields), len(RequestLimits.model_fields)) == (len(pins), len(limits))
    spec = a_spec(timeLimit="1m30s", batchSize=16, seed=7, pins=pins, limits=limits)
    assert request_of(spec, PROBE) == Request(
        time_limit_seconds=90.0,
        batch_size=16,
        model="small",
        learning_rate=0.02,
        frozen_stages=3,
        steps=70,
        optimizer="adamw",
        weight_decay=0.03,
        layer_decay=0.8,
        label_smoothing=0.2,
        mixup=0.4,
        mirroring=True,
        augmentation="rand-augment",
        ema=True,
        linear_probe=False,
        most_parameters=1000,
        most_inference_milliseconds=2.5,
        infeasible=frozenset({"huge"}),
        strategy="Race",
        seed=7,
    )


@pytest.mark.parametrize(
    ("fields", "pinned"),
    [
        pytest.param({}, None, id="left to the grid"),
        pytest.param({"batchSize": 24}, 24, id="of the spec"),
        pytest.param({"pins": {"batchSize": 48}}, 48, id="of the pins"),
        pytest.param({"batchSize": 24, "pins": {"batchSize": 24}}, 24, id="of both"),
    ],
)
def test_a_batch_size_is_pinned_by_either_field(fields, pinned):
    assert request_of(a_spec(**fields), PROBE).batch_size == pinned


def test_all_of_the_grid_reaches_the_generator():
    grid = {
        "preset": "Paper", "learningRates": [0.5], "frozenStages": [2, 4], "stepFractions": [0.3], "maxEpochs": 7,
        "optimizers": ["AdamW", "SGD"], "batchSizes": [8], "weightDecays": [0.02], "layerDecays": [0.9],
        "labelSmoothings": [0.3], "mixups": [1, 0, 1], "mirrorings": [True], "augmentations": ["TrivialAugment"],
        "emas": [True], "linearProbe": True,
    }  # fmt: skip
    assert len(GridSpec.model_fields) == len(grid)
    assert grid_of(a_spec(grid=grid)) == Grid(
        (0.5,), (2, 4), (0.3,), 7,
        optimizers=("adamw", "sgd"), adamw_learning_rates=(0.5,), batch_sizes=(8,), weight_decays=(0.02,),
        adamw_weight_decays=(0.02,), layer_decays=(0.9,), label_smoothings=(0.3,), mixups=(1.0, 0.0),
        mirrorings=(True,), augmentations=("trivial-augment",), emas=(True,), linear_probes=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("grid", "expected"),
    [
        pytest.param({}, DEFAULT, id="left out"),
        pytest.param({"preset": "Default"}, DEFAULT, id="Default"),
        pytest.param({"preset": "Paper"}, PAPER, id="Paper"),
        pytest.param(
            {"frozenStages": [5], "linearProbe": False},
            replace(DEFAULT, frozen_stages=(5,), linear_probes=False),
            id="one list and no probes",
        ),
    ],
)
def test_each_list_overrides_its_part_of_the_preset(grid, expected):
    assert grid_of(a_spec(grid=grid)) == expected


def test_the_paper_chooses_among_what_was_always_chosen_among():
    assert (PAPER.learning_rates, PAPER.frozen_stages) == ((0.001, 0.003, 0.01, 0.03, 0.1), (0, 1, 2, 3, 4, 5))
    assert (PAPER.fractions, PAPER.optimizers, PAPER.augmentations) == ((1.0, 0.5, 0.25, 0.125), ("sgd",), ("crop",))
    assert (PAPER.batch_sizes, PAPER.linear_probes, PAPER.most_epochs) == ((32,), False, 200.0)


CPU = Device(product="test")


def a_zoo_of(*sizes):
    """A zoo of a model that has a row of each of these batch sizes."""
    row = a_zoo_model("a").step_times[0]
    return (a_zoo_model("a", step_times=[row.model_copy(update={"batch_size": size}) for size in sizes]),)


@pytest.mark.parametrize(
    ("fields", "sizes", "expected"),
    [
        pytest.param({}, (64, 128), 64, id="what the zoo knows and the grid has"),
        pytest.param({}, (128,), 128, id="what the zoo knows"),
        pytest.param({}, (), 32, id="the grid's first, where nothing is known"),
        pytest.param({"batchSize": 48}, (32,), 48, id="what is pinned"),
        pytest.param({"grid": {"batchSizes": [24]}}, (32,), 24, id="all that there is in the grid"),
        pytest.param({"grid": {"preset": "Paper"}}, (64,), 32, id="the paper's"),
    ],
)
def test_a_request_is_planned_with_rows_of_a_batch_size_that_spares_the_probe(fields, sizes, expected):
    assert measured_batch_size(a_spec(**fields), a_zoo_of(*sizes), CPU) == expected


def test_a_model_without_rows_of_the_batch_size_is_planned_with_those_that_it_has():
    (model,) = a_zoo_of(64)
    (choice,) = model_choices([model], PROBE.model_copy(update={"device": CPU}), 32)
    assert (choice.batch_size, choice.step_seconds) == (64, {0: 0.05})


def test_one_row_of_a_batch_size_does_not_outweigh_a_table_of_another():
    model = a_zoo_model("a")
    larger = model.step_times[0].model_copy(update={"batch_size": 64, "step_seconds": 0.08})
    model = model.model_copy(update={"step_times": (*model.step_times, larger)})
    (choice,) = model_choices([model], PROBE.model_copy(update={"device": CPU}), 64)
    assert (choice.batch_size, len(choice.step_seconds), choice.other_batches) == (32, 6, {64: 0.08})


def test_what_a_probe_measured_of_options_and_batches_reaches_the_generator():
    (model,) = a_zoo_of(32)
    slow = StepFactors(device="cpu", product="test", count=1, factors={"ema": 1.5, "adamw": 2.0})
    model = model.model_copy(update={"step_factors": (slow,)})
    row = model.step_times[0].model_copy(update={"batch_size": 64, "step_seconds": 0.3})
    seen = PROBE.model_copy(
        update={
            "device": CPU,
            "step_correction": 1.5,
            "rows": {"a": (row,)},
            "factors": {"a": slow.model_copy(update={"factors": {"ema": 1.2}})},
        }
    )
    (choice,) = model_choices([model], seen, 32)
    assert choice.other_batches == {64: pytest.approx(0.2)}
    assert choice.step_factors == {"ema": 1.2, "adamw": 2.0}
    (elsewhere,) = model_choices([model], seen.model_copy(update={"device": Device(product="other")}), 32)
    assert elsewhere.step_factors == {"ema": 1.2}


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
