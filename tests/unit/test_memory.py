"""The cluster and the pods in memory do what real ones do, as far as the operator can tell. The store: `test_store`."""

from copy import deepcopy

import pytest
from builders import a_request
from memory.lines import Deaths, Killed
from memory.pods import run_pods
from memory.world import World, run
from request_simulation import RequestSimulation
from request_simulation import run as end

from nasoa_operator.cluster import ClusterError, NameConflictError
from nasoa_runtime.boundary import ProbeInput

KIND = "FineTuneRequest"


@pytest.fixture
def world():
    world = World(end)
    world.cluster.apply(a_request("one", "team"), "uid-one")
    return world


@pytest.fixture
def cluster(world):
    return world.cluster


def read(cluster):
    return run(cluster.get_object(KIND, "team", "one"))


@pytest.fixture
def job():
    """The Job of a probe, which runs."""
    simulation = RequestSimulation()
    simulation.reconcile()
    (job,) = simulation.world.cluster.created
    return job


# --- Objects ---------------------------------------------------------------------------------------------------------


def test_absence_is_a_value(cluster):
    assert run(cluster.get_object(KIND, "team", "two")) is None
    assert run(cluster.list_jobs("team", "uid-two")) == []
    assert run(cluster.list_pods("team", "two")) == []
    run(cluster.delete_job("team", "two", "uid"))


def test_a_status_is_written_to_the_object_as_it_was_read_or_not_at_all(cluster):
    before = read(cluster)
    after = run(cluster.write_status(before, {"phase": "Probing"}))
    assert after == read(cluster)
    assert after["status"] == {"phase": "Probing"}
    assert after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
    assert run(cluster.write_status(before, {"phase": "Failed"})) is None
    assert read(cluster)["status"] == {"phase": "Probing"}


def test_a_status_that_is_there_already_is_no_change(cluster):
    written = run(cluster.write_status(read(cluster), {"phase": "Probing"}))
    assert run(cluster.write_status(written, {"phase": "Probing"})) == written


def test_a_status_leaves_the_spec_alone_and_a_spec_the_status(cluster):
    changed = read(cluster)
    changed["spec"]["timeLimit"] = "9h"
    written = run(cluster.write_status(changed, {"phase": "Probing"}))
    assert (written["spec"]["timeLimit"], written["metadata"]["generation"]) == ("60s", 1)
    cluster.apply(a_request("one", "team", timeLimit="9h"), "uid-one")
    edited = read(cluster)
    assert (edited["spec"]["timeLimit"], edited["metadata"]["generation"]) == ("9h", 2)
    assert edited["status"] == {"phase": "Probing"}
    assert run(cluster.write_status(written, {"phase": "Failed"})) is None


def test_a_status_of_an_object_that_is_gone_is_not_written(cluster):
    before = read(cluster)
    cluster.delete(KIND, "team", "one")
    assert run(cluster.write_status(before, {"phase": "Probing"})) is None


def test_objects_are_listed_by_their_namespaces(cluster):
    cluster.apply(a_request("two", "elsewhere"), "uid-two")
    assert [found["metadata"]["uid"] for found in run(cluster.list_objects(KIND, ()))] == ["uid-one", "uid-two"]
    assert [found["metadata"]["uid"] for found in run(cluster.list_objects(KIND, ("elsewhere",)))] == ["uid-two"]
    assert run(cluster.list_objects("NASSearch", ())) == []


def test_what_comes_back_is_a_copy(cluster):
    read(cluster)["spec"]["timeLimit"] = "9h"
    assert read(cluster)["spec"]["timeLimit"] == "60s"


def test_an_event_of_a_name_is_written_once(cluster):
    for message in ("first", "second"):
        run(cluster.create_event({"metadata": {"name": "one.1", "namespace": "team"}, "message": message}))
    assert [event["message"] for event in cluster.events()] == ["first"]


# --- Jobs ------------------------------------------------------------------------------------------------------------


def test_a_job_is_created_once(cluster, job):
    assert run(cluster.create_job(job)) is True
    assert run(cluster.create_job(job)) is False
    assert len(cluster.created) == 1


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda metadata: metadata["annotations"].clear(), id="of another input"),
        pytest.param(lambda metadata: metadata["ownerReferences"][0].update(uid="else"), id="of another owner"),
    ],
)
def test_a_job_whose_name_is_taken_is_refused(cluster, job, change):
    other = deepcopy(job)
    change(other["metadata"])
    run(cluster.create_job(other))
    with pytest.raises(NameConflictError, match="belongs to something else"):
        run(cluster.create_job(job))


def test_a_job_is_deleted_by_its_uid_and_with_its_owner(cluster, job):
    name, owner = job["metadata"]["name"], job["metadata"]["ownerReferences"][0]["uid"]
    run(cluster.create_job(job))
    run(cluster.delete_job("team", name, "another"))
    (there,) = run(cluster.list_jobs("team", owner))
    run(cluster.delete_job("team", name, there["metadata"]["uid"]))
    assert run(cluster.list_jobs("team", owner)) == run(cluster.list_pods("team", name)) == []
    cluster.apply(a_request("digits", "team"), owner)
    run(cluster.create_job(job))
    cluster.delete(KIND, "team", "digits")
    assert cluster.jobs() == []


def test_a_suspended_job_has_no_pods_until_it_goes_on(cluster, job):
    name = job["metadata"]["name"]
    run(cluster.create_job(job))
    assert len(run(cluster.list_pods("team", name))) == 1
    run(cluster.suspend_job("team", name, suspend=True))
    assert (run(cluster.list_pods("team", name)), cluster.running()) == ([], [])
    run(cluster.suspend_job("team", name, suspend=False))
    assert len(cluster.running()) == 1
    with pytest.raises(ClusterError, match="404"):
        run(cluster.suspend_job("team", "another", suspend=True))


# --- Pods ------------------------------------------------------------------------------------------------------------


def test_a_pod_whose_index_has_a_result_says_it_again_and_does_nothing_else(world, job):
    asked = []

    def program(pod_input, index):
        asked.append(pod_input)
        return end(pod_input, index)

    first = run_pods(job, program, world.store)
    assert isinstance(asked[0], ProbeInput)
    assert run_pods(job, program, world.store) == first
    assert len(asked) == 1


# --- Lines -----------------------------------------------------------------------------------------------------------


def test_an_operator_that_dies_before_a_write_has_not_written():
    simulation = RequestSimulation(line=Deaths(before={1}))
    with pytest.raises(Killed):
        run(simulation.operator.reconcile(simulation.key))
    assert simulation.created == []


def test_an_operator_that_dies_after_a_write_has_written():
    simulation = RequestSimulation(line=Deaths(after={1}))
    with pytest.raises(Killed):
        run(simulation.operator.reconcile(simulation.key))
    assert simulation.created == ["probe"]
