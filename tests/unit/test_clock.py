"""The clock of a request over its attempts, and the arithmetic of what still fits."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from s3 import an_empty_store

from nasoa_runtime.boundary import Regime, Run, SharedLimit
from nasoa_runtime.documents.base import dump, load
from nasoa_runtime.documents.heartbeat import Heartbeat, charged_seconds
from nasoa_runtime.pods.clock import Clock
from nasoa_runtime.pods.one_shot import next_regime
from nasoa_runtime.pods.process_time import process_started, seconds_since_process_start
from nasoa_runtime.pods.training.budget import Costs, affordable_steps, planned_validations
from nasoa_runtime.pods.training.learning_rates import advance, learning_rate
from nasoa_runtime.storage.s3 import ObjectStore, StoreUnavailable

WORK = "s3://tenant/work"
FIRST = f"{WORK}/clock/0001.json"


@pytest.fixture
def store(endpoint: str) -> ObjectStore:
    return an_empty_store(endpoint, "tenant")


def a_clock(store: ObjectStore, seconds: float = 100.0, heartbeat_seconds: float = 2.0) -> Clock:
    return Clock.over_attempts(store, SharedLimit(seconds=seconds, work_uri=WORK, heartbeat_seconds=heartbeat_seconds))


def first_heartbeat(store: ObjectStore) -> Heartbeat:
    return load(Heartbeat, store.get(FIRST).body, FIRST)


def test_the_start_of_a_process_is_field_22_even_behind_an_odd_name() -> None:
    fields = " ".join(str(number) for number in range(4, 40))
    assert process_started(f"12 (a (b) c) S {fields}", ticks_per_second=2) == 11.0


def test_this_process_has_an_age() -> None:
    assert 0 < seconds_since_process_start() < 24 * 3600


def test_a_vanished_attempt_costs_one_interval_more_than_it_last_said() -> None:
    beats = [
        Heartbeat(seconds=10.0, interval_seconds=2.0, closed=True),
        Heartbeat(seconds=5.0, interval_seconds=2.0, closed=False),
    ]
    assert charged_seconds(beats) == 17.0


def test_the_first_attempt_starts_with_its_own_age_alone(store: ObjectStore) -> None:
    clock = a_clock(store, seconds=1e6)
    assert (clock.attempt, clock.used_before_seconds) == (1, 0.0)
    assert clock.used_seconds() == pytest.approx(seconds_since_process_start(), abs=1)


def test_an_attempt_that_ended_in_order_is_charged_exactly(store: ObjectStore) -> None:
    first = a_clock(store)
    first.age = lambda: 7.25
    with first:
        pass
    second = a_clock(store)
    second.age = lambda: 1.0
    assert (second.attempt, second.used_before_seconds) == (2, 7.25)
    assert second.used_seconds() == 8.25
    assert second.remaining_seconds() == 91.75


def test_an_attempt_that_was_killed_is_charged_an_interval_more(store: ObjectStore) -> None:
    first = a_clock(store, heartbeat_seconds=3.0)
    first.age = lambda: 12.0
    first.beat()
    assert a_clock(store, heartbeat_seconds=3.0).used_before_seconds == 15.0


def test_heartbeats_are_sent_while_it_runs(store: ObjectStore) -> None:
    clock = a_clock(store, heartbeat_seconds=0.01)
    ages = itertools.count(1)
    clock.age = lambda: float(next(ages))
    with clock:
        while first_heartbeat(store).seconds < 3:
            pass
    assert first_heartbeat(store).closed


def test_two_attempts_at_once_get_numbers_of_their_own(store: ObjectStore) -> None:
    clocks = [a_clock(store) for _ in range(3)]
    assert [clock.attempt for clock in clocks] == [1, 2, 3]


HEARTBEAT = dump(Heartbeat(seconds=50.0, interval_seconds=2.0, closed=True))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"seconds": -5, "interval_seconds": 2, "closed": true}', id="without a version"),
        pytest.param(HEARTBEAT.replace(b"50.0", b"5.00"), id="edited by hand"),
        pytest.param(HEARTBEAT.replace(b'Version":2', b'Version":3'), id="of a newer version"),
        pytest.param(HEARTBEAT[:-5], id="cut off"),
        pytest.param(b"", id="empty"),
    ],
)
def test_what_is_no_heartbeat_is_charged_an_interval(body: bytes, store: ObjectStore) -> None:
    store.put(FIRST, body)
    assert a_clock(store).used_before_seconds == 2.0


def test_a_heartbeat_that_is_whole_is_charged_as_it_says(store: ObjectStore) -> None:
    store.put(FIRST, HEARTBEAT)
    assert a_clock(store).used_before_seconds == 50.0


def test_a_store_that_does_not_answer_stops_no_run(caplog: pytest.LogCaptureFixture) -> None:
    tried = []

    def write(body: bytes) -> None:
        tried.append(load(Heartbeat, body, FIRST))
        raise StoreUnavailable("S3 does not answer")

    ages = itertools.count(1)
    with Clock(limit_seconds=10.0, interval_seconds=600.0, age=lambda: float(next(ages)), write=write) as clock:
        clock.beat()
        assert clock.remaining_seconds() == 8.0
    # The one that was asked for, and the one that closes the attempt: each is tried, told, and let go.
    assert [(heartbeat.seconds, heartbeat.closed) for heartbeat in tried] == [(1.0, False), (3.0, True)]
    assert [r.getMessage() for r in caplog.records] == ["Heartbeat not written: S3 does not answer"] * 2
    assert clock.remaining_seconds() == 6.0


# --- What fits -------------------------------------------------------------------------------------------------------


def test_the_reserve_covers_validation_test_upload_and_a_margin() -> None:
    costs = Costs(validation_seconds=2.0, test_seconds=3.0, upload_seconds=1.0)
    assert costs.reserve_seconds(limit_seconds=100.0) == 12.0


@pytest.mark.parametrize(
    ("remaining", "reserve", "step", "expected"),
    [
        pytest.param(11.0, 1.0, 0.5, 20, id="whole steps"),
        pytest.param(11.4, 1.0, 0.5, 20, id="never a part of one"),
        pytest.param(1.0, 1.0, 0.5, 0, id="nothing but the reserve"),
        pytest.param(-3.0, 1.0, 0.5, 0, id="overdrawn"),
    ],
)
def test_steps_fit_between_now_and_the_reserve(remaining, reserve, step, expected) -> None:
    assert affordable_steps(remaining, reserve, step) == expected


def test_validation_is_left_to_the_end_where_it_is_too_expensive() -> None:
    assert planned_validations(0.0, Costs(0.1, 0, 0), trainable_seconds=10.0) == (0.5, 0.75, 0.9)
    assert planned_validations(0.8, Costs(0.1, 0, 0), trainable_seconds=10.0) == (0.9,)
    assert planned_validations(0.0, Costs(1.0, 0, 0), trainable_seconds=10.0) == ()


def test_the_rate_rises_and_falls() -> None:
    assert learning_rate(1.0, 0.05, 0.1) == 0.5
    assert learning_rate(1.0, 0.1, 0.1) == 1.0
    assert learning_rate(1.0, 0.55, 0.1) == pytest.approx(0.5)
    assert learning_rate(1.0, 1.0, 0.1) == pytest.approx(0.0)
    assert learning_rate(1.0, 0.0, 0.0) == 1.0


@given(plans=st.lists(st.integers(1, 50), min_size=1, max_size=40))
def test_progress_ends_at_one_and_never_falls_however_the_plan_changes(plans) -> None:
    progress, step, seen = 0.0, 0, [0.0]
    for plan in plans:
        remaining = max(plan - step, 1)
        progress, step = advance(progress, remaining), step + 1
        seen.append(progress)
        if remaining == 1:
            break
    assert seen == sorted(seen)
    assert seen[-1] <= 1.0
    assert (seen[-1] == 1.0) == (remaining == 1)


# --- Which regime is next --------------------------------------------------------------------------------------------


def regime(model: str = "a", rate: float = 0.1, stages: int = 0, **more) -> Regime:
    fields = {"model": model, "learning_rate": rate, "frozen_stages": stages} | more
    return Regime.model_validate(fields | {"steps": 10, "step_seconds": 0.1, "predicted_accuracy": 0.5})


def failed(what: Regime, failure: str) -> Run:
    fields = {"regime": what, "steps": 1, "validation_accuracy": None, "failure": failure, "seconds": 1.0}
    return Run.model_validate(fields)


def test_after_divergence_the_same_model_is_tried_with_a_lower_rate_only() -> None:
    regimes = [regime(rate=0.1), regime(rate=0.3), regime(rate=0.1, stages=2), regime(rate=0.03)]
    assert next_regime(regimes, [failed(regimes[0], "Diverged")]) == regimes[3]


def test_another_model_may_keep_the_rate() -> None:
    regimes = [regime(rate=0.1), regime(model="b", rate=0.3)]
    assert next_regime(regimes, [failed(regimes[0], "Diverged")]) == regimes[1]


def test_after_running_out_of_memory_more_stages_are_frozen() -> None:
    regimes = [regime(stages=1), regime(rate=0.01), regime(rate=0.01, stages=1), regime(stages=5)]
    assert next_regime(regimes, [failed(regimes[0], "OutOfMemory")]) == regimes[3]


def test_another_optimiser_may_have_a_higher_rate_than_one_that_diverged() -> None:
    regimes = [regime(rate=0.1), regime(rate=0.3), regime(rate=0.2, optimizer="adamw")]
    assert next_regime(regimes, [failed(regimes[0], "Diverged")]) == regimes[2]


@pytest.mark.parametrize(
    ("failed_batch", "next_batch", "is_tried"),
    [
        pytest.param(64, 32, True, id="a smaller one"),
        pytest.param(32, 64, False, id="a larger one"),
        pytest.param(None, 32, False, id="one that may be smaller"),
        pytest.param(32, None, False, id="the input's, whatever it is"),
    ],
)
def test_a_smaller_batch_may_fit_into_memory_without_more_frozen_stages(failed_batch, next_batch, is_tried) -> None:
    regimes = [regime(batch_size=failed_batch), regime(batch_size=next_batch, rate=0.01)]
    found = next_regime(regimes, [failed(regimes[0], "OutOfMemory")])
    assert found == (regimes[1] if is_tried else None)


def test_nothing_is_left_when_all_would_fail_alike() -> None:
    regimes = [regime(rate=0.1), regime(rate=0.3)]
    assert next_regime(regimes, [failed(regimes[0], "Diverged")]) is None
