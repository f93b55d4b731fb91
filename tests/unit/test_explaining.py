"""Why a request got its schedule: what was decided, what experts and features say, what other limits would give."""

from __future__ import annotations

import pytest
from builders import a_request
from request_simulation import RequestSimulation, a_probe, a_result, a_zoo, run

from nasoa_operator.pod_outcomes import PodOutcome
from nasoa_runtime.api.finetune import FineTuneRequestSpec
from nasoa_runtime.boundary import CurvePoint, FinetuneInput, Run
from nasoa_runtime.explaining import AtLimit, Explanation, HandedOver, explain
from nasoa_runtime.online.candidates import Candidate, NothingFits
from nasoa_runtime.online.contributions import GROUPS
from nasoa_runtime.online.warm_start import warm_started
from nasoa_runtime.planning import suggest_for

MODELS = ("fashion-1", "fashion-2")
SMALL = {"grid": {"preset": "Paper"}}


@pytest.fixture(scope="module")
def predictor():
    return warm_started(models=MODELS)


def raced(pod_input, index):
    """The first candidate was stopped, the second is delivered, the third diverged."""
    if not isinstance(pod_input, FinetuneInput):
        return run(pod_input, index)
    first, second, third = pod_input.regimes[:3]
    stopped = CurvePoint(steps=20, accuracy=0.4, annealed=False, seconds=4.0)
    runs = (
        Run(regime=first, steps=20, validation_accuracy=0.4, seconds=4.0, points=(stopped,)),
        Run(regime=second, steps=second.steps, validation_accuracy=0.8, seconds=30.0),
        Run(regime=third, steps=9, validation_accuracy=None, failure="Diverged", seconds=2.0),
    )
    return PodOutcome(index, result=a_result(pod_input, runs=runs, chosen=1))


@pytest.fixture(scope="module")
def ended():
    """A race that has ended."""
    simulation = RequestSimulation(SMALL, raced)
    assert simulation.end()["phase"] == "Succeeded"
    return simulation


def spec_of(simulation):
    return FineTuneRequestSpec.model_validate(a_request(**simulation.spec)["spec"])


def explained(simulation, predictor, **changes) -> Explanation:
    records = simulation.records
    found = {"schedule": records.schedule, "result": records.result} | changes
    return explain(spec_of(simulation), a_zoo(), records.probe.result, predictor, **found)


def test_the_decision_is_told_as_it_was_persisted_with_what_became_of_each(ended, predictor):
    explanation = explained(ended, predictor)
    schedule = ended.records.schedule
    assert tuple(value.regime for value in explanation.handed_over) == schedule.regimes
    stopped, won, diverged, *others = explanation.handed_over
    assert [value.delivered for value in (stopped, won, diverged)] == [False, True, False]
    assert (stopped.run.steps, won.run.validation_accuracy, diverged.run.failure) == (20, 0.8, "Diverged")
    assert {value.run for value in others} == {None}


@pytest.mark.parametrize(
    ("changes", "inside"),
    [
        pytest.param({"validation_accuracy": 0.6}, True, id="at its end"),
        pytest.param({"validation_accuracy": 0.61}, False, id="beyond it"),
        pytest.param({"validation_accuracy": None, "failure": "Diverged"}, None, id="diverged"),
        pytest.param(
            {"points": [{"steps": 5, "accuracy": 0.5, "annealed": False, "seconds": 1.0}]}, None, id="stopped early"
        ),
    ],
)
def test_an_accuracy_is_compared_with_its_interval_where_a_run_came_to_its_end(ended, changes, inside):
    regime = ended.records.schedule.regimes[0].model_copy(update={"predicted_low": 0.2, "predicted_high": 0.6})
    fields = {"regime": regime.model_dump(), "steps": 10, "validation_accuracy": 0.5, "seconds": 1.0}
    assert HandedOver(regime, Run.model_validate(fields | changes)).inside is inside


def test_schedules_of_before_there_were_intervals_are_compared_with_none(ended):
    regime = ended.records.schedule.regimes[0].model_copy(update={"predicted_low": None, "predicted_high": None})
    done = Run(regime=regime, steps=10, validation_accuracy=0.5, seconds=1.0)
    assert HandedOver(regime, done).inside is None


def test_the_experts_opinions_are_mixed_to_what_is_predicted(ended, predictor):
    explanation = explained(ended, predictor)
    names, weights = zip(*explanation.experts, strict=True)
    assert names == ("points", "order", "network")
    assert sum(weights) == pytest.approx(1)
    for opinion in explanation.opinions:
        mixed = sum(weight * said for weight, said in zip(weights, opinion.by_expert, strict=True))
        assert opinion.regime.predicted_accuracy == pytest.approx(min(max(mixed, 0), 1), abs=1e-6)
        assert opinion.regime.predicted_low <= opinion.regime.predicted_accuracy <= opinion.regime.predicted_high


