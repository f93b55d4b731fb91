"""Searches from their creation to their end, over a cluster and an S3 in memory."""

import dataclasses

import pytest
from memory.world import World
from simulation import UID, Simulation, run, step_seconds

from nasoa_operator.pod_outcomes import PodOutcome
from nasoa_operator.step_times import profiled
from nasoa_runtime.boundary import EvaluateInput, PretrainInput, ProfileInput
from nasoa_runtime.storage.zoo import publish

ANOTHER_UID = "11111111-0000-4000-8000-000000000009"

SMALL = {
    "parallelism": 2,
    "seed": 3,
    "lowResolutionStem": True,
    "blockPhase": {"generations": 3, "imageSize": 32, "maxStepTime": "60ms"},
    "macroPhase": {"generations": 3, "imageSize": 32, "maxStepTime": "60ms", "blocks": 3},
    "zoo": {"name": "fashion", "size": 3, "imageSize": 32},
}


def with_outcome(outcome, kind, index=0, steps=None):
    """The pods' program, but for one index of one kind of input."""

    def program(pod_input, at):
        if isinstance(pod_input, kind) and at == index and (steps is None or pod_input.result_uri.endswith(steps)):
            return dataclasses.replace(outcome, index=at)
        return run(pod_input, at)

    return program


def find(conditions, kind):
    return next(condition for condition in conditions if condition["type"] == kind)


@pytest.fixture(scope="module")
def whole():
    simulation = Simulation(SMALL)
    simulation.end()
    return simulation


def test_a_search_ends_with_its_zoo(whole):
    assert whole.status["phase"] == "Succeeded"
    assert whole.status["zoo"] == {"name": "fashion", "models": 3, "version": 1}
    assert whole.status["evaluated"] == 12
    assert whole.status["completionTime"] > whole.status["startTime"]


def test_each_generation_has_exactly_n_new_architectures_within_the_step_time(whole):
    for level in ("block", "macro"):
        encodings = whole.evaluated(level)
        assert len(encodings) == len(set(encodings)) == 6
        assert all(step_seconds(e) <= 0.060 for e in encodings)


def test_step_times_are_measured_before_anything_is_trained(whole):
    for generation in range(3):
        profile = whole.created.index(f"block-g{generation:04d}-profile0")
        assert profile < whole.created.index(f"block-g{generation:04d}-evaluate")
    assert whole.created[-2:] == ["pretrain", "table"]


def test_a_zoo_knows_what_options_and_larger_batches_cost(whole):
    for model in whole.zoo.models:
        assert [factors.factors for factors in model.step_factors] == [{"ema": 1.2}]
        assert {(row.frozen_stages, row.batch_size) for row in model.step_times if row.batch_size != 32} == {(0, 64)}


def test_every_job_is_deleted_once_it_is_recorded(whole):
    assert whole.deleted == whole.created
    assert whole.jobs == {}


def test_every_transition_has_its_event(whole):
    assert whole.events.count("GenerationEvaluated") == 6
    assert {"StepTimesMeasured", "GenerationStarted", "LevelEnded", "ModelsSelected", "ModelsPretrained"} <= set(
        whole.events
    )


def test_another_seed_gives_another_search(whole):
    other = Simulation(SMALL | {"seed": 4})
    other.end()
    assert other.evaluated("block") != whole.evaluated("block")


def test_a_failed_evaluation_is_recorded_and_stops_nothing():
    failed = PodOutcome(0, failure="OutOfMemory", message="CUDA out of memory")
    simulation = Simulation(SMALL, program=with_outcome(failed, EvaluateInput, steps="block-g0001-evaluate"))
    status = simulation.end()
    assert status["phase"] == "Succeeded"
    assert (status["evaluated"], status["failed"]) == (12, 1)
    record = simulation.records.evaluations("block", 1).evaluations[0]
    assert (record.failure, record.accuracy) == ("OutOfMemory", None)


