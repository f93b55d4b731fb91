"""Describing runs: one table of features, from which what is predicted, recorded and learned all follow."""

import dataclasses
from datetime import UTC, datetime

import numpy as np
import pytest
from described import a_dataset, a_regime, a_run, batch, facts
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import a_point

from nasoa_runtime.boundary import Regime, Run
from nasoa_runtime.online import state_bytes
from nasoa_runtime.online.description import Batch, describe, describe_rows
from nasoa_runtime.online.errors import InvalidDescription, UnreadableState
from nasoa_runtime.online.features import PAPER_FEATURES, REPLAY_FEATURES, RUN_FEATURES, RUN_WORDS, Feature
from nasoa_runtime.online.learning import LearnedRequest, outcome_record
from nasoa_runtime.online.paper import PaperPredictor
from nasoa_runtime.online.recorded_features import RECORDED_FEATURES, RECORDED_WORDS
from nasoa_runtime.online.regimes import Regimes
from nasoa_runtime.online.state import PredictorState
from nasoa_runtime.online.strategies import ONE_SHOT

ALSO_THE_PAPERS = [feature.name for feature in PAPER_FEATURES]
STEP_SIZE = Feature("total_rate", "log", 5.0, 2.0, of="regime", read=lambda r: r.iterations * r.learning_rate)
TEST_IMAGES = Feature("test_images", "log1p", 100.0, 1.0, of="dataset")
SOURCE_LENGTH = Feature("source_length", "linear", 5.0, 3.0, of="model", read=lambda m: len(m.source))
NEW_FEATURES = [
    pytest.param(STEP_SIZE, {10.0, 4.0}, id="of the regime"),
    pytest.param(TEST_IMAGES, {300.0}, id="of the dataset"),
    pytest.param(SOURCE_LENGTH, {8.0, 7.0}, id="of the model"),
]
DATASET = a_dataset(test_images=300)
MODELS = (facts("a", source="imagenet"), facts("b", source="fashion"))
REQUEST = LearnedRequest("uid-1", "team/digits", "fashion", datetime(2026, 1, 1, tzinfo=UTC), 32)


def the_runs():
    """One run of each of two models, as a pod reports them: 1,000 steps at 0.01, and 40 steps at 0.1."""
    regimes = [
        Regime(model=name, learning_rate=rate, frozen_stages=0, steps=5000, step_seconds=0.01, predicted_accuracy=0.5)
        for name, rate in (("a", 0.01), ("b", 0.1))
    ]
    return [
        Run(regime=regime, steps=steps, validation_accuracy=accuracy, seconds=10.0)
        for regime, steps, accuracy in zip(regimes, (1000, 40), (0.9, 0.4), strict=True)
    ]


def record():
    return outcome_record(REQUEST, MODELS, DATASET, the_runs(), 0, ONE_SHOT)


REGIMES = Regimes.of([run.regime for run in the_runs()], 32, [0, 1])
DONE = dataclasses.replace(REGIMES, iterations=np.array([1000.0, 40.0]))


@pytest.mark.parametrize(("feature", "values"), NEW_FEATURES)
def test_a_feature_that_is_added_is_recorded(feature, values):
    table = (*RUN_FEATURES, feature)
    runs = describe(MODELS, DATASET, DONE, table).descriptions()
    assert {run.values[feature.name] for run in runs} == values
    assert Batch.of(runs, table).descriptions() == runs
    with pytest.raises(InvalidDescription, match=f"'{feature.name}' of a run of model 'a' is unknown to the predictor"):
        Batch.of(runs)


@pytest.mark.parametrize(("feature", "values"), NEW_FEATURES)
def test_a_feature_that_is_added_is_predicted_with(feature, values):
    table = (*RUN_FEATURES, feature)
    predictor = sees_only(feature, (*PAPER_FEATURES, feature))
    first, second = predictor.predict(describe(MODELS, DATASET, DONE, table))
    assert (first != second) == (len(values) == 2)
    assert max(first, second) > 0.01


def sees_only(feature, table):
    """A predictor that gives a tenth of the feature's standardised value, and knows nothing else."""
    fresh = PaperPredictor.new("adaptive-mlp", 0, table)
    parameters = {name: np.zeros_like(value) for name, value in fresh.network.dump().items()}
    parameters["first"][0, fresh.encoder.layout.index(feature.name)] = 1.0
    parameters["head"][0, 0] = 1.0
    parameters["alpha"][:] = 0.1
    return dataclasses.replace(fresh, network=fresh.network.load(parameters, 0.01, 0.99))


@pytest.mark.parametrize(("table", "own"), [(RUN_FEATURES, RECORDED_FEATURES), (RUN_WORDS, RECORDED_WORDS)])
def test_recorded_runs_have_the_features_of_our_own(table, own):
    assert [feature.name for feature in table] == [feature.name for feature in own]


@settings(max_examples=40)
@given(st.data())
def test_every_field_of_a_regime_is_described(data):
    field = data.draw(st.sampled_from(sorted(CHANGES)))
    plain, other = a_regime(), a_regime(**CHANGES[field])
    one, two = (describe((facts(),), DATASET, Regimes.of((regime,), 32)).descriptions()[0] for regime in (plain, other))
    assert one != two


