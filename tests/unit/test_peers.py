"""The peers of the benchmarks: charged as we are, blind to what they may not see, and kept apart from the product."""

from dataclasses import replace

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import a_curve, a_point

from benchmarks import intervals, learning_stream, optuna_searches, quick_tune, replay
from benchmarks.intervals import difference, over_datasets, ratio
from benchmarks.kept import Kept
from benchmarks.learning_stream import STREAM_LIMITS
from benchmarks.peers import Bench, asha, random_search, searched, tree_parzen
from benchmarks.recorded_runs import strongest
from benchmarks.rows import CODED, WIDTH, Codes, rates
from nasoa_runtime.online.requests import within

ACCURACIES = st.lists(st.floats(0, 1), min_size=1, max_size=6)
CURVES = st.lists(st.tuples(ACCURACIES, st.floats(0.5, 40)), min_size=2, max_size=12)
SEARCHES = {
    "random search": lambda bench: random_search(bench, np.random.default_rng(1)),
    "ASHA": lambda bench: asha(bench, np.random.default_rng(1)),
    "BOHB-like": lambda bench: asha(bench, np.random.default_rng(1), tree_parzen(*searched(bench.curves))),
    "Optuna": lambda bench: optuna_searches.search(
        bench, optuna.samplers.TPESampler(seed=1), optuna_searches.hyperband(), "study"
    ),
}


def drawn(curves, seconds=100.0):
    rates = (1e-4, 1e-3, 1e-2)
    made = [
        a_curve(str(number), *accuracies, second_each=each, lr=rates[number % 3], opt=("adam", "sgd")[number % 2])
        for number, (accuracies, each) in enumerate(curves)
    ]
    return within(made, seconds)


