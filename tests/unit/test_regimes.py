"""Whatever a regime says, the fine-tuning pod does it, and what it delivers is a model like any other."""

import dataclasses
import itertools
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from image_folders import make_images
from memory.store import MemoryStore
from training import CPU, TINY, a_finetune_input

from nasoa_runtime.boundary import Regime
from nasoa_runtime.documents.checkpoint import FinetuningState
from nasoa_runtime.pods.clock import Clock
from nasoa_runtime.pods.dataset.reading import read_dataset
from nasoa_runtime.pods.failures import StoppedError, TimedOutError
from nasoa_runtime.pods.networks.building import build_model
from nasoa_runtime.pods.networks.weights import load_weights, weights_bytes
from nasoa_runtime.pods.pod import Pod
from nasoa_runtime.pods.stores import TENANT_KEYS, Stores
from nasoa_runtime.pods.training.checkpoint import read_checkpoint
from nasoa_runtime.pods.training.evaluation import Evaluation
from nasoa_runtime.pods.training.finetuning import Finetuning
from nasoa_runtime.pods.training.linear_probe import LinearProbe
from nasoa_runtime.pods.training.request import Request

CHECKPOINT = "s3://tenant/work/checkpoint.safetensors"

pytestmark = pytest.mark.usefixtures("one_process")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_images(tmp_path_factory.mktemp("images") / "data", classes=3, per_class=25)


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore("tenant", "zoo")
    torch.manual_seed(0)
    store.put("s3://zoo/weights", weights_bytes(build_model(TINY, 4, low_resolution_stem=True)))
    return store


def a_regime(**fields) -> Regime:
    base = {"model": "tiny", "learning_rate": 0.05, "frozen_stages": 0, "steps": 30, "step_seconds": 0.001}
    return Regime.model_validate(base | {"predicted_accuracy": 0.5} | fields)


def a_request(
    store: MemoryStore, root: Path, regime: Regime, *, limit_seconds=600.0, resident=True, **model
) -> Request:
    document = a_finetune_input(store, root, "OneShot", (regime,), limit_seconds, **model)
    bytes_in_memory = 1 << 30 if resident else 0
    dataset = read_dataset(document.dataset, 16, lambda: store, root.parent, resident_bytes=bytes_in_memory)
    started = time.monotonic()
    clock = Clock(limit_seconds=limit_seconds, age=lambda: time.monotonic() - started)
    pod = Pod(work_directory=root.parent, stores=Stores(environment={}, _connections={TENANT_KEYS: store}))
    return Request(document, pod, clock, CPU, dataset)


def a_run(store: MemoryStore, root: Path, regime: Regime, **arguments) -> Finetuning:
    request = a_request(store, root, regime, **arguments)
    return request.finetuning(request.document.regimes[0], ())


def changed(finetuning: Finetuning, store: MemoryStore) -> set[str]:
    """Parts of the network that are other than the zoo's."""
    before = build_model(TINY, 3, low_resolution_stem=True)
    load_weights(before, store.get("s3://zoo/weights").body, keep_head=False)
    after = build_model(TINY, 3, low_resolution_stem=True)
    load_weights(after, finetuning.weights())
    pairs = zip(before.state_dict().items(), after.state_dict().values(), strict=True)
    return {name.partition(".")[0] for (name, one), other in pairs if not torch.equal(one, other)}


# --- What a regime says ----------------------------------------------------------------------------------------------


def test_a_regime_that_says_no_more_than_it_used_to_is_run_as_it_used_to_be(store, root) -> None:
    finetuning = a_run(store, root, a_regime())
    found = dataclasses.asdict(finetuning.trainer.hyperparameters)
    assert found == {
        "learning_rate": 0.05, "batch_size": 8, "optimizer": "sgd", "momentum": 0.9, "weight_decay": 1e-4,
        "layer_decay": 1.0, "label_smoothing": 0.0, "ema": False, "warmup_fraction": 0.1, "precision": "fp32",
        "channels_last": False, "compile": False,
    }  # fmt: skip
    assert type(finetuning) is Finetuning
    assert finetuning.trainer.ema is None


