"""Training, batches, evaluation and checkpoints."""

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from image_folders import make_images
from safetensors.torch import save
from training import CPU, HYPERPARAMETERS, a_loader, a_trainer, read

from nasoa_runtime.boundary import Preprocessing
from nasoa_runtime.documents.base import UnreadableDocumentError
from nasoa_runtime.documents.checkpoint import FinetuningState, TrainerState, TrainingState
from nasoa_runtime.pods.dataset.reading import Dataset
from nasoa_runtime.pods.failures import BadDatasetError, DivergedError, OutOfMemoryError
from nasoa_runtime.pods.networks.building import build_model
from nasoa_runtime.pods.training.batches import Normalise, Order, augment
from nasoa_runtime.pods.training.checkpoint import Checkpoint, restore, state_of, tensors_of
from nasoa_runtime.pods.training.device import out_of_memory_named
from nasoa_runtime.pods.training.evaluation import Evaluation, evaluate
from nasoa_runtime.pods.training.loop import Hyperparameters, Trainer

PLAIN = Preprocessing(image_size=16, mean=(0, 0, 0), std=(1, 1, 1))


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = make_images(tmp_path_factory.mktemp("images") / "data", classes=3, per_class=30)
    return read(root)


# --- Batches ---------------------------------------------------------------------------------------------------------


def test_every_epoch_has_each_image_once_though_batches_straddle_epochs() -> None:
    order = Order(np.arange(10, 20), batch_size=4, seed=0, target=CPU)
    stream = torch.cat([order.positions(step) for step in range(5)]).tolist()
    assert sorted(stream[:10]) == sorted(stream[10:]) == list(range(10, 20))
    assert stream[:10] != stream[10:]


def test_workers_share_each_batch() -> None:
    whole = Order(np.arange(40), 8, 0, CPU).positions(3).tolist()
    shares = [Order(np.arange(40), 8, 0, replace(CPU, rank=rank, world=2)).positions(3).tolist() for rank in (0, 1)]
    assert sorted(itertools.chain(*shares)) == sorted(whole)


def test_a_resumed_run_sees_the_batches_it_would_have_seen(dataset: Dataset) -> None:
    whole = list(itertools.islice(a_loader(dataset).training(), 6))
    rest = list(itertools.islice(a_loader(dataset).training(start=4), 2))
    for (images, labels), (again, labels_again) in zip(whole[4:], rest, strict=True):
        assert torch.equal(images, again)
        assert torch.equal(labels, labels_again)


def test_another_seed_gives_other_batches(dataset: Dataset) -> None:
    one, other = next(a_loader(dataset, 0).training()), next(a_loader(dataset, 1).training())
    assert not torch.equal(one[0], other[0])


def test_small_images_are_shifted_each_for_itself_and_never_mirrored() -> None:
    ramp = torch.arange(16, dtype=torch.uint8).expand(1, 16, 16)[..., None].expand(-1, -1, -1, 3)
    generator = torch.Generator().manual_seed(0)
    normalise = Normalise.of(PLAIN, torch.device("cpu"))
    out = augment(ramp, torch.zeros(64, dtype=torch.int64), 16, generator, normalise)
    rows = (out[:, 0, 0, :] * 255).round()
    assert bool((rows.diff(dim=1) >= 0).all())
    assert set(rows[:, 8].tolist()) == {6.0, 7.0, 8.0, 9.0, 10.0}


def test_larger_images_are_cropped_to_the_size_asked_for() -> None:
    pixels = torch.full((2, 92, 92, 3), 255, dtype=torch.uint8)
    normalise = Normalise.of(PLAIN.model_copy(update={"image_size": 80}), torch.device("cpu"))
    out = augment(pixels, torch.tensor([0, 1, 1]), 80, torch.Generator().manual_seed(0), normalise)
    assert out.shape == (3, 3, 80, 80)
    assert torch.allclose(out, torch.ones_like(out), atol=1e-5)


def test_pixels_are_normalised_by_mean_and_deviation() -> None:
    preprocessing = Preprocessing(image_size=16, mean=(0.5, 0.5, 0.0), std=(0.5, 0.25, 1.0))
    out = Normalise.of(preprocessing, torch.device("cpu"))(torch.full((1, 1, 1, 3), 255, dtype=torch.uint8))
    assert out.flatten().tolist() == pytest.approx([1.0, 2.0, 1.0], abs=1e-6)


def test_a_dataset_on_disk_gives_the_same_evaluation_batches(tmp_path: Path, monkeypatch) -> None:
    root = make_images(tmp_path / "data", classes=2, per_class=6)
    resident, streamed = read(root), read(root, resident_bytes=0)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    for one, other in zip(
        a_loader(resident).evaluation(resident.splits.validation),
        a_loader(streamed).evaluation(streamed.splits.validation),
        strict=True,
    ):
        assert torch.allclose(one[0], other[0], atol=1e-6)
        assert torch.equal(one[1], other[1])


