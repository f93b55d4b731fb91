"""Requests from their creation to their end, over a cluster and an S3 in memory."""

import json
import re

import pytest
from memory.lines import DeathBehind
from request_simulation import DIGEST, UID, RequestSimulation, Taught, a_model, a_probe, a_result, a_zoo, run

from nasoa_operator.finetune.plan import predicted
from nasoa_operator.finetune.status import alternative
from nasoa_operator.pod_outcomes import PodOutcome
from nasoa_runtime.api.finetune_status import Alternative
from nasoa_runtime.boundary import (
    CurvePoint,
    FinetuneInput,
    ProbeInput,
    Run,
    StepFactors,
    StepTime,
    canonical_json,
    digest,
)
from nasoa_runtime.documents.base import load
from nasoa_runtime.documents.request import Schedule


def failing(kind, failure, message="", steps=None, field=None):
    """The pods' program, but a kind of input (and step) fails."""

    def program(pod_input, index):
        if isinstance(pod_input, kind) and (steps is None or pod_input.result_uri.rsplit("/", 1)[-1] in steps):
            return PodOutcome(index, failure=failure, message=message, field=field)
        return run(pod_input, index)

    return program


def reason(status, condition="Failed"):
    return next(c["reason"] for c in status["conditions"] if c["type"] == condition)


def told(simulation, why):
    """The message of its one Event of this reason."""
    (event,) = (e for e in simulation.world.cluster.events() if e["reason"] == why)
    return event["message"]


def test_a_request_is_probed_planned_run_and_learned_from_once():
    simulation = RequestSimulation()
    status = simulation.end()
    assert status["phase"] == "Succeeded"
    assert simulation.created == ["probe", "finetune"]
    assert len(simulation.learned) == 1
    assert status["result"]["used"] == "45s/60s"
    assert status["predictor"] == {"plannedWith": 0, "produced": 1}
    assert status["schedule"]["runnersUp"]
    assert simulation.jobs == {}


def test_what_is_learned_describes_the_run():
    simulation = RequestSimulation()
    simulation.end()
    chosen = simulation.records.schedule.regimes[0]
    assert simulation.learned == [(UID, (Taught(chosen.model, 10, chosen.steps, 0.8),))]


def test_the_probe_may_measure_for_a_tenth_of_the_time_limit():
    simulation = RequestSimulation({"timeLimit": "5m"})
    simulation.end()
    assert simulation.inputs["probe"].time_cap_seconds == pytest.approx(30)


def test_the_plan_is_never_decided_again_when_zoo_and_predictor_change():
    simulation = RequestSimulation(line=DeathBehind("/schedule.json"))
    while not simulation.deaths:
        simulation.step()
    before = simulation.records.schedule
    assert simulation.created == ["probe"]
    other = RequestSimulation(world=simulation.world, name="other", uid="0a1b2c3d-0000-4000-8000-000000000003")
    assert other.end()["predictor"] == {"plannedWith": 0, "produced": 1}
    simulation.zoo = a_zoo(a_model("fashion-9", 0.001))
    assert simulation.end()["predictor"] == {"plannedWith": 0, "produced": 2}
    assert simulation.records.schedule == before
    assert simulation.inputs["finetune"].regimes[0].model == before.regimes[0].model


def test_an_unknown_zoo_is_waited_for():
    simulation = RequestSimulation(zoo=None)
    status = simulation.end()
    assert reason(status, "Accepted") == "ZooNotFound"
    assert status["message"] == "spec.zoo: there is no zoo 'fashion' yet; the request waits for it"
    simulation.zoo = a_zoo()
    assert simulation.end()["phase"] == "Succeeded"


def test_a_pin_that_the_zoo_lacks_is_refused_with_what_it_has():
    simulation = RequestSimulation({"pins": {"model": "fashion-7"}})
    status = simulation.end()
    assert reason(status, "Accepted") == "PinNotInZoo"
    assert "fashion-1, fashion-2" in status["message"]
    assert simulation.created == []


def test_the_bucket_of_the_zoo_is_no_place_for_outputs():
    status = RequestSimulation({"outputURI": "s3://nasoa-system/zoo/fashion"}).end()
    assert reason(status, "Accepted") == "OutputInSystemBucket"
    assert "name a bucket of your own" in status["message"]


