"""Intervals around predictions: their ends, and that in the long run nine of ten outcomes lie inside."""

import numpy as np
import pytest
from described import a_record, a_run, an_outcome, batch
from hypothesis import assume, given
from hypothesis import strategies as st

from nasoa_runtime.online.intervals import EDGE, Intervals, distances, logit
from nasoa_runtime.online.state import PredictorState
from nasoa_runtime.online.warm_start import warm_started

SHARES = st.floats(0, 1)


@given(SHARES, st.floats(0, 12), st.floats(0.01, 3))
def test_an_interval_holds_its_prediction_and_stays_within_0_and_1(predicted, width, spread):
    low, high = (end[0] for end in Intervals(width, 1.0).around(np.array([predicted]), spread))
    assert 0 <= low <= high <= 1
    assert low - 1e-9 <= min(max(predicted, EDGE), 1 - EDGE) <= high + 1e-9


@given(SHARES, SHARES, st.floats(0, 12), st.floats(0.01, 3))
def test_what_lies_between_the_ends_is_what_was_not_missed(predicted, reached, width, spread):
    intervals = Intervals(width, 1.0)
    low, high = (end[0] for end in intervals.around(np.array([predicted]), spread))
    off = distances(np.array([predicted]), np.array([reached]))[0]
    # On an end itself rounding decides.
    assume(off == 0 or abs(off - width * spread) > 1e-6)
    assert (low - 1e-9 <= reached <= high + 1e-9) == (off <= width * spread)


def test_it_is_even_on_the_logit_scale():
    low, high = Intervals(2.0, 1.0).around(np.array([0.7]), np.array([0.5]))
    assert logit(np.array([0.7])) - logit(low) == pytest.approx(1.0)
    assert logit(high) - logit(np.array([0.7])) == pytest.approx(1.0)


def test_the_first_width_is_the_quantile_of_what_was_off_in_spreads():
    predicted = np.full(1000, 0.5)
    off = np.linspace(0, 2, 1000)
    reached = 1 / (1 + np.exp(-off))
    assert Intervals.of(predicted, reached, np.full(1000, 0.5)).width == pytest.approx(0.9 * 2 / 0.5, rel=1e-2)


@pytest.mark.parametrize("first", [0.05, 1.0, 8.0])
@pytest.mark.parametrize("change", [1.0, 4.0], ids=["as before", "four times as far off from the middle on"])
def test_in_the_long_run_nine_of_ten_outcomes_lie_inside_wherever_it_starts_and_whatever_changes(first, change):
    random = np.random.default_rng(0)
    intervals, inside = Intervals(first, 1.0), []
    for request in range(4000):
        off = random.normal(0, 0.4 * (change if request >= 2000 else 1.0))
        predicted, reached = np.array([0.5]), np.array([1 / (1 + np.exp(-off))])
        low, high = intervals.around(predicted, 1.0)
        inside.append(low[0] <= reached[0] <= high[0])
        intervals = intervals.observe(predicted, reached, 1.0)
    assert np.mean(inside[500:2000]) == pytest.approx(0.9, abs=0.03)
    assert np.mean(inside[2500:]) == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize("algorithm", ["adaptive-mlp", "hedge"])
def test_a_surprise_widens_the_intervals_and_what_was_foretold_narrows_them(algorithm):
    state = warm_started(algorithm)
    runs = batch(a_run())
    (expected,) = np.clip(state.predict(runs), 0, 1)
    surprised = state.update(a_record("uid-1", an_outcome(1.0 if expected < 0.5 else 0.0)))
    confirmed = state.update(a_record("uid-1", an_outcome(float(expected))))
    assert confirmed.intervals.width < state.intervals.width < surprised.intervals.width


def test_what_is_unlike_all_that_was_seen_is_less_sure_than_what_is_like_it():
    low, high = warm_started().interval(batch(a_run(iterations=2), a_run(iterations=20_000)))
    assert high[0] - low[0] != pytest.approx(high[1] - low[1], abs=0.02)


def test_a_predictor_that_knows_nothing_is_sure_of_nothing():
    low, high = PredictorState.new().interval(batch(a_run()))
    assert high[0] - low[0] > 0.8
