"""Killed anywhere, run twice: every search and request ends as if nothing had happened."""

import json

import pytest
from operated import Team, until

from devcluster.s3 import SYSTEM_BUCKET
from nasoa_runtime.online.shared import read_state

STEPS = ["block-g0000-profile0", "block-g0001-evaluate", "macro-g0001-evaluate", "pretrain", "table"]


@pytest.fixture(scope="module")
def undisturbed(double_cluster, tmp_path_factory):
    """What a search evaluates when nothing happens to anybody, and the team whose zoo it filled."""
    team = Team(double_cluster, tmp_path_factory.mktemp("undisturbed"))
    team.start()
    team.apply(team.search())
    team.ended("nassearch", "search")
    yield team
    team.end()


@pytest.fixture
def patrons(undisturbed):
    """The team with a zoo; its operator runs before and after the test."""
    yield undisturbed
    undisturbed.kill()
    undisturbed.start()


def version(team):
    return read_state(team.system, SYSTEM_BUCKET, team.zoo).version


def names_of(kind, team):
    return {found["metadata"]["name"] for found in team.list(kind)}


@pytest.mark.parametrize("step", STEPS)
def test_an_operator_killed_while_a_step_runs_changes_nothing(team, undisturbed, step):
    team.control(step, hang=True)
    team.apply(team.search())
    team.until_running(step)
    team.kill()
    team.start()
    team.release(step)
    status = team.ended("nassearch", "search")
    assert (status["evaluated"], status["failed"]) == (8, 0)
    assert team.evaluated() == undisturbed.evaluated()
    assert_each_pod_ran_once(team)


@pytest.mark.parametrize("step", ["block-g0001-evaluate", "pretrain"])
def test_an_operator_that_is_away_when_a_job_completes_records_it_later(team, undisturbed, step):
    team.control(step, hang=True)
    team.apply(team.search())
    team.until_running(step)
    team.kill()
    team.release(step)
    team.until_finished(step)
    team.start()
    team.ended("nassearch", "search")
    assert team.evaluated() == undisturbed.evaluated()
    assert_each_pod_ran_once(team)


def test_operators_killed_again_and_again_change_nothing(team, undisturbed):
    team.apply(team.search())
    steps = ["block-g0000-profile0", "block-g0000-evaluate", "block-g0001-evaluate", "macro-g0000-evaluate", "pretrain"]
    for step in steps:
        team.until_running(step)
        team.kill()
        team.start()
    team.ended("nassearch", "search")
    assert team.evaluated() == undisturbed.evaluated()
    assert_each_pod_ran_once(team)


def test_two_operators_at_once_do_everything_once(team, undisturbed):
    team.start()
    team.start()
    team.apply(team.search())
    status = team.ended("nassearch", "search")
    assert status["evaluated"] == 8
    assert team.evaluated() == undisturbed.evaluated()
    assert_each_pod_ran_once(team)
    team.apply(team.request("one"), team.request("two"))
    for name in ("one", "two"):
        team.ended("finetunerequest", name)
    assert version(team) == 2
    assert_each_pod_ran_once(team)


def test_a_pod_killed_in_the_middle_is_replaced_and_the_figure_is_the_same(team, undisturbed):
    team.control("block-g0001-evaluate", hang=True)
    team.apply(team.search())
    team.until_running("block-g0001-evaluate")
    team.kill_pod("block-g0001-evaluate")
    team.release("block-g0001-evaluate")
    status = team.ended("nassearch", "search")
    assert (status["evaluated"], status["failed"]) == (8, 0)
    assert team.evaluated() == undisturbed.evaluated()


def test_an_evicted_pod_goes_on_elsewhere_and_the_eviction_does_not_count(team, undisturbed):
    step = "block-g0000-evaluate"
    team.control(step, hang=True)
    team.apply(team.search())
    team.until_running(step)
    pod = next(p for p in team.list("pods") if p["metadata"]["labels"]["nasoa.io/step"] == step)
    evict(team, pod["metadata"]["name"])
    index = pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"]
    until(lambda: len([s for s in team.starts(step) if s.split("/")[1] == index]) == 2, "the replacement")
    team.release(step)
    team.ended("nassearch", "search")
    assert team.evaluated() == undisturbed.evaluated()


