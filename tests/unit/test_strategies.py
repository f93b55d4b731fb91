"""Strategies are values: the generator, learning, replays and the command line follow a new one without a change."""

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from described import a_dataset, facts
from recorded import a_curve, write
from typer.testing import CliRunner

from nasoa_runtime.boundary import Regime, Run
from nasoa_runtime.cli.app import app
from nasoa_runtime.online.candidates import Grid, ModelChoice, Overheads, Request
from nasoa_runtime.online.generator import suggest
from nasoa_runtime.online.learners import NetworkLearner
from nasoa_runtime.online.learning import LearnedRequest, outcome_record
from nasoa_runtime.online.policy import policy_replay
from nasoa_runtime.online.records import read_records
from nasoa_runtime.online.replayed import Offer, Played
from nasoa_runtime.online.state import PredictorState
from nasoa_runtime.online.strategies import (
    ONE_SHOT,
    STRATEGIES,
    Strategy,
    UnknownStrategyError,
    strategy_named,
)

MODELS = [facts("a"), facts("b")]
REQUEST = LearnedRequest("uid-1", "team/digits", "fashion", datetime(2026, 1, 1, tzinfo=UTC), 32)


def worst_first(ranking, runners_up):
    """Hands over the two worst, whatever was asked for."""
    return ranking.suggestion(int(ranking.order[-1]), [int(ranking.order[-2])])


def the_delivered_one(runs, delivered):
    return () if delivered is None else (runs[delivered],)