def test_a_time_limit_too_short_for_every_model_says_the_least_that_works():
    status = RequestSimulation({"timeLimit": "5s"}).end()
    assert (status["phase"], reason(status)) == ("Failed", "TimeLimitTooShort")
    found = re.fullmatch(
        r"spec.timeLimit: nothing fits in 5 s: the least time limit is (\d+) s, by this probe; "
        r"write timeLimit: \d+s or more, as start-up times vary",
        status["message"],
    )
    least = int(found[1])
    assert RequestSimulation({"timeLimit": f"{least}s"}).end()["phase"] == "Succeeded"
    assert RequestSimulation({"timeLimit": f"{least - 1}s"}).end()["phase"] == "Failed"


def test_an_unusable_dataset_fails_the_request_with_the_pods_words():
    words = "class 'b' has no images"
    status = RequestSimulation(program=failing(ProbeInput, "BadInput", words, field="dataset.uri")).end()
    assert (status["phase"], reason(status)) == ("Failed", "InvalidDataset")
    assert status["message"] == "spec.dataset.uri: class 'b' has no images"


def test_a_run_that_ran_out_of_time_names_the_time_limit():
    words = "of 60 s, 59 s were used before the first step"
    status = RequestSimulation(program=failing(FinetuneInput, "TimedOut", words, field="timeLimit")).end()
    assert (status["phase"], reason(status)) == ("Failed", "TimeLimitReached")
    assert status["message"] == "spec.timeLimit: of 60 s, 59 s were used before the first step"


def test_the_pod_is_told_the_strategy():
    simulation = RequestSimulation()
    simulation.end()
    assert simulation.inputs["finetune"].strategy == "Race"


def test_a_failed_request_teaches_nothing():
    simulation = RequestSimulation(program=failing(FinetuneInput, "Error", "exit code 1"))
    status = simulation.end()
    assert (status["phase"], reason(status)) == ("Failed", "FineTuningFailed")
    assert simulation.learned == []


def test_a_diverged_run_teaches_chance_accuracy():
    simulation = RequestSimulation(program=failing(FinetuneInput, "Diverged", "loss is NaN at step 12"))
    status = simulation.end()
    assert (status["phase"], status["message"]) == ("Failed", "loss is NaN at step 12")
    ((_, (learned,)),) = simulation.learned
    assert learned.accuracy == pytest.approx(0.1)


def test_an_invalid_result_is_tried_once_more():
    simulation = RequestSimulation(program=failing(FinetuneInput, "InvalidResult", "not JSON", steps=["finetune"]))
    assert simulation.end()["phase"] == "Succeeded"
    assert simulation.created == ["probe", "finetune", "finetune-retry"]


def test_a_result_over_the_time_limit_is_not_believed():
    def program(pod_input, index):
        if isinstance(pod_input, FinetuneInput):
            return PodOutcome(index, result=a_result(pod_input, seconds=61.0))
        return run(pod_input, index)

    status = RequestSimulation(program=program).end()
    assert (status["phase"], reason(status)) == ("Failed", "InvalidResult")
    assert status["message"] == "the pod reports 61.0 s, over the time limit of 60s"


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"model": "a-stranger"}, id="another model"),
        pytest.param({"learning_rate": 1e300}, id="another learning rate"),
    ],
)
def test_a_result_of_a_run_that_was_not_scheduled_is_not_believed(changes):
    def program(pod_input, index):
        if not isinstance(pod_input, FinetuneInput):
            return run(pod_input, index)
        done = a_result(pod_input).runs[0]
        forged = done.model_copy(update={"regime": done.regime.model_copy(update=changes)})
        return PodOutcome(index, result=a_result(pod_input, runs=(forged,)))

    simulation = RequestSimulation(program=program)
    status = simulation.end()
    assert (status["phase"], reason(status)) == ("Failed", "InvalidResult")
    assert status["message"].endswith("that was not scheduled")
    assert simulation.learned == []


# --- Races -----------------------------------------------------------------------------------------------------------