@pytest.mark.parametrize("resident", [True, False], ids=["in memory", "on disk"])
@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.05}, id="AdamW"),
        pytest.param({"layer_decay": 0.7, "label_smoothing": 0.1}, id="layer decay"),
        pytest.param({"mixup": 0.2, "ema": True}, id="mixup and averaging"),
        pytest.param({"augmentation": "trivial-augment", "mirroring": True}, id="TrivialAugment and mirroring"),
        pytest.param({"batch_size": 32, "steps": 15}, id="a batch size of its own"),
        pytest.param({"linear_probe": True, "frozen_stages": 5, "steps": 200}, id="a linear probe"),
    ],
)
def test_a_model_is_trained_as_its_regime_says(store, root, fields, resident) -> None:
    finetuning = a_run(store, root, a_regime(**fields), resident=resident)
    finetuning.run()
    record = finetuning.record()
    assert record.steps == fields.get("steps", 30)
    assert record.validation_accuracy >= 0.5
    assert finetuning.test().images == 15


def test_a_regime_may_name_its_batch_size(store, root) -> None:
    named, unnamed = a_run(store, root, a_regime(batch_size=24)), a_run(store, root, a_regime())
    sizes = [len(next(finetuning.loader.training())[1]) for finetuning in (named, unnamed)]
    assert sizes == [24, 8]
    assert [finetuning.trainer.hyperparameters.batch_size for finetuning in (named, unnamed)] == [24, 8]


def with_accuracy(accuracy: float) -> Evaluation:
    """Of a hundred images."""
    right = round(100 * accuracy)
    return Evaluation(np.array([[right, 100 - right], [0, 0]]), 1.0)


# --- Averaging -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accuracies", "averaged", "accuracy"),
    [
        pytest.param((0.6, 0.7), True, 0.7, id="the average is better"),
        pytest.param((0.7, 0.6), False, 0.7, id="the weights are better"),
        pytest.param((0.7, 0.7), True, 0.7, id="of equals the average"),
    ],
)
def test_the_better_of_weights_and_average_is_kept(store, root, monkeypatch, accuracies, averaged, accuracy) -> None:
    finetuning = a_run(store, root, a_regime(ema=True))
    finetuning.trainer.plan(5)
    finetuning.trainer.train(finetuning.loader.training(), 5)
    weights = {name: tensor.clone() for name, tensor in finetuning.network.state_dict().items()}
    scripted = map(with_accuracy, accuracies)
    monkeypatch.setattr(finetuning, "_validation", lambda: next(scripted))
    finetuning._validate()
    best = finetuning.best
    assert (best.accuracy, best.averaged) == (accuracy, averaged)
    expected = finetuning.trainer.ema.state() if averaged else weights
    assert all(torch.equal(best.weights[name], tensor) for name, tensor in expected.items())
    assert all(torch.equal(tensor, weights[name]) for name, tensor in finetuning.network.state_dict().items())


def test_time_is_set_aside_for_validating_the_average_too(store, root, monkeypatch) -> None:
    evaluation = dataclasses.replace(with_accuracy(0.5), seconds=1.6)
    monkeypatch.setattr("nasoa_runtime.pods.training.finetuning.evaluate", lambda *_, **__: evaluation)
    costs = []
    for ema in (False, True):
        finetuning = a_run(store, root, a_regime(ema=ema))
        finetuning.measure_costs()
        costs.append(finetuning.costs.validation_seconds)
    # There are twelve validation images, and all of them are timed.
    assert costs == pytest.approx([1.6, 3.2])


def test_the_average_is_delivered_if_it_is_the_best(store, root, monkeypatch) -> None:
    finetuning = a_run(store, root, a_regime(ema=True, steps=5))
    accuracies = itertools.cycle((0.5, 0.9))
    evaluated = finetuning._validation

    def validation() -> Evaluation:
        evaluated()
        return with_accuracy(next(accuracies))

    monkeypatch.setattr(finetuning, "_validation", validation)
    finetuning.run()
    averages = finetuning.trainer.ema.state()
    delivered = build_model(TINY, 3, low_resolution_stem=True)
    load_weights(delivered, finetuning.weights())
    state = delivered.state_dict()
    assert finetuning.best.averaged
    assert all(torch.equal(state[name], average) for name, average in averages.items())


# --- Linear probes ---------------------------------------------------------------------------------------------------


def test_a_linear_probe_changes_the_classifier_alone(store, root) -> None:
    finetuning = a_run(store, root, a_regime(linear_probe=True, frozen_stages=5, steps=100))
    assert isinstance(finetuning, LinearProbe)
    finetuning.run()
    assert changed(finetuning, store) == {"classifier"}


