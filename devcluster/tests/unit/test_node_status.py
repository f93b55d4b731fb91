from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devcluster.node.status import (
    ContainerRecord,
    PodRecord,
    Running,
    Terminated,
    Waiting,
    phase,
    pod_status,
    restart_delay_seconds,
    resumed_record,
    should_restart,
    termination_message,
)

EARLIER, NOW = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"
CREATING = Waiting("ContainerCreating")


def ended(code, message=""):
    return Terminated(code, "Completed" if code == 0 else "Error", message, EARLIER, NOW, "process://x")


def a_record(*main, init=(), **fields):
    return PodRecord(
        init=tuple(ContainerRecord(f"i{n}", "img", state) for n, state in enumerate(init)),
        main=tuple(ContainerRecord(f"c{n}", "img", state) for n, state in enumerate(main)),
        start_time=EARLIER,
        host_ip="127.0.0.1",
        pod_ip="127.1.2.3",
        **fields,
    )


@pytest.mark.parametrize(
    ("record", "policy", "expected"),
    [
        pytest.param(a_record(CREATING), "Never", "Pending", id="nothing has started"),
        pytest.param(a_record(Running(EARLIER)), "Never", "Running", id="one runs"),
        pytest.param(a_record(Running(EARLIER), CREATING), "Never", "Running", id="one of two runs"),
        pytest.param(a_record(Running(EARLIER), ended(1)), "Never", "Running", id="one failed, one runs"),
        pytest.param(a_record(ended(0)), "Never", "Succeeded", id="all succeeded"),
        pytest.param(a_record(ended(0), ended(3)), "Never", "Failed", id="one failed"),
        pytest.param(a_record(ended(3)), "OnFailure", "Running", id="it will be restarted"),
        pytest.param(a_record(ended(0)), "OnFailure", "Succeeded", id="success ends OnFailure"),
        pytest.param(a_record(ended(0)), "Always", "Running", id="success does not end Always"),
        pytest.param(a_record(CREATING, init=[Running(EARLIER)]), "Never", "Pending", id="initialising"),
        pytest.param(a_record(CREATING, init=[ended(1)]), "Never", "Failed", id="an init container failed"),
        pytest.param(a_record(CREATING, init=[ended(1)]), "OnFailure", "Pending", id="it will be retried"),
        pytest.param(a_record(ended(0), stopped=True), "Always", "Succeeded", id="deleted, ended well"),
        pytest.param(a_record(ended(143), stopped=True), "Always", "Failed", id="deleted, killed"),
        pytest.param(a_record(CREATING, stopped=True), "Always", "Failed", id="deleted before it started"),
        pytest.param(
            a_record(ended(0), stopped=True, failure=("DeadlineExceeded", "m")), "Never", "Failed", id="deadline"
        ),
    ],
)
def test_the_phase_follows_from_the_containers(record, policy, expected):
    assert phase(record, policy) == expected


def conditions_of(record, previous=(), policy="Never"):
    status = pod_status(record, policy, previous, None, NOW)
    return {one["type"]: (one["status"], one["reason"]) for one in status["conditions"]}


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        pytest.param(
            a_record(Running(EARLIER)),
            {
                "PodReadyToStartContainers": ("True", None),
                "Initialized": ("True", None),
                "Ready": ("True", None),
                "ContainersReady": ("True", None),
            },
            id="running",
        ),
        pytest.param(
            a_record(Waiting("PodInitializing"), init=[Running(EARLIER)]),
            {
                "PodReadyToStartContainers": ("True", None),
                "Initialized": ("False", "ContainersNotInitialized"),
                "Ready": ("False", "ContainersNotReady"),
                "ContainersReady": ("False", "ContainersNotReady"),
            },
            id="initialising",
        ),
        pytest.param(
            a_record(ended(0)),
            {
                "PodReadyToStartContainers": ("False", None),
                "Initialized": ("True", "PodCompleted"),
                "Ready": ("False", "PodCompleted"),
                "ContainersReady": ("False", "PodCompleted"),
            },
            id="succeeded",
        ),
        pytest.param(
            a_record(ended(1)),
            {
                "PodReadyToStartContainers": ("False", None),
                "Initialized": ("True", None),
                "Ready": ("False", "PodFailed"),
                "ContainersReady": ("False", "PodFailed"),
            },
            id="failed",
        ),
    ],
)
def test_conditions_are_those_of_a_kubelet(record, expected):
    assert conditions_of(record) == expected


