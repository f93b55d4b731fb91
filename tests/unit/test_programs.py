"""The five programs from input to result, against moto's server."""

import json
import os
import runpy
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from image_folders import make_images, upload
from s3 import a_server, an_empty_store

from nasoa_runtime.boundary import PROGRAMS, Regime, Run, TerminationMessage, digest, load_result
from nasoa_runtime.documents.base import UnreadableDocumentError, dump, load
from nasoa_runtime.documents.checkpoint import FinetuningState
from nasoa_runtime.documents.heartbeat import Heartbeat
from nasoa_runtime.online import strategies as online
from nasoa_runtime.pods import main as main_module
from nasoa_runtime.pods.deliverable import load_model
from nasoa_runtime.pods.failures import BadInputError
from nasoa_runtime.pods.main import function_of
from nasoa_runtime.pods.networks.building import build_model
from nasoa_runtime.pods.networks.weights import load_weights, weights_bytes
from nasoa_runtime.pods.strategies import STRATEGIES
from nasoa_runtime.pods.training.checkpoint import Checkpoint, state_of, tensors_of
from nasoa_runtime.pods.training.device import Target
from nasoa_runtime.pods.training.finetuning import Finetuning
from nasoa_runtime.pods.training.loop import Hyperparameters, Trainer
from nasoa_runtime.pods.training.profiling import OPTIONS
from nasoa_runtime.pods.training.request import Request, Trained
from nasoa_runtime.pods.training.similarity import Prototypes
from nasoa_runtime.storage.s3 import ObjectStore, connect

TINY, OTHER = "0-_8_1-1-1-1", "1-_8_1-1-1-1"
DATA = {"uri": "s3://tenant/data"}
RECIPE = {"epochs": 8, "batch_size": 8, "image_size": 16, "learning_rate": 0.05, "low_resolution_stem": True}
SIZE = {"image_size": 16}


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory):
    root = make_images(tmp_path_factory.mktemp("images") / "data", classes=3, per_class=25)
    with a_server() as address:
        upload(an_empty_store(address, "tenant", "system"), root, "s3://tenant/data")
        yield address


@pytest.fixture
def store(endpoint: str) -> ObjectStore:
    store = connect(endpoint, access_key="a-key", secret_key="a-secret")
    for listed in list(store.list("s3://tenant/out/")):
        store.delete(f"s3://tenant/{listed.key}")
    return store


