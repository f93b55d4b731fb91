"""Killed anywhere, run twice: every search and request ends as if nothing had happened."""

import json

from operated import until

from demo.cluster import SYSTEM_BUCKET
from nasoa_runtime.storage.predictors import read_state

STEPS = [
    "block-g0000-profile0",
    "block-g0000-evaluate",
    "block-g0001-evaluate",
    "macro-g0001-profile0",
    "macro-g0001-evaluate",
    "pretrain",
    "table",
]


def test_an_operator_killed_while_each_step_runs_changes_nothing(team, undisturbed):
    for step in STEPS:
        team.control(step, hang=True)
    team.apply(team.search())
    for step in STEPS:
        team.until_running(step)
        team.kill()
        team.start()
        team.release(step)
    status = team.ended("nassearch", "search")
    assert (status["evaluated"], status["failed"]) == (8, 0)
    assert team.course() == undisturbed.course()
    assert_each_pod_ran_once(team)


def test_an_operator_that_is_away_when_a_job_completes_records_it_later(team, undisturbed):
    steps = ["block-g0000-profile0", "block-g0001-evaluate", "pretrain", "table"]
    for step in steps:
        team.control(step, hang=True)
    team.apply(team.search())
    for step in steps:
        team.until_running(step)
        team.kill()
        team.release(step)
        team.until_finished(step)
        team.start()
    team.ended("nassearch", "search")
    assert team.course() == undisturbed.course()
    assert_each_pod_ran_once(team)


def test_two_operators_at_once_do_everything_once(team, undisturbed):
    team.start()
    team.start()
    team.apply(team.search())
    status = team.ended("nassearch", "search")
    assert (status["evaluated"], status["failed"]) == (8, 0)
    assert team.course() == undisturbed.course()
    assert_each_pod_ran_once(team)
    team.apply(team.request("one"), team.request("two"))
    produced = {team.ended("finetunerequest", name)["predictor"]["produced"] for name in ("one", "two")}
    assert produced == {1, 2}
    assert version(team) == 2
    assert_each_pod_ran_once(team)


def test_pods_that_are_evicted_or_killed_are_replaced_and_the_figures_are_the_same(team, undisturbed):
    evicted, killed = "block-g0000-evaluate", "macro-g0000-evaluate"
    for step in (evicted, killed):
        team.control(step, hang=True)
    team.apply(team.search())
    first = team.running_pod(evicted)
    evict(team, first["metadata"]["name"])
    assert tries(replacement(team, evicted, first)) == {"failure": "0", "ignored": "1"}
    team.release(evicted)
    first = team.running_pod(killed)
    team.kill_pod(first)
    # The Job controller backs off for ten seconds before it makes a new pod.
    assert tries(replacement(team, killed, first)) == {"failure": "1", "ignored": "0"}
    team.release(killed)
    status = team.ended("nassearch", "search")
    assert (status["evaluated"], status["failed"]) == (8, 0)
    assert team.course() == undisturbed.course()


def test_a_request_survives_an_operator_killed_while_it_is_probed_and_while_it_is_trained(patrons):
    before = version(patrons)
    for step in ("probe", "finetune"):
        patrons.control(step, hang=True)
    patrons.apply(patrons.request("bereft"))
    for step in ("probe", "finetune"):
        patrons.running_pod(step, "bereft")
        patrons.kill()
        patrons.start()
        patrons.release(step)
    status = patrons.ended("finetunerequest", "bereft")
    assert status["predictor"] == {"plannedWith": before, "produced": before + 1}
    assert version(patrons) == before + 1
    assert_each_pod_ran_once(patrons)


def test_a_run_whose_pod_is_killed_is_run_again_and_learned_once(patrons):
    before = version(patrons)
    patrons.control("finetune", hang=True)
    patrons.apply(patrons.request("stricken"))
    first = patrons.running_pod("finetune", "stricken")
    patrons.kill_pod(first)
    replacement(patrons, "finetune", first)
    patrons.release("finetune")
    status = patrons.ended("finetunerequest", "stricken")
    assert status["predictor"] == {"plannedWith": before, "produced": before + 1}
    assert version(patrons) == before + 1