def test_an_invalid_result_is_tried_once_more_and_only_for_its_index():
    invalid = PodOutcome(0, failure="InvalidResult", message="accuracy: Input should be less than or equal to 1")
    simulation = Simulation(SMALL, program=with_outcome(invalid, EvaluateInput, index=1, steps="block-g0000-evaluate"))
    status = simulation.end()
    assert status["failed"] == 0
    assert len(simulation.inputs["block-g0000-evaluate-retry"].architectures) == 1
    assert simulation.created.count("block-g0000-evaluate-retry") == 1


def test_a_result_that_stays_invalid_is_a_failed_evaluation():
    invalid = PodOutcome(0, failure="InvalidResult", message="not JSON")

    def program(pod_input, index):
        if isinstance(pod_input, EvaluateInput) and "block-g0000" in pod_input.result_uri and index == 0:
            return dataclasses.replace(invalid, index=index)
        return run(pod_input, index)

    simulation = Simulation(SMALL, program=program)
    assert simulation.end()["failed"] == 1
    assert simulation.records.evaluations("block", 0).evaluations[0].failure == "InvalidResult"


def test_a_dataset_that_cannot_be_used_fails_the_search_with_the_pods_words():
    words = "no class folders under s3://tenant/fashion-mnist; put each class's images into a folder"
    bad = PodOutcome(0, failure="BadInput", field="dataset.uri", message=words)
    status = Simulation(SMALL, program=with_outcome(bad, EvaluateInput)).end()
    assert (status["phase"], status["message"]) == ("Failed", f"spec.dataset.uri: {words}")
    assert find(status["conditions"], "Failed")["reason"] == "InvalidDataset"


def test_a_space_with_fewer_members_than_wanted_ends_and_says_so():
    tiny = SMALL | {"space": {"operations": [0], "maxLayers": 1, "maxConnections": 0}}
    simulation = Simulation(tiny | {"blockPhase": {"generations": 3, "imageSize": 32}})
    simulation.end()
    assert simulation.records.end("block").reason == "SpaceExhausted"
    assert simulation.evaluated("block") == ["0-_16_1-2-2-2"]


def test_a_step_time_that_nothing_meets_ends_the_level_after_five_lists():
    simulation = Simulation(SMALL | {"blockPhase": {"generations": 3, "imageSize": 32, "maxStepTime": "1ms"}})
    status = simulation.end()
    assert simulation.records.end("block").reason == "NoneWithinStepTime"
    assert sum(step.startswith("block-g0000-profile") for step in simulation.created) == 5
    assert status["phase"] == "Failed"


def test_the_budget_of_evaluations_ends_the_search_early_and_what_was_found_is_published():
    simulation = Simulation(SMALL | {"limits": {"maxEvaluations": 8}})
    status = simulation.end()
    assert (status["phase"], status["evaluated"]) == ("Succeeded", 8)
    assert simulation.records.end("macro").reason == "EvaluationsSpent"


def test_a_limit_that_strikes_is_persisted_and_what_was_found_is_published():
    diverged = PodOutcome(0, failure="Diverged", message="loss is NaN")
    simulation = Simulation(
        SMALL | {"limits": {"maxFailedEvaluations": 3}}, program=with_outcome(diverged, EvaluateInput)
    )
    status = simulation.end()
    assert simulation.records.limit.message == ("4 evaluations failed, spec.limits.maxFailedEvaluations is 3")
    assert status["phase"] == "Succeeded"
    assert status["evaluated"] == 8


def test_a_model_that_cannot_be_pretrained_is_left_out():
    failed = PodOutcome(0, failure="Diverged", message="loss is NaN")
    simulation = Simulation(SMALL, program=with_outcome(failed, PretrainInput))
    status = simulation.end()
    assert status["zoo"]["models"] == 2
    assert simulation.records.pretrained.failed[0].message == "loss is NaN"


def test_a_profiling_pod_that_fails_stops_the_search_with_its_words():
    failed = PodOutcome(0, failure="Error", message="exit code 1 (Error)")
    status = Simulation(SMALL, program=with_outcome(failed, ProfileInput)).end()
    assert status["phase"] == "Failed"
    assert status["message"] == "block-g0000-profile0: Error: exit code 1 (Error)"


