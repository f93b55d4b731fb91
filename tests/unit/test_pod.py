"""A pod's life: its input, its end, and being told to stop."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Gauge
from s3 import an_empty_store

from nasoa_runtime.boundary import EvaluateResult, Store, TerminationMessage, digest, dump_result
from nasoa_runtime.pods import main as main_module
from nasoa_runtime.pods import metrics
from nasoa_runtime.pods.exchange import publish, read_input, remove_superseded, write_termination_message
from nasoa_runtime.pods.failures import BadInputError, StoppedError
from nasoa_runtime.pods.pod import Pod
from nasoa_runtime.pods.retrying import blaming, retrying
from nasoa_runtime.storage.s3 import ObjectStore, StoreDenied, StoreUnavailable

EVALUATE = {
    "program": "evaluate",
    "result_uri": "s3://tenant/results",
    "architectures": ["0-_8_1-1-1-1"],
    "dataset": {"uri": "s3://tenant/data"},
    "recipe": {"epochs": 1, "batch_size": 4, "image_size": 16, "learning_rate": 0.1},
}


@pytest.fixture
def store(endpoint: str) -> ObjectStore:
    return an_empty_store(endpoint, "tenant")


@pytest.fixture
def message_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "termination-log"
    monkeypatch.setenv("TERMINATION_MESSAGE_PATH", str(path))
    monkeypatch.setenv("NASOA_WORK_DIRECTORY", str(tmp_path / "work"))
    monkeypatch.setenv("NASOA_METRICS_PORT", "0")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
    before = signal.getsignal(signal.SIGTERM)
    yield path
    signal.signal(signal.SIGTERM, before)


def start(monkeypatch: pytest.MonkeyPatch, document: object, program: str = "evaluate") -> int:
    monkeypatch.setenv("NASOA_INPUT", document if isinstance(document, str) else json.dumps(document))
    return main_module.run(program)


def an_evaluation(accuracy: float = 0.5) -> EvaluateResult:
    fields = {"architecture": "0-_8_1-1-1-1", "accuracy": accuracy, "step_seconds": 0.1, "loading_seconds": 0}
    return EvaluateResult.model_validate(fields | {"steps": 1, "seconds": 1})


# --- Input -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "message"),
    [
        pytest.param("", "NASOA_INPUT is missing", id="none"),
        pytest.param("{", "Invalid JSON", id="no JSON"),
        pytest.param({**EVALUATE, "program": "dance"}, "program: there is no program 'dance'", id="unknown program"),
        pytest.param({**EVALUATE, "architectures": 3}, "evaluate.architectures: Input should be", id="wrong type"),
        pytest.param({**EVALUATE, "extra": 3}, "evaluate.extra: Extra inputs are not permitted", id="unknown field"),
        pytest.param(
            {**EVALUATE, "recipe": {**EVALUATE["recipe"], "epochs": 0}},
            "evaluate.recipe.epochs: Input should be greater than 0",
            id="out of range",
        ),
        pytest.param({**EVALUATE}, "the input is for 'evaluate' but 'probe' was started", id="another program"),
    ],
)
def test_bad_input_ends_the_pod_for_good_and_names_the_field(document, message, monkeypatch, message_path) -> None:
    program = "probe" if message.endswith("was started") else "evaluate"
    assert start(monkeypatch, document, program) == 64
    left = TerminationMessage.model_validate_json(message_path.read_bytes())
    assert left.failure == "BadInput"
    assert message in left.message


def test_an_unknown_program_is_refused() -> None:
    assert main_module.main(["dance"]) == 64


def test_a_pod_starts_without_torch_so_that_data_is_read_while_that_is_imported() -> None:
    script = "import sys, nasoa_runtime.pods.main; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], check=False).returncode == 0


def test_a_missing_bucket_ends_the_pod_for_good(endpoint, store, monkeypatch, message_path) -> None:
    document = {**EVALUATE, "store": {"endpoint": endpoint}, "dataset": {"uri": "s3://nowhere/data"}}
    assert start(monkeypatch, document) == 64
    left = TerminationMessage.model_validate_json(message_path.read_bytes())
    assert left.field == "dataset.uri"
    assert left.message.startswith("s3://nowhere/data/: there is no bucket 'nowhere'")


def test_a_store_that_is_away_asks_for_another_attempt(monkeypatch, message_path) -> None:
    def unavailable(*_arguments: object) -> None:
        raise StoreUnavailable("s3://tenant/results: S3 does not answer")

    monkeypatch.setattr(main_module, "_attempt", unavailable)
    assert start(monkeypatch, EVALUATE) == 69
    assert "does not answer" in message_path.read_text()


# --- Results ---------------------------------------------------------------------------------------------------------


def test_a_restarted_index_repeats_its_message_and_does_nothing_else(
    endpoint, store, monkeypatch, message_path
) -> None:
    body = dump_result(an_evaluation())
    store.create("s3://tenant/results/2.json", body)
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "2")
    assert start(monkeypatch, {**EVALUATE, "store": {"endpoint": endpoint}}) == 0
    left = TerminationMessage.model_validate_json(message_path.read_bytes())
    assert (left.index, left.result_key, left.result_digest) == (2, "s3://tenant/results/2.json", digest(body))
    assert left.result == json.loads(body)


def test_the_result_written_first_is_the_one_that_counts(endpoint, store, message_path) -> None:
    pod = Pod.from_environment(Store(endpoint=endpoint))
    document = read_input("evaluate", {"NASOA_INPUT": json.dumps({**EVALUATE, "store": {"endpoint": endpoint}})})
    first = publish(document, an_evaluation(0.25), pod)
    second = publish(document, an_evaluation(0.75), pod)
    assert first == second
    assert second.result is not None
    assert second.result["accuracy"] == 0.25


def test_a_large_result_is_named_but_not_inlined(message_path: Path) -> None:
    fields = {"program": "evaluate", "index": 0, "result_key": "s3://b/k", "result_digest": "0" * 64}
    write_termination_message(TerminationMessage.model_validate(fields | {"result": {"classes": ["x" * 100] * 100}}))
    left = TerminationMessage.model_validate_json(message_path.read_bytes())
    assert left.result is None
    assert left.result_digest == "0" * 64


def test_a_long_message_in_any_script_fits(message_path: Path) -> None:
    fields = {"program": "evaluate", "index": 0, "failure": "Error", "message": "図" * 1500}
    write_termination_message(TerminationMessage.model_validate(fields))
    body = message_path.read_bytes()
    assert len(body) <= 4096
    assert TerminationMessage.model_validate_json(body).message.startswith("図図")


def test_a_store_is_asked_again_and_then_given_up() -> None:
    calls = []

    def action() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise StoreUnavailable("away")
        return "there"

    assert retrying(action, (0.0, 0.0)) == "there"
    calls.clear()
    with pytest.raises(StoreUnavailable):
        retrying(action, (0.0,))


def test_the_zoo_is_read_with_keys_of_its_own_where_there_are_any(monkeypatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tenant")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    pod = Pod()
    assert pod.zoo_store is pod.store
    monkeypatch.setenv("NASOA_ZOO_ACCESS_KEY_ID", "reader")
    monkeypatch.setenv("NASOA_ZOO_SECRET_ACCESS_KEY", "s")
    assert pod.zoo_store is not pod.store


# --- Stopping --------------------------------------------------------------------------------------------------------


def test_a_stop_ends_the_pod_at_once_where_nothing_is_at_stake() -> None:
    with pytest.raises(StoppedError):
        Pod().on_terminate()


def test_a_stop_waits_for_the_end_of_what_must_not_be_interrupted() -> None:
    pod, done = Pod(), []

    def save_a_checkpoint() -> None:
        with pod.uninterrupted():
            pod.on_terminate()
            done.append("checkpoint")

    with pytest.raises(StoppedError):
        save_a_checkpoint()
    assert done == ["checkpoint"]


def test_a_stop_waits_for_a_result_that_is_near() -> None:
    pod = Pod()
    pod.finish()
    with pod.uninterrupted():
        pod.on_terminate()
    with pytest.raises(StoppedError):
        pod.check_stop()


def test_a_stopped_pod_says_so_and_never_ends_with_0(monkeypatch, message_path) -> None:
    def stopped(*_arguments: object) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return 0

    def attempt(_document: object, pod: Pod) -> int:
        signal.signal(signal.SIGTERM, pod.on_terminate)
        return stopped()

    monkeypatch.setattr(main_module, "_attempt", attempt)
    assert start(monkeypatch, EVALUATE) == 75
    assert TerminationMessage.model_validate_json(message_path.read_bytes()).failure == "Disrupted"


@pytest.mark.parametrize(
    ("error", "code", "failure"),
    [
        pytest.param(main_module.DivergedError("NaN"), 65, "Diverged", id="diverged"),
        pytest.param(main_module.OutOfMemoryError("full"), 65, "OutOfMemory", id="out of memory"),
        pytest.param(main_module.TimedOutError("late"), 65, "TimedOut", id="timed out"),
        pytest.param(BadInputError("no"), 64, "BadInput", id="bad input"),
        pytest.param(StoreDenied("not yours"), 64, "BadInput", id="refused by S3"),
        pytest.param(RuntimeError("a bug"), 1, "Error", id="anything else"),
    ],
)
def test_each_failure_has_its_exit_code(error, code, failure, monkeypatch, message_path) -> None:
    def attempt(*_arguments: object) -> None:
        raise error

    monkeypatch.setattr(main_module, "_attempt", attempt)
    assert start(monkeypatch, EVALUATE) == code
    left = TerminationMessage.model_validate_json(message_path.read_bytes())
    assert (left.failure, left.field) == (failure, None)


@pytest.mark.parametrize(
    ("error", "field", "text"),
    [
        pytest.param(BadInputError("use cpu.", "device.type"), "device.type", "device.type: use cpu.", id="bad input"),
        pytest.param(main_module.TimedOutError("late.", "timeLimit"), "timeLimit", "timeLimit: late.", id="timed out"),
        pytest.param(BadInputError("what?"), None, "what?", id="nobody's"),
    ],
)
def test_the_field_to_blame_is_told_apart_from_the_message(error, field, text, monkeypatch, message_path) -> None:
    def attempt(*_arguments: object) -> None:
        raise error

    monkeypatch.setattr(main_module, "_attempt", attempt)
    start(monkeypatch, EVALUATE)
    left = TerminationMessage.model_validate_json(message_path.read_bytes())
    assert (left.field, left.message) == (field, error.message)
    assert str(error) == text


def test_what_s3_refuses_for_good_is_blamed_and_what_it_does_not_answer_is_not() -> None:
    with pytest.raises(BadInputError) as refused, blaming("outputURI"):
        raise StoreDenied("s3://b: access was denied")
    assert refused.value.field == "outputURI"
    assert refused.value.message == (
        "s3://b: access was denied; a pod's keys come from the Secret that storage.secretName names."
    )
    with pytest.raises(StoreUnavailable), blaming("outputURI"):
        raise StoreUnavailable("away")


def test_what_a_result_makes_useless_is_removed_and_what_cannot_be_stays(endpoint, store, message_path) -> None:
    store.put("s3://tenant/checkpoint", b"1")
    pod = Pod.from_environment(Store(endpoint=endpoint))
    pod.superseded += ["s3://nowhere/checkpoint", "s3://tenant/checkpoint"]
    remove_superseded(pod)
    assert store.get("s3://tenant/checkpoint") is None


# --- Metrics ---------------------------------------------------------------------------------------------------------


def test_metrics_are_served_on_the_pods_address(monkeypatch) -> None:
    registry = CollectorRegistry()
    Gauge("nasoa_test", "A figure.", registry=registry).set(1.5)
    monkeypatch.setenv("POD_IP", "127.0.0.7")
    monkeypatch.setenv("NASOA_METRICS_PORT", "0")
    port = metrics.serve(registry)
    with urllib.request.urlopen(f"http://127.0.0.7:{port}/metrics") as answer:
        assert "nasoa_test 1.5" in answer.read().decode()


@pytest.mark.parametrize("address", [pytest.param("192.0.2.1", id="not ours"), pytest.param("x y", id="no address")])
def test_an_address_that_cannot_be_bound_only_warns(address, monkeypatch) -> None:
    monkeypatch.setenv("POD_IP", address)
    monkeypatch.setenv("NASOA_METRICS_PORT", "0")
    assert metrics.serve(CollectorRegistry()) is None


def test_a_work_directory_that_was_made_for_the_pod_goes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NASOA_WORK_DIRECTORY", raising=False)
    pod = Pod.from_environment(Store())
    assert pod.work_directory.is_dir()
    pod.leave()
    assert not pod.work_directory.exists()


def test_a_work_directory_that_was_given_stays(tmp_path: Path) -> None:
    pod = Pod.from_environment(Store(), {"NASOA_WORK_DIRECTORY": str(tmp_path / "work")})
    pod.leave()
    assert (tmp_path / "work").is_dir()
