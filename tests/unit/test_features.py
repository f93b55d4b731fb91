"""Describing runs: one table of features, from which what is predicted, recorded and learned all follow."""

import dataclasses
from datetime import UTC, datetime

import numpy as np
import pytest
from described import a_dataset, a_run, batch, facts
from recorded import a_point

from nasoa_runtime.boundary import Regime, Run
from nasoa_runtime.documents.base import dump, load
from nasoa_runtime.documents.outcomes import Outcome, OutcomeRecord
from nasoa_runtime.online import state_bytes
from nasoa_runtime.online.candidates import ModelChoice, Overheads, Request
from nasoa_runtime.online.description import Batch, Regimes, describe, describe_rows
from nasoa_runtime.online.errors import InvalidDescription, UnreadableState
from nasoa_runtime.online.features import REPLAY_FEATURES, REQUEST_FEATURES, Feature
from nasoa_runtime.online.generator import suggest
from nasoa_runtime.online.learning import LearnedRequest, check_outcomes, outcome_record
from nasoa_runtime.online.state import PredictorState
from nasoa_runtime.online.strategies import ONE_SHOT
from nasoa_runtime.online.warm_start import read_recorded, read_small, taught

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


def record(table):
    return outcome_record(REQUEST, MODELS, DATASET, the_runs(), 0, ONE_SHOT, table)


@pytest.mark.parametrize(("feature", "values"), NEW_FEATURES)
def test_a_feature_that_is_added_is_recorded(feature, values):
    stored = dump(record((*REQUEST_FEATURES, feature)))
    read = load(OutcomeRecord, stored, "s3://bucket/key")
    assert {run.description.values[feature.name] for run in read.runs} == values
    check_outcomes(read.runs, (*REQUEST_FEATURES, feature))
    with pytest.raises(InvalidDescription, match=f"'{feature.name}' of a run of model 'a' is unknown to the predictor"):
        check_outcomes(read.runs)


@pytest.mark.parametrize(("feature", "values"), NEW_FEATURES)
def test_a_feature_that_is_added_is_learned(feature, values):
    table = (*REQUEST_FEATURES, feature)
    outcomes = record(table).runs
    state = PredictorState.new(table=table).update(outcomes, "uid-1")
    place = [f.name for f in table].index(feature.name)
    assert state.encoder.counts[place] == 2
    # Whatever else is known of a run, its own feature now counts in the prediction.
    run = outcomes[0].description
    other = run.model_copy(update={"values": run.values | {feature.name: 3 * run.values[feature.name]}})
    first, second = state.predict(batch(run, other, table=table))
    assert first != second


def sees_only(feature, table):
    """A predictor that gives a tenth of the feature's standardised value, and knows nothing else."""
    state = PredictorState.new(table=table)
    parameters = {name: np.zeros_like(value) for name, value in state.network.dump().items()}
    parameters["first"][0, state.encoder.layout.index(feature.name)] = 1.0
    parameters["head"][0, 0] = 1.0
    parameters["alpha"][:] = 0.1
    return dataclasses.replace(state, network=state.network.load(parameters, 0.01, 0.99))


@pytest.mark.parametrize(
    ("feature", "standardised"),
    [
        pytest.param(STEP_SIZE, lambda c: (np.log(c.iterations * c.learning_rate) - np.log(5)) / 2, id="of the regime"),
        pytest.param(TEST_IMAGES, lambda _: np.log1p(300) - np.log1p(100), id="of the dataset"),
        pytest.param(SOURCE_LENGTH, lambda c: ({"a": 8, "b": 7}[c.model] - 5) / 3, id="of the model"),
    ],
)
def test_a_feature_that_is_added_is_predicted_with(feature, standardised):
    predictor = sees_only(feature, (*REQUEST_FEATURES, feature))
    choices = [ModelChoice(model, {0: 0.1}, 0.001) for model in MODELS]
    suggestion = suggest(Request(60.0, 32), choices, DATASET, Overheads(1.0, 1.0), predictor)
    for candidate in (suggestion.chosen, *suggestion.runners_up):
        assert candidate.predicted_accuracy == pytest.approx(max(0.0, 0.1 * standardised(candidate)), abs=1e-6)
    assert suggestion.chosen.predicted_accuracy > 0.05


def test_a_warm_start_says_nothing_of_a_feature_that_no_packaged_record_has():
    table = (*REQUEST_FEATURES, TEST_IMAGES)
    state = taught(read_recorded()[:50], read_small()[:50], table=table)
    few, many = (a_run(dataset=a_dataset(test_images=images), table=table) for images in (0, 10_000))
    first, second = state.predict(batch(few, many, table=table))
    assert first == pytest.approx(second, abs=1e-6)
    later = state.update([Outcome(description=many, accuracy=0.9)], "uid-1")
    first, second = later.predict(batch(few, many, table=table))
    assert abs(first - second) > 1e-3


def test_a_run_is_described_by_the_steps_that_were_done_and_the_facts_of_its_model():
    first, second = record(REQUEST_FEATURES).runs
    assert (first.description.model, first.accuracy, first.failure) == ("a", 0.9, None)
    assert first.description.values == {
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
    together = describe(REQUEST_FEATURES, models, DATASET, regimes).descriptions()
    assert together == (
        a_run(models[1], DATASET, 0.1, 0, 10),
        a_run(models[0], DATASET, 0.01, 5, 20),
        a_run(models[1], DATASET, 0.001, 2, 30),
    )
    assert together[0].values["source_accuracy"] is None


def test_descriptions_come_back_as_the_columns_that_they_were_made_of():
    runs = (a_run("b"), a_run("a", iterations=7), a_run(facts("b", macs=None)))
    columns = Batch.of(runs, REQUEST_FEATURES)
    assert columns.models == ("b", "a")
    assert columns.descriptions() == runs


@pytest.mark.parametrize("name", [feature.name for feature in REQUEST_FEATURES])
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
        pytest.param(
            (*REQUEST_FEATURES, STEP_SIZE), "never seen features that are described here: total_rate", id="new"
        ),
        pytest.param(REQUEST_FEATURES[1:], "features that are unknown here: source_accuracy", id="gone"),
        pytest.param(
            (Feature("source_accuracy", "log", 0.75, 0.1, of="model", optional=True), *REQUEST_FEATURES[1:]),
            "features that are transformed otherwise here: source_accuracy",
            id="transformed otherwise",
        ),
        pytest.param(REQUEST_FEATURES[::-1], "columns' names do not follow", id="in another order"),
    ],
)
def test_a_state_of_other_features_is_not_read(table, message):
    with pytest.raises(UnreadableState, match=message):
        state_bytes.load(state_bytes.dump(PredictorState.new()), table)


def test_a_state_of_the_same_features_is_read():
    table = (*REQUEST_FEATURES, STEP_SIZE)
    content = state_bytes.dump(PredictorState.new(table=table))
    assert state_bytes.load(content, table).encoder.table == table


def test_recorded_runs_are_described_by_their_columns():
    rows = describe_rows(REPLAY_FEATURES, [a_point(), a_point(model="xcit"), a_point(lr=0.1)])
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