def a_race(pod_input, index):
    """The pods' program: four of the regimes race, one of which diverges, and the second one wins."""
    if not isinstance(pod_input, FinetuneInput):
        return run(pod_input, index)
    shown = [(0.5, None), (0.8, None), (None, "Diverged"), (0.4, None)]
    done = tuple(
        Run(
            regime=regime,
            steps=20 + place,
            validation_accuracy=accuracy,
            failure=failure,
            seconds=10.0,
            points=()
            if accuracy is None
            else (CurvePoint(steps=20 + place, accuracy=accuracy, annealed=accuracy == 0.8, seconds=9.0),),
        )
        for place, (regime, (accuracy, failure)) in enumerate(zip(pod_input.regimes, shown, strict=False))
    )
    result = a_result(pod_input, runs=done, chosen=1, strategy="Race")
    return PodOutcome(index, result=result)


def test_every_run_of_a_race_is_learned_and_the_predictor_has_one_version_more():
    simulation = RequestSimulation(program=a_race)
    status = simulation.end()
    ((_, taught),) = simulation.learned
    assert [(run.iterations, run.accuracy) for run in taught] == [(20, 0.5), (21, 0.8), (22, 0.1), (23, 0.4)]
    assert status["predictor"] == {"plannedWith": 0, "produced": 1}
    assert (status["result"]["runs"], status["result"]["strategy"]) == (4, "Race")
    won = simulation.records.schedule.regimes[1]
    delivered = status["result"]["delivered"]
    assert (delivered["model"], delivered["learningRate"]) == (won.model, won.learning_rate)
    assert (status["model"], status["predicted"]) == (won.model, f"{100 * won.predicted_accuracy:.1f}%")
    said = [event["message"] for event in simulation.world.cluster.events()]
    assert any("the best of 4 candidates" in message for message in said)
    assert any("it races with up to" in message for message in said)


@pytest.mark.parametrize("strategy", ["Race", "OneShot"])
def test_schedule_status_and_event_tell_how_sure_a_prediction_is(strategy):
    simulation = RequestSimulation({"strategy": strategy})
    status = simulation.end()
    regimes = simulation.records.schedule.regimes
    assert all(0 <= r.predicted_low <= r.predicted_accuracy <= r.predicted_high <= 1 for r in regimes)
    chosen, schedule = regimes[0], status["schedule"]
    for shown, regime in ((schedule, chosen), (schedule["runnersUp"][0], regimes[1])):
        assert (shown["predictedLow"], shown["predictedHigh"]) == (regime.predicted_low, regime.predicted_high)
    assert status["result"]["delivered"]["predictedLow"] == chosen.predicted_low
    low, high = 100 * chosen.predicted_low, 100 * chosen.predicted_high
    assert f"% (90% interval {low:.1f} to {high:.1f}%) in " in told(simulation, "Scheduled")


def test_a_schedule_of_before_there_were_intervals_is_read_and_shown_without_them():
    simulation = RequestSimulation({"suspend": True})
    assert simulation.end()["phase"] == "Planned"
    document = simulation.records.schedule.model_dump(mode="json")
    for regime in document["regimes"]:
        del regime["predicted_low"], regime["predicted_high"]
    older = {**document, "formatVersion": 2}
    older["checksum"] = digest(canonical_json(older))
    read = load(Schedule, json.dumps(older).encode(), "schedule")
    assert [regime.predicted_low for regime in read.regimes] == [None] * len(read.regimes)
    assert Alternative(**alternative(read.regimes[0])).predicted_low is None
    assert predicted(read.regimes[0]) == f"{100 * read.regimes[0].predicted_accuracy:.1f}%"


def test_a_race_is_planned_with_what_steps_are_predicted_to_add():
    simulation = RequestSimulation()
    status = simulation.end()
    regimes = simulation.inputs["finetune"].regimes
    assert 6 < len(regimes) <= 27
    assert all(len(regime.predicted_curve) == 8 for regime in regimes)
    assert all(regime.predicted_curve[-1][0] == regime.steps for regime in regimes)
    assert len(status["schedule"]["runnersUp"]) == 5
    once = RequestSimulation({"strategy": "OneShot"})
    once.end()
    assert [regime.predicted_curve for regime in once.inputs["finetune"].regimes] == [()] * 6