@pytest.fixture
def pod(endpoint: str, store: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Runs a program in this process, as a container would be started with it."""
    environment = {
        "TERMINATION_MESSAGE_PATH": str(tmp_path / "termination-log"),
        "NASOA_WORK_DIRECTORY": str(tmp_path / "work"),
        "NASOA_METRICS_PORT": "0",
        "AWS_ACCESS_KEY_ID": "a-key",
        "AWS_SECRET_ACCESS_KEY": "a-secret",
        "OMP_NUM_THREADS": "1",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    before = signal.getsignal(signal.SIGTERM)

    def start(program: str, *, index: int = 0, expect: int = 0, **fields: object) -> TerminationMessage:
        document = {"program": program, "store": {"endpoint": endpoint}, "result_uri": "s3://tenant/out/results"}
        monkeypatch.setenv("NASOA_INPUT", json.dumps(document | fields))
        monkeypatch.setenv("JOB_COMPLETION_INDEX", str(index))
        monkeypatch.setenv("NASOA_PROCESS_STARTED", repr(time.clock_gettime(time.CLOCK_BOOTTIME)))
        code = main_module.run(program)
        message = TerminationMessage.model_validate_json((tmp_path / "termination-log").read_bytes())
        assert code == expect, message
        return message

    torch.set_num_threads(1)
    yield start
    signal.signal(signal.SIGTERM, before)


def result_of(store: ObjectStore, message: TerminationMessage):
    found = store.get(str(message.result_key))
    assert found is not None
    assert digest(found.body) == message.result_digest
    result = load_result(found.body, message.program)
    assert result == load_result(message.result, message.program)
    return result


def a_model(store: ObjectStore, name: str = "zoo-model", architecture: str = TINY) -> dict:
    torch.manual_seed(0)
    body = weights_bytes(build_model(architecture, 4, low_resolution_stem=True))
    uri = f"s3://system/zoo/{name}.safetensors"
    store.put(uri, body)
    fields = {"name": name, "architecture": architecture, "weights_uri": uri, "weights_digest": digest(body)}
    return fields | {"source_classes": 4, "preprocessing": SIZE, "low_resolution_stem": True}


def an_extractor(store: ObjectStore) -> dict:
    model = a_model(store, "extractor")
    return {key: model[key] for key in ("name", "architecture", "weights_uri", "weights_digest", "preprocessing")}


def a_regime(**fields: object) -> dict:
    base = {"model": "zoo-model", "learning_rate": 0.05, "frozen_stages": 0, "steps": 40, "step_seconds": 0.01}
    return base | {"predicted_accuracy": 0.5} | fields


def a_finetuning(store: ObjectStore, **fields: object) -> dict:
    base = {
        "request": "team/digits/uid",
        "dataset": DATA,
        "time_limit_seconds": 60,
        "batch_size": 8,
        "models": [a_model(store)],
        "strategy": "OneShot",
        "regimes": [a_regime()],
        "output_uri": "s3://tenant/out/model",
        "work_uri": "s3://tenant/out/work",
    }
    return base | fields


# --- evaluate, pretrain ----------------------------------------------------------------------------------------------


def test_an_evaluation_reports_the_accuracy_of_its_index(pod, store) -> None:
    message = pod("evaluate", index=1, architectures=[OTHER, TINY], dataset=DATA, recipe=RECIPE)
    assert message.result_key == "s3://tenant/out/results/1.json"
    result = result_of(store, message)
    assert (result.architecture, result.steps) == (TINY, 48)
    assert result.accuracy > 0.6
    assert [listed.key for listed in store.list("s3://tenant/out/")] == ["out/results/1.json"]


def test_an_index_without_architecture_is_bad_input(pod) -> None:
    message = pod("evaluate", index=3, expect=64, architectures=[TINY], dataset=DATA, recipe=RECIPE)
    assert "index 3 was started but there are only 1" in message.message


def test_an_evaluation_that_diverges_says_so(pod) -> None:
    recipe = RECIPE | {"learning_rate": 1e30, "warmup_fraction": 0}
    message = pod("evaluate", expect=65, architectures=[TINY], dataset=DATA, recipe=recipe)
    assert message.failure == "Diverged"
    assert message.result_key is None


def test_an_evaluation_over_its_time_limit_gives_no_figure(pod) -> None:
    fields = {"architectures": [TINY], "dataset": DATA, "recipe": RECIPE | {"epochs": 10_000}}
    message = pod("evaluate", expect=65, time_limit_seconds=1.0, **fields)
    assert message.failure == "TimedOut"
    assert "evaluationTimeLimit (1 s)" in message.message


def test_pretraining_writes_weights_that_fit_the_architecture(pod, store) -> None:
    fields = {"architectures": [TINY], "dataset": DATA, "recipe": RECIPE, "weights_uri": "s3://tenant/out/weights"}
    result = result_of(store, pod("pretrain", **fields))
    body = store.get("s3://tenant/out/weights/0/weights.safetensors").body
    assert (digest(body), len(body)) == (result.weights_digest, result.weights_bytes)
    assert result.classes == ("class-0", "class-1", "class-2")
    assert result.preprocessing.image_size == 16
    assert store.get("s3://tenant/out/weights/0/checkpoint") is None


def test_pretraining_under_a_time_limit_ends_with_a_model(pod, store) -> None:
    fields = {"architectures": [TINY], "dataset": DATA, "weights_uri": "s3://tenant/out/weights"}
    result = result_of(store, pod("pretrain", **fields, recipe=RECIPE | {"epochs": 10_000}, time_limit_seconds=4.0))
    assert 0 < result.steps < 60_000
    assert result.seconds < 4.5


# --- profile, probe --------------------------------------------------------------------------------------------------


def test_profiling_stops_when_enough_architectures_meet_the_limit(pod, store) -> None:
    architectures = [{"name": name, "architecture": TINY} for name in ("a", "b", "c")]
    architectures.insert(1, {"name": "broken", "architecture": "timm:no_such_model"})
    fields = {"batch_size": 4, "image_size": 16, "classes": 3, "low_resolution_stem": True, "steps": 3}
    message = pod(
        "profile",
        architectures=architectures,
        wanted=2,
        max_step_seconds=1e6,
        anchor=TINY,
        anchor_step_seconds=1000,
        **fields,
    )
    result = result_of(store, message)
    assert [(m.name, m.failure) for m in result.measurements] == [("a", None), ("broken", "Error"), ("b", None)]
    # The anchor seems to have become a thousand times as fast, so every figure is scaled up alike.
    assert result.drift == pytest.approx(1000 / result.anchor_step_seconds)
    assert result.measurements[0].rows == ()
    assert result.device.product


def test_a_zoo_table_comes_with_prototypes_of_the_source(pod, store) -> None:
    message = pod(
        "profile",
        architectures=[{"name": "m", "architecture": TINY}],
        batch_size=4,
        image_size=16,
        classes=3,
        low_resolution_stem=True,
        steps=3,
        frozen_stages=[0, 5],
        other_batch_sizes=[8],
        with_factors=True,
        choose_layout=True,
        prototypes_of=DATA,
        extractor=an_extractor(store),
        prototypes_uri="s3://tenant/out/prototypes.npz",
    )
    result = result_of(store, message)
    measurement = result.measurements[0]
    assert [(row.frozen_stages, row.batch_size) for row in measurement.rows] == [(0, 4), (5, 4), (0, 8)]
    assert measurement.step_seconds == measurement.rows[0].step_seconds
    assert set(measurement.factors.factors) == set(OPTIONS)
    body = store.get("s3://tenant/out/prototypes.npz").body
    assert digest(body) == result.prototypes_digest
    prototypes = Prototypes.from_bytes(body)
    assert prototypes.prototypes.shape == (3, 8)
    assert prototypes.weights == pytest.approx([1 / 3] * 3)


def test_a_probe_counts_compares_and_measures(pod, store) -> None:
    model = a_model(store)
    source = Prototypes.from_bytes(a_source(store))
    result = result_of(
        store,
        pod(
            "probe",
            dataset=DATA,
            batch_size=8,
            time_cap_seconds=20,
            with_options=True,
            models=[
                {"model": model, "frozen_stages_known": {"0": 1000.0}},
                {
                    "model": a_model(store, "new"),
                    "frozen_stages_missing": [0, 5],
                    "other_batch_size_missing": 16,
                    "factors_missing": True,
                },
            ],
            extractor=an_extractor(store),
            sources={"fashion": "s3://system/zoo/fashion.npz", "gone": "s3://system/zoo/gone.npz"},
        ),
    )
    assert source.prototypes.shape == (1, 8)
    statistics = result.statistics
    assert (statistics.classes, statistics.images, statistics.validation_images, statistics.test_images) == (
        3, 48, 12, 15,
    )  # fmt: skip
    assert (statistics.images_per_class_mean, statistics.images_per_class_std) == (16.0, 0.0)
    assert set(statistics.domain_similarity) == {"fashion"}
    assert 0 < statistics.domain_similarity["fashion"] < 1
    assert 0 < result.step_correction < 0.01
    assert [(row.frozen_stages, row.batch_size) for row in result.rows["new"]] == [(0, 8), (5, 8), (0, 16)]
    assert set(result.factors) == {"new"}
    assert set(result.factors["new"].factors) == set(OPTIONS)
    assert result.batch_size == 8
    assert result.augmentation_startup_seconds > 0
    assert result.rows["new"][0].inference_seconds
    assert 0 < result.loading_seconds_per_image < 0.1


def a_source(store: ObjectStore) -> bytes:
    body = Prototypes(np.full((1, 8), 100, dtype=np.float32), np.ones(1)).to_bytes()
    store.put("s3://system/zoo/fashion.npz", body)
    return body


def test_a_probe_without_extractor_still_counts(pod, store) -> None:
    result = result_of(store, pod("probe", dataset=DATA, batch_size=8, time_cap_seconds=1, models=[]))
    assert result.statistics.domain_similarity == {}
    assert result.step_correction == 1.0


def test_a_probe_of_an_equal_dataset_for_the_same_zoo_is_made_once(pod, store) -> None:
    fields = {
        "dataset": DATA,
        "batch_size": 8,
        "time_cap_seconds": 20,
        "models": [{"model": a_model(store), "frozen_stages_missing": [5]}],
        "cache_uri": "s3://tenant/out/probes",
    }
    first = result_of(store, pod("probe", **fields, zoo="fashion 3"))
    assert len(list(store.list("s3://tenant/out/probes/"))) == 1
    again = result_of(store, pod("probe", **fields, zoo="fashion 3", result_uri="s3://tenant/again"))
    assert again.rows == first.rows
    assert again.loading_seconds_per_image == first.loading_seconds_per_image
    pod("probe", **fields, zoo="fashion 4", result_uri="s3://tenant/other")
    assert len(list(store.list("s3://tenant/out/probes/"))) == 2


def test_a_kept_probe_that_was_changed_is_made_again(pod, store) -> None:
    fields = {"dataset": DATA, "batch_size": 8, "time_cap_seconds": 20, "models": []}
    fields |= {"cache_uri": "s3://tenant/out/probes", "zoo": "fashion 5"}
    first = result_of(store, pod("probe", **fields))
    (kept,) = store.list("s3://tenant/out/probes/")
    uri = f"s3://tenant/{kept.key}"
    body = store.get(uri).body
    changed = body.replace(b'"images":48', b'"images":49')
    assert changed != body
    store.put(uri, changed)
    again = result_of(store, pod("probe", **fields, result_uri="s3://tenant/out/again"))
    assert (first.statistics.images, again.statistics.images) == (48, 48)
    assert store.get(uri).body == changed


# --- finetune --------------------------------------------------------------------------------------------------------


def test_a_request_ends_with_a_model_that_can_be_loaded(pod, store, tmp_path: Path) -> None:
    result = result_of(store, pod("finetune", **a_finetuning(store)))
    assert (len(result.runs), result.chosen, result.attempts) == (1, 0, 1)
    assert result.runs[0].steps == 40
    assert 0 < result.seconds < 60
    assert result.validation_accuracy > 0.6
    assert result.test_accuracy > 0.6

    folder = delivered(store, tmp_path / "model")
    assert sorted(path.name for path in folder.iterdir()) == [
        "confusion.json", "load.py", "metrics.json", "model.json", "model.safetensors",
    ]  # fmt: skip
    assert digest((folder / "model.safetensors").read_bytes()) == result.model_digest
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["test_accuracy"] == result.test_accuracy
    assert metrics["test_images"] == 15
    confusion = json.loads((folder / "confusion.json").read_text())
    assert sum(map(sum, confusion["test"])) == 15
    loaded = runpy.run_path(str(folder / "load.py"))["loaded"]
    images = make_images(tmp_path / "fresh", classes=3, per_class=5, seed=9)
    right = [loaded.classify(path)[0] == path.parent.name for path in sorted(images.rglob("*.png"))]
    assert sum(right) / len(right) > 0.6
    # Checkpoints are gone; the clock stays, as a record.
    assert [listed.key for listed in store.list("s3://tenant/out/work/")] == ["out/work/clock/0001.json"]


def test_the_time_limit_is_kept_however_many_steps_were_planned(pod, store) -> None:
    fields = a_finetuning(store, time_limit_seconds=5, regimes=[a_regime(steps=1_000_000, step_seconds=1e-4)])
    result = result_of(store, pod("finetune", **fields))
    assert result.seconds < 5
    assert 0 < result.runs[0].steps < 1_000_000


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"linear_probe": True, "frozen_stages": 5, "steps": 300}, id="a linear probe"),
        pytest.param(
            {"optimizer": "adamw", "learning_rate": 0.01, "ema": True, "batch_size": 12}, id="AdamW, averaged"
        ),
    ],
)
def test_whatever_the_regime_says_the_model_can_be_loaded(pod, store, tmp_path: Path, fields) -> None:
    result = result_of(store, pod("finetune", **a_finetuning(store, regimes=[a_regime(**fields)])))
    assert result.runs[0].regime == Regime.model_validate(a_regime(**fields))
    assert result.test_accuracy > 0.6
    folder = delivered(store, tmp_path / "model")
    described = json.loads((folder / "model.json").read_text())
    assert Regime.model_validate(described["regime"]) == result.runs[0].regime
    assert described["options"] == result.runs[0].regime.options
    loaded = load_model(folder)
    images = make_images(tmp_path / "fresh", classes=3, per_class=5, seed=9)
    right = [loaded.classify(path)[0] == path.parent.name for path in sorted(images.rglob("*.png"))]
    assert sum(right) / len(right) > 0.6


def test_a_regime_that_contradicts_itself_is_bad_input(pod, store) -> None:
    fields = a_finetuning(store, regimes=[a_regime(linear_probe=True, frozen_stages=2)])
    message = pod("finetune", expect=64, **fields)
    assert "features are computed once only if all 5 stages are frozen" in message.message


def test_earlier_attempts_count(pod, store) -> None:
    beat = Heartbeat(closed=False, interval_seconds=2.0, seconds=53.0)
    store.put("s3://tenant/out/work/clock/0001.json", dump(beat))
    fields = a_finetuning(store, regimes=[a_regime(steps=1_000_000, step_seconds=1e-4)])
    result = result_of(store, pod("finetune", **fields))
    assert result.attempts == 2
    assert 55 < result.seconds < 60


def test_a_limit_that_leaves_no_time_says_what_would_do(pod, store) -> None:
    message = pod("finetune", expect=65, **a_finetuning(store, time_limit_seconds=0.1))
    assert message.failure == "TimedOut"
    assert message.field == "timeLimit"
    assert message.message.startswith("of 0.1 s, ")
    assert "allow at least" in message.message


def test_after_divergence_the_next_regime_that_differs_is_run(pod, store) -> None:
    wild = a_regime(learning_rate=1e30)
    regimes = [wild, wild | {"frozen_stages": 1}, a_regime(learning_rate=0.05)]
    result = result_of(store, pod("finetune", **a_finetuning(store, regimes=regimes)))
    assert [(run.regime.learning_rate, run.failure) for run in result.runs] == [(1e30, "Diverged"), (0.05, None)]
    assert result.chosen == 1
    assert result.runs[0].validation_accuracy is None


def test_the_network_of_a_run_that_failed_is_gone_when_the_next_one_is_built(pod, store, monkeypatch) -> None:
    built: list[weakref.ref] = []
    left: list[list[bool]] = []
    begin = Request.finetuning

    def watched(request: Request, regime: Regime, earlier: tuple[Run, ...]) -> Finetuning:
        left.append([network() is not None for network in built])
        finetuning = begin(request, regime, earlier)
        built.append(weakref.ref(finetuning.trainer.model))
        return finetuning

    monkeypatch.setattr(Request, "finetuning", watched)
    pod("finetune", **a_finetuning(store, regimes=[a_regime(learning_rate=1e30), a_regime()]))
    assert left == [[], [False]]


def a_race(store: ObjectStore) -> dict:
    """Of three that are through with their steps long before the time limit, whatever the machine does besides."""
    curve = [[4, 0.3], [40, 0.6], [400, 0.9]]
    regimes = [a_regime(learning_rate=rate, steps=300, predicted_curve=curve) for rate in (0.05, 0.02, 1e-6)]
    return a_finetuning(store, strategy="Race", regimes=regimes, time_limit_seconds=60)


def raced(store: ObjectStore, message: TerminationMessage):
    """The result, which is too large for the message."""
    body = store.get(str(message.result_key)).body
    assert digest(body) == message.result_digest
    return load_result(body, "finetune")


def test_a_race_ends_with_the_best_model_of_its_runs(pod, store, tmp_path: Path) -> None:
    fields = a_race(store)
    result = raced(store, pod("finetune", **fields))
    assert (len(result.runs), result.strategy) == (3, "Race")
    assert [run.regime for run in result.runs] == [Regime.model_validate(regime) for regime in fields["regimes"]]
    assert result.validation_accuracy == max(run.validation_accuracy for run in result.runs) > 0.6
    assert result.runs[0].annealed or result.runs[1].annealed
    assert result.seconds < 60
    assert load_model(delivered(store, tmp_path / "model")).classes == ("class-0", "class-1", "class-2")
    # Decisions stay, as a record; checkpoints are gone.
    kept = [listed.key for listed in store.list("s3://tenant/out/work/")]
    assert [key for key in kept if not key.startswith("out/work/race/0")] == ["out/work/clock/0001.json"]
    assert all(key.endswith(".json") for key in kept)


def test_a_race_that_is_told_to_stop_is_gone_on_with_by_the_next_pod(pod, store, monkeypatch) -> None:
    steps = Trainer.train
    trained: list[tuple[float, int]] = []

    def stopped(trainer, *arguments):
        steps(trainer, *arguments)
        trained.append((trainer.hyperparameters.learning_rate, trainer.step))
        if len(trained) == 200:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Trainer, "train", stopped)
    fields = a_race(store)
    message = pod("finetune", expect=75, **fields)
    assert message.failure == "Disrupted"
    assert store.head("s3://tenant/out/work/race/00.safetensors") is not None
    decided = store.get("s3://tenant/out/work/race/0000.json").body
    result = raced(store, pod("finetune", **fields))
    assert (result.attempts, result.strategy, len(result.runs)) == (2, "Race", 3)
    assert store.get("s3://tenant/out/work/race/0000.json").body == decided
    # No step was done twice.
    assert len(trained) == len(set(trained)) == sum(run.steps for run in result.runs)


def test_of_one_shot_every_validation_is_reported(pod, store) -> None:
    result = result_of(store, pod("finetune", **a_finetuning(store, regimes=[a_regime(steps=200)])))
    (run,) = result.runs
    steps = [point.steps for point in run.points]
    assert (len(steps), steps[-1]) == (4, 200)
    assert [point.annealed for point in run.points] == [False, False, False, True]
    assert run.points[-1].accuracy == run.validation_accuracy == result.validation_accuracy
    assert result.strategy == "OneShot"


def test_an_unknown_strategy_is_bad_input(pod, store) -> None:
    message = pod("finetune", expect=64, **a_finetuning(store, strategy="Luck"))
    assert (message.field, message.message) == ("strategy", "there is no strategy 'Luck': write Race or OneShot.")


def test_a_strategy_is_added_by_one_entry(pod, store, monkeypatch) -> None:
    def last(request: Request) -> Trained:
        """Runs what was ranked last."""
        finetuning = request.finetuning(request.document.regimes[-1], ())
        finetuning.run()
        return Trained((finetuning.record(),), {0: finetuning})

    monkeypatch.setitem(STRATEGIES, "Last", last)
    fields = a_finetuning(store, strategy="Last", regimes=[a_regime(), a_regime(frozen_stages=5)])
    result = result_of(store, pod("finetune", **fields))
    assert [run.regime.frozen_stages for run in result.runs] == [5]


def test_pods_know_every_strategy_that_a_request_may_name() -> None:
    assert tuple(STRATEGIES) == tuple(online.STRATEGIES)


def test_every_program_of_the_table_has_a_function() -> None:
    assert [function_of(program).__module__.rpartition(".")[2] for program in PROGRAMS] == [
        "profile", "evaluate", "pretrain", "probe", "finetune",
    ]  # fmt: skip


def test_a_request_whose_every_regime_diverges_fails(pod, store) -> None:
    message = pod("finetune", expect=65, **a_finetuning(store, regimes=[a_regime(learning_rate=1e30)]))
    assert message.failure == "Diverged"


def test_weights_other_than_those_named_are_not_loaded(pod, store) -> None:
    fields = a_finetuning(store)
    store.put(fields["models"][0]["weights_uri"], b"something else")
    message = pod("finetune", expect=64, **fields)
    assert message.field == "zoo"
    assert "the object was changed" in message.message


def delivered(store: ObjectStore, folder: Path) -> Path:
    folder.mkdir()
    for listed in store.list("s3://tenant/out/model/"):
        (folder / listed.key.rpartition("/")[2]).write_bytes(store.get(f"s3://tenant/{listed.key}").body)
    return folder


def test_a_delivered_model_that_was_changed_is_not_loaded(pod, store, tmp_path: Path) -> None:
    pod("finetune", **a_finetuning(store, regimes=[a_regime(steps=1)]))
    folder = delivered(store, tmp_path / "model")
    description = (folder / "model.json").read_bytes()
    (folder / "model.json").write_bytes(description.replace(b"class-0", b"class-9"))
    with pytest.raises(UnreadableDocumentError, match="its content does not match its checksum"):
        load_model(folder)
    (folder / "model.json").write_bytes(description)
    (folder / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(BadInputError, match=r"not the file that model\.json describes"):
        load_model(folder)


# --- Being stopped ---------------------------------------------------------------------------------------------------


def test_a_pod_told_to_stop_leaves_a_checkpoint_from_which_the_next_goes_on(pod, endpoint, store, tmp_path) -> None:
    fields = a_finetuning(store, regimes=[a_regime(steps=1_000_000)], time_limit_seconds=600)
    document = {"program": "finetune", "store": {"endpoint": endpoint}, "result_uri": "s3://tenant/out/results"}
    environment = {name: value for name, value in os.environ.items() if name != "NASOA_PROCESS_STARTED"}
    environment |= {"NASOA_INPUT": json.dumps(document | fields)}
    with subprocess.Popen([sys.executable, "-m", "nasoa_runtime", "finetune"], env=environment) as process:
        while process.poll() is None and store.head("s3://tenant/out/work/checkpoint.safetensors") is None:
            pass
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 75
    left = TerminationMessage.model_validate_json((tmp_path / "termination-log").read_bytes())
    assert left.failure == "Disrupted"
    beat = load(Heartbeat, store.get("s3://tenant/out/work/clock/0001.json").body, "the clock")
    assert beat.closed
    # Five seconds more than the first attempt used: the second has to go on, and to end early.
    result = result_of(store, pod("finetune", **(fields | {"time_limit_seconds": beat.seconds + 5})))
    assert result.attempts == 2
    assert beat.seconds < result.seconds < beat.seconds + 5
    assert result.runs[0].seconds < result.seconds


def a_checkpoint(store: ObjectStore, model: dict, regime: Regime, *runs: Run) -> None:
    """What a pod leaves that was stopped after three steps of ``regime``."""
    network = build_model(model["architecture"], 3, low_resolution_stem=True)
    load_weights(network, store.get(model["weights_uri"]).body, keep_head=False)
    trainer = Trainer(network, Hyperparameters(0.05, 8), Target(torch.device("cpu")))
    trainer.plan(40)
    images = iter([(torch.zeros(8, 3, 16, 16), torch.zeros(8, dtype=torch.int64))] * 3)
    trainer.train(images, 3)
    state = FinetuningState(trainer=state_of(trainer), seconds=5.0, regime=regime, runs=runs)
    store.put("s3://tenant/out/work/checkpoint.safetensors", Checkpoint(tensors_of(trainer), state).to_bytes())


def test_the_next_pod_goes_on_with_the_regime_and_the_runs_before_it(pod, store) -> None:
    fields = a_finetuning(store, regimes=[a_regime(learning_rate=1e30), a_regime()])
    wild, tame = (Regime.model_validate(regime) for regime in fields["regimes"])
    failed = Run(regime=wild, steps=2, validation_accuracy=None, failure="Diverged", seconds=3.0)
    a_checkpoint(store, fields["models"][0], tame, failed)
    result = result_of(store, pod("finetune", **fields))
    assert result.runs[0] == failed
    assert (result.runs[1].regime, result.runs[1].steps, result.chosen) == (tame, 40, 1)
    assert 5.0 < result.runs[1].seconds < 65.0


def test_a_checkpoint_of_a_regime_that_was_not_asked_for_is_left_alone(pod, store) -> None:
    fields = a_finetuning(store)
    other = Regime.model_validate(a_regime(model="another"))
    a_checkpoint(store, fields["models"][0], other, Run(regime=other, steps=2, validation_accuracy=0.9, seconds=3.0))
    result = result_of(store, pod("finetune", **fields))
    assert [run.regime.model for run in result.runs] == ["zoo-model"]
    assert result.runs[0].seconds < 60.0
