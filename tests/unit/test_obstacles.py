"""What stands in an object's way is told while it does, and no longer."""

from datetime import UTC, datetime

import pytest

from nasoa_operator.finetune.status import compose
from nasoa_operator.obstacles import ACCEPTED, READABLE, RUNNABLE, STORAGE, Obstacle, without_obstacles
from nasoa_runtime.api.conditions import Condition

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
NO_ROOM = Obstacle(RUNNABLE, "Unschedulable", "no room")
S3_AWAY = Obstacle(STORAGE, "StoreUnavailable", "S3 does not answer", "waiting for S3: ")
BROKEN = Obstacle(READABLE, "UnreadableDocument", "probe.json can't be read")


def a_condition(kind, status, reason="Reason"):
    return Condition(
        type=kind, status=status, reason=reason, observed_generation=1, last_transition_time="2026-11-24T11:00:00Z"
    )


def told(conditions):
    return [(c.type, c.status, c.reason) for c in conditions]


def passed(conditions, still=None, ended=False):
    return told(without_obstacles(conditions, 1, NOW, ended=ended, still=still))


def test_where_nothing_ever_stood_in_the_way_there_is_no_condition():
    assert passed([]) == []


def test_an_obstacle_is_told_as_a_condition_that_is_false():
    assert passed([], NO_ROOM) == [(RUNNABLE, "False", "Unschedulable")]


def test_each_obstacle_that_has_passed_becomes_true():
    before = [a_condition(kind, "False") for kind in (RUNNABLE, STORAGE, READABLE)]
    assert passed(before) == [
        (RUNNABLE, "True", "Runnable"),
        (STORAGE, "True", "Reachable"),
        (READABLE, "True", "Readable"),
    ]


def test_one_that_stays_keeps_its_condition_while_another_passes():
    before = [a_condition(RUNNABLE, "False", "Unschedulable"), a_condition(STORAGE, "False")]
    assert passed(before, NO_ROOM) == [(RUNNABLE, "False", "Unschedulable"), (STORAGE, "True", "Reachable")]


def test_what_has_ended_keeps_what_was_said_of_its_pods():
    assert passed([a_condition(RUNNABLE, "False")], ended=True) == [(RUNNABLE, "False", "Reason")]


@pytest.mark.parametrize(
    ("obstacle", "message"),
    [
        pytest.param(S3_AWAY, "waiting for S3: S3 does not answer", id="S3 is away"),
        pytest.param(BROKEN, "probe.json can't be read", id="a document is unreadable"),
        pytest.param(Obstacle(ACCEPTED, "InvalidSpec", "spec.zoo: missing"), "spec.zoo: missing", id="no valid spec"),
    ],
)
def test_an_object_that_could_not_be_observed_keeps_what_was_known_and_says_why(obstacle, message):
    before = {
        "phase": "Training",
        "observedGeneration": 1,
        "startTime": "2026-11-24T11:00:00Z",
        "message": "fine-tuning",
    }
    status = compose(before, 2, NOW, obstacle=obstacle)
    assert {**status, "conditions": None} == {**before, "conditions": None, "message": message}
    [condition] = status["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == (
        obstacle.condition,
        "False",
        obstacle.reason,
    )
    assert compose(status, 2, NOW, obstacle=obstacle) == status
