"""A new zoo's predictor: what it knows before its first request, and how fast real outcomes change that."""

import described
import numpy as np
import pytest
from described import a_dataset, a_record, batch, facts

from benchmarks.transfers import RUNS, measure, read
from nasoa_runtime.boundary import digest
from nasoa_runtime.documents.outcomes import Outcome
from nasoa_runtime.online import warm_start
from nasoa_runtime.online.candidates import ModelChoice, Overheads, Request
from nasoa_runtime.online.generator import suggest
from nasoa_runtime.online.predictor import as_accuracies
from nasoa_runtime.online.state import PredictorState
from nasoa_runtime.online.state_bytes import dump, load
from nasoa_runtime.online.warm_start import (
    packaged_experience,
    packaged_forest,
    packaged_trees,
    recorded_runs,
    small_runs,
    warm_started,
)

PREDICTORS = [
    pytest.param("hedge", 0, id="hedge"),
    *(pytest.param("adaptive-mlp", seed, id=f"adaptive-mlp, seed {seed}") for seed in range(3)),
]
OUTCOMES = (
    # Classes, training images, iterations, validation accuracy: five requests to a zoo of small networks.
    (10, 1151, 140, 0.972),
    (5, 320, 94, 0.988),
    (6, 300, 146, 0.704),
    (6, 775, 306, 0.611),
    (10, 1280, 219, 0.947),
)
SMALL = facts("small", source="fashion", source_accuracy=0.78, parameters=200_000, macs=20_000_000, image_size=32)


def a_run(classes=10, images=1151, iterations=140, frozen=0, model=SMALL, images_per_class_std=3.0):
    dataset = a_dataset(classes, images / classes, images_per_class_std=images_per_class_std)
    return described.a_run(model, dataset, 0.1, frozen, iterations)


def predicted(state, runs):
    return as_accuracies(state.predict(batch(*runs)))


@pytest.mark.parametrize(("algorithm", "seed"), PREDICTORS)
def test_more_iterations_are_preferred_to_fewer(algorithm, seed):
    state = warm_started(algorithm, seed, ["small"])
    steps = (25, 50, 100, 200, 400)
    runs = [a_run(iterations=count, frozen=frozen) for count in steps for frozen in range(6)]
    accuracies = state.predict(batch(*runs)).reshape(len(steps), 6)
    assert (np.diff(accuracies.mean(axis=1)) > 0).all()


@pytest.mark.parametrize(("algorithm", "seed"), PREDICTORS)
def test_first_predictions_are_plausible(algorithm, seed):
    state = warm_started(algorithm, seed)
    runs = [a_run(*outcome[:3], frozen=frozen) for outcome in OUTCOMES for frozen in range(6)]
    accuracies = predicted(state, runs)
    assert accuracies.min() >= 0.0
    assert 0.4 < accuracies.mean() < 0.98


def first_schedule(algorithm, seed, step_seconds):
    models = [
        ModelChoice(
            SMALL.model_copy(update={"name": name, "source_accuracy": accuracy, "domain_similarity": 0.8}),
            {frozen: step_seconds * slower * (1 - 0.12 * frozen) for frozen in range(6)},
            inference_seconds_per_image=step_seconds / 100,
        )
        for name, slower, accuracy in (("small", 1.0, 0.76), ("large", 1.4, 0.8))
    ]
    dataset = a_dataset(10, 115.0, validation_images=290)
    state = warm_started(algorithm, seed, ["small", "large"])
    return suggest(Request(60.0, 32), models, dataset, Overheads(9.0, 1.5), state).chosen


@pytest.mark.parametrize(("algorithm", "seed"), PREDICTORS)
@pytest.mark.parametrize("step_seconds", [0.05, 0.15, 0.3])
def test_the_first_request_to_a_zoo_uses_its_time(algorithm, seed, step_seconds):
    chosen = first_schedule(algorithm, seed, step_seconds)
    assert chosen.seconds >= 30.0
    assert chosen.learning_rate >= 0.003