@pytest.mark.parametrize("step", ["block-g0000-profile0", "table"])
def test_a_profiling_pod_that_can_not_use_its_input_stops_the_search_with_the_field_to_blame(step):
    bad = PodOutcome(0, failure="BadInput", field="dataset.uri", message="no class folders")
    status = Simulation(SMALL, program=with_outcome(bad, ProfileInput, steps=step)).end()
    assert (status["phase"], status["message"]) == ("Failed", "spec.dataset.uri: no class folders")
    assert find(status["conditions"], "Failed")["reason"] == "InvalidDataset"


@pytest.mark.parametrize("step", ["block-g0000-profile0", "table"])
def test_an_invalid_result_of_a_profiling_pod_is_tried_once_more(step):
    invalid = PodOutcome(0, failure="InvalidResult", message="not JSON")
    simulation = Simulation(SMALL, program=with_outcome(invalid, ProfileInput, steps=step))
    assert simulation.end()["phase"] == "Succeeded"
    assert simulation.created.count(f"{step}-retry") == 1


@pytest.mark.parametrize("step", ["block-g0000-profile0", "table"])
def test_a_result_of_a_profiling_pod_that_stays_invalid_stops_the_search(step):
    invalid = PodOutcome(0, failure="InvalidResult", message="not JSON")
    status = Simulation(SMALL, program=with_outcome(invalid, ProfileInput, steps=(step, f"{step}-retry"))).end()
    assert status["message"].startswith(f"{step}: InvalidResult: Invalid JSON")
    assert find(status["conditions"], "Failed")["reason"] == "ProfilingFailed"


def test_a_search_that_fails_leaves_no_job_as_nobody_looks_at_it_again():
    failed = PodOutcome(0, failure="Error", message="exit code 1 (Error)")
    simulation = Simulation(SMALL, program=with_outcome(failed, ProfileInput))
    simulation.reconcile()
    simulation.world.finish_jobs()
    simulation.reconcile()
    # The look that says that it has failed is the last one: an ended search is not looked at any more.
    assert simulation.status["phase"] == "Failed"
    assert simulation.deleted == ["block-g0000-profile0"]
    assert simulation.jobs == {}


def test_initial_architectures_are_the_first_of_the_macro_level():
    initial = ["0-_16_1-2-2-2", "011-_16_1-2-2-21"]
    macro = {"generations": 3, "imageSize": 32, "blocks": 3, "initialArchitectures": initial}
    simulation = Simulation(SMALL | {"macroPhase": macro})
    simulation.end()
    assert simulation.evaluated("macro")[:2] == initial


def test_a_suspended_search_creates_nothing_and_goes_on_afterwards():
    simulation = Simulation(SMALL | {"suspend": True})
    for _ in range(5):
        simulation.step()
    assert simulation.created == []
    assert simulation.status["phase"] == "Suspended"
    assert simulation.step() is None
    simulation.spec = SMALL
    assert simulation.end()["phase"] == "Succeeded"


def test_a_zoo_that_belongs_to_another_search_is_refused():
    world = World(run)
    publish(world.store, world.bucket, "fashion", ANOTHER_UID, [])
    simulation = Simulation(SMALL, world=world)
    simulation.step()
    accepted = simulation.status["conditions"][0]
    assert (accepted["status"], accepted["reason"]) == ("False", "ZooBelongsToAnother")
    assert "choose another name" in accepted["message"]
    assert simulation.recorded == {}


def with_records(earlier, kept):
    """A world in which the documents of an earlier search are, as far as their keys are to be kept."""
    world = World(run)
    for key, body in earlier.recorded.items():
        if kept(key):
            world.store.put(f"s3://{world.bucket}/{earlier.prefix}{key}", body)
    return world


