import json

import pytest

from nasoa_operator.pod_outcomes import JobContext, PodOutcome, Termination, bad_input, read_message, terminations_of
from nasoa_operator.results import index_outcome
from nasoa_runtime.boundary import canonical_json, digest
from nasoa_runtime.storage.s3 import Object

RESULT = {
    "program": "evaluate",
    "architecture": "0-_16_1-2-2-2",
    "accuracy": 0.7,
    "step_seconds": 0.05,
    "loading_seconds": 0.001,
    "steps": 60,
    "seconds": 12.5,
}


def a_message(**changes):
    message = {"program": "evaluate", "index": 0, "result": RESULT, "result_digest": digest(canonical_json(RESULT))}
    return json.dumps(message | changes)


def an_end(message, exit_code=0, reason="Completed"):
    return Termination(0, exit_code, message, reason)


def a_pod(index, phase="Succeeded", message="", finished="2026-01-01T00:00:00Z", exit_code=0, conditions=()):
    terminated = {"exitCode": exit_code, "message": message, "finishedAt": finished, "reason": "Completed"}
    return {
        "metadata": {"labels": {"batch.kubernetes.io/job-completion-index": str(index)}},
        "status": {
            "phase": phase,
            "containerStatuses": [{"name": "nasoa", "state": {"terminated": terminated}}],
            "conditions": list(conditions),
        },
    }


def test_a_valid_message_is_a_result():
    _, outcome = read_message(an_end(a_message()), "evaluate")
    assert outcome.result.accuracy == 0.7
    assert outcome.failure is None


@pytest.mark.parametrize(
    ("message", "words"),
    [
        pytest.param("nonsense", "Invalid JSON", id="no JSON"),
        pytest.param("", "Invalid JSON", id="nothing"),
        pytest.param(a_message(result=RESULT | {"accuracy": 1.7}), "accuracy: Input should be less", id="accuracy 1.7"),
        pytest.param(a_message(result=RESULT | {"accuracy": float("nan")}), "accuracy", id="accuracy NaN"),
        pytest.param(
            a_message(result=RESULT | {"step_seconds": float("inf")}), "step_seconds: Input should be", id="infinity"
        ),
        pytest.param(
            a_message(result=RESULT | {"step_seconds": 0}), "step_seconds: Input should be greater", id="zero"
        ),
        pytest.param(a_message(index=1), r"result of evaluate[1] where evaluate[0]", id="another index"),
        pytest.param(a_message(program="pretrain"), "result of pretrain[0]", id="another program"),
        pytest.param(a_message(message="x" * 5000), "over 4,096 bytes", id="too large"),
        pytest.param(a_message(surprise=1), "surprise: Extra inputs are not permitted", id="an unknown field"),
        pytest.param(
            a_message(result=RESULT | {"surprise": 1}), "evaluate.surprise: Extra inputs", id="an unknown field inside"
        ),
        pytest.param(a_message(program="dance"), "there is no program 'dance'", id="an unknown program"),
        pytest.param(a_message(result=RESULT | {"program": "probe"}), "result of probe, not evaluate", id="another's"),
        pytest.param(a_message(result={}), "there is no program None", id="an empty result"),
        pytest.param(a_message(field="dataset uri"), "field: String should match pattern", id="not a field"),
        pytest.param(a_message(field="a." * 200 + "a"), "field: String should have at most", id="a field without end"),
    ],
)
def test_what_is_no_valid_result_is_named(message, words):
    _, outcome = read_message(an_end(message), "evaluate")
    assert outcome.failure == "InvalidResult"
    assert words in outcome.message


@pytest.mark.parametrize(
    ("end", "failure"),
    [
        pytest.param(an_end('{"message": "spec.dataset.uri: no classes"}', 64), "BadInput", id="bad input"),
        pytest.param(an_end("", 65), "Diverged", id="diverged"),
        pytest.param(an_end('{"failure": "OutOfMemory"}', 1), "OutOfMemory", id="the pod says so"),
        pytest.param(an_end("", 137, "OOMKilled"), "OutOfMemory", id="the kernel says so"),
        pytest.param(an_end("", 137, "Disrupted"), "Disrupted", id="disrupted"),
        pytest.param(an_end("Traceback", 1, "Error"), "Error", id="anything else"),
    ],
)
def test_a_pod_that_did_not_exit_zero_has_failed_for_a_reason(end, failure):
    _, outcome = read_message(end, "evaluate")
    assert (outcome.result, outcome.failure) == (None, failure)


def a_refusal(**said):
    return json.dumps({"program": "evaluate", "index": 0, "failure": "BadInput", "message": "no class folders"} | said)


def test_a_failure_keeps_what_the_pod_says_for_people_and_the_field_that_it_blames():
    _, outcome = read_message(an_end(a_refusal(field="dataset.uri"), 64), "evaluate")
    assert (outcome.message, outcome.field) == ("no class folders", "dataset.uri")
    assert outcome.explanation == "spec.dataset.uri: no class folders"