# --- Training --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "hyperparameters",
    [
        pytest.param(HYPERPARAMETERS, id="fp32"),
        pytest.param(replace(HYPERPARAMETERS, channels_last=True, precision="bf16"), id="bf16 channels last"),
        pytest.param(replace(HYPERPARAMETERS, label_smoothing=0.1), id="label smoothing"),
        pytest.param(replace(HYPERPARAMETERS, optimizer="adamw", learning_rate=0.01), id="AdamW"),
        pytest.param(replace(HYPERPARAMETERS, layer_decay=0.7), id="layer decay"),
    ],
)
def test_a_network_learns_to_tell_the_classes(dataset: Dataset, hyperparameters: Hyperparameters) -> None:
    trainer = a_trainer(30, hyperparameters)
    loader = a_loader(dataset)
    trainer.train(loader.training(), 30)
    found = evaluate(
        trainer.model, loader.evaluation(dataset.splits.validation), 3, CPU, hyperparameters.precision,
        channels_last=hyperparameters.channels_last,
    )  # fmt: skip
    assert found.accuracy > 0.8
    assert trainer.finished
    assert trainer.progress == 1.0
    assert trainer.pace.median_step_seconds > trainer.pace.median_loading_seconds > 0


def test_frozen_stages_stay_as_they_are(dataset: Dataset) -> None:
    trainer = a_trainer(3, frozen_stages=3)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    trainer.train(a_loader(dataset).training(), 3)
    changed = {name for name, tensor in trainer.model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {name.split(".")[0] + "." + name.split(".")[1] for name in changed if name.startswith("stages")} == {
        "stages.2",
        "stages.3",
    }
    assert not any(name.startswith("stem") for name in changed)


def test_a_loss_that_is_no_number_is_divergence(dataset: Dataset) -> None:
    trainer = a_trainer(hyperparameters=replace(HYPERPARAMETERS, learning_rate=1e30, warmup_fraction=0.0))
    with pytest.raises(DivergedError, match="choose a lower learning rate"):
        trainer.train(a_loader(dataset).training(), 20)


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(MemoryError(), id="Python's"),
        pytest.param(torch.cuda.OutOfMemoryError("CUDA out of memory"), id="CUDA's"),
        pytest.param(
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), id="CPU's"
        ),
    ],
)
def test_every_way_of_running_out_of_memory_is_one(error: Exception) -> None:
    with (
        pytest.raises(OutOfMemoryError, match="A training step ran out of memory"),
        out_of_memory_named("A training step"),
    ):
        raise error


def test_other_errors_are_left_alone() -> None:
    with pytest.raises(RuntimeError, match="shapes"), out_of_memory_named("A step"):
        raise RuntimeError("shapes do not match")


def test_a_plan_may_shrink_and_the_rate_still_ends_at_zero(dataset: Dataset) -> None:
    trainer, batches = a_trainer(100), a_loader(dataset).training()
    trainer.train(batches, 5)
    trainer.plan(8)
    trainer.train(batches, 100)
    assert (trainer.step, trainer.progress) == (8, 1.0)
    assert trainer.optimizer.learning_rate == pytest.approx(0.0)


def test_gradients_are_unscaled_before_they_are_applied(dataset: Dataset) -> None:
    scaled, plain = a_trainer(5), a_trainer(5)
    scaled.scaler = torch.amp.GradScaler("cpu", enabled=True)
    for trainer in (scaled, plain):
        trainer.train(a_loader(dataset).training(), 5)
    for name, tensor in plain.model.state_dict().items():
        assert torch.allclose(tensor, scaled.model.state_dict()[name], atol=1e-4), name


def test_a_parameter_that_the_loss_does_not_reach_does_no_harm(dataset: Dataset) -> None:
    trainer = a_trainer(2)
    trainer.optimizer.groups[0].params.append(torch.nn.Parameter(torch.ones(2, 2)))
    trainer.train(a_loader(dataset).training(), 2)
    assert trainer.finished


# --- Evaluation ------------------------------------------------------------------------------------------------------


def test_accuracy_follows_from_the_confusion_matrix() -> None:
    found = Evaluation(np.array([[3, 1, 0], [0, 0, 0], [2, 0, 4]]), 1.0)
    assert found.accuracy == 0.7
    assert found.images == 10
    assert found.class_accuracies == [0.75, None, pytest.approx(2 / 3)]


def test_evaluation_changes_nothing(dataset: Dataset) -> None:
    trainer, loader = a_trainer(), a_loader(dataset)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    evaluate(trainer.model, loader.evaluation(dataset.splits.test), 3, CPU)
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainer.model.state_dict().items())
    assert trainer.model.training


