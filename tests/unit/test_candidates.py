"""Candidates: what of the grid fits in T_l, what it costs, and what is drawn where there is too much of it."""

import dataclasses

import numpy as np
import pytest
from described import a_dataset, facts
from hypothesis import given, settings
from hypothesis import strategies as st

from nasoa_runtime.online.candidates import (
    DEFAULT,
    PAPER,
    Grid,
    ModelChoice,
    NothingFits,
    Overheads,
    Request,
    Suggestion,
)
from nasoa_runtime.online.drawing import MOST_CANDIDATES, draw
from nasoa_runtime.online.fitting import RESERVE_SAFETY, RESERVE_SECONDS, fitting
from nasoa_runtime.online.generator import suggest
from nasoa_runtime.online.state import PredictorState
from nasoa_runtime.online.step_costs import USUAL_FACTORS, batch_factor
from nasoa_runtime.pods.training import budget
from nasoa_runtime.pods.training.profiling import OPTIONS

DATASET = a_dataset(images_per_class=80.0)  # 800 images to train on, 200 to validate with.
FREE = Overheads(startup_seconds=0.0, upload_seconds=0.0, validations=0, margin=0.0)
TABLE = {0: 0.2, 1: 0.18, 2: 0.16, 3: 0.14, 4: 0.12, 5: 0.1}
LISTS = {
    "learning_rate": ("learning_rates", "adamw_learning_rates"),
    "weight_decay": ("weight_decays", "adamw_weight_decays"),
    "frozen_stages": ("frozen_stages",),
    "optimizer": ("optimizers",),
    "batch_size": ("batch_sizes",),
    "layer_decay": ("layer_decays",),
    "label_smoothing": ("label_smoothings",),
    "mixup": ("mixups",),
    "mirroring": ("mirrorings",),
    "augmentation": ("augmentations",),
    "ema": ("emas",),
}
"""Fields of a regime, and the lists of the grid that they are from."""


def a_model(name="a", step_seconds=None, inference_seconds_per_image=0.001, **more):
    return ModelChoice(facts(name), step_seconds or TABLE, inference_seconds_per_image, **more)


def drawn(request=None, models=None, overheads=FREE, grid=DEFAULT, **more):
    """The candidates' columns by name, with what runs take."""
    request = request or Request(1000.0)
    pinned = grid.pinned(request)
    cells, _ = fitting(request, models or [a_model()], DATASET, overheads, pinned)
    candidates = draw(cells, pinned, request.seed, **more)
    columns = {field.name: getattr(candidates.regimes, field.name) for field in dataclasses.fields(candidates.regimes)}
    return columns | {"seconds": candidates.seconds, "step_seconds": candidates.step_seconds}


def planned(request, models=None, overheads=FREE, grid=DEFAULT):
    return suggest(request, models or [a_model()], DATASET, overheads, PredictorState.new(), grid)


def values(column):
    return set(np.unique(column).tolist())


# --- Which there are -------------------------------------------------------------------------------------------------


def test_every_model_and_every_value_occurs_among_what_is_drawn():
    grid = dataclasses.replace(
        DEFAULT,
        learning_rates=tuple(0.001 * n for n in range(1, 17)),
        mixups=(0.0, 0.1, 0.2, 0.4),
        mirrorings=(True, False),
        label_smoothings=tuple(n / 32 for n in range(16)),
    )
    columns = drawn(models=[a_model(f"m{n:02}") for n in range(60)], grid=grid)
    assert 0.95 * MOST_CANDIDATES < len(columns["model"]) <= MOST_CANDIDATES
    assert values(columns["model"]) == set(range(60))
    assert values(columns["linear_probe"]) == {0.0, 1.0}
    for field, lists in LISTS.items():
        assert values(columns[field]) == set().union(*(getattr(grid, name) for name in lists)), field
    # Models and frozen stages, with probes beside them, come equally often.
    assert np.ptp(np.bincount(columns["model"])) < 40
    assert 0.12 < columns["linear_probe"].mean() < 0.17


def test_plain_regimes_are_all_there_where_models_are_few():
    columns = drawn(models=[a_model("a"), a_model("b")])
    plain = (columns["batch_size"] == 32) & (columns["layer_decay"] == 1) & (columns["label_smoothing"] == 0)
    plain &= (columns["ema"] == 0) & (columns["mixup"] == 0) & (columns["augmentation"] == "crop")
    plain &= np.isin(columns["weight_decay"], [1e-4, 0.05]) & (columns["linear_probe"] == 0)
    # Two models, six ways of freezing, three lengths, five rates of each of two optimizers.
    assert plain.sum() == 2 * 6 * 3 * 10
    many = drawn(models=[a_model(f"m{n:02}") for n in range(60)])
    assert len(many["model"]) > 0.95 * MOST_CANDIDATES


