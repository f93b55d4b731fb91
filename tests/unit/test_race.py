"""The race on recorded curves: inside its limit, charged for what was run, blind to what it has not reached."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import a_curve

from nasoa_runtime.online.race import race
from nasoa_runtime.online.replayed import Offer
from nasoa_runtime.online.requests import within

ACCURACIES = st.lists(st.floats(0, 1), min_size=1, max_size=8)
CURVES = st.lists(st.tuples(ACCURACIES, st.floats(0.5, 60)), min_size=1, max_size=14)


def by_iterations(runs):
    """Whoever goes furthest is predicted best."""
    return np.array([run.iterations for run in runs])


def as_now(prefixes, targets):
    """Whoever is best now stays best."""
    return np.array([prefix[-1].best_acc for prefix in prefixes])


def offer(seconds, curves, predict=by_iterations, finals=as_now):
    return Offer(seconds, within(curves, seconds), predict, finals)


def drawn(curves):
    return [a_curve(str(k), *accuracies, second_each=each) for k, (accuracies, each) in enumerate(curves)]


@given(CURVES, st.floats(60, 600))
def test_a_race_never_exceeds_its_limit_and_is_charged_what_was_run(curves, seconds):
    played = race(offer(seconds, drawn(curves)))
    assert played.seconds <= seconds * (1 + 1e-12)
    assert played.seconds == pytest.approx(sum(run[-1].gpu_seconds for run in played.runs))
    assert len({run[0].curve for run in played.runs}) == len(played.runs) <= 27


@given(CURVES, st.floats(60, 600))
def test_what_is_delivered_is_the_best_that_any_run_has_shown(curves, seconds):
    played = race(offer(seconds, drawn(curves)))
    assert played.runs[played.delivered][-1].best_acc == max(run[-1].best_acc for run in played.runs)


@given(CURVES, st.floats(60, 600), st.floats(0, 1))
def test_no_decision_depends_on_points_that_were_not_reached(curves, seconds, other):
    offered = offer(seconds, drawn(curves))
    played = race(offered)
    reached = {run[0].curve: len(run) for run in played.runs}
    changed = [
        [
            point if place < reached.get(point.curve, 0) else replace(point, acc=other, best_acc=other)
            for place, point in enumerate(curve)
        ]
        for curve in offered.curves
    ]
    assert race(replace(offered, curves=changed)) == played


def test_neither_model_is_shown_what_a_point_that_is_considered_has_reached():
    def predict(runs):
        assert all(np.isnan([run.acc, run.best_acc]).all() for run in runs)
        return by_iterations(runs)

    def finals(prefixes, targets):
        assert all(np.isnan([target.acc, target.best_acc]).all() for target in targets)
        return as_now(prefixes, targets)

    race(offer(100.0, [a_curve("1", 0.1, 0.2), a_curve("2", 0.3, 0.2)], predict, finals))


def test_the_weaker_of_two_stops_early_and_the_better_goes_on_to_its_end():
    slow_start = a_curve("slow", 0.1, 0.1, 0.2, 0.9, 0.9, 0.9, 0.9, 0.9, second_each=5.0)
    promising = a_curve("promising", 0.3, 0.5, 0.6, 0.7, 0.8, 0.8, 0.8, 0.8, second_each=5.0)
    played = race(offer(50.0, [slow_start, promising]))
    lengths = {run[0].curve: len(run) for run in played.runs}
    # The first rung has 15 s, an epoch for each; the promising run takes 35 s more, and what is left is the other's.
    assert lengths == {"promising": 8, "slow": 2}
    assert (played.seconds, played.runs[played.delivered][0].curve) == (50.0, "promising")


def test_the_best_candidate_starts_even_if_its_first_point_takes_all_of_the_time():
    played = race(offer(50.0, [a_curve("long", 0.5, second_each=50.0), a_curve("short", 0.4, second_each=1.0)], first))
    assert [run[0].curve for run in played.runs] == ["long"]
    assert played.seconds == 50.0


def first(runs):
    """The candidates are predicted in the order in which they come."""
    return -np.arange(len(runs), dtype=float)