def both_halves(offer: Offer) -> Played:
    """Runs the first half of every curve, and delivers the last one's."""
    halves = [curve[: max(1, len(curve) // 2)] for curve in offer.curves]
    return Played(halves, len(halves) - 1, sum(half[-1].gpu_seconds for half in halves))


CONTRARY = Strategy(
    name="Contrary",
    summary="Contrary runs the worst candidates.",
    suggest=worst_first,
    learned=the_delivered_one,
    replay=both_halves,
)


@pytest.fixture
def contrary(monkeypatch):
    """A second strategy, entered in the table and nowhere else."""
    monkeypatch.setitem(STRATEGIES, "Contrary", CONTRARY)


def suggested(strategy):
    choices = [ModelChoice(model, {0: 0.2, 5: 0.1}, 0.001) for model in MODELS]
    request = Request(60.0, 32, strategy=strategy)
    return suggest(request, choices, a_dataset(), Overheads(1.0, 1.0), PredictorState.new("adaptive-mlp"))


def reported(*accuracies):
    """Runs as a pod reports them, of model a."""
    regime = Regime(model="a", learning_rate=0.01, frozen_stages=0, steps=10, step_seconds=0.1, predicted_accuracy=0.5)
    return [Run(regime=regime, steps=10, validation_accuracy=accuracy, seconds=1.0) for accuracy in accuracies]


def learned(strategy, runs, delivered):
    record = outcome_record(REQUEST, MODELS, a_dataset(), runs, delivered, strategy_named(strategy))
    return [outcome.accuracy for outcome in record.runs]


def test_one_shot_hands_over_the_best_and_those_behind_it():
    suggestion = suggested("OneShot")
    predicted = [c.predicted_accuracy for c in (suggestion.chosen, *suggestion.runners_up)]
    assert len(predicted) == 6
    assert predicted[:5] == sorted(predicted[:5], reverse=True)
    assert {c.model for c in suggestion.runners_up} == {"a", "b"}


def differing(candidates):
    return [(c.model, c.learning_rate, c.frozen_stages) for c in candidates]


def test_a_race_is_handed_the_best_that_differ_in_more_than_their_steps_each_with_the_most():
    once, raced = suggested("OneShot"), suggested("Race")
    candidates = (raced.chosen, *raced.runners_up)
    # Two models, five learning rates, two ways of freezing.
    assert len(set(differing(candidates))) == len(candidates) == 20
    most = {(c.model, c.frozen_stages): c.iterations for c in candidates}
    assert all(c.iterations == most[c.model, c.frozen_stages] for c in candidates)
    predicted = [c.predicted_accuracy for c in candidates]
    assert predicted == sorted(predicted, reverse=True)
    assert raced.candidates == once.candidates == 80
    assert all(c.predicted_curve == () for c in (once.chosen, *once.runners_up))


def test_a_race_is_told_what_is_predicted_for_fewer_steps():
    raced = suggested("Race")
    for candidate in (raced.chosen, *raced.runners_up):
        steps = [step for step, _ in candidate.predicted_curve]
        accuracies = [accuracy for _, accuracy in candidate.predicted_curve]
        assert (steps[0], steps[-1], len(steps)) == (4, candidate.iterations, 8)
        assert accuracies == sorted(accuracies)
        assert accuracies[-1] >= candidate.predicted_accuracy - 1e-4


def test_at_most_27_are_handed_to_a_race_and_another_model_is_among_them():
    choices = [ModelChoice(model, dict.fromkeys(range(6), 0.2), 0.001) for model in MODELS]
    grid = Grid(learning_rates=tuple(0.001 * 1.3**k for k in range(16)))
    request = Request(60.0, 32, strategy="Race")
    state = PredictorState.new()
    suggestion = suggest(request, choices, a_dataset(), Overheads(1.0, 1.0), state, grid)
    candidates = (suggestion.chosen, *suggestion.runners_up)
    assert len(candidates) == len(set(differing(candidates))) == 27
    assert {c.model for c in candidates} == {"a", "b"}


def test_the_generator_follows_the_requests_strategy(contrary):
    best, worst = suggested("OneShot"), suggested("Contrary")
    assert len(worst.runners_up) == 1
    assert worst.candidates == best.candidates
    assert worst.chosen.predicted_accuracy <= worst.runners_up[0].predicted_accuracy < best.chosen.predicted_accuracy


def test_one_shot_learns_every_run_that_showed_something():
    assert learned("OneShot", reported(0.4, 0.7, 0.6), 1) == [0.4, 0.7, 0.6]


def test_what_is_learned_follows_the_strategy(contrary):
    assert learned("Contrary", reported(0.4, 0.7, 0.6), 1) == [0.7]
    assert learned("Contrary", reported(0.4), None) == []


def recorded(path: Path, *ends: float) -> Path:
    """A file of curves of one dataset: each has two points, the second after 20 s with an accuracy of ``ends``."""
    curves = [a_curve(str(number), end / 2, end, model=f"m{number}") for number, end in enumerate(ends)]
    return write(path, *curves)


def points_of(runs):
    return [(point.curve, point.iterations) for run in runs for point in run]


def test_a_replay_follows_the_strategy(contrary, tmp_path, monkeypatch):
    taught = []
    monkeypatch.setattr(NetworkLearner, "learn", lambda _, runs: taught.extend(points_of(runs)))
    file, warm = recorded(tmp_path / "r.csv", 0.2, 0.4, 0.8), recorded(tmp_path / "w.csv", 0.5)
    result = policy_replay(file, warm, strategy="Contrary", algorithm="adaptive-mlp")
    # Four limits of 20 s each: the halves of three curves take 30 s, and the last one's half has reached 0.4.
    assert (result["requests"], result["limit_exceeded"], result["strategy"]) == (4, 4, "Contrary")
    assert result["mean_accuracy"] == pytest.approx(0.4)
    assert result["mean_regret"] == pytest.approx((0.8 - 0.4) / (0.8 - 0.2))
    assert taught == [("2", 10.0)] * 4


def test_one_shot_replays_the_run_that_is_predicted_best_and_learns_all_of_it(tmp_path, monkeypatch):
    taught = []
    monkeypatch.setattr(NetworkLearner, "predict", lambda _, runs: np.array([float(run.curve == "1") for run in runs]))
    monkeypatch.setattr(NetworkLearner, "learn", lambda _, runs: taught.extend(points_of(runs)))
    file, warm = recorded(tmp_path / "r.csv", 0.2, 0.4, 0.8), recorded(tmp_path / "w.csv", 0.5)
    result = policy_replay(file, warm, algorithm="adaptive-mlp")
    assert (result["mean_accuracy"], result["limit_exceeded"]) == (0.4, 0)
    assert taught == [("1", 10.0), ("1", 20.0)] * 4


def test_of_equal_predictions_one_shot_replays_the_cheapest(tmp_path):
    first, second = read_records(recorded(tmp_path / "r.csv", 0.2, 0.4), final_only=True)
    curves = [[first], [dataclasses.replace(second, gpu_seconds=5.0)]]
    played = ONE_SHOT.replay(
        Offer(30.0, curves, lambda runs: np.zeros(len(runs)), lambda prefixes, _: np.zeros(len(prefixes)))
    )
    assert (played.runs, played.delivered, played.seconds) == ((curves[1],), 0, 5.0)


def test_an_unknown_strategy_is_refused_with_those_that_there_are(contrary):
    for ask in (lambda: suggested("Luck"), lambda: strategy_named("Luck")):
        with pytest.raises(UnknownStrategyError, match="unknown strategy 'Luck': write Race or OneShot or Contrary"):
            ask()


def test_the_command_line_knows_the_table(contrary, tmp_path):
    file, warm = recorded(tmp_path / "r.csv", 0.2, 0.4, 0.8), recorded(tmp_path / "w.csv", 0.5)
    arguments = ["policy", "replay", str(file), "--warm-start", str(warm), "--strategy", "Contrary"]
    arguments += ["--predictor", "adaptive-mlp", "--json"]
    result = CliRunner().invoke(app, arguments)
    assert '"strategy": "Contrary"' in result.stdout


def test_every_strategy_is_entered_under_its_own_name_and_says_what_it_does():
    for name, strategy in STRATEGIES.items():
        assert strategy.name == name
        assert strategy.summary.startswith(f"{name} ")
        assert strategy.summary.endswith(".")
