"""The predictor hedge: its experts, their weights, and what a refit sees."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import a_curve, a_point

from nasoa_runtime.online.errors import UnreadableState
from nasoa_runtime.online.experience import Experience, log_spaced
from nasoa_runtime.online.experts import REMEMBERED, NetworkExpert, Past, TreeExpert
from nasoa_runtime.online.features import NETWORK_FEATURES
from nasoa_runtime.online.forest import Forest, fit_forest
from nasoa_runtime.online.hedge import doubling_beta, regret_beta
from nasoa_runtime.online.hedged import Hedged, last_due
from nasoa_runtime.online.learners import HedgeLearner, carried_on
from nasoa_runtime.online.left_out import likelihoods, line
from nasoa_runtime.online.recorded_features import described
from nasoa_runtime.online.residuals import Residuals
from nasoa_runtime.online.trees import Trees, fit


def a_file(datasets=("A", "B", "C"), runs=12):
    """Curves that rise to an accuracy which the rate decides, on datasets of different difficulty."""
    return [
        a_curve(
            f"{dataset}{run}",
            *(ceiling * (1 - 0.5**epoch) for epoch in range(1, 5)),
            second_each=1.0 + run % 3,
            dataset=dataset,
            lr=10.0 ** -(1 + run % 4),
            model=f"m{run % 2}",
            n_classes=10.0 * (number + 1),
        )
        for number, dataset in enumerate(datasets)
        for run in range(runs)
        for ceiling in [(1.0 - 0.2 * (run % 4)) * (1.0 - 0.2 * number)]
    ]


def shown(*curves):
    return Experience.of_curves(curves)


@pytest.fixture(scope="module")
def started():
    return Hedged.started(shown(*a_file()), seed=0)


def test_equal_runs_and_seeds_give_equal_trees_and_weights(started):
    again = Hedged.started(shown(*a_file()), seed=0)
    assert [e.trees.texts for e in again.experts[:2]] == [e.trees.texts for e in started.experts[:2]]
    assert again.weights.tolist() == started.weights.tolist()
    other = Hedged.started(shown(*a_file()), seed=1)
    assert other.experts[0].trees.texts != started.experts[0].trees.texts


def test_trees_are_their_text():
    random = np.random.default_rng(0)
    features = random.normal(size=(200, 4))
    fitted = fit(features, features[:, 0] ** 2, (), seed=0)
    read = Trees(tuple(text.encode().decode() for text in fitted.texts))
    assert read.predict(features).tolist() == fitted.predict(features).tolist()
    assert len(fitted.texts) == 3


def test_a_forest_comes_back_from_its_bytes_which_are_equal_for_equal_runs():
    known = shown(*a_file())
    forest = fit_forest(known, 0)
    stored = forest.dump()
    assert fit_forest(known, 0).dump() == stored
    read = Forest.load(stored)
    runs = described([curve[-1] for curve in a_file()])
    for one, other in zip(read.experts, forest.experts, strict=True):
        assert one.predict(runs).tolist() == other.predict(runs).tolist()


@pytest.mark.parametrize("spoil", [lambda _: b"", lambda b: b[: len(b) // 2], lambda b: b[:-9] + b"x" + b[-8:]])
def test_bytes_that_are_no_forest_are_refused(spoil):
    with pytest.raises(UnreadableState, match="trees can't be read"):
        Forest.load(spoil(fit_forest(shown(*a_file()), 0).dump()))


def test_a_start_knows_three_experts_and_no_request(started):
    assert [expert.name for expert in started.experts] == ["points", "order", "network"]
    assert started.weights.sum() == pytest.approx(1.0)
    assert started.version == 0
    # The residuals are for what comes after the fit.
    assert all(expert.residuals == Residuals() for expert in started.experts)


def test_it_prefers_the_better_rate_and_longer_runs_on_a_dataset_it_has_not_seen(started):
    runs = [a_point(dataset="new", n_classes=15.0, lr=lr, model="m0") for lr in (1e-1, 1e-4)]
    better, worse = started.predict(described([replace(run, epochs=4.0, iterations=40.0) for run in runs]))
    assert better > worse + 0.1
    shorter = started.predict(described([replace(runs[0], epochs=1.0, iterations=10.0)]))[0]
    assert better > shorter


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1e5))
def test_a_prediction_reads_nothing_of_what_a_run_came_to(started, acc, best_acc, gpu_seconds):
    run = a_point(dataset="A", n_classes=10.0)
    come_to = replace(run, acc=acc, best_acc=best_acc, gpu_seconds=gpu_seconds, final=False, status="16h", curve="x")
    assert started.predict(described([come_to])).tolist() == started.predict(described([run])).tolist()


def test_one_request_is_one_version_and_moves_the_next_prediction_at_once(started):
    run = a_curve("x", 0.05, 0.05, dataset="new", n_classes=15.0)
    learned = started.learn(shown(run))
    assert (learned.version, started.version) == (1, 0)
    assert learned.predict(described(run))[-1] < started.predict(described(run))[-1]
    # Trees change at refits only.
    assert learned.experts[0].trees == started.experts[0].trees
    nothing = shown(run).subset(np.zeros(1, np.bool_))
    assert started.learn(nothing) is started


def test_the_expert_that_loses_least_gains_weight(started):
    run = a_curve("x", 0.05, 0.05, dataset="new", n_classes=15.0)
    losses = (started.opinions(described([run[-1]]))[:, 0] - 0.05) ** 2
    expected = started.weights * doubling_beta(1) ** losses
    assert started.learn(shown(run)).weights == pytest.approx(expected / expected.sum())


def test_a_predictor_that_knows_nothing_has_the_network_alone_until_its_first_refit():
    learner = HedgeLearner(0, best_so_far=True)
    for number, curve in enumerate(a_file(runs=3), start=1):
        assert [expert.name for expert in learner.state.experts] == (
            ["network"] if number <= 8 else ["points", "order", "network"]
        )
        learner.learn([curve])
    assert learner.state.version == 9
    assert len(learner.known) == 9


def test_refits_are_due_at_fixed_versions():
    assert [version for version in range(300) if version and last_due(version) == version] == [
        8,
        16,
        32,
        64,
        128,
        192,
        256,
    ]
    assert [last_due(version) for version in (0, 7, 9, 31, 33, 200)] == [0, 0, 8, 16, 32, 192]


def test_a_residual_is_the_mean_error_shrunken_towards_none():
    seen = Residuals().observe(described([a_point(dataset="A")] * 2), np.array([0.2, 0.4]))
    own, other = seen.of(described([a_point(dataset="A"), a_point(dataset="B")]))
    assert other == pytest.approx(0.6 / 32)
    assert own == pytest.approx(0.6 / 32 + 0.6 / 5)


def test_what_is_off_everywhere_is_learned_for_the_zoo_and_not_again_for_each_dataset():
    residuals = Residuals()
    for number in range(400):
        residuals = residuals.observe(described([a_point(dataset=f"{number % 40}")]), np.array([0.2]))
    known, new = residuals.of(described([a_point(dataset="1"), a_point(dataset="new")]))
    assert new == pytest.approx(0.2, abs=0.02)
    assert known == pytest.approx(0.2, abs=0.08)


def test_only_datasets_learned_of_last_are_remembered(monkeypatch):
    monkeypatch.setattr("nasoa_runtime.online.residuals.MOST_DATASETS", 2)
    residuals = Residuals()
    for dataset in ("A", "B", "A", "C"):
        residuals = residuals.observe(described([a_point(dataset=dataset)]), np.array([0.1]))
    assert list(residuals.datasets) == ["A", "C"]


def test_a_network_relearns_earlier_outcomes_and_leaves_the_one_it_came_from_alone():
    fresh = NetworkExpert.new(0)
    run = described([a_point(model="m0")])
    before = fresh.predict(run)[0]
    learned = fresh.learn(run, np.array([0.9])).learn(described([a_point(model="m1")]), np.array([0.9]))
    assert fresh.predict(run)[0] == before
    assert learned.encoder.models == ("m0", "m1")
    assert abs(learned.predict(run)[0] - 0.9) < abs(before - 0.9)


@pytest.mark.parametrize("outcomes", [3, REMEMBERED, REMEMBERED + 200])
def test_a_network_remembers_a_bounded_sample_of_what_it_has_learned(outcomes):
    past, random = Past.nothing(), np.random.default_rng(0)
    for number in range(outcomes):
        past = past.with_outcome(np.full(len(NETWORK_FEATURES), float(number)), f"m{number}", number / 1e4, random)
    kept = min(outcomes, REMEMBERED)
    assert (past.seen, past.rows.shape[0], len(past.models), len(past.accuracies)) == (outcomes, kept, kept, kept)
    # Rows, models and accuracies stay together, and none is there twice.
    assert [f"m{int(row[0])}" for row in past.rows] == list(past.models)
    assert past.accuracies == pytest.approx(past.rows[:, 0] / 1e4)
    assert len(set(past.models)) == kept


def test_the_discount_is_the_theorems_for_the_next_power_of_two():
    assert [doubling_beta(outcomes) for outcomes in (1, 2, 3, 4, 5, 64)] == [
        regret_beta(expected) for expected in (1, 2, 4, 4, 8, 64)
    ]


def test_start_weights_are_level_for_level_experts_and_small_for_one_that_lost_twice_as_much():
    assert likelihoods(np.array([0.05, 0.05, 0.10]), 12) == pytest.approx(np.array([64, 64, 1]) / 129)


def test_a_line_is_flat_where_places_mislead():
    assert line(np.array([0.0, 1.0]), np.array([0.2, 0.6])) == pytest.approx((0.4, 0.2))
    assert line(np.array([0.0, 1.0]), np.array([0.6, 0.2])) == pytest.approx((0.0, 0.4))
    assert line(np.array([0.5, 0.5]), np.array([0.6, 0.2])) == pytest.approx((0.0, 0.4))


def test_a_run_that_is_carried_on_keeps_its_best_and_gains_what_the_predictor_expects():
    def predict(points):
        return np.array([point.iterations / 100 for point in points])

    prefix, lost = a_curve("x", 0.4), a_curve("y", 0.5, 0.3)
    later, earlier = a_point(iterations=40.0), a_point(iterations=5.0)
    assert carried_on(predict, [prefix, lost], [later, earlier]) == pytest.approx([0.4 + 0.3, 0.5])


def test_points_of_a_curve_are_chosen_from_first_to_last():
    assert log_spaced(1, 12) == [0]
    assert log_spaced(50, 4) == [0, 3, 13, 49]


def test_tree_experts_put_their_prediction_through_a_line(started):
    order = started.experts[1]
    assert isinstance(order, TreeExpert)
    run = described([a_point(dataset="A")])
    plain = replace(order, slope=1.0, intercept=0.0).predict(run)[0]
    assert order.predict(run)[0] == pytest.approx(order.intercept + order.slope * plain)