def test_a_value_that_hardly_anything_fits_with_occurs_too():
    grid = dataclasses.replace(DEFAULT, batch_sizes=(32, 2048))
    models = [a_model(f"m{n}", {0: 1.0}) for n in range(30)] + [a_model("quick", {5: 0.01})]
    columns = drawn(Request(20.0), models, grid=grid, most=100)
    assert values(columns["batch_size"]) == {32.0, 2048.0}
    assert values(columns["model"]) == set(range(31))
    assert len(columns["model"]) <= 100


def test_equal_seeds_draw_equal_candidates_and_others_draw_others():
    models = [a_model(f"m{n}") for n in range(30)]
    one, same, other = (drawn(Request(1000.0, seed=seed), models) for seed in (1, 1, 2))
    assert all(np.array_equal(one[name], same[name]) for name in one)
    assert not np.array_equal(one["learning_rate"], other["learning_rate"])


def test_nothing_is_drawn_twice():
    columns = drawn(Request(4.0), [a_model(), a_model("b")])
    rows = list(zip(*(columns[name].tolist() for name in columns), strict=True))
    assert len(set(rows)) == len(rows) > 1000


def test_of_a_product_that_is_a_little_too_large_as_many_are_drawn_as_there_may_be():
    columns = drawn(Request(1000.0, 32), [a_model(f"m{n}") for n in range(67)], grid=PAPER)  # 8,040 in all.
    rows = set(zip(*(columns[name].tolist() for name in columns), strict=True))
    assert len(rows) == len(columns["model"]) == MOST_CANDIDATES


def test_a_product_that_is_small_enough_is_never_cut():
    # 6 ways of freezing, 4 lengths, 5 rates.
    assert len(drawn(Request(1000.0, 32), [a_model(f"m{n}") for n in range(66)], grid=PAPER)["model"]) == 66 * 120
    small = dataclasses.replace(PAPER, optimizers=("sgd", "adamw"), emas=(False, True), layer_decays=(1.0, 0.7))
    # The classifier alone has no earlier stages, so that of layer decays there is one. AdamW has two weight decays.
    assert len(drawn(grid=small)["model"]) == (5 * 2 + 1) * 4 * 5 * (1 + 2) * 2


some_lists = {
    "fractions": st.lists(st.sampled_from([1.0, 0.7, 0.3, 0.01]), min_size=1, unique=True),
    "optimizers": st.lists(st.sampled_from(["sgd", "adamw"]), min_size=1, unique=True),
    "frozen_stages": st.lists(st.integers(0, 5), min_size=1, unique=True),
    "batch_sizes": st.lists(st.sampled_from([1, 16, 32, 500]), min_size=1, unique=True),
    "layer_decays": st.lists(st.sampled_from([1.0, 0.75, 0.5]), min_size=1, unique=True),
    "label_smoothings": st.lists(st.sampled_from([0.0, 0.1]), min_size=1, unique=True),
    "mixups": st.lists(st.sampled_from([0.0, 0.2, 1.0]), min_size=1, unique=True),
    "mirrorings": st.lists(st.booleans(), min_size=1, unique=True),
    "augmentations": st.lists(st.sampled_from(["crop", "rand-augment", "trivial-augment"]), min_size=1, unique=True),
    "emas": st.lists(st.booleans(), min_size=1, unique=True),
}
grids = st.builds(
    lambda **lists: Grid(**{name: tuple(items) for name, items in lists.items() if isinstance(items, list)}),
    **some_lists,
).flatmap(lambda grid: st.booleans().map(lambda probes: dataclasses.replace(grid, linear_probes=probes)))
pins = {
    "batch_size": st.none() | st.integers(1, 256),
    "learning_rate": st.none() | st.floats(1e-5, 1.0),
    "frozen_stages": st.none() | st.integers(0, 5),
    "optimizer": st.none() | st.sampled_from(["sgd", "adamw"]),
    "weight_decay": st.none() | st.floats(0, 0.1),
    "layer_decay": st.none() | st.floats(0.1, 1),
    "label_smoothing": st.none() | st.floats(0, 0.5),
    "mixup": st.none() | st.floats(0, 1),
    "mirroring": st.none() | st.booleans(),
    "augmentation": st.none() | st.sampled_from(["crop", "rand-augment"]),
    "ema": st.none() | st.booleans(),
    "linear_probe": st.none() | st.just(False),
}
some_requests = st.builds(
    Request,
    time_limit_seconds=st.floats(0.5, 500),
    steps=st.none() | st.integers(1, 50),
    seed=st.integers(0, 9),
    **pins,
)
overheads = st.builds(
    Overheads,
    startup_seconds=st.floats(0, 5),
    upload_seconds=st.floats(0, 2),
    loading_seconds_per_image=st.floats(0, 0.01),
    step_correction=st.floats(0.5, 2),
    margin=st.floats(0, 0.1),
)
zoos = st.lists(st.dictionaries(st.integers(0, 5), st.floats(1e-3, 2.0), min_size=1), min_size=1, max_size=3).map(
    lambda tables: [a_model(f"m{number}", table) for number, table in enumerate(tables)]
)