def test_a_predictor_that_learned_nothing_since_says_of_the_chosen_one_what_was_predicted(ended, predictor):
    said, decided = explained(ended, predictor).opinions[0], ended.records.schedule.regimes[0]
    assert said.chosen
    assert said.regime.predicted_accuracy == pytest.approx(decided.predicted_accuracy, abs=1e-6)
    assert said.regime.predicted_low == pytest.approx(decided.predicted_low, abs=1e-6)


def test_the_chosen_one_is_told_once_and_of_every_model_the_best(ended, predictor):
    opinions = explained(ended, predictor).opinions
    assert [opinion.chosen for opinion in opinions] == [True] + [False] * (len(opinions) - 1)
    assert {opinion.regime.model for opinion in opinions} == set(MODELS)
    trained = [opinion.regime.model_dump(exclude={"predicted_accuracy"}) for opinion in opinions]
    assert all(trained.count(regime) == 1 for regime in trained)


def test_contributions_lead_from_the_mean_candidate_to_the_chosen_one(ended, predictor):
    explanation = explained(ended, predictor)
    reasons = explanation.reasons
    assert set(reasons.groups) == {*GROUPS, "network"}
    assert reasons.average + sum(reasons.groups.values()) == pytest.approx(reasons.predicted)
    assert reasons.predicted == pytest.approx(explanation.opinions[0].regime.predicted_accuracy, abs=1e-6)
    # The best is above the mean.
    assert 0 < reasons.average < reasons.predicted


def test_of_a_predictor_that_mixes_nothing_only_the_whole_is_told(ended):
    explanation = explained(ended, warm_started("adaptive-mlp", models=MODELS))
    assert explanation.experts == (("adaptive-mlp", 1.0),)
    assert explanation.reasons is None
    assert all(len(opinion.by_expert) == 1 for opinion in explanation.opinions)


def test_half_and_twice_the_time_are_planned_as_requests_of_that_length_would_be(ended, predictor):
    half, same, twice = explained(ended, predictor).limits
    assert (half.seconds, same.seconds, twice.seconds) == (30, 60, 120)
    spec = spec_of(ended)
    for limit in (half, same, twice):
        asked = spec.model_copy(update={"time_limit": f"{limit.seconds:.0f}s"})
        assert limit.best == suggest_for(asked, a_zoo(), a_probe(), predictor).chosen
    assert same.best.predicted_accuracy <= twice.best.predicted_accuracy


def test_half_that_is_too_short_says_the_least(predictor):
    simulation = RequestSimulation({"timeLimit": "20s"} | SMALL, raced)
    while simulation.records.schedule is None:
        simulation.step()
    half, same, _ = explained(simulation, predictor).limits
    assert isinstance(half.best, NothingFits)
    assert 10 < half.best.least_seconds < 20
    assert isinstance(same.best, Candidate)


def test_before_the_decision_the_one_that_would_be_made_now_is_explained(ended, predictor):
    explanation = explained(ended, predictor, schedule=None, result=None)
    assert explanation.handed_over == ()
    assert explanation.opinions[0].regime.predicted_accuracy == pytest.approx(
        ended.records.schedule.regimes[0].predicted_accuracy, abs=1e-6
    )


@pytest.mark.parametrize("scheduled", [True, False])
def test_where_nothing_fits_any_more_that_is_said(ended, predictor, scheduled):
    records, spec = ended.records, spec_of(ended)
    slow = records.probe.result.model_copy(update={"startup_seconds": 1000.0})
    schedule = records.schedule if scheduled else None
    explanation = explain(spec, a_zoo(), slow, predictor, schedule, None)
    assert [opinion.chosen for opinion in explanation.opinions] == [True] * scheduled
    assert explanation.reasons is None
    assert all(isinstance(limit.best, NothingFits) for limit in explanation.limits)


@pytest.mark.parametrize(
    ("written", "limits"),
    [
        pytest.param("1ms", [0.001, 0.001, 0.002], id="the shortest"),
        pytest.param("250000h", [4.5e8, 9e8, 9e8], id="the longest"),
    ],
)
def test_other_limits_are_ones_that_can_be_written(ended, predictor, written, limits):
    spec = spec_of(ended).model_copy(update={"time_limit": written})
    explanation = explain(spec, a_zoo(), a_probe(), predictor)
    assert [limit.seconds for limit in explanation.limits] == limits
    assert all(isinstance(limit, AtLimit) for limit in explanation.limits)
