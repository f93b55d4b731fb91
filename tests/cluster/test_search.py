"""Searches from object to zoo, with a double of the pods' program and everything else real."""

import json

from operated import Team, page, until
from simulation import step_seconds

from demo.cluster import SYSTEM_BUCKET
from nasoa_runtime.boundary import EXIT_BAD_INPUT, EXIT_DIVERGED
from nasoa_runtime.storage.zoo import read_manifest


def test_a_search_ends_in_its_zoo_and_its_events_tell_the_story(undisturbed):
    team = undisturbed
    status = team.get("nassearch", "search")["status"]
    assert (status["evaluated"], status["failed"]) == (8, 0)
    assert status["zoo"] == {"name": team.zoo, "models": 2, "version": 1}
    manifest = read_manifest(team.system, SYSTEM_BUCKET, team.zoo)
    assert [model.name for model in manifest.models] == [f"{team.zoo}-1", f"{team.zoo}-2"]
    for model in manifest.models:
        # All numbers of frozen stages, and none frozen with a second batch size.
        assert sorted(row.frozen_stages for row in model.step_times) == [0, 0, 1, 2, 3, 4, 5]
    assert manifest.owner == uid_of(team)
    reasons = team.reasons("search")
    told = {"GenerationStarted": 4, "GenerationEvaluated": 4, "LevelEnded": 2, "Published": 1, "Succeeded": 1}
    for reason, times in told.items():
        assert reasons.count(reason) == times, reasons
    until(lambda: not [job for job in team.list("jobs") if "-search-" in job["metadata"]["name"]], "the Jobs to go")
    columns = team.kubectl("get", "nassearch").splitlines()
    assert columns[0].split() == ["NAME", "PHASE", "GENERATION", "EVALUATED", "BEST", "FRONT", "ZOO", "AGE"]
    assert columns[1].split()[:5] == ["search", "Succeeded", "macro", "2/2", "8"]


def test_each_generation_has_exactly_n_new_architectures_within_the_step_time_each_evaluated_once(undisturbed):
    course = undisturbed.course()
    generations = {part: found for part, found in course.items() if part.endswith("/evaluations")}
    assert {part: len(found) for part, found in generations.items()} == {
        f"{level}/g{generation:04d}/evaluations": 2 for level in ("block", "macro") for generation in range(2)
    }
    evaluated = undisturbed.evaluated()
    assert len(set(evaluated[:4])) == len(set(evaluated[4:])) == 4
    assert all(step_seconds(encoding) <= 0.060 for encoding in evaluated)
    starts = [start for start in undisturbed.starts() if f"search-{uid_of(undisturbed)[:8]}" in start]
    assert len({start.rsplit("/", 1)[0] for start in starts}) == len(starts)
    assert len([start for start in starts if "-evaluate/" in start]) == 8


BAD_RESULTS = {
    "block-g0000-evaluate": ({"changes": {"accuracy": 1.7}}, "accuracy: Input should be less than or equal to 1"),
    "block-g0001-evaluate": ({"changes": {"accuracy": float("nan")}}, "accuracy: Input should be a finite number"),
    "macro-g0000-evaluate": ({"size": 5_000_000}, "result over 4194304 bytes"),
    "macro-g0001-evaluate": ({"message": "the accuracy is very good"}, "Invalid JSON"),
}


def test_what_pods_say_is_asked_for_once_more_and_then_given_up_and_never_stops_a_search(team):
    for step, (instruction, _) in BAD_RESULTS.items():
        team.control(step, index=0, **instruction)
        team.control(f"{step}-retry", **instruction)
    # Weights that are not those that the pod speaks of.
    team.control("pretrain", index=1, changes={"weights_digest": "00" * 32})
    team.apply(team.search())
    status = team.ended("nassearch", "search")
    assert (status["evaluated"], status["failed"], status["zoo"]["models"]) == (8, 4, 1)
    uid = uid_of(team)
    for step, (_, words) in BAD_RESULTS.items():
        assert len(team.starts(f"{step}-retry")) == 1
        level, generation, _ = step.split("-")
        bad, good = team.documents(f"searches/{uid}/{level}/{generation}/")["evaluations.json"]["evaluations"]
        assert (bad["accuracy"], bad["failure"], good["failure"]) == (None, "InvalidResult", None)
        assert words in bad["message"], bad["message"]
    published = team.documents(f"searches/{uid}/")["published.json"]
    assert [refusal.split(": ")[0] for refusal in published["refused"]] == [f"{team.zoo}-2"]