def various(count=8, dataset="DOG"):
    """Runs of which those with the larger rate do better."""
    random = np.random.default_rng(count)
    return [
        a_curve(
            f"{dataset}{number}",
            *np.clip(np.linspace(0.1, 0.3 + 0.05 * number, 6) + random.normal(0, 0.01, 6), 0, 1),
            second_each=2.0 + number,
            lr=10.0 ** (-4 + number / 3),
            dataset=dataset,
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("name", SEARCHES)
@given(curves=CURVES, share=st.floats(0.1, 1))
def test_a_search_that_had_less_to_spend_would_have_reached_what_it_had_by_then(name, curves, share):
    prefixes = drawn(curves)
    if not prefixes:
        return
    whole, less = Bench(prefixes, 100.0, 800.0), Bench(prefixes, 100.0, share * 800.0)
    SEARCHES[name](whole)
    SEARCHES[name](less)
    assert less.spent <= less.budget
    assert whole.best_within(less.budget) == less.best_within(less.budget)


def test_a_search_that_reached_nothing_has_the_worst_there_is():
    bench = Bench([a_curve("1", 0.2, 0.4), a_curve("2", 0.3)], 100.0, 5.0)
    random_search(bench, np.random.default_rng(0))
    assert bench.best_within(5.0) == 0.3


@given(CURVES, st.integers(0, 9))
def test_a_suggestion_stands_for_a_recorded_run_and_none_is_used_twice(curves, seed):
    prefixes = drawn(curves)
    nearest = optuna_searches.Nearest(optuna.samplers.TPESampler(seed=seed), prefixes)
    study = optuna.create_study(sampler=nearest)
    used = []
    while nearest.waiting:
        trial = study.ask(nearest.space)
        used.append(nearest.used)
        own = optuna_searches.setting(prefixes[nearest.used])
        assert trial.params == {name: own[name] for name in nearest.space}
        study.tell(trial, 0.0)
    assert sorted(used) == list(range(len(prefixes)))


def test_the_run_that_is_used_is_the_nearest_of_those_that_are_left():
    curves = [a_curve(str(number), 0.5, lr=rate) for number, rate in enumerate((1e-4, 1e-3, 1e-2))]

    class Wants(optuna.samplers.RandomSampler):
        def sample_independent(self, study, trial, param_name, param_distribution):
            return -2.1  # The logarithm of a rate near the largest.

    nearest = optuna_searches.Nearest(Wants(), curves)
    study = optuna.create_study(sampler=nearest)
    used = []
    for _ in curves:
        study.ask(nearest.space)
        used.append(nearest.used)
    assert used == [2, 1, 0]


def test_rows_say_nothing_of_what_a_run_reached_or_cost():
    run = a_point()
    other = replace(run, acc=0.9, best_acc=0.95, gpu_seconds=7.0, status="stopped early", final=False, curve="2")
    rows = Codes.of([run]).rows([run, other])
    assert rows.shape == (2, WIDTH)
    assert np.array_equal(rows[0], rows[1])
    assert not np.isnan(rows).any()


def test_a_word_that_was_not_met_is_missing_and_has_no_column():
    codes = Codes.of([a_point(opt="adam"), a_point(opt="sgd")])
    asked = [a_point(opt="adamp")]
    assert np.isnan(codes.rows(asked)[:, list(CODED)]).sum() == 1
    met, unmet = codes.one_hot([a_point(opt="sgd")]), codes.one_hot(asked)
    assert met.sum() - unmet.sum() == 1


@pytest.mark.parametrize(
    ("epochs", "mean"),
    [
        pytest.param(2.0, 0.0025, id="half of a warm-up from 0.001 to 0.007"),
        pytest.param(4.0, 0.004, id="all of it"),
        pytest.param(8.0, 0.0055, id="as long again"),
    ],
)
def test_the_mean_rate_so_far_follows_the_warm_up(epochs, mean):
    run = a_point(lr=0.007, warmup_lr=0.001, warmup_epochs=4.0, epochs=epochs, iterations=100.0)
    assert rates(run) == pytest.approx([np.log10(mean), np.log10(mean * 100)])


def test_intervals_are_over_datasets_and_differences_are_paired():
    ours = {"a": [0.1, 0.3], "b": [0.4, 0.6]}
    theirs = {"a": [0.3, 0.5], "b": [0.6, 0.8]}
    less = difference(ours, theirs)
    assert (less.mean, less.low, less.high) == pytest.approx((-0.2, -0.2, -0.2))
    assert less.excludes_zero
    assert not over_datasets([-0.1, 0.1, 0.0]).excludes_zero
    assert ratio(ours, theirs).mean == pytest.approx(0.35 / 0.55)
    assert intervals.Interval(0.1234567, -0.1, 0.3).__str__() == "+0.1235 [-0.1000, +0.3000]"


def test_figures_are_computed_once_for_each_file_of_records(tmp_path):
    records = tmp_path / "records.csv"
    records.write_text("one")
    asked = []

    def compute():
        asked.append(1)
        return {"a": [len(asked)]}

    kept = Kept.of(tmp_path / "kept", records)
    assert kept.figures("x", compute) == kept.figures("x", compute) == {"a": [1]}
    records.write_text("another")
    assert Kept.of(tmp_path / "kept", records).figures("x", compute) == {"a": [2]}
    assert Kept.of(None, records).figures("x", compute) == {"a": [3]}


def test_the_strongest_is_looked_for_among_halving_searches_with_the_same_budget():
    policies = {
        "random search, 4x": {"a": [0.0]},
        "ASHA, 4x": {"a": [0.3]},
        "BOHB-like, 4x": {"a": [0.2]},
        "Optuna TPE, ASHA, 4x": {"a": [0.1]},
        "Optuna TPE, ASHA, 8x": {"a": [0.0]},
    }
    assert strongest(policies, 4) == "Optuna TPE, ASHA, 4x"


def test_a_peer_of_the_stream_is_fitted_to_what_came_before_alone():
    stream = [a_point(curve=str(number), acc=number / 1000) for number in range(230)]
    fitted = []

    def fit(runs, reached, seed):
        fitted.append(len(runs))
        assert [run.curve for run in runs] == [str(number) for number in range(len(runs))]
        return lambda asked: np.full(len(asked), float(len(runs)))

    predicted, _ = replay.refitted(fit, stream, 0)
    assert fitted == [100, 200]
    assert predicted[[99, 100, 199, 200, 229]] == pytest.approx([0.049, 100, 100, 200, 200])


class Remembers:
    """A learner that predicts what it has learned of a run, and 0 for others."""

    def __init__(self):
        self.known = {}

    def predict(self, runs):
        return np.array([self.known.get(run.curve, 0.0) for run in runs])

    def finals(self, prefixes, targets):
        return self.predict(targets)

    def learn(self, runs):
        self.known |= {run[-1].curve: run[-1].best_acc for run in runs}


def test_a_state_learns_what_its_own_requests_ran_and_the_start_learns_nothing():
    curves = various(dataset="DOG") + various(dataset="AWA")
    started = Remembers()
    rows = learning_stream.served(lambda: started, curves, ["DOG"], 0)
    assert started.known == {}
    assert {row["dataset"] for row in rows} == {"DOG"}
    for strategy in ("OneShot", "Race"):
        own = [row for row in rows if row["strategy"] == strategy]
        assert [row["earlier"] for row in own] == list(range(STREAM_LIMITS))
        assert own[0]["on"] == own[0]["off"]
        # It learned only runs that were run: of candidates that never were, it knows as little as the start.
        assert all(row["on"][learning_stream.MEASURES[3]] == row["off"][learning_stream.MEASURES[3]] for row in own)
    one_shot = [row for row in rows if row["strategy"] == "OneShot"]
    assert one_shot[-1]["on"][learning_stream.MEASURES[2]] < one_shot[-1]["off"][learning_stream.MEASURES[2]]


def test_each_request_of_the_stream_comes_once():
    stream = learning_stream.in_order(various(dataset="DOG") + various(dataset="AWA"), 0)
    assert len({(request.dataset, request.limit) for request in stream}) == len(stream) == 2 * STREAM_LIMITS


def test_expected_improvement_is_that_of_a_normal_distribution():
    means, spreads, best = np.array([0.5, 0.7, 0.3]), np.array([0.1, 1e-6, 1e-6]), np.array([0.5, 0.5, 0.5])
    assert quick_tune.improvement(means, spreads, best) == pytest.approx([0.0398942, 0.2, 0.0], abs=1e-6)


def test_an_incumbent_is_the_best_at_that_budget_or_the_best_of_all():
    reached = quick_tune.torch.tensor([0.25, 0.5, 0.75])
    assert quick_tune.incumbents(np.array([1, 2, 3]), [1, 1, 2], reached).tolist() == [0.5, 0.75, 0.75]


def test_the_process_predicts_what_was_seen_where_it_was_seen_and_the_mean_far_away():
    process = quick_tune.DeepKernel(2).requires_grad_(False)
    seen = quick_tune.torch.zeros(1, quick_tune.FEATURES)
    asked = quick_tune.torch.stack([seen[0], seen[0] + 1e3])
    process.noise.fill_(-20.0)
    mean, spread = process.ahead(asked, seen, quick_tune.torch.tensor([0.8]))
    assert mean == pytest.approx([0.8, 0.3], abs=1e-3)
    assert spread == pytest.approx([0.0, np.exp(-1.5)], abs=5e-3)


def test_quick_tune_goes_on_epoch_by_epoch_and_keeps_to_its_budget(one_process):
    curves = various()
    scaled = quick_tune.Scaled.of(curves)
    width = scaled.rows(curves).shape[1]
    process = quick_tune.DeepKernel(width + quick_tune.PROGRESS_WIDTH).requires_grad_(False)
    learned = quick_tune.MetaLearned(scaled, process, quick_tune.network(width + 1, 1).requires_grad_(False))
    bench = Bench(curves, 100.0, 60.0)
    quick_tune.search(bench, learned)
    assert bench.spent <= 60.0
    assert len(bench.trace) == sum(at + 1 for at in bench.at.values())
    unlimited = Bench(curves, 100.0, 1e6)
    quick_tune.search(unlimited, learned)
    assert unlimited.best == max(curve[-1].best_acc for curve in curves)