CHANGES = {
    "learning_rate": {"learning_rate": 0.3},
    "frozen_stages": {"frozen_stages": 4},
    "steps": {"steps": 77},
    "optimizer": {"optimizer": "adamw"},
    "momentum": {"momentum": 0.5},
    "weight_decay": {"weight_decay": 0.05},
    "layer_decay": {"layer_decay": 0.75},
    "batch_size": {"batch_size": 64},
    "label_smoothing": {"label_smoothing": 0.1},
    "mixup": {"mixup": 0.2},
    "mirroring": {"mirroring": True},
    "augmentation": {"augmentation": "trivial-augment"},
    "ema": {"ema": True},
    "linear_probe": {"linear_probe": True, "frozen_stages": 5},
}


def test_no_field_of_a_regime_is_forgotten():
    foretold = {"predicted_accuracy", "predicted_low", "predicted_high", "predicted_curve"}
    assert set(CHANGES) == set(Regime.model_fields) - {"model", "step_seconds"} - foretold


def test_a_run_is_described_by_the_steps_that_were_done_and_the_facts_of_its_model():
    first, second = record().runs
    assert (first.description.model, first.accuracy, first.failure) == ("a", 0.9, None)
    assert {name: first.description.values[name] for name in ALSO_THE_PAPERS} == {
        "source_accuracy": 0.7,
        "parameters": 5_000_000.0,
        "macs": 300_000_000.0,
        "domain_similarity": None,
        "classes": 10.0,
        "images_per_class_mean": 100.0,
        "images_per_class_std": 3.0,
        "iterations": 1000.0,
        "learning_rate": 0.01,
        "frozen_stages": 0.0,
    }
    assert first.description.values["planned_iterations"] == 1000.0
    assert first.description.words == {
        "architecture": None,
        "family": None,
        "optimizer": "sgd",
        "schedule": "cosine",
        "augmentation": "crop",
    }
    assert (second.description.model, second.description.values["iterations"]) == ("b", 40.0)


def test_many_runs_are_described_as_each_would_be_alone():
    regimes = Regimes.of_columns(
        model=np.array([1, 0, 1]),
        learning_rate=np.array([0.1, 0.01, 0.001]),
        frozen_stages=np.array([0.0, 5.0, 2.0]),
        iterations=np.array([10.0, 20.0, 30.0]),
        batch_size=32,
    )
    models = (facts("a"), facts("b", source_accuracy=None))
    together = describe(models, DATASET, regimes).descriptions()
    assert together == (
        a_run(models[1], DATASET, 0.1, 0, 10),
        a_run(models[0], DATASET, 0.01, 5, 20),
        a_run(models[1], DATASET, 0.001, 2, 30),
    )
    assert together[0].values["source_accuracy"] is None


def test_descriptions_come_back_as_the_columns_that_they_were_made_of():
    runs = (a_run("b"), a_run("a", iterations=7), a_run(facts("b", macs=None)))
    columns = Batch.of(runs)
    assert columns.models == ("b", "a")
    assert columns.descriptions() == runs


@pytest.mark.parametrize("name", [feature.name for feature in RUN_FEATURES])
def test_an_absent_feature_is_an_error_that_names_it_and_never_a_missing_value(name):
    run = a_run()
    less = run.model_copy(update={"values": {k: v for k, v in run.values.items() if k != name}})
    with pytest.raises(
        InvalidDescription, match=f"feature '{name}' is absent from the description of a run of model 'a'"
    ):
        batch(run, less)


def test_a_feature_that_the_table_does_not_know_is_an_error_that_names_it():
    run = a_run()
    more = run.model_copy(update={"values": run.values | {"colour": 1.0}})
    with pytest.raises(InvalidDescription, match="feature 'colour' of a run of model 'a' is unknown to the predictor"):
        batch(run, more)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        pytest.param((*PAPER_FEATURES, STEP_SIZE), "never seen features that are described here: total_rate", id="new"),
        pytest.param(PAPER_FEATURES[1:], "features that are unknown here: source_accuracy", id="gone"),
        pytest.param(
            (Feature("source_accuracy", "log", 0.75, 0.1, of="model", optional=True), *PAPER_FEATURES[1:]),
            "features that are transformed otherwise here: source_accuracy",
            id="transformed otherwise",
        ),
        pytest.param(PAPER_FEATURES[::-1], "columns' names do not follow", id="in another order"),
    ],
)
def test_a_state_of_other_features_is_not_read(table, message):
    with pytest.raises(UnreadableState, match=message):
        state_bytes.load(state_bytes.dump(PredictorState.new("adaptive-mlp")), table=table)


def test_a_state_of_the_same_features_is_read():
    table = (*PAPER_FEATURES, STEP_SIZE)
    content = state_bytes.dump(PredictorState(PaperPredictor.new("adaptive-mlp", 0, table)))
    assert state_bytes.load(content, table=table).predictor.encoder.table == table


def test_recorded_runs_are_described_by_their_columns():
    rows = describe_rows([a_point(), a_point(model="xcit"), a_point(lr=0.1)], REPLAY_FEATURES)
    assert rows.models == ("beit", "xcit")
    assert rows.model_index.tolist() == [0, 1, 0]
    assert rows.values["lr"].tolist() == [0.001, 0.001, 0.1]
    assert rows.values["imagenet_top1"].tolist() == [85.2, 85.2, 85.2]


def test_the_replay_never_sees_what_a_run_cost():
    names = {feature.name for feature in REPLAY_FEATURES}
    assert names == {
        "imagenet_top1",
        "n_classes",
        "imgs_per_class",
        "lr",
        "iterations",
        "batch_size",
        "pct_to_freeze",
    }
    logged = {feature.name for feature in REPLAY_FEATURES if feature.transform == "log"}
    assert logged == {"n_classes", "imgs_per_class", "lr", "iterations", "batch_size"}