def test_the_records_of_another_namespace_cannot_be_taken_over():
    world = World(run)
    earlier = Simulation(SMALL, world=world, namespace="somebody-else")
    earlier.step()
    before = earlier.recorded
    assert before
    simulation = Simulation(SMALL | {"resumeFrom": UID}, world=world, uid=ANOTHER_UID)
    simulation.step()
    accepted = simulation.status["conditions"][0]
    assert (accepted["status"], accepted["reason"]) == ("False", "NothingToResume")
    assert simulation.recorded == before


def test_a_search_goes_on_from_the_records_of_an_earlier_one(whole):
    world = with_records(whole, lambda key: key == "spec.json" or "/g0000/" in key)
    simulation = Simulation(SMALL | {"resumeFrom": UID}, world=world, uid=ANOTHER_UID)
    simulation.end()
    assert simulation.evaluated("macro") == whole.evaluated("macro")
    assert "block-g0000-evaluate" not in simulation.created


def test_the_message_never_counts_beyond_the_last_generation(whole):
    said = list(dict.fromkeys(whole.messages))
    assert said[0] == "block generation 1 of 3: measuring step times"
    assert "the block level ends" in said
    assert not any("generation 4" in message for message in said)


def test_the_size_of_the_space_is_reported(whole):
    assert whole.status["spaceSize"] == {"block": 301519, "macro": 15990600}


def test_the_wall_clock_limit_counts_from_the_creation():
    simulation = Simulation(SMALL | {"limits": {"maxWallClock": "10s"}})
    status = simulation.end()
    assert simulation.records.limit.message.endswith("spec.limits.maxWallClock is 10s")
    assert status["phase"] == "Failed"


def test_suspending_asks_for_what_differs_and_only_of_jobs_that_run():
    simulation = Simulation(SMALL)
    simulation.reconcile()
    (job,) = simulation.jobs.values()
    simulation.spec = SMALL | {"suspend": True}
    assert simulation.reconcile() == 3.0
    assert simulation.world.cluster.suspensions == [(job["metadata"]["name"], True)]
    assert simulation.reconcile() is None
    assert len(simulation.world.cluster.suspensions) == 1
    simulation.spec = SMALL
    simulation.reconcile()
    assert simulation.world.cluster.suspensions[1:] == [(job["metadata"]["name"], False)]
    assert simulation.end()["phase"] == "Succeeded"


def test_a_job_that_has_finished_is_not_suspended():
    simulation = Simulation(SMALL)
    simulation.step()
    simulation.spec = SMALL | {"suspend": True}
    simulation.reconcile()
    assert simulation.world.cluster.suspensions == []


def test_a_job_that_a_queue_admits_is_suspended_through_its_workload():
    queued = SMALL | {"podTemplate": {"queueName": "team-queue"}}
    simulation = Simulation(queued)
    simulation.reconcile()
    (job,) = simulation.jobs.values()
    assert job["spec"]["suspend"] is True
    simulation.world.cluster.admit()
    simulation.spec = queued | {"suspend": True}
    simulation.reconcile()
    simulation.world.finish_jobs()
    (kept,) = simulation.jobs.values()
    assert kept["spec"]["suspend"] is True
    simulation.spec = queued
    assert simulation.end()["phase"] == "Succeeded"


def test_a_step_time_that_a_pod_has_told_while_it_ran_counts_before_the_one_that_it_left():
    simulation = Simulation(SMALL)
    simulation.reconcile()
    (job,) = simulation.jobs.values()
    told = simulation.inputs["block-g0000-profile0"].architectures[0].architecture
    simulation.world.metrics.said[job["metadata"]["uid"]] = {profiled(told): 0.25}
    simulation.step()
    simulation.reconcile()
    first, second, *_ = simulation.records.measurements("block", 0, 0).measurements
    assert (first.step_seconds, first.source) == (0.25, "prometheus")
    assert first.difference_seconds == pytest.approx(0.25 - step_seconds(told))
    assert (second.step_seconds, second.source) == (step_seconds(second.encoding), "termination-message")