def test_a_condition_keeps_its_transition_time_until_it_changes():
    previous = [
        {"type": "Ready", "status": "True", "lastTransitionTime": EARLIER},
        {"type": "ContainersReady", "status": "False", "lastTransitionTime": EARLIER},
        {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": EARLIER},
    ]
    conditions = pod_status(a_record(Running(EARLIER)), "Never", previous, 2, NOW)["conditions"]
    times = {one["type"]: one["lastTransitionTime"] for one in conditions}
    assert times["Ready"] == EARLIER
    assert times["ContainersReady"] == NOW
    assert "DisruptionTarget" not in times
    assert {one["observedGeneration"] for one in conditions} == {2}


def test_a_restarted_container_shows_how_it_ended_before():
    record = a_record(Waiting("CrashLoopBackOff", "back-off 10s"))
    record = record.with_container(replace(record.main[0], last=ended(7, "no luck"), restarts=2))
    status = pod_status(record, "Always", [], None, NOW)
    (container,) = status["containerStatuses"]
    assert status["phase"] == "Running"
    assert container["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    assert container["lastState"]["terminated"]["exitCode"] == 7
    assert container["lastState"]["terminated"]["message"] == "no luck"
    assert container["restartCount"] == 2


@pytest.mark.parametrize(
    ("policy", "code", "expected"),
    [
        pytest.param("Never", 1, False, id="never"),
        pytest.param("OnFailure", 1, True, id="on failure, failed"),
        pytest.param("OnFailure", 0, False, id="on failure, succeeded"),
        pytest.param("Always", 0, True, id="always"),
    ],
)
def test_the_restart_policy_decides_on_another_run(policy, code, expected):
    assert should_restart(policy, code) is expected


def test_restarts_back_off_from_ten_seconds_to_five_minutes():
    assert [restart_delay_seconds(n) for n in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]


@pytest.mark.parametrize(
    ("raw", "log", "policy", "code", "expected"),
    [
        pytest.param(b"said", b"log", "File", 1, "said", id="the file"),
        pytest.param(b"", b"log", "File", 1, "", id="an empty file"),
        pytest.param(b"", b"log\n", "FallbackToLogsOnError", 1, "log\n", id="the log of a failure"),
        pytest.param(b"", b"log\n", "FallbackToLogsOnError", 0, "", id="not the log of a success"),
        pytest.param(b"said", b"log", "FallbackToLogsOnError", 1, "said", id="the file before the log"),
        pytest.param(b"x" * 10 + b"y" * 4096, b"", "File", 0, "y" * 4096, id="the last 4096 bytes"),
        pytest.param(b"", b"a\n" * 100, "FallbackToLogsOnError", 1, "a\n" * 80, id="at most eighty lines of the log"),
    ],
)
def test_the_termination_message_is_cut_as_a_kubelet_cuts_it(raw, log, policy, code, expected):
    assert termination_message(raw, log, policy, code) == expected


@given(st.binary(max_size=6000))
def test_no_termination_message_exceeds_four_kibibytes(raw):
    assert len(termination_message(raw, b"", "File", 0).encode()) <= 4096


def test_what_ran_when_the_node_stopped_is_reported_as_killed():
    pod = {
        "spec": {"containers": [{"name": "c", "image": "i"}]},
        "status": {
            "startTime": EARLIER,
            "podIP": "127.1.2.3",
            "containerStatuses": [
                {
                    "name": "c",
                    "restartCount": 1,
                    "containerID": "process://c",
                    "state": {"running": {"startedAt": EARLIER}},
                }
            ],
        },
    }
    record = resumed_record(pod, "127.0.0.1", NOW)
    state = record.container("c").state
    assert isinstance(state, Terminated)
    assert (state.exit_code, state.reason, state.finished_at) == (137, "Error", NOW)
    assert (record.container("c").restarts, record.pod_ip, record.start_time) == (1, "127.1.2.3", EARLIER)
    assert phase(record, "Never") == "Failed"


def test_a_new_pod_waits_for_its_containers():
    pod = {"spec": {"containers": [{"name": "c"}], "initContainers": [{"name": "i"}]}}
    record = resumed_record(pod, "127.0.0.1", NOW)
    assert [one.state for one in (*record.init, *record.main)] == [Waiting("PodInitializing")] * 2
    assert record.start_time == NOW