def test_an_operator_killed_between_training_and_learning_learns_once(patrons):
    before = version(patrons)
    patrons.control("finetune", hang=True)
    patrons.apply(patrons.request("unlearned"))
    patrons.running_pod("finetune", "unlearned")
    patrons.kill()
    patrons.release("finetune")
    patrons.until_finished("finetune", "unlearned")
    assert version(patrons) == before
    patrons.start()
    # Killed as soon as the outcome is recorded, whether it has been learned by then or not.
    uid = uid_of(patrons, "unlearned")
    until(lambda: "result.json" in patrons.documents(f"requests/{uid}/"), "the record of the run")
    patrons.kill()
    patrons.start()
    assert patrons.ended("finetunerequest", "unlearned")["predictor"]["produced"] == before + 1
    assert version(patrons) == before + 1
    assert len(patrons.documents(f"predictors/{patrons.zoo}/outcomes/")) == before + 1


def test_an_operator_that_died_after_any_of_its_writes_about_an_outcome_is_succeeded_by_one_that_learns_once(patrons):
    patrons.control("finetune", hang=True)
    patrons.apply(patrons.request("relearned"))
    patrons.running_pod("finetune", "relearned")
    uid, before = uid_of(patrons, "relearned"), version(patrons)
    training = until(lambda: trained(patrons, "relearned"), "the status of a run")
    state = f"s3://{SYSTEM_BUCKET}/predictors/{patrons.zoo}/state.npz"
    untaught = patrons.system.get(state)
    patrons.release("finetune")
    patrons.ended("finetunerequest", "relearned")
    taught = patrons.system.get(state)
    # What it writes, in its order; the status comes last.
    written = [f"predictors/{patrons.zoo}/outcomes/{uid}", "", f"predictors/{patrons.zoo}/applied/{uid}"]
    written.append(f"requests/{uid}/learned")
    for survives in range(len(written) + 1):
        patrons.kill()
        for lost in written[survives:]:
            if lost:
                patrons.system.delete(f"s3://{SYSTEM_BUCKET}/{lost}.json")
            elif untaught is None:
                patrons.system.delete(state)
            else:
                patrons.system.put(state, untaught.body)
        put_back(patrons, "relearned", training)
        patrons.start()
        status = patrons.ended("finetunerequest", "relearned")
        assert status["predictor"]["produced"] == before + 1, survives
        assert patrons.system.get(state).body == taught.body, survives
        assert patrons.documents(f"predictors/{patrons.zoo}/applied/")[f"{uid}.json"]["version"] == before + 1
    assert len([start for start in patrons.starts("finetune") if uid[:8] in start]) == 1


def test_requests_that_end_together_are_all_learned(patrons):
    before = version(patrons)
    names = [f"together-{number}" for number in range(4)]
    patrons.start()
    patrons.apply(*(patrons.request(name) for name in names))
    produced = {patrons.ended("finetunerequest", name)["predictor"]["produced"] for name in names}
    assert produced == {before + 1, before + 2, before + 3, before + 4}
    assert version(patrons) == before + 4


def version(team):
    return read_state(team.system, SYSTEM_BUCKET, team.zoo).version


def uid_of(team, name):
    return team.get("finetunerequest", name)["metadata"]["uid"]


def trained(team, name):
    status = team.get("finetunerequest", name).get("status", {})
    return status if status.get("phase") == "Training" else None


def put_back(team, name, status):
    """Give an object an earlier status."""
    patch = json.dumps([{"op": "replace", "path": "/status", "value": status}])
    team.kubectl("patch", "finetunerequest", name, "--subresource=status", "--type=json", "-p", patch)


def replacement(team, step, first):
    """The pod that has started in the place of ``first``."""
    index, owner = index_of(first), first["metadata"]["labels"]["nasoa.io/owner-name"]

    def found():
        started = {start.rsplit("/", 1)[1] for start in team.starts(step)} - {first["metadata"]["name"]}
        pods = [pod for pod in team.pods(step, owner) if index_of(pod) == index]
        return next((pod for pod in pods if pod["metadata"]["name"] in started), None)

    return until(found, f"the pod in the place of {first['metadata']['name']}")


def index_of(pod):
    return pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"]


def tries(pod):
    """How often the index of a pod has failed before, and how often that was not counted."""
    annotations = pod["metadata"]["annotations"]
    return {
        kind: annotations.get(f"batch.kubernetes.io/job-index-{name}-count", "0")
        for kind, name in (("failure", "failure"), ("ignored", "ignored-failure"))
    }


def evict(team, pod):
    """As ``kubectl drain`` does."""
    metadata = {"name": pod, "namespace": team.namespace}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    path = f"/api/v1/namespaces/{team.namespace}/pods/{pod}/eviction"
    team.cluster.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(eviction))


def assert_each_pod_ran_once(team):
    """No index of any Job was started twice."""
    starts = team.starts()
    indices = [start.rsplit("-", 1)[0] for start in starts]
    assert len(set(indices)) == len(indices), starts