@pytest.mark.parametrize(
    ("running", "message", "has_eta"),
    [
        pytest.param(4, "4 candidates race, in rung 2", False, id="undecided"),
        pytest.param(1, "fine-tuning", True, id="decided"),
    ],
)
def test_the_status_tells_how_far_a_race_is(running, message, has_eta):
    simulation = RequestSimulation()
    simulation.reconcile()
    while "finetune" not in simulation.jobs:
        simulation.world.finish_jobs()
        simulation.reconcile()
    said = {"nasoa_step": 7.0, "nasoa_planned_steps": 30.0, "nasoa_step_seconds": 0.1}
    said |= {"nasoa_race_rung": 2.0, "nasoa_race_running": float(running)}
    simulation.world.metrics.said[simulation.jobs["finetune"]["metadata"]["uid"]] = said
    simulation.reconcile()
    progress = simulation.status["progress"]
    assert (progress["step"], progress["rung"], progress["running"]) == (7, 2, running)
    assert ("eta" in progress) is has_eta
    assert simulation.status["message"] == message


def test_a_result_in_which_a_regime_was_run_twice_is_not_believed():
    def program(pod_input, index):
        if not isinstance(pod_input, FinetuneInput):
            return run(pod_input, index)
        (once,) = a_result(pod_input).runs
        return PodOutcome(index, result=a_result(pod_input, runs=(once, once)))

    simulation = RequestSimulation(program=program)
    status = simulation.end()
    assert (reason(status), status["message"]) == ("InvalidResult", "the pod reports two runs of one regime")
    assert simulation.learned == []


def test_the_result_tells_that_there_was_no_time_for_a_race():
    def program(pod_input, index):
        if isinstance(pod_input, FinetuneInput):
            return PodOutcome(index, result=a_result(pod_input, strategy="OneShot"))
        return run(pod_input, index)

    status = RequestSimulation(program=program).end()
    assert (status["result"]["strategy"], status["result"]["runs"]) == ("OneShot", 1)


def test_rows_that_the_probe_measured_are_planned_with_and_given_to_the_zoo():
    bare = a_model("fashion-1", step_times=())
    row = StepTime(
        device="cpu",
        product="test",
        count=1,
        batch_size=32,
        image_size=32,
        frozen_stages=5,
        channels_last=False,
        precision="fp32",
        step_seconds=0.01,
        inference_seconds=0.01,
    )

    def program(pod_input, index):
        if isinstance(pod_input, ProbeInput):
            return PodOutcome(index, result=a_probe(rows={"fashion-1": [row]}))
        return run(pod_input, index)

    simulation = RequestSimulation(zoo=a_zoo(bare), program=program)
    assert simulation.end()["phase"] == "Succeeded"
    assert simulation.inputs["probe"].models[0].frozen_stages_missing == (0, 1, 2, 3, 4, 5)
    assert simulation.inputs["finetune"].regimes[0].frozen_stages == 5
    assert simulation.zoo.models[0].step_times == (row,)


def test_the_probe_measures_what_the_zoo_does_not_know_of_options_and_batches():
    known = StepFactors(device="cpu", product="test", count=1, factors={"ema": 1.1})
    row = a_model("fashion-2").step_times[0].model_copy(update={"batch_size": 64, "step_seconds": 0.09})
    known_of = a_model("fashion-2", step_times=(*a_model("fashion-2").step_times, row), step_factors=(known,))
    found = known.model_copy(update={"factors": {"ema": 1.2, "adamw": 1.3}})

    def program(pod_input, index):
        if isinstance(pod_input, ProbeInput):
            return PodOutcome(index, result=a_probe(factors={"fashion-1": found, "fashion-2": found}))
        return run(pod_input, index)

    simulation = RequestSimulation(zoo=a_zoo(a_model("fashion-1"), known_of), program=program)
    assert simulation.end()["phase"] == "Succeeded"
    assert [(m.other_batch_size_missing, m.factors_missing) for m in simulation.inputs["probe"].models] == [
        (16, True),
        (None, False),
    ]
    # Of two figures for one option the first counts; one that was not known is added.
    merged = known.model_copy(update={"factors": {"adamw": 1.3, "ema": 1.1}})
    assert [model.step_factors for model in simulation.zoo.models] == [(found,), (merged,)]


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        pytest.param({"grid": {"preset": "Paper"}}, (None, False), id="plain steps of one batch size"),
        pytest.param({"batchSize": 32}, (None, True), id="one batch size"),
        pytest.param({"grid": {"preset": "Paper"}, "pins": {"ema": True}}, (None, True), id="a pinned option"),
        pytest.param({"pins": {"linearProbe": True}}, (16, False), id="linear probes"),
        pytest.param({"grid": {"preset": "Paper", "batchSizes": [32, 48]}}, (48, False), id="plain steps"),
    ],
)
def test_the_probe_measures_only_what_may_be_chosen(spec, wanted):
    simulation = RequestSimulation(spec)
    simulation.end()
    (model, _) = simulation.inputs["probe"].models
    assert (model.other_batch_size_missing, model.factors_missing) == wanted
    assert simulation.inputs["probe"].with_options == wanted[1]