def test_without_a_single_image_there_is_no_accuracy() -> None:
    nothing = iter([(torch.zeros(2, 3, 16, 16), torch.tensor([-100, -100]))])
    with pytest.raises(BadDatasetError) as error:
        evaluate(a_trainer().model, nothing, 3, CPU)
    assert (error.value.field, error.value.message) == ("dataset.uri", "no image is left to evaluate on.")


# --- Checkpoints -----------------------------------------------------------------------------------------------------


def a_checkpoint(trainer: Trainer) -> Checkpoint[TrainingState]:
    state = TrainingState(trainer=state_of(trainer), seconds=7.5, architecture="0-_8_1-1-1-1")
    return Checkpoint(tensors_of(trainer), state)


def read_back(body: bytes) -> Checkpoint[TrainingState]:
    return Checkpoint.from_bytes(TrainingState, body, "s3://bucket/checkpoint")


SMALLEST = Checkpoint(
    {"a": torch.zeros(1)},
    TrainingState(trainer=TrainerState(step=3, progress=0.5, planned_steps=6), seconds=1.0, architecture="a"),
).to_bytes()


@pytest.mark.parametrize(
    "hyperparameters",
    [
        pytest.param(HYPERPARAMETERS, id="SGD"),
        pytest.param(replace(HYPERPARAMETERS, channels_last=True), id="channels last"),
        pytest.param(replace(HYPERPARAMETERS, optimizer="adamw", learning_rate=0.002), id="AdamW"),
        pytest.param(replace(HYPERPARAMETERS, layer_decay=0.7), id="layer decay"),
        pytest.param(replace(HYPERPARAMETERS, ema=True), id="averaged"),
    ],
)
def test_a_resumed_run_ends_as_if_it_had_not_been_interrupted(
    dataset: Dataset, hyperparameters: Hyperparameters
) -> None:
    whole = a_trainer(10, hyperparameters)
    whole.train(a_loader(dataset).training(), 10)

    first = a_trainer(10, hyperparameters)
    first.train(a_loader(dataset).training(), 4)
    body = a_checkpoint(first).to_bytes()

    second = a_trainer(10, hyperparameters)
    checkpoint = read_back(body)
    restore(second, checkpoint)
    assert (checkpoint.state.architecture, checkpoint.state.seconds) == ("0-_8_1-1-1-1", 7.5)
    assert second.step == 4
    second.train(a_loader(dataset).training(4), 10)
    wanted, found = tensors_of(whole), tensors_of(second)
    assert wanted.keys() == found.keys()
    for name, tensor in wanted.items():
        assert torch.allclose(tensor, found[name], atol=1e-6), name
    assert not math.isnan(second.loss)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(b"", "it is not a checkpoint", id="empty"),
        pytest.param(b"\x80\x04garbage", "it is not a checkpoint", id="a pickle"),
        pytest.param(SMALLEST.replace(b"nasoa_state", b"other_state"), "it is not a checkpoint", id="no state"),
        pytest.param(SMALLEST.replace(b'Version\\":2', b'Version\\":9'), "format version 9", id="another version"),
        pytest.param(SMALLEST.replace(b'step\\":3', b'step\\":4'), "does not match its checksum", id="edited"),
        pytest.param(save({"a": torch.zeros(1)}), "it is not a checkpoint", id="weights alone"),
    ],
)
def test_what_is_no_checkpoint_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(UnreadableDocumentError, match=reason):
        read_back(body)


def test_a_checkpoint_of_another_program_is_refused() -> None:
    with pytest.raises(UnreadableDocumentError, match="it is not a FinetuningState: regime: Field required"):
        Checkpoint.from_bytes(FinetuningState, SMALLEST, "s3://b/c")


def test_a_checkpoint_of_another_network_is_refused(dataset: Dataset) -> None:
    body = a_checkpoint(a_trainer()).to_bytes()
    other = Trainer(build_model("1-_8_1-1-1-1", 3), HYPERPARAMETERS, CPU)
    with pytest.raises(ValueError, match="another network"):
        restore(other, read_back(body))


def test_a_gradient_scaler_goes_on_with_its_scale(dataset: Dataset) -> None:
    first, second = a_trainer(5), a_trainer(5)
    first.scaler = torch.amp.GradScaler("cpu", init_scale=512.0, growth_interval=7)
    second.scaler = torch.amp.GradScaler("cpu")
    first.train(a_loader(dataset).training(), 3)
    restore(second, read_back(a_checkpoint(first).to_bytes()))
    assert second.scaler.state_dict() == {
        "scale": 512.0,
        "growth_factor": 2.0,
        "backoff_factor": 0.5,
        "growth_interval": 7,
        "_growth_tracker": 3,
    }
