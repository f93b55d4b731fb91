"""Who starts, whose the next rung is, when the rate falls and who is out: by what was shown and what is predicted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasoa_runtime.boundary import CurvePoint, Regime
from nasoa_runtime.pods.memory import free_bytes
from nasoa_runtime.pods.racing.standings import (
    CONTENDERS,
    Rung,
    Standing,
    TimeLeft,
    contenders_within,
    held_steps,
    next_rung,
    out,
    rung_seconds,
    starting,
)
from nasoa_runtime.pods.training.curve import extended, thinned
from nasoa_runtime.pods.training.learning_rates import advance, held, learning_rate

RISING = ((10, 0.5), (100, 0.7), (1000, 0.9))


def a_regime(curve=RISING, steps=1000) -> Regime:
    return Regime(
        model="m", learning_rate=0.1, frozen_stages=0, steps=steps, step_seconds=0.1, predicted_accuracy=0.9,
        predicted_curve=curve,
    )  # fmt: skip


def a_standing(number=0, best=0.5, steps=10, step_seconds=1.0, curve=RISING, **fields) -> Standing:
    return Standing(number, a_regime(curve, fields.pop("most", 1000)), steps, best, step_seconds, **fields)


def time_left(seconds=90.0, trainable=100.0, building=0.0, last=None) -> TimeLeft:
    return TimeLeft(seconds, trainable, building, last)


def numbered(*standings: Standing) -> dict[int, Standing]:
    return {standing.number: standing for standing in standings}


# --- What is promised ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("done", "end", "gain"),
    [
        pytest.param(10, 100, 0.2, id="from point to point"),
        pytest.param(10, 1000, 0.4, id="over a point"),
        pytest.param(1, 10, 0.0, id="before the first point"),
        pytest.param(1000, 9000, 0.0, id="behind the last point"),
        pytest.param(10, 32, 0.1010, id="between points, in the logarithm"),
        pytest.param(100, 10, 0.0, id="back"),
    ],
)
def test_what_steps_are_predicted_to_add(done, end, gain) -> None:
    assert a_regime().predicted_gain(done, end) == pytest.approx(gain, abs=1e-4)


def test_without_a_curve_nothing_is_predicted_to_be_added() -> None:
    assert a_regime(curve=()).predicted_gain(1, 1000) == 0.0


@pytest.mark.parametrize("curve", [((10, 0.5), (10, 0.6)), ((10, 0.5), (20, 0.4)), ((0, 0.5),)])
def test_a_curve_that_does_not_rise_is_refused(curve) -> None:
    with pytest.raises(ValueError, match="predicted_curve"):
        a_regime(curve=curve)


def test_a_promise_is_what_was_shown_and_what_is_predicted_to_be_added_in_the_time_left() -> None:
    assert a_standing(best=0.45, steps=10).promise(90.0) == pytest.approx(0.65)
    assert a_standing(best=0.45, steps=10, step_seconds=2.0).promise(45.0) < 0.65
    assert a_standing(best=0.45, steps=10, annealed=True).promise(90.0) == 0.45
    assert a_standing(best=0.45, steps=10, most=10).promise(90.0) == 0.45


# --- Who starts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overheads", "steps", "count"),
    [
        pytest.param([0.0] * 40, [0.01] * 40, 40, id="as many as there are"),
        pytest.param([1.0] * 40, [0.01] * 40, 15, id="each takes its overhead twice: 30 s are 15 starts"),
        pytest.param([1.0] * 40, [1.0] * 40, 3, id="each takes its overhead and eight steps"),
        pytest.param([1.0, 9.0, 9.0], [0.01] * 3, 2, id="the second model takes longer"),
        pytest.param([9.0, 9.0], [0.01] * 2, 1, id="there is room for one"),
        pytest.param([99.0, 9.0], [0.01] * 2, 0, id="there is room for none"),
    ],
)
def test_as_many_start_as_the_first_rung_has_room_for(overheads, steps, count) -> None:
    assert starting(overheads, steps, 100.0) == count


def test_a_rung_is_worth_its_building_and_validating() -> None:
    assert rung_seconds(600.0, overhead_seconds=2.0) == 30.0
    assert rung_seconds(60.0, overhead_seconds=4.0) == 8.0


# --- Whose the next rung is ------------------------------------------------------------------------------------------


def test_the_next_rung_goes_to_whoever_is_predicted_to_reach_most() -> None:
    level = ((10, 0.6), (1000, 0.6))
    standings = numbered(a_standing(0, best=0.6, curve=level), a_standing(1, best=0.5), a_standing(2, best=0.4))
    assert next_rung(standings, time_left()) == Rung(1, annealing=False)


def test_of_equals_the_one_on_the_device_goes_on() -> None:
    standings = numbered(a_standing(0), a_standing(1), a_standing(2))
    assert next_rung(standings, time_left(last=2)).number == 2
    assert next_rung(standings, time_left()).number == 0


def test_building_another_network_is_taken_off_the_time_that_it_would_have() -> None:
    standings = numbered(a_standing(0, best=0.52), a_standing(1, best=0.50))
    assert next_rung(standings, time_left(building=60.0, last=1)).number == 1


def test_the_rate_falls_once_nobody_is_predicted_to_reach_what_the_leader_has_shown() -> None:
    level = ((10, 0.6), (1000, 0.6))
    standings = numbered(a_standing(0, best=0.7), a_standing(1, best=0.6, curve=level))
    assert next_rung(standings, time_left()) == Rung(0, annealing=True)


@pytest.mark.parametrize(("seconds", "annealing"), [(41.0, False), (40.0, True)])
def test_the_rate_falls_when_two_fifths_of_the_time_are_left(seconds, annealing) -> None:
    assert next_rung(numbered(a_standing(0), a_standing(1)), time_left(seconds)).annealing is annealing


def test_the_rate_falls_when_the_regime_has_no_more_steps_than_for_that() -> None:
    assert held_steps(a_regime(steps=100)) == 60
    standings = numbered(a_standing(0, steps=60, most=100), a_standing(1, best=0.3))
    assert next_rung(standings, time_left()) == Rung(0, annealing=True)


def test_nobody_overtakes_one_that_is_always_right() -> None:
    standings = numbered(a_standing(0, best=1.0), a_standing(1, best=0.9), a_standing(2, best=0.9))
    assert next_rung(standings, time_left()) == Rung(0, annealing=True)


def test_who_is_alone_wastes_no_time() -> None:
    assert next_rung(numbered(a_standing(3)), time_left()) == Rung(3, annealing=True)


def test_after_a_survivor_that_could_not_use_all_the_time_whoever_may_overtake_it_goes_on() -> None:
    ended = a_standing(0, best=0.6, annealed=True)
    assert next_rung(numbered(ended, a_standing(1, best=0.5)), time_left(50.0)).number == 1
    assert next_rung(numbered(ended, a_standing(1, best=0.1)), time_left(50.0)) is None


def test_after_a_failure_the_others_go_on_whatever_is_predicted() -> None:
    standings = numbered(a_standing(0, best=0.9, failed=True), a_standing(1, best=0.1))
    assert next_rung(standings, time_left()) == Rung(1, annealing=True)


@pytest.mark.parametrize("seconds", [0.9, 0.0, -5.0])
def test_without_time_for_a_step_there_is_no_rung(seconds) -> None:
    assert next_rung(numbered(a_standing(0), a_standing(1)), time_left(seconds)) is None


# --- What there is memory for ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("free", "count"),
    [
        pytest.param(100 << 30, 5, id="five at most"),
        pytest.param(3 << 30, 4, id="a gigabyte and a half takes three that wait"),
        pytest.param(0, 2, id="two at least: a race of fewer is none"),
    ],
)
def test_few_runs_are_held_where_memory_is_short(free, count) -> None:
    assert contenders_within(free, network_bytes=128 << 20) == count


@pytest.mark.parametrize(
    ("files", "free"),
    [
        pytest.param({"memory.max": "1000", "memory.current": "400"}, 600, id="a limit"),
        pytest.param({"memory.max": "1000", "memory.current": "1400"}, 0, id="a limit that is reached"),
        pytest.param({"memory.max": "max", "memory.current": "400"}, None, id="no limit"),
        pytest.param({}, None, id="no control group"),
    ],
)
def test_free_memory_is_what_the_containers_limit_leaves(tmp_path, files, free) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content + "\n")
    found = free_bytes(tmp_path)
    assert found == free if free is not None else found > 1 << 20


# --- Who is out ------------------------------------------------------------------------------------------------------

STANDINGS = st.lists(st.tuples(st.floats(0, 1), st.integers(1, 500), st.booleans()), min_size=1, max_size=27).map(
    lambda drawn: numbered(*(a_standing(k, best, steps, failed=over) for k, (best, steps, over) in enumerate(drawn)))
)


@given(STANDINGS, st.floats(-5, 500))
def test_few_stay_and_whoever_has_shown_most_is_among_them(standings, seconds) -> None:
    time = time_left(seconds, trainable=500.0)
    gone = out(standings, time)
    left = {number: standing for number, standing in standings.items() if number not in gone}
    assert len(gone) == len(set(gone))
    assert 1 <= len(left) <= CONTENDERS
    assert max(s.best for s in left.values()) == max(s.best for s in standings.values())
    before, after = next_rung(standings, time), next_rung(left, time)
    if before is not None and len(standings) - len(gone) > 1:
        assert after is not None


@given(STANDINGS, st.floats(1, 500))
def test_the_leader_stays(standings, seconds) -> None:
    time = time_left(seconds, trainable=500.0)
    leader = next_rung(standings, time)
    assert leader is None or leader.number not in out(standings, time)


# --- Rates and curves ------------------------------------------------------------------------------------------------


def test_a_rate_that_is_held_rises_over_its_steps_and_stays_until_it_falls() -> None:
    progress, seen = 0.0, []
    for _ in range(6):
        progress = held(progress, warmup_fraction=0.1, warmup_steps=4)
        seen.append(learning_rate(1.0, progress, 0.1))
    assert seen == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, 1.0])
    for left in range(4, 0, -1):
        progress = advance(progress, left)
        seen.append(learning_rate(1.0, progress, 0.1))
    assert seen[6:] == sorted(seen[6:], reverse=True)
    assert seen[6] > 0.8
    assert seen[-1] == pytest.approx(0.0)


POINTS = st.lists(st.integers(1, 10**6), min_size=1, max_size=60, unique=True).map(
    lambda steps: [CurvePoint(steps=k, accuracy=0.5, annealed=False, seconds=1.0) for k in sorted(steps)]
)


@given(POINTS)
def test_a_curve_keeps_its_ends_and_at_most_sixteen_points_in_their_order(points) -> None:
    found: tuple[CurvePoint, ...] = ()
    for point in points:
        found = extended(found, point)
    assert len(found) == min(len(points), 16)
    assert (found[0], found[-1]) == (points[0], points[-1])
    assert [point.steps for point in found] == sorted(point.steps for point in found)
    assert set(found) <= set(points)


def test_a_curve_is_thinned_where_it_is_crowded() -> None:
    points = [CurvePoint(steps=k, accuracy=0.5, annealed=False, seconds=1.0) for k in (1, 10, 100, 990, 1000)]
    assert [point.steps for point in thinned(points, 4)] == [1, 10, 100, 1000]


def test_a_later_validation_at_the_same_step_replaces_the_earlier() -> None:
    one, other = (CurvePoint(steps=5, accuracy=a, annealed=False, seconds=1.0) for a in (0.4, 0.6))
    assert extended((one,), other) == (other,)