@given(request=some_requests, models=zoos, node=overheads, grid=grids, most=st.sampled_from([100, 1000]))
@settings(max_examples=200, deadline=None)
def test_every_candidate_obeys_the_pins_fits_in_the_limit_and_is_in_the_grid(request, models, node, grid, most):
    pinned = grid.pinned(request)
    cells, _ = fitting(request, models, DATASET, node, pinned)
    if not len(cells):
        return
    candidates = draw(cells, pinned, request.seed, most)
    regimes = candidates.regimes
    assert 0 < len(regimes) <= most
    assert (candidates.seconds <= request.time_limit_seconds * (1 - node.margin)).all()
    # A run's mean step says the same of it, but for rounding.
    whole = cells.fixed_seconds.min() + candidates.step_seconds * regimes.iterations
    assert (whole <= candidates.seconds * (1 + 1e-9)).all()
    least = grid.least_steps if request.steps is None else request.steps
    assert regimes.iterations.min() >= least
    probes = regimes.linear_probe == 1
    assert (regimes.frozen_stages[probes] == 5).all()
    assert not probes.any() or grid.linear_probes
    for field, lists in LISTS.items():
        pin = getattr(request, field)
        allowed = {pin} if pin is not None else set().union(*(getattr(grid, name) for name in lists))
        # A probe freezes all but the classifier, and sees images as they are.
        free = field in {"frozen_stages", "mixup", "mirroring", "augmentation"} and pin is None
        assert values(getattr(regimes, field)[~probes] if free else getattr(regimes, field)) <= allowed, field


# --- Linear probes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pin", "there"),
    [
        pytest.param({}, True, id="nothing pinned"),
        pytest.param({"frozen_stages": 5}, True, id="the classifier only"),
        pytest.param({"mixup": 0.0, "mirroring": False, "augmentation": "crop"}, True, id="images as they are"),
        pytest.param({"layer_decay": 0.5, "ema": True}, True, id="what a probe may have"),
        pytest.param({"linear_probe": False}, False, id="pinned away"),
        pytest.param({"frozen_stages": 4}, False, id="frozen stages"),
        pytest.param({"mixup": 0.2}, False, id="mixup"),
        pytest.param({"mirroring": True}, False, id="mirroring"),
        pytest.param({"augmentation": "rand-augment"}, False, id="augmentation"),
    ],
)
def test_a_linear_probe_is_a_candidate_unless_it_is_pinned_away(pin, there):
    grid = dataclasses.replace(DEFAULT, frozen_stages=(0,), mixups=(0.2,), mirrorings=(True,))
    assert (1.0 in drawn(Request(1000.0, **pin), grid=grid)["linear_probe"]) == there


def test_a_linear_probe_that_is_pinned_is_all_that_is_considered():
    assert values(drawn(Request(1000.0, linear_probe=True), grid=PAPER)["linear_probe"]) == {1.0}


def test_a_linear_probe_costs_each_image_once_and_then_next_to_nothing():
    grid = dataclasses.replace(PAPER, fractions=(1.0,), learning_rates=(0.01,))
    node = Overheads(2.0, 1.0, loading_seconds_per_image=0.001, step_correction=2.0, margin=0.0)
    columns = drawn(Request(5.0 + 3.6, 80, steps=100, linear_probe=True), overheads=node, grid=grid)
    # An image takes 0.001 * 2 + 0.001 = 0.003 s; 800 of them 2.4 s, and 100 steps of 0.002 s. Start-up 2 s; reserved
    # for the end are 1 s and one and a half times an upload and 200 images: 1 + 1.5 * 1.6.
    assert columns["seconds"].tolist() == [pytest.approx(2.4 + 0.2 + 2.0 + 1.0 + 1.5 * 1.6)]
    assert columns["step_seconds"].tolist() == [pytest.approx(2.6 / 100)]
    # Of three of its ten batches, it needs the features of these alone.
    few = drawn(Request(8.6, 80, steps=3, linear_probe=True), overheads=node, grid=grid)
    assert few["seconds"].tolist() == [pytest.approx(3 * 80 * 0.003 + 0.006 + 2.0 + 1.0 + 1.5 * 1.6)]