@pytest.mark.parametrize("step", ["probe", "finetune"])
def test_a_request_survives_an_operator_killed_while_its_pod_runs(patrons, step):
    name = f"killed-in-{step}"
    before = version(patrons)
    patrons.control(step, hang=True)
    patrons.tenant.delete(f"{patrons.output}/release/{step}")
    patrons.apply(patrons.request(name))
    until(lambda: running(patrons, name, step), f"the {step} of {name}")
    patrons.kill()
    patrons.start()
    patrons.release(step)
    status = patrons.ended("finetunerequest", name)
    assert status["predictor"] == {"plannedWith": before, "produced": before + 1}
    assert version(patrons) == before + 1


def test_an_operator_killed_between_training_and_learning_learns_once(patrons):
    before = version(patrons)
    patrons.control("finetune", hang=True)
    patrons.tenant.delete(f"{patrons.output}/release/finetune")
    patrons.apply(patrons.request("unlearned"))
    until(lambda: running(patrons, "unlearned", "finetune"), "the run")
    patrons.kill()
    patrons.release("finetune")
    uid = patrons.get("finetunerequest", "unlearned")["metadata"]["uid"]
    until(
        lambda: all(p["status"]["phase"] == "Succeeded" for p in pods_of(patrons, "unlearned", "finetune")), "the end"
    )
    assert version(patrons) == before
    patrons.start()
    # The moment at which the outcome is recorded and may not be learned yet.
    until(lambda: "result.json" in patrons.documents(f"requests/{uid}/"), "the record of the run")
    patrons.kill()
    patrons.start()
    assert patrons.ended("finetunerequest", "unlearned")["predictor"]["produced"] == before + 1
    assert version(patrons) == before + 1
    assert len(patrons.documents(f"predictors/{patrons.zoo}/outcomes/")) == before + 1


def test_requests_that_end_together_are_all_learned(patrons):
    before = version(patrons)
    names = [f"together-{number}" for number in range(4)]
    patrons.start()
    patrons.apply(*(patrons.request(name) for name in names))
    produced = {patrons.ended("finetunerequest", name)["predictor"]["produced"] for name in names}
    assert produced == {before + 1, before + 2, before + 3, before + 4}
    assert version(patrons) == before + 4


def test_a_deleted_request_leaves_no_pods_and_teaches_nothing(patrons):
    before = version(patrons)
    patrons.control("finetune", hang=True)
    patrons.tenant.delete(f"{patrons.output}/release/finetune")
    patrons.apply(patrons.request("unwanted"))
    until(lambda: running(patrons, "unwanted", "finetune"), "the run")
    patrons.kubectl("delete", "finetunerequest", "unwanted")
    until(lambda: not pods_of(patrons, "unwanted", "finetune"), "the pods to go")
    patrons.release("finetune")
    assert version(patrons) == before


def pods_of(team, name, step):
    labels = f"nasoa.io/owner-name={name},nasoa.io/step={step}"
    found = team.cluster.kubectl("get", "pods", "-n", team.namespace, "-l", labels, "-o", "json").stdout

    return json.loads(found)["items"]


def ended(pods):
    return all(pod["status"]["phase"] == "Succeeded" for pod in pods)


def running(team, name, step):
    """Whether the pod of ``name`` has said that it has started."""
    uid = team.get("finetunerequest", name)["metadata"]["uid"]
    pods = [p for p in pods_of(team, name, step) if p["status"].get("phase") == "Running"]
    started = {start.rsplit("/", 1)[1] for start in team.starts(step)}
    return uid and pods and pods[0]["metadata"]["name"] in started


def evict(team, pod):

    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": team.namespace},
    }
    path = f"/api/v1/namespaces/{team.namespace}/pods/{pod}/eviction"
    team.cluster.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(eviction))


def assert_each_pod_ran_once(team):
    """No index of a search's step was started twice, and no request's either."""
    starts = team.starts()
    once = [start.rsplit("-", 1)[0] for start in starts]
    assert len(set(once)) == len(once), starts