def test_what_no_record_has_changes_no_prediction_before_an_outcome_shows_how():
    state = warm_started("adaptive-mlp", models=["small", "large"])
    unlike = SMALL.model_copy(update={"name": "large", "domain_similarity": None})
    other = a_run(model=unlike, images_per_class_std=90.0)
    assert np.ptp(state.predict(batch(a_run(), other))) < 1e-6


@pytest.mark.parametrize(("algorithm", "seed"), PREDICTORS)
def test_the_zoos_own_outcomes_move_predictions_at_once(algorithm, seed):
    state = warm_started(algorithm, seed, ["small"])
    accuracies = np.array([accuracy for *_, accuracy in OUTCOMES])
    runs = [a_run(*outcome[:3]) for outcome in OUTCOMES]
    before = np.abs(predicted(state, runs) - accuracies).mean()
    for number, (run, accuracy) in enumerate(zip(runs, accuracies, strict=True)):
        state = state.update(a_record(f"uid-{number}", Outcome(description=run, accuracy=accuracy)))
    after = np.abs(predicted(state, runs) - accuracies).mean()
    assert after < before
    assert after < 0.25
    assert state.predict(batch(*runs)).min() > 0.5


def test_a_warm_start_is_no_request():
    state = warm_started("adaptive-mlp", models=["a", "b"])
    assert (state.version, state.layout_version, state.applied_uids) == (0, 0, ())
    assert state.models == ("a", "b")
    assert (warm_started().version, warm_started().fitted_through, warm_started().refit_due) == (0, 0, None)


def test_bytes_say_that_there_was_a_warm_start():
    state = load(dump(warm_started("adaptive-mlp", models=["a"])))
    assert state.warm_start == "2,033 recorded runs and 862 runs of small networks"
    assert state.update(a_record("uid-1", described.an_outcome())).warm_start == state.warm_start
    assert PredictorState.new().warm_start is None


def test_equal_seeds_give_equal_bytes(monkeypatch):
    first, other = (dump(warm_started("adaptive-mlp", seed)) for seed in (1, 2))
    monkeypatch.setattr(warm_start, "_packaged", warm_start._packaged.__wrapped__)  # Past the cache.
    assert dump(warm_started("adaptive-mlp", 1)) == first
    assert other != first


def test_the_packaged_start_and_its_trees_belong_together():
    state = warm_started()
    assert state.predictor.forest_digest == digest(packaged_trees())
    assert packaged_forest(state.predictor.forest_digest).experts[0].trees == state.predictor.experts[0].trees
    assert packaged_forest("0" * 64) is None
    assert dump(load(dump(state), packaged_forest)) == dump(state)


def test_the_packaged_trees_have_met_the_words_of_the_packaged_records():
    vocabulary = warm_started().predictor.experts[0].vocabulary
    known = packaged_experience().runs
    assert vocabulary == type(vocabulary).of(known)


def test_the_packaged_records_have_their_licence_beside_them():
    recorded, small = recorded_runs(), small_runs()
    assert (len(recorded), len(small)) == (2033, 862)
    assert len(set(recorded.runs.datasets)) == 16
    for known in (recorded, small):
        assert set(np.round(known.runs.values["frozen_stages"])) == {0, 1, 2, 3, 4, 5}
        assert known.reached.min() >= 0
        assert known.reached.max() <= 1
    assert "BSD 3-Clause" in (warm_start.DATA / "LICENSE.quicktune").read_text()


@pytest.mark.parametrize(("algorithm", "most"), [("hedge", 0.15), ("adaptive-mlp", 0.15)])
def test_first_choices_among_real_transfers_that_it_has_not_learned_are_good(algorithm, most):
    transfers = read(RUNS)
    chance = measure(transfers, lambda _: None, False, 3)["1-4"]
    warm = measure(transfers, lambda _: warm_started(algorithm), True, 3)["1-4"]
    assert chance > 0.5
    assert warm < most