def test_a_limit_too_short_for_anything_else_still_gets_a_linear_probe():
    node = Overheads(startup_seconds=8.0, upload_seconds=0.5, margin=0.0)
    slow = [a_model(step_seconds={0: 3.0, 5: 1.0})]
    chosen = planned(Request(11.0), slow, node).chosen
    assert (chosen.linear_probe, chosen.frozen_stages, chosen.augmentation) == (True, 5, "crop")
    assert chosen.regime.linear_probe
    refused = planned(Request(11.0, linear_probe=False), slow, node)
    assert isinstance(refused, NothingFits)
    paper = planned(Request(11.0), slow, node, PAPER)
    assert paper.message.endswith("(a linear probe would fit: set grid.linearProbe to true)")
    assert "linearProbe" not in planned(Request(9.0), slow, node, PAPER).message
    assert "linearProbe" not in planned(Request(11.0, frozen_stages=0), slow, node, PAPER).message


def test_a_probe_leaves_what_its_pod_holds_back():
    assert (RESERVE_SAFETY, RESERVE_SECONDS) == (budget.SAFETY, budget.MARGIN_SECONDS)


# --- What they cost --------------------------------------------------------------------------------------------------


def steps_of(model=None, grid=PAPER, **fields):
    """The most steps of the only candidate that has these values."""
    one = dataclasses.replace(grid, fractions=(1.0,), learning_rates=(0.01,), adamw_learning_rates=(0.01,))
    one = dataclasses.replace(one, adamw_weight_decays=(0.05,), frozen_stages=(0,))
    (steps,) = drawn(Request(100.0, **({"batch_size": 32} | fields)), [model or a_model()], grid=one)["iterations"]
    return steps


MEASURED = {"adamw": 1.25, "ema": 2.0, "mixup": 1.5, "rand-augment": 3.0, "mirroring": 1.25, "trivial-augment": 2.0}


@pytest.mark.parametrize(
    ("fields", "steps"),
    [
        pytest.param({}, 500, id="plain"),
        pytest.param({"optimizer": "adamw"}, 400, id="AdamW"),
        pytest.param({"optimizer": "adamw", "ema": True}, 200, id="what works on weights multiplies"),
        pytest.param({"augmentation": "rand-augment", "mixup": 0.3}, 142, id="what works on images adds"),
        # Of a step of 0.1 s, which AdamW slows by a quarter, and 0.2 s of RandAugment twice.
        pytest.param({"optimizer": "adamw", "augmentation": "rand-augment", "frozen_stages": 5}, 190, id="frozen"),
    ],
)
def test_options_slow_steps_by_what_was_measured(fields, steps):
    assert steps_of(a_model(step_factors=MEASURED), **fields) == steps


def test_what_was_not_measured_of_an_option_is_assumed():
    assert set(USUAL_FACTORS) == set(OPTIONS)
    assert steps_of(augmentation="rand-augment") == int(500 / USUAL_FACTORS["rand-augment"])
    assert steps_of(a_model(step_factors={"ema": 1.25}), ema=True) == 400


def test_what_augments_images_takes_its_time_to_start():
    node = Overheads(10.0, 0.0, validations=0, augmentation_startup_seconds=4.0, margin=0.0)
    one = dataclasses.replace(
        PAPER, frozen_stages=(0,), learning_rates=(0.01,), augmentations=("crop", "rand-augment"), linear_probes=False
    )
    columns = drawn(Request(100.0, 32, steps=10), [a_model(step_factors={"rand-augment": 1.0})], node, one)
    assert sorted(columns["seconds"]) == [pytest.approx(12.0), pytest.approx(16.0)]


def test_an_average_is_validated_beside_the_weights():
    node = Overheads(0.0, 0.0, validations=3, margin=0.0)
    one = dataclasses.replace(PAPER, frozen_stages=(0,), learning_rates=(0.01,), emas=(False, True))
    columns = drawn(Request(100.0, 32, steps=10), [a_model(step_factors={"ema": 1.0})], node, one)
    # Ten steps of 0.2 s, and 3 or 6 times 200 images of a millisecond.
    assert sorted(columns["seconds"]) == [pytest.approx(2.6), pytest.approx(3.2)]