def test_a_time_limit_that_struck_is_blamed_too():
    said = a_refusal(failure="TimedOut", field="timeLimit", message="of 5 s nothing is left")
    _, outcome = read_message(an_end(said, 65), "evaluate")
    assert (outcome.failure, outcome.explanation) == ("TimedOut", "spec.timeLimit: of 5 s nothing is left")


@pytest.mark.parametrize(
    "field",
    [
        pytest.param("dataset.uri: trust me", id="prose"),
        pytest.param("dataset\nuri", id="two lines"),
        pytest.param("dataset.uri\n", id="a line's end"),
        pytest.param("", id="nothing"),
        pytest.param("..", id="no names"),
        pytest.param("a" * 300, id="too long"),
        pytest.param("dataset.<b>uri</b>", id="markup"),
        pytest.param(7, id="a number"),
        pytest.param(["dataset"], id="a list"),
        pytest.param({"a": 1}, id="an object"),
        pytest.param(None, id="null"),
    ],
)
def test_a_field_that_is_none_is_ignored(field):
    _, outcome = read_message(an_end(a_refusal(field=field), 64), "evaluate")
    assert (outcome.failure, outcome.field, outcome.message) == ("BadInput", None, "no class folders")
    assert bad_input(outcome) == ("InvalidInput", "no class folders")


@pytest.mark.parametrize("said", ["[" * 4000, "\ud800", '{"message": ' + "9" * 4000 + "}", "null", "[1]"])
def test_whatever_a_failed_pod_says_is_no_more_than_a_message(said):
    _, outcome = read_message(Termination(0, 64, said.encode("utf-8", "replace").decode(), "Error"), "evaluate")
    assert (outcome.result, outcome.failure, outcome.field) == (None, "BadInput", None)


def test_of_two_tries_of_an_index_the_successful_one_speaks():
    pods = [
        a_pod(0, message="good", finished="2026-01-01T00:00:01Z"),
        a_pod(0, phase="Failed", message="bad", finished="2026-01-01T00:00:09Z", exit_code=1),
    ]
    assert terminations_of(pods)[0].message == "good"


def test_of_two_failures_of_an_index_the_later_one_speaks():
    pods = [
        a_pod(0, phase="Failed", message="later", finished="2026-01-01T00:00:09Z", exit_code=1),
        a_pod(0, phase="Failed", message="earlier", finished="2026-01-01T00:00:01Z", exit_code=1),
    ]
    assert terminations_of(pods)[0].message == "later"


def test_a_disrupted_pod_is_told_from_one_that_failed():
    disruption = {"type": "DisruptionTarget", "status": "True"}
    assert terminations_of([a_pod(2, phase="Failed", exit_code=137, conditions=[disruption])])[2].reason == "Disrupted"


class Stored:
    """A store that holds one object."""

    def __init__(self, uri, body):
        self.uri, self.body = uri, body

    def get_range(self, uri, start, length):
        return Object(self.body, "etag") if uri == self.uri else None


CONTEXT = JobContext("evaluate", "s3://tenant/results")


def test_a_result_in_s3_counts_when_its_pod_is_gone():
    store = Stored("s3://tenant/results/3.json", canonical_json(RESULT))
    assert index_outcome(store, None, 3, CONTEXT, "").result.accuracy == 0.7


def test_a_stored_result_that_the_message_does_not_name_is_refused():
    store = Stored("s3://tenant/results/0.json", canonical_json(RESULT | {"accuracy": 0.9}))
    end = an_end(a_message(result=None))
    assert index_outcome(store, end, 0, CONTEXT, "").failure == "InvalidResult"


def test_a_pod_that_vanished_without_a_result_was_disrupted():
    outcome = index_outcome(Stored("", b""), None, 0, CONTEXT, "BackoffLimitExceeded: too many")
    assert (outcome.failure, outcome.message) == ("Disrupted", "BackoffLimitExceeded: too many")


@pytest.mark.parametrize(
    ("field", "message", "expected"),
    [
        pytest.param(
            "dataset.uri",
            "only one class",
            ("InvalidDataset", "spec.dataset.uri: only one class"),
            id="the data",
        ),
        pytest.param("dataset", "there is none", ("InvalidDataset", "spec.dataset: there is none"), id="all of it"),
        pytest.param("outputURI", "no bucket", ("InvalidOutput", "spec.outputURI: no bucket"), id="the output"),
        pytest.param("zoo", "weights are gone", ("InvalidZoo", "spec.zoo: weights are gone"), id="the zoo"),
        pytest.param("timeLimit", "too short", ("TimeLimitTooShort", "spec.timeLimit: too short"), id="the limit"),
        pytest.param("device.type", "use cpu", ("InvalidInput", "spec.device.type: use cpu"), id="any other field"),
        pytest.param("datasets", "what?", ("InvalidInput", "spec.datasets: what?"), id="a field that only begins so"),
        pytest.param(None, "architectures: none", ("InvalidInput", "architectures: none"), id="none of the spec"),
        pytest.param(None, "dataset.uri: no prose", ("InvalidInput", "dataset.uri: no prose"), id="prose is no field"),
    ],
)
def test_bad_input_is_told_by_the_field_of_the_spec(field, message, expected):
    assert bad_input(PodOutcome(0, failure="BadInput", field=field, message=message)) == expected
