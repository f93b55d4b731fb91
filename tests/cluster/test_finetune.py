"""Requests from object to model, with a double of the pods' program and everything else real."""

import json

from operated import until

from demo.cluster import SYSTEM_BUCKET
from nasoa_runtime.boundary import EXIT_DIVERGED
from nasoa_runtime.storage.predictors import read_outcomes, read_state


def test_a_request_ends_with_a_model_and_its_events_tell_the_story(patrons):
    before = version(patrons)
    patrons.control("finetune", hang=True)
    patrons.apply(patrons.request("plain"))
    patrons.running_pod("finetune", "plain")
    progress = until(lambda: status_of(patrons, "plain").get("progress"), "the run's progress")
    planned = status_of(patrons, "plain")["schedule"]["steps"]
    assert (progress["step"], progress["steps"], progress["loss"]) == (planned // 4, planned, 0.5)
    patrons.release("finetune")
    status = patrons.ended("finetunerequest", "plain")
    assert status["schedule"]["model"] in {f"{patrons.zoo}-1", f"{patrons.zoo}-2"}
    assert status["schedule"]["plannedSeconds"] <= 60
    assert (status["result"]["seconds"], status["result"]["timeLimitSeconds"]) == (5.0, 60.0)
    assert status["predictor"] == {"plannedWith": before, "produced": before + 1}
    assert [c["type"] for c in status["conditions"] if c["status"] == "True"] == ["Accepted", "Planned", "Complete"]
    reasons = patrons.reasons("plain")
    for reason in ("Accepted", "Probed", "Scheduled", "FineTuned", "Learned", "Succeeded"):
        assert reasons.count(reason) == 1, reasons
    assert reasons.count("JobCreated") == 2
    until(lambda: not [job for job in patrons.list("jobs") if job["metadata"]["name"].startswith("plain-")], "no Jobs")
    columns = patrons.kubectl("get", "finetunerequest", "plain").splitlines()
    assert columns[0].split() == ["NAME", "PHASE", "MODEL", "PREDICTED", "ACCURACY", "USED", "VERSION", "AGE"]
    assert columns[1].split()[:3] == ["plain", "Succeeded", status["schedule"]["model"]]
    assert columns[1].split()[-2] == str(before + 1)


def test_a_suspended_request_is_planned_and_runs_once_it_is_wanted(patrons):
    before = version(patrons)
    patrons.control("finetune", hang=True)
    patrons.apply(patrons.request("patient", suspend=True))
    until(lambda: status_of(patrons, "patient").get("phase") == "Planned", "the plan")
    assert not patrons.pods("finetune", "patient")
    chosen = status_of(patrons, "patient")["schedule"]
    patrons.apply(patrons.request("patient", suspend=False))
    patrons.running_pod("finetune", "patient")
    # Suspended in the middle: its pod is told to stop, and nothing is learned of it.
    patrons.apply(patrons.request("patient", suspend=True))
    until(lambda: status_of(patrons, "patient").get("phase") == "Planned", "the suspension")
    until(lambda: not running(patrons, "patient"), "the pod to stop")
    assert version(patrons) == before
    patrons.release("finetune")
    patrons.apply(patrons.request("patient", suspend=False))
    status = patrons.ended("finetunerequest", "patient")
    assert status["schedule"] == chosen
    assert version(patrons) == before + 1


def test_a_run_that_diverges_teaches_chance_accuracy(patrons):
    before = version(patrons)
    said = {"program": "finetune", "index": 0, "failure": "Diverged", "message": "the loss became NaN at step 7"}
    patrons.control("finetune", exit=EXIT_DIVERGED, message=json.dumps(said))
    patrons.apply(patrons.request("wild"))
    status = patrons.ended("finetunerequest", "wild", "Failed")
    assert {c["type"]: c["reason"] for c in status["conditions"]}["Failed"] == "Diverged"
    assert "the loss became NaN at step 7" in status["message"]
    assert len([start for start in patrons.starts("finetune") if "/wild-" in start]) == 1
    assert status["predictor"]["produced"] == version(patrons) == before + 1
    learned = {record.uid: record.runs for record in read_outcomes(patrons.system, SYSTEM_BUCKET, patrons.zoo)}
    uid = patrons.get("finetunerequest", "wild")["metadata"]["uid"]
    # The double's probe has two classes.
    assert [outcome.accuracy for outcome in learned[uid]] == [0.5]


def test_a_run_beyond_the_time_limit_is_not_believed_and_teaches_nothing(patrons):
    before = version(patrons)
    for step in ("finetune", "finetune-retry"):
        patrons.control(step, changes={"seconds": 60.5})
    patrons.apply(patrons.request("late"))
    status = patrons.ended("finetunerequest", "late", "Failed")
    assert {c["type"]: c["reason"] for c in status["conditions"]}["Failed"] == "InvalidResult"
    assert status["message"] == "the pod reports 60.5 s, over the time limit of 60s"
    assert version(patrons) == before


def test_a_deleted_request_leaves_no_pods_and_teaches_nothing(patrons):
    before = version(patrons)
    patrons.control("finetune", hang=True)
    patrons.apply(patrons.request("unwanted"))
    patrons.running_pod("finetune", "unwanted")
    patrons.kubectl("delete", "finetunerequest", "unwanted")
    until(lambda: not patrons.pods("finetune", "unwanted"), "the pods to go")
    assert version(patrons) == before


def version(team):
    return read_state(team.system, SYSTEM_BUCKET, team.zoo).version


def status_of(team, name):
    return team.get("finetunerequest", name).get("status", {})


def running(team, name):
    return [pod for pod in team.pods("finetune", name) if pod["status"].get("phase") == "Running"]
