from datetime import UTC, datetime, timedelta

import pytest

from nasoa_operator.blockage import blockage_of
from nasoa_operator.obstacles import RUNNABLE, Obstacle

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
UNSCHEDULED = "0/1 nodes are available: 1 Insufficient cpu."


def ago(seconds):
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def a_job(started=60.0, suspend=False, **status):
    return {
        "metadata": {"name": "digits-probe", "namespace": "team"},
        "spec": {"suspend": suspend},
        "status": {"startTime": ago(started)} | status,
    }


def a_pod(reason="", message="", *, phase="Pending", unscheduled="", since=60.0):
    waiting = [{"name": "nasoa", "state": {"waiting": {"reason": reason, "message": message}}}] if reason else []
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": unscheduled,
        "lastTransitionTime": ago(since),
    }
    return {
        "metadata": {"name": "digits-probe-0-abcde", "namespace": "team"},
        "status": {
            "phase": phase,
            "startTime": ago(since),
            "containerStatuses": waiting,
            "conditions": [condition] if unscheduled else [],
        },
    }


@pytest.mark.parametrize(
    ("pod", "reason", "words"),
    [
        pytest.param(
            a_pod("CreateContainerConfigError", 'secret "storage" not found'),
            "CreateContainerConfigError",
            "spec.storage.secretName: there is no Secret 'storage' in namespace team: create it with the keys "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            id="no Secret",
        ),
        pytest.param(
            a_pod("CreateContainerConfigError", "couldn't find key AWS_SECRET_ACCESS_KEY in Secret team/storage"),
            "CreateContainerConfigError",
            "spec.storage.secretName: Secret 'storage' has no key AWS_SECRET_ACCESS_KEY: add it",
            id="a key is missing",
        ),
        pytest.param(
            a_pod("ImagePullBackOff", 'Back-off pulling image "nasoa/runtime:9"'),
            "ImagePullBackOff",
            "can't be pulled (Back-off pulling image \"nasoa/runtime:9\"): the operator's NASOA_POD_IMAGE names it",
            id="no image",
        ),
        pytest.param(
            a_pod("CreateContainerConfigError", "failed to create subPath directory for volumeMount"),
            "CreateContainerConfigError",
            "spec.dataset.uri: the claim has no such path",
            id="no path in the claim",
        ),
        pytest.param(
            a_pod("ContainerCreating", since=120), "ContainerCreating", "kubectl describe pod", id="volumes don't come"
        ),
        pytest.param(
            a_pod(unscheduled='0/1 nodes are available: persistentvolumeclaim "images" not found.', since=0),
            "ClaimNotFound",
            "spec.dataset.uri: there is no PersistentVolumeClaim 'images' in namespace team",
            id="no claim",
        ),
        pytest.param(
            a_pod(unscheduled=UNSCHEDULED), "Unschedulable", f"{UNSCHEDULED} It waits for one that", id="no room"
        ),
    ],
)
def test_a_pod_that_cannot_run_says_which_field_or_object_is_wrong(pod, reason, words):
    found = blockage_of(a_job(active=1), [pod], NOW)
    assert found.reason == reason
    assert words in found.message


@pytest.mark.parametrize(
    ("job", "pods"),
    [
        pytest.param(a_job(active=1), [a_pod("ContainerCreating", since=5)], id="a container is being created"),
        pytest.param(
            a_job(active=1),
            [a_pod("CreateContainerConfigError", "no relationship found between node 'a' and this object")],
            id="the API server does not know yet what the node may read",
        ),
        pytest.param(a_job(active=1), [a_pod(unscheduled=UNSCHEDULED, since=5)], id="the node is busy for a moment"),
        pytest.param(
            a_job(active=2), [a_pod(unscheduled=UNSCHEDULED), a_pod(phase="Running")], id="others of the Job run"
        ),
        pytest.param(a_job(started=5), [], id="the Job is new"),
        pytest.param(a_job(failed=1), [], id="the Job waits before another try"),
        pytest.param(a_job(suspend=True), [], id="the Job is suspended"),
    ],
)
def test_what_passes_by_itself_is_not_said(job, pods):
    assert blockage_of(job, pods, NOW) is None


def an_ended_pod(message, code=69):
    terminated = {"exitCode": code, "message": message, "finishedAt": ago(3)}
    return {
        "metadata": {"name": "digits-probe-0-abcde", "namespace": "team"},
        "status": {"phase": "Failed", "containerStatuses": [{"name": "nasoa", "state": {"terminated": terminated}}]},
    }


def test_between_two_tries_the_failure_of_the_last_is_told():
    found = blockage_of(a_job(failed=1), [an_ended_pod('{"message": "S3 does not answer"}')], NOW)
    assert found == Obstacle(RUNNABLE, "PodFailed", "the last pod failed and is tried again: S3 does not answer")


@pytest.mark.parametrize("code", [pytest.param(64, id="bad input"), pytest.param(75, id="stopped on request")])
def test_what_is_not_tried_again_for_itself_is_not_told(code):
    assert blockage_of(a_job(failed=1), [an_ended_pod("words", code)], NOW) is None


def test_a_job_that_gets_no_pods_says_where_the_reason_is():
    found = blockage_of(a_job(), [], NOW)
    assert found.reason == "PodsNotCreated"
    assert "`kubectl describe job digits-probe -n team` says why" in found.message
