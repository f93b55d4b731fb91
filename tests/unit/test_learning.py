"""What of a request's runs is recorded for the predictor."""

from datetime import UTC, datetime

import described
import pytest
from described import a_dataset, facts

from nasoa_runtime.boundary import Regime, Run
from nasoa_runtime.documents.outcomes import RunDescription
from nasoa_runtime.online.errors import InvalidDescription
from nasoa_runtime.online.features import PAPER_FEATURES
from nasoa_runtime.online.learning import LearnedRequest, check_outcomes, outcome_record, upgraded
from nasoa_runtime.online.strategies import ONE_SHOT, RACE

REQUEST = LearnedRequest("uid-1", "team/digits", "fashion", datetime(2026, 1, 1, tzinfo=UTC), 32)
REGIME = Regime(model="a", learning_rate=0.03, frozen_stages=1, steps=500, step_seconds=0.1, predicted_accuracy=0.5)


def a_run(accuracy=0.8, failure=None, steps=500):
    return Run(regime=REGIME, steps=steps, validation_accuracy=accuracy, failure=failure, seconds=50.0)


def learned(*runs):
    return outcome_record(REQUEST, [facts("a")], a_dataset(classes=4), runs, 0, ONE_SHOT).runs


def test_a_record_says_whose_runs_it_has():
    record = outcome_record(REQUEST, [facts("a")], a_dataset(), [a_run()], 0, ONE_SHOT)
    assert (record.uid, record.request, record.zoo) == ("uid-1", "team/digits", "fashion")
    assert record.recorded_at == datetime(2026, 1, 1, tzinfo=UTC)


def test_a_run_teaches_its_validation_accuracy():
    assert [outcome.accuracy for outcome in learned(a_run(0.8))] == [0.8]


@pytest.mark.parametrize("accuracy", [None, 0.6])
def test_a_run_that_diverged_teaches_the_accuracy_of_chance(accuracy):
    (outcome,) = learned(a_run(accuracy, "Diverged", steps=12))
    assert (outcome.accuracy, outcome.failure) == (0.25, "Diverged")
    assert outcome.description.values["iterations"] == 12.0


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(a_run(None), id="never validated"),
        pytest.param(a_run(None, "OutOfMemory"), id="out of memory"),
        pytest.param(a_run(0.7, "OutOfMemory"), id="out of memory after a validation"),
    ],
)
def test_a_run_that_says_nothing_of_accuracy_teaches_nothing(run):
    assert learned(run) == ()
    assert [outcome.accuracy for outcome in learned(a_run(0.4), run, a_run(0.9))] == [0.4, 0.9]


def test_a_run_that_ended_before_its_first_step_counts_as_one():
    (outcome,) = learned(a_run(None, "Diverged", steps=0))
    assert outcome.description.values["iterations"] == 1.0


@pytest.mark.parametrize(
    ("strategy", "runs", "held"),
    [
        pytest.param(ONE_SHOT, 2, 0.0, id="one shot"),
        pytest.param(RACE, 2, 1.0, id="a race"),
        pytest.param(RACE, 1, 0.0, id="a race of one"),
    ],
)
def test_runs_of_a_race_are_known_to_have_held_their_rate(strategy, runs, held):
    record = outcome_record(REQUEST, [facts("a")], a_dataset(), [a_run() for _ in range(runs)], 0, strategy)
    assert [run.description.values["held"] for run in record.runs] == [held] * runs


def test_an_outcome_from_before_full_descriptions_is_described_by_what_all_runs_were_then():
    full = described.an_outcome(0.7, iterations=250)
    told = {feature.name: full.description.values[feature.name] for feature in PAPER_FEATURES}
    old = full.model_copy(update={"description": RunDescription(model="a", values=told)})
    with pytest.raises(InvalidDescription, match="is absent"):
        check_outcomes([old])
    values = upgraded(old).description.values
    assert {name: values[name] for name in told} == told
    assert (values["planned_iterations"], values["annealed"], values["momentum"]) == (250, 1, 0.9)
    assert (values["weight_decay"], values["images"], values["image_size"]) == (1e-4, 1000, None)
    check_outcomes([upgraded(old)])


def test_an_outcome_that_is_described_in_full_is_left_as_it_is():
    outcome = described.an_outcome()
    assert upgraded(outcome) is outcome
