"""What keeps objects from going on is told on them, and once it has gone they go on by themselves."""

import json

import pytest
from memory.lines import Line
from memory.world import run
from request_simulation import RequestSimulation
from simulation import TINY, Simulation

from nasoa_operator.cluster import ClusterError
from nasoa_runtime.storage.errors import StoreDenied, StoreUnavailable
from nasoa_runtime.storage.zoo import manifest_uri


class Broken(Line):
    """Fails all calls of one name, until it is repaired."""

    def __init__(self, name, error):
        self.name, self.error = name, error

    def begin(self, call):
        if call.name == self.name and self.error is not None:
            raise self.error


def condition(simulation, kind):
    """Status, reason and message of a condition."""
    found = next(c for c in simulation.status["conditions"] if c["type"] == kind)
    return found["status"], found["reason"], found["message"]


def edited(body):
    return json.dumps(json.loads(body) | {"extra": 1}).encode()


def of_a_newer_version(body):
    return json.dumps(json.loads(body) | {"formatVersion": 99}).encode()


def cut_off(body):
    return body[:-5]


# --- Documents that can't be read ------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", [edited, of_a_newer_version, cut_off])
@pytest.mark.parametrize("known", [True, False], ids=["that it has read before", "that it has not read before"])
@pytest.mark.parametrize(
    ("simulated", "name"),
    [
        pytest.param(RequestSimulation, "probe.json", id="a probe"),
        pytest.param(RequestSimulation, "schedule.json", id="a schedule"),
        pytest.param(lambda: Simulation(TINY), "spec.json", id="an accepted search"),
        pytest.param(lambda: Simulation(TINY), "block/g0000/profile-0.json", id="step times"),
        pytest.param(lambda: Simulation(TINY), "block/g0000/generation.json", id="a generation"),
    ],
)
def test_a_document_that_cannot_be_read_is_named_and_left_alone(simulated, name, known, broken):
    simulation = simulated()
    while name not in simulation.recorded:
        simulation.step()
    if not known:
        simulation.replace_operator()
    uri = f"s3://{simulation.world.bucket}/{simulation.prefix}{name}"
    good = simulation.recorded[name]
    simulation.world.store.put(uri, broken(good))
    before = simulation.recorded
    simulation.reconcile()
    truth, reason, message = condition(simulation, "DocumentsReadable")
    assert (truth, reason) == ("False", "UnreadableDocument")
    assert message.startswith(f"{uri} can't be read: ")
    assert message.endswith("It is left as it is; restore or remove it.")
    assert simulation.status["message"] == message
    assert simulation.recorded == before
    simulation.world.store.put(uri, good)
    assert simulation.end()["phase"] == "Succeeded"
    assert condition(simulation, "DocumentsReadable")[:2] == ("True", "Readable")


def test_a_zoo_whose_manifest_cannot_be_read_is_named_and_left_alone():
    simulation = RequestSimulation()
    uri = manifest_uri(simulation.world.bucket, "fashion")
    good = simulation.world.store.get(uri).body
    simulation.world.store.put(uri, edited(good))
    simulation.step()
    assert condition(simulation, "DocumentsReadable")[2].startswith(f"{uri} can't be read: ")
    assert simulation.world.store.get(uri).body == edited(good)
    simulation.world.store.put(uri, good)
    assert simulation.end()["phase"] == "Succeeded"


# --- S3 and the API server -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        pytest.param(StoreUnavailable("s3://nasoa-system: S3 does not answer"), "StoreUnavailable", id="away"),
        pytest.param(StoreDenied("s3://nasoa-system: access was denied"), "StoreDenied", id="closed"),
    ],
)
def test_a_store_that_does_not_serve_the_operator_is_waited_for(error, reason):
    line = Broken("list", error)
    simulation = RequestSimulation(line=line)
    with pytest.raises(type(error)):
        run(simulation.operator.reconcile(simulation.key))
    assert condition(simulation, "StorageReachable") == ("False", reason, str(error))
    assert simulation.status["message"] == f"waiting for S3: {error}"
    line.error = None
    assert simulation.end()["phase"] == "Succeeded"
    assert condition(simulation, "StorageReachable")[:2] == ("True", "Reachable")


@pytest.mark.parametrize(
    ("name", "error", "reason", "words"),
    [
        pytest.param(
            "list_jobs", ClusterError(403, "forbidden"), "NamespaceNotEnrolled", "an administrator enrols", id="nothing"
        ),
        pytest.param(
            "create_job",
            ClusterError(403, "User cannot create resource jobs"),
            "NamespaceNotEnrolled",
            "an administrator enrols",
            id="no Jobs",
        ),
        pytest.param(
            "create_job", ClusterError(422, "no such class"), "JobRefused", "no such class", id="a Job of another form"
        ),
    ],
)
def test_what_the_api_server_refuses_is_told_and_tried_again(name, error, reason, words):
    line = Broken(name, error)
    simulation = RequestSimulation(line=line)
    assert simulation.step() == 20.0
    truth, told, message = condition(simulation, "PodsRunnable")
    assert (truth, told) == ("False", reason)
    assert words in message
    line.error = None
    assert simulation.end()["phase"] == "Succeeded"
    assert condition(simulation, "PodsRunnable")[:2] == ("True", "Runnable")


def test_a_job_of_somebody_elses_that_has_the_name_is_told_and_left_alone():
    simulation = RequestSimulation()
    other = RequestSimulation()
    other.reconcile()
    (job,) = other.world.cluster.created
    job["metadata"]["ownerReferences"][0]["uid"] = "somebody-else"
    job["metadata"]["labels"]["nasoa.io/owner-uid"] = "somebody-else"
    run(simulation.world.cluster.create_job(job))
    assert simulation.step() == 20.0
    truth, reason, message = condition(simulation, "PodsRunnable")
    assert (truth, reason) == ("False", "NameConflict")
    assert "belongs to something else; delete or rename it" in message
    (there,) = simulation.world.cluster.jobs()
    run(simulation.world.cluster.delete_job("team", there["metadata"]["name"], there["metadata"]["uid"]))
    assert simulation.end()["phase"] == "Succeeded"


def test_a_spec_of_another_version_is_told_and_not_looked_at_until_it_is_another_one():
    simulation = RequestSimulation({"batchSize": 0})
    assert simulation.step() is None
    truth, reason, message = condition(simulation, "Accepted")
    assert (truth, reason) == ("False", "InvalidSpec")
    assert message.startswith("spec.batchSize: ")
    assert simulation.created == []
