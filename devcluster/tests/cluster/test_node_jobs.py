"""Jobs on the local node end as on any other: by exit codes, evictions and kills."""

import json
import time

import psutil
import pytest

from devcluster.tests.pods import PATIENCE_SECONDS, conditions_of, container, job, state_of


def test_an_indexed_job_ends_as_its_rules_say(space):
    script = "echo $JOB_COMPLETION_INDEX; case $JOB_COMPLETION_INDEX in 0) exit 0;; 1) exit 3;; *) exit 5;; esac"
    rules = [
        {"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [3]}},
        {"action": "Count", "onExitCodes": {"operator": "NotIn", "values": [0, 3]}},
    ]
    space.apply(
        job("j", script, completions=3, parallelism=3, backoffLimitPerIndex=1, podFailurePolicy={"rules": rules})
    )
    found = space.until("job", "j", lambda it: conditions_of(it).get("Failed") == "True")
    assert (found["status"]["completedIndexes"], found["status"]["failedIndexes"]) == ("0", "1,2")
    # Index 1 fails at once, index 2 after one retry: four pods in all.
    assert (found["status"]["succeeded"], found["status"]["failed"]) == (1, 3)


def test_an_evicted_pod_does_not_count_against_its_job(space, tmp_path):
    marker = tmp_path / "second"
    script = f"test -e {marker} && exit 0; trap 'exit 75' TERM; while :; do sleep 0.05; done"
    rules = [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
    space.apply(job("j", script, completions=1, backoffLimit=0, podFailurePolicy={"rules": rules}))
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (running := [it for it in space.list("pods") if it["status"].get("phase") == "Running"]):
        assert time.monotonic() < deadline
    marker.touch()
    name = running[0]["metadata"]["name"]
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": space.name},
    }
    path = f"/api/v1/namespaces/{space.name}/pods/{name}/eviction"
    space.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    found = space.until("job", "j", lambda it: conditions_of(it).get("Complete") == "True")
    assert found["status"]["succeeded"] == 1
    assert found["status"].get("failed", 0) == 0


def test_a_killed_program_fails_its_pod_and_leaves_nothing(space):
    name = space.run(container("setsid sleep 300 & echo $!; sleep 300"))
    found = space.until_phase(name, "Running")
    folder = space.cluster.data_dir / "nodes" / "local-0" / "pods" / found["metadata"]["uid"]
    program = psutil.Process(int((folder / "main" / "pid").read_text()))
    program.kill()
    found = space.ended(name)
    assert (found["status"]["phase"], state_of(found)["terminated"]["exitCode"]) == ("Failed", 137)
    assert not [line for line in space.logs(name) if psutil.pid_exists(int(line))]
    assert not (folder / "main" / "pid").exists()
    space.kubectl("delete", "pod", name, f"--timeout={PATIENCE_SECONDS:.0f}s")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while folder.exists():
        assert time.monotonic() < deadline


@pytest.fixture
def spare_node(cluster):
    """A second node, which a test may kill. Pods come to it by name only."""
    name = "spare"
    cluster.start_node(name)
    cluster.kubectl("cordon", name)
    yield name
    cluster.stop_node(name)
    cluster.kubectl("delete", "node", name)


def running_on(space, node, script, **spec):
    name = space.run(container(script), nodeName=node, **spec)
    found = space.until_phase(name, "Running")
    folder = space.cluster.data_dir / "nodes" / node / "pods" / found["metadata"]["uid"]
    return name, psutil.Process(int((folder / "main" / "pid").read_text()))


def test_pods_that_ran_when_their_node_was_killed_are_reported_once_it_is_back(space, spare_node):
    once, program = running_on(space, spare_node, "setsid sleep 300 & sleep 300")
    always, other = running_on(space, spare_node, "sleep 300", restartPolicy="Always")
    family = [program, other, *program.children(recursive=True)]
    psutil.Process(space.cluster.components()[f"node-{spare_node}"]).kill()
    assert psutil.wait_procs(family, timeout=PATIENCE_SECONDS)[1] == []
    # The cluster starts it again by itself.
    ended = state_of(space.ended(once))["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "Error")
    found = space.until("pod", always, lambda it: it["status"]["containerStatuses"][0]["restartCount"] == 1)
    assert found["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 137
    space.until("pod", always, lambda it: conditions_of(it)["Ready"] == "True")


def test_a_stopped_node_leaves_no_process(space, spare_node):
    _, program = running_on(space, spare_node, "trap '' TERM; setsid sleep 300 & while :; do sleep 1; done")
    family = [program, *program.children(recursive=True)]
    space.cluster.stop_node(spare_node)
    assert psutil.wait_procs(family, timeout=PATIENCE_SECONDS)[1] == []