def test_a_run_that_diverges_is_a_failed_evaluation_and_bad_data_ends_the_search_and_its_jobs(team):
    said = {"program": "evaluate", "index": 0, "failure": "Diverged", "message": "the loss became NaN at step 7"}
    team.control("block-g0000-evaluate", index=0, exit=EXIT_DIVERGED, message=json.dumps(said))
    said = {"program": "evaluate", "index": 1, "failure": "BadInput", "field": "dataset.uri"}
    said |= {"message": "there are no images"}
    team.control("block-g0001-evaluate", index=1, exit=EXIT_BAD_INPUT, message=json.dumps(said))
    team.apply(team.search())
    status = team.ended("nassearch", "search", "Failed")
    assert status["message"] == "spec.dataset.uri: there are no images"
    assert {c["type"]: c["reason"] for c in status["conditions"]}["Failed"] == "InvalidDataset"
    diverged = team.documents(f"searches/{uid_of(team)}/block/g0000/")["evaluations.json"]["evaluations"][0]
    assert (diverged["failure"], diverged["message"]) == ("Diverged", "the loss became NaN at step 7")
    # Neither is tried again, and nothing stays behind.
    assert len(team.starts("block-g0000-evaluate")) == len(team.starts("block-g0001-evaluate")) == 2
    until(lambda: not team.list("jobs"), "the Jobs to go")
    assert "InvalidDataset" in team.reasons("search")


def test_step_times_come_through_the_pods_metrics_where_they_were_scraped(team):
    team.control("block-g0000-profile0", hang=True)
    team.control("block-g0000-evaluate", hang=True)
    team.apply(team.search())
    address = team.running_pod("block-g0000-profile0")["status"]["podIP"]
    until(lambda: "nasoa_profiled_step_seconds{" in page(f"{address}:9464"), "the pod's metrics")
    # The second look from now has begun after the metrics were there, and so has scraped them.
    looks = team.operators[0].looks()
    until(lambda: team.operators[0].looks() >= looks + 2, "the operator to look again")
    team.release("block-g0000-profile0")
    team.until_running("block-g0000-evaluate")
    record = team.documents(f"searches/{uid_of(team)}/block/g0000/")["profile-0.json"]
    assert {m["source"] for m in record["measurements"]} == {"prometheus"}
    assert {m["difference_seconds"] for m in record["measurements"]} == {0.0}


def test_a_suspended_search_stops_its_pods_and_goes_on_afterwards(team, undisturbed):
    team.control("block-g0001-evaluate", hang=True)
    team.apply(team.search())
    team.running_pod("block-g0001-evaluate")
    team.apply(team.search(suspend=True))
    until(lambda: team.get("nassearch", "search")["status"]["phase"] == "Suspended", "the suspension")
    until(lambda: not [p for p in team.list("pods") if p["status"]["phase"] == "Running"], "the pods to stop")
    team.release("block-g0001-evaluate")
    team.apply(team.search())
    assert team.ended("nassearch", "search")["evaluated"] == 8
    assert team.course() == undisturbed.course()


def test_of_two_searches_of_one_name_one_is_deleted_and_the_other_does_not_notice(
    team, undisturbed, double_cluster, tmp_path
):
    (tmp_path / "other").mkdir()
    other = Team(double_cluster, tmp_path / "other")
    other.start()
    try:
        other.control("block-g0001-evaluate", hang=True)
        other.apply(other.search())
        team.apply(team.search())
        other.running_pod("block-g0001-evaluate")
        other.kubectl("delete", "nassearch", "search")
        until(lambda: not other.list("pods") and not other.list("jobs"), "the pods to go")
        assert read_manifest(other.system, SYSTEM_BUCKET, other.zoo) is None
    finally:
        other.end()
    team.ended("nassearch", "search")
    assert team.course() == undisturbed.course()
    # What is published stays when the search that published it goes.
    team.kubectl("delete", "nassearch", "search")
    assert len(read_manifest(team.system, SYSTEM_BUCKET, team.zoo).models) == 2


def storage_of(team, kind, name):
    """The condition that says whether S3 answers, and the object's message."""
    status = team.get(kind, name).get("status", {})
    found = [c for c in status.get("conditions", []) if c["type"] == "StorageReachable"]
    return (found[0]["status"], found[0]["reason"], status["message"]) if found else None


def test_an_s3_that_is_away_is_said_and_waited_for(team, double_cluster, undisturbed):
    expected = undisturbed.course()
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
    assert team.course() == expected


def uid_of(team):
    return team.get("nassearch", "search")["metadata"]["uid"]