@pytest.mark.parametrize("layout", [{}, {"channels_last": True, "precision": "bf16"}], ids=["fp32", "bf16"])
def test_a_linear_probes_network_classifies_as_its_classifier_did(store, root, layout) -> None:
    finetuning = a_run(store, root, a_regime(linear_probe=True, frozen_stages=5, steps=100, ema=True), **layout)
    finetuning.run()
    finetuning.trainer.model.load_state_dict(finetuning.best.weights)
    images = finetuning.dataset.splits.validation
    whole = finetuning._evaluation(images)
    assert whole.accuracy == pytest.approx(finetuning.best.accuracy, abs=1 / len(images))


def test_a_linear_probe_passes_each_image_through_the_network_once(store, root, monkeypatch) -> None:
    finetuning = a_run(store, root, a_regime(linear_probe=True, frozen_stages=5, steps=60))
    finetuning.measure_costs()
    seen: list[int] = []
    finetuning.network.stem.register_forward_hook(lambda _module, inputs, _output: seen.append(len(inputs[0])))
    monkeypatch.setattr(finetuning, "measure_costs", lambda: None)
    finetuning.run()
    # 48 images to train on and 12 to validate with, though 60 batches of 8 were trained on.
    assert sum(seen) == 60
    assert finetuning.trainer.step == 60


def test_a_linear_probe_does_all_its_steps_where_a_training_finds_no_time_for_them(store, root) -> None:
    """Under a limit of four seconds, on a clock by which each pass through the network takes a twentieth of one."""
    steps = []
    for fields in ({"linear_probe": True, "frozen_stages": 5}, {}):
        finetuning = a_run(store, root, a_regime(steps=500, **fields), limit_seconds=4.0)
        passes: list[None] = []
        finetuning.network.stem.register_forward_hook(lambda *_, passes=passes: passes.append(None))
        finetuning.clock.age = lambda passes=passes: len(passes) / 20
        finetuning.run()
        assert finetuning.clock.used_seconds() < 4.0
        steps.append(finetuning.trainer.step)
    assert steps[0] == 500
    assert 20 < steps[1] < 60


def test_the_upload_of_a_linear_probe_is_timed_by_a_whole_network(store, root) -> None:
    finetuning = a_run(store, root, a_regime(linear_probe=True, frozen_stages=5))
    sizes: list[int] = []
    put = store.put
    store.put = lambda uri, body: (sizes.append(len(body)), put(uri, body))
    finetuning.measure_costs()
    finetuning.saver.save()
    assert sizes[0] > len(finetuning.weights()) > 2 * sizes[1]


def test_a_linear_probe_of_a_limit_that_is_too_short_says_so(store, root) -> None:
    with pytest.raises(TimedOutError, match="allow at least"):
        a_run(store, root, a_regime(linear_probe=True, frozen_stages=5), limit_seconds=0.1).run()


# --- Being stopped ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="SGD"),
        pytest.param({"optimizer": "adamw", "learning_rate": 0.005, "ema": True}, id="AdamW, averaged"),
        pytest.param({"augmentation": "rand-augment", "mirroring": True, "mixup": 0.2}, id="RandAugment, mixup"),
        pytest.param({"layer_decay": 0.7, "batch_size": 12}, id="layer decay, a batch size of its own"),
        pytest.param({"linear_probe": True, "frozen_stages": 5, "ema": True}, id="a linear probe"),
    ],
)
def test_a_run_that_was_stopped_ends_as_it_would_have(store, root, fields) -> None:
    regime = a_regime(steps=20, **fields)
    whole = a_run(store, root, regime)
    whole.run()

    first = a_run(store, root, regime)
    before = first._before_steps

    def stop_after_seven() -> None:
        before()
        if first.trainer.step == 7:
            first.pod._stop_requested = True

    first._before_steps = stop_after_seven
    with pytest.raises(StoppedError):
        first.run()
    checkpoint = read_checkpoint(FinetuningState, store, CHECKPOINT)
    assert (checkpoint.state.trainer.step, checkpoint.state.regime) == (8, regime)

    second = a_run(store, root, regime)
    second.restore(checkpoint)
    second.run()
    assert second.trainer.step == 20
    wanted, found = whole.trainer.model.state_dict(), second.trainer.model.state_dict()
    assert all(torch.allclose(tensor, found[name], atol=1e-6) for name, tensor in wanted.items())
    assert (whole.best.accuracy, whole.best.averaged) == (second.best.accuracy, second.best.averaged)