def test_a_batch_size_that_is_left_out_is_the_tables_for_the_probe():
    simulation = RequestSimulation()
    simulation.end()
    assert simulation.inputs["probe"].batch_size == 32
    assert all(regime.batch_size in {16, 32, 64} for regime in simulation.inputs["finetune"].regimes)


def test_the_whole_regime_is_told_in_status_and_event():
    pins = {
        "model": "fashion-1", "learningRate": 0.0003, "frozenStages": 1, "optimizer": "AdamW", "batchSize": 64,
        "weightDecay": 0.05, "layerDecay": 0.75, "labelSmoothing": 0, "mixup": 0, "augmentation": "Crop", "ema": True,
    }  # fmt: skip
    simulation = RequestSimulation({"pins": pins, "timeLimit": "5m"})
    schedule = simulation.end()["schedule"]
    assert (schedule["batchSize"], schedule["options"]) == (64, "AdamW, weight decay 0.05, layer decay 0.75, EMA")
    assert schedule["runnersUp"] == [] or schedule["runnersUp"][0]["options"] == schedule["options"]
    message = told(simulation, "Scheduled")
    words = (
        rf"fashion-1, learning rate 0.0003, 1 frozen stages, {schedule['steps']} steps of 64 images, AdamW, weight "
        r"decay 0.05, layer decay 0.75, EMA: predicted [0-9.]+% \(90% interval [0-9.]+ to [0-9.]+%\) in \d+s, "
        r"the best of 3 candidates \(predictor version 0\)"
    )
    assert re.fullmatch(words, message)


def test_a_plain_regime_is_told_in_as_few_words_as_ever():
    simulation = RequestSimulation({"grid": {"preset": "Paper"}})
    schedule = simulation.end()["schedule"]
    assert "options" not in schedule
    message = told(simulation, "Scheduled")
    assert f"{schedule['steps']} steps of 32 images: predicted" in message


def test_a_linear_probe_serves_a_limit_in_which_nothing_else_fits():
    spec = {"timeLimit": "14s", "batchSize": 32}
    zoo = a_zoo(a_model("fashion-1", 8.0, inference=0.02))
    simulation = RequestSimulation(spec, zoo=zoo)
    assert simulation.end()["schedule"]["options"].startswith("linear probe")
    (regime, *_) = simulation.inputs["finetune"].regimes
    assert (regime.linear_probe, regime.frozen_stages) == (True, 5)
    without = RequestSimulation(spec | {"pins": {"linearProbe": False}}, zoo=zoo)
    assert reason(without.end()) == "TimeLimitTooShort"


def test_a_suspended_request_is_probed_and_planned_only():
    simulation = RequestSimulation({"suspend": True})
    status = simulation.end()
    assert status["phase"] == "Planned"
    assert status["schedule"]["model"]
    assert simulation.created == ["probe"]
    assert simulation.step() is None
    simulation.spec = {}
    assert simulation.end()["phase"] == "Succeeded"


def test_pins_are_kept():
    simulation = RequestSimulation({"pins": {"model": "fashion-2", "learningRate": 0.02, "frozenStages": 3}})
    schedule = simulation.end()["schedule"]
    assert (schedule["model"], schedule["learningRate"], schedule["frozenStages"]) == ("fashion-2", 0.02, 3)


def test_the_jobs_addresses_are_the_requests_own():
    simulation = RequestSimulation()
    simulation.end()
    base = "s3://tenant/models/0a1b2c3d-0000-4000-8000-000000000002"
    assert simulation.inputs["finetune"].output_uri == f"{base}/model"
    assert simulation.inputs["finetune"].work_uri == f"{base}/work"
    assert simulation.inputs["finetune"].models[0].weights_digest == DIGEST
