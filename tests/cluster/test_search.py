"""Searches from object to zoo, with a double of the pods' program and everything else real."""

import json

from operated import page, until
from simulation import step_seconds

from devcluster.s3 import SYSTEM_BUCKET
from nasoa_runtime.zoo import read_manifest


def test_a_search_ends_in_its_zoo_and_its_events_tell_the_story(team):
    team.apply(team.search())
    status = team.ended("nassearch", "search")
    assert (status["evaluated"], status["failed"]) == (8, 0)
    assert status["zoo"] == {"name": team.zoo, "models": 2, "version": 1}
    manifest = read_manifest(team.system, SYSTEM_BUCKET, team.zoo)
    assert [model.name for model in manifest.models] == [f"{team.zoo}-1", f"{team.zoo}-2"]
    assert all(len(model.step_times) == 6 for model in manifest.models)
    assert manifest.owner == team.get("nassearch", "search")["metadata"]["uid"]
    evaluated = team.evaluated()
    assert len(set(evaluated[:4])) == len(set(evaluated[4:])) == 4
    assert all(step_seconds(encoding) <= 0.060 for encoding in evaluated)
    reasons = team.reasons("search")
    for reason, times in (("GenerationStarted", 4), ("GenerationEvaluated", 4), ("LevelEnded", 2), ("Published", 2)):
        assert reasons.count(reason) == times, reasons
    until(lambda: not team.list("jobs"), "the Jobs to be deleted")
    assert all(len(starts) == 1 for starts in by_index(team.starts()).values())
    columns = team.kubectl("get", "nassearch").splitlines()
    assert columns[0].split() == ["NAME", "PHASE", "GENERATION", "EVALUATED", "BEST", "FRONT", "ZOO", "AGE"]
    assert columns[1].split()[:5] == ["search", "Succeeded", "macro", "2/2", "8"]


BAD_MESSAGES = {
    "block-g0000-evaluate": "the accuracy is very good",
    "block-g0001-evaluate": json.dumps({"program": "evaluate", "index": 0, "result": {"accuracy": float("nan")}}),
    "macro-g0000-evaluate": json.dumps({"program": "evaluate", "index": 0, "result": {"accuracy": 1.7}}),
    "macro-g0001-evaluate": json.dumps({"program": "evaluate", "index": 0, "message": "x" * 9000}),
}


def test_words_of_pods_that_are_no_results_are_asked_for_once_more_and_then_given_up(team):
    for step, message in BAD_MESSAGES.items():
        team.control(step, message=message)
    team.control("macro-g0001-evaluate-retry", message="again nothing")
    team.apply(team.search())
    status = team.ended("nassearch", "search")
    assert (status["evaluated"], status["failed"]) == (8, 2)
    assert {step: len(team.starts(f"{step}-retry")) for step in BAD_MESSAGES} == dict.fromkeys(BAD_MESSAGES, 2)
    uid = team.get("nassearch", "search")["metadata"]["uid"]
    given_up = team.documents(f"searches/{uid}/macro/g0001/")["evaluations.json"]["evaluations"]
    assert {(e["failure"], e["accuracy"]) for e in given_up} == {("InvalidResult", None)}
    assert all("Invalid JSON" in e["message"] for e in given_up)


def test_step_times_come_through_the_pods_metrics_where_they_were_scraped(team):
    team.control("block-g0000-profile0", hang=True)
    team.apply(team.search())
    team.until_running("block-g0000-profile0")
    uid = team.get("nassearch", "search")["metadata"]["uid"]
    pod = until(lambda: [p for p in team.list("pods") if p["status"].get("podIP")], "the pod's address")[0]
    until(lambda: "nasoa_profiled_step_seconds{" in page(f"{pod['status']['podIP']}:9464"), "the pod's metrics")
    # The second look from now has begun after the metrics were there, and so has scraped them.
    looks = team.operators[0].looks()
    until(lambda: team.operators[0].looks() >= looks + 2, "the operator to look again")
    team.release("block-g0000-profile0")
    team.ended("nassearch", "search")
    record = team.documents(f"searches/{uid}/block/g0000/")["profile-0.json"]
    assert {m["source"] for m in record["measurements"]} == {"prometheus"}
    assert {m["difference"] for m in record["measurements"]} == {0.0}


def test_deleting_a_search_stops_its_pods_and_leaves_what_was_published(team):
    team.apply(team.search())
    team.ended("nassearch", "search")
    team.apply(team.search("other", zoo={"name": f"{team.zoo}-b", "size": 2, "imageSize": 32}))
    team.control("block-g0000-evaluate", hang=True)
    team.until_running("block-g0000-profile0")
    team.kubectl("delete", "nassearch", "--all")
    until(lambda: not team.list("pods") and not team.list("jobs"), "the pods to go")
    assert read_manifest(team.system, SYSTEM_BUCKET, team.zoo) is not None


def test_a_suspended_search_stops_its_pods_and_goes_on_afterwards(team):
    team.control("block-g0001-evaluate", hang=True)
    team.apply(team.search())
    team.until_running("block-g0001-evaluate")
    team.apply(team.search(suspend=True))
    until(lambda: team.get("nassearch", "search")["status"]["phase"] == "Suspended", "the suspension")
    until(lambda: not [p for p in team.list("pods") if p["status"]["phase"] == "Running"], "the pods to stop")
    team.release("block-g0001-evaluate")
    team.apply(team.search())
    assert team.ended("nassearch", "search")["evaluated"] == 8


def test_two_searches_of_one_name_in_two_namespaces_do_not_meet(team, double_cluster, tmp_path):
    other = type(team)(double_cluster, tmp_path / "other")
    (tmp_path / "other").mkdir()
    other.start()
    try:
        for each in (team, other):
            each.apply(each.search())
        for each in (team, other):
            assert each.ended("nassearch", "search")["evaluated"] == 8
            assert read_manifest(each.system, SYSTEM_BUCKET, each.zoo).owner == uid_of(each)
    finally:
        other.end()


def uid_of(team):
    return team.get("nassearch", "search")["metadata"]["uid"]


def by_index(starts):
    """``step/index`` -> the pods that started."""
    found = {}
    for start in starts:
        found.setdefault(start.rsplit("/", 1)[0], []).append(start)
    return found


def storage_of(team, kind, name):
    """The condition that says whether S3 answers, and the object's message."""
    status = team.get(kind, name).get("status", {})
    found = [c for c in status.get("conditions", []) if c["type"] == "StorageReachable"]
    return (found[0]["status"], found[0]["reason"], status["message"]) if found else None


def test_an_s3_that_is_away_is_said_and_waited_for(team, double_cluster):
    double_cluster.stop_s3()
    try:
        team.apply(team.search())
        truth, reason, message = until(lambda: storage_of(team, "nassearch", "search"), "word of the missing S3")
        assert (truth, reason) == ("False", "StoreUnavailable")
        assert message.startswith("waiting for S3: s3://nasoa-system/")
        assert "StoreUnavailable" in team.reasons("search")
    finally:
        double_cluster.start_s3()
    team.control("block-g0001-profile0", hang=True)
    team.until_running("block-g0001-profile0")
    assert storage_of(team, "nassearch", "search")[0] == "True"
    double_cluster.stop_s3()
    try:
        until(lambda: storage_of(team, "nassearch", "search")[0] == "False", "word of the missing S3")
    finally:
        double_cluster.start_s3()
    team.release("block-g0001-profile0")
    status = team.ended("nassearch", "search")
    assert (status["evaluated"], status["failed"]) == (8, 0)
    assert storage_of(team, "nassearch", "search")[0] == "True"