@pytest.mark.parametrize(
    ("others", "batch_size", "factor"),
    [
        pytest.param({}, 32, 1.0, id="the table's"),
        pytest.param({}, 64, 2.0, id="one size measured, a larger one"),
        pytest.param({}, 8, 0.25, id="one size measured, a smaller one"),
        pytest.param({64: 0.3}, 48, 1.25, id="between two"),
        pytest.param({64: 0.3}, 128, 2.5, id="beyond them"),
        pytest.param({64: 0.3}, 16, 0.75, id="below them"),
        pytest.param({64: 0.3, 256: 0.3}, 128, 1.5, id="between those nearest"),
        pytest.param({64: 0.1}, 128, 1.0, id="a larger one is no cheaper"),
        pytest.param({64: 0.9}, 16, 0.5, id="a small one is not free"),
    ],
)
def test_seconds_are_affine_in_the_batch_size(others, batch_size, factor):
    assert batch_factor(a_model(other_batches=others), batch_size) == pytest.approx(factor)


def test_a_batch_size_that_is_left_open_is_planned_with_its_own_steps():
    model = a_model(other_batches={64: 0.25})
    assert [steps_of(model, batch_size=size) for size in (32, 64, 128)] == [500, 400, 285]


# --- Which is taken --------------------------------------------------------------------------------------------------


def telling_nothing_apart():
    state = PredictorState.new("adaptive-mlp", models=["a"])
    network = state.predictor.network
    parameters = network.dump()
    parameters["head"] = 0 * parameters["head"]
    changed = dataclasses.replace(state.predictor, network=network.load(parameters, 0.01, 0.99))
    return dataclasses.replace(state, predictor=changed)


def test_of_what_is_not_told_apart_the_plainest_is_taken():
    grid = dataclasses.replace(
        PAPER,
        frozen_stages=(0,),
        weight_decays=(5e-4, 1e-4),
        layer_decays=(0.8, 1.0),
        label_smoothings=(0.1, 0.0),
        mirrorings=(False, True),
    )
    model = a_model(step_factors=dict.fromkeys(USUAL_FACTORS, 1.0))
    suggestion = suggest(Request(100.0, 32), [model], DATASET, FREE, telling_nothing_apart(), grid)
    assert isinstance(suggestion, Suggestion)
    chosen = suggestion.chosen
    assert (chosen.weight_decay, chosen.layer_decay, chosen.label_smoothing, chosen.mirroring) == (
        5e-4,
        0.8,
        0.1,
        False,
    )
    assert chosen.learning_rate == 0.01


def test_each_optimizers_rates_take_turns():
    grid = dataclasses.replace(PAPER, optimizers=("adamw",), frozen_stages=(0,), adamw_weight_decays=(0.05,))
    state = telling_nothing_apart()
    chosen = [
        suggest(Request(100.0, 32), [a_model()], DATASET, FREE, dataclasses.replace(state, version=n), grid).chosen
        for n in range(5)
    ]
    assert [candidate.learning_rate for candidate in chosen] == [3e-4, 1e-4, 1e-3, 3e-3, 3e-5]


def test_runners_up_may_differ_in_the_optimizer_alone():
    grid = dataclasses.replace(
        PAPER,
        frozen_stages=(0,),
        fractions=(1.0,),
        optimizers=("sgd", "adamw"),
        label_smoothings=(0.0, 0.1),
        adamw_weight_decays=(0.05,),
    )
    suggestion = planned(Request(100.0, 32, learning_rate=0.01), grid=grid)
    assert suggestion.candidates == 4
    assert [candidate.optimizer for candidate in (suggestion.chosen, *suggestion.runners_up)] in (
        ["sgd", "adamw"],
        ["adamw", "sgd"],
    )


def test_a_candidate_becomes_the_whole_regime():
    chosen = planned(
        Request(100.0, 16, learning_rate=1e-3, frozen_stages=1, optimizer="adamw", weight_decay=0.02, layer_decay=0.8,
                label_smoothing=0.1, mixup=0.2, mirroring=True, augmentation="trivial-augment", ema=True)
    ).chosen  # fmt: skip
    assert chosen.regime.options == (
        "AdamW, weight decay 0.02, layer decay 0.8, label smoothing 0.1, mixup 0.2, mirroring, TrivialAugment, EMA"
    )
    assert (chosen.regime.batch_size, chosen.regime.steps) == (16, chosen.iterations)
    plain = planned(Request(100.0, 32), grid=PAPER).chosen
    assert plain.regime.options == ""
