"""Training, batches, evaluation and checkpoints."""

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from image_folders import make_images

from nasoa_runtime.boundary import DatasetReference, Preprocessing
from nasoa_runtime.pods.dataset.reading import Dataset, read_dataset
from nasoa_runtime.pods.failures import DivergedError, OutOfMemoryError
from nasoa_runtime.pods.training.batches import Loader, Normalise, Order, augment
from nasoa_runtime.pods.training.checkpoint import Checkpoint, capture, restore
from nasoa_runtime.pods.training.device import Target, out_of_memory_named
from nasoa_runtime.pods.training.evaluation import Evaluation, evaluate
from nasoa_runtime.pods.training.loop import Hyperparameters, Trainer
from nasoa_runtime.pods.training.models import build_model, freeze

CPU = Target(torch.device("cpu"))
SIZE = Preprocessing(image_size=16)
PLAIN = Preprocessing(image_size=16, mean=(0, 0, 0), std=(1, 1, 1))
SETTINGS = Hyperparameters(learning_rate=0.05, batch_size=16)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = make_images(tmp_path_factory.mktemp("images") / "data", classes=3, per_class=30)
    return read(root)


def read(root: Path, **arguments) -> Dataset:
    return read_dataset(DatasetReference(uri=str(root)), 16, lambda: None, root.parent / "work", **arguments)


def a_trainer(steps: int = 20, settings: Hyperparameters = SETTINGS, frozen_stages: int = 0) -> Trainer:
    torch.manual_seed(0)
    model = build_model("0-_8_1-1-1-1", 3, low_resolution_stem=True)
    freeze(model, frozen_stages)
    trainer = Trainer(model, settings, CPU)
    trainer.plan(steps)
    return trainer


def a_loader(dataset: Dataset, seed: int = 0) -> Loader:
    return Loader(dataset, SIZE, 16, seed, CPU)


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
    "settings",
    [
        pytest.param(SETTINGS, id="fp32"),
        pytest.param(replace(SETTINGS, channels_last=True, precision="bf16"), id="bf16 channels last"),
        pytest.param(replace(SETTINGS, label_smoothing=0.1), id="label smoothing"),
    ],
)
def test_a_network_learns_to_tell_the_classes(dataset: Dataset, settings: Hyperparameters) -> None:
    trainer = a_trainer(30, settings)
    loader = a_loader(dataset)
    trainer.train(loader.training(), 30)
    outcome = evaluate(
        trainer.model, loader.evaluation(dataset.splits.validation), 3, CPU, settings.precision,
        channels_last=settings.channels_last,
    )  # fmt: skip
    assert outcome.accuracy > 0.8
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
    trainer = a_trainer(settings=replace(SETTINGS, learning_rate=1e30, warmup_fraction=0.0))
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


def test_biases_and_normalisation_are_not_decayed() -> None:
    groups = a_trainer().optimizer.groups
    assert [group.weight_decay for group in groups] == [5e-4, 0.0]
    assert all(parameter.ndim > 1 for parameter in groups[0].params)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_update_is_that_of_torchs_own_sgd(dataset: Dataset, channels_last: bool, momentum: float) -> None:
    ours = a_trainer(5, replace(SETTINGS, channels_last=channels_last, momentum=momentum))
    theirs = a_trainer(5, replace(SETTINGS, channels_last=channels_last, momentum=momentum))
    groups = [{"params": group.params, "weight_decay": group.weight_decay} for group in theirs.optimizer.groups]
    reference = torch.optim.SGD(groups, lr=0.05, momentum=momentum, nesterov=momentum > 0)
    batches = list(itertools.islice(a_loader(dataset).training(), 5))
    for images, labels in batches:
        for trainer, optimizer in ((ours, ours.optimizer), (theirs, reference)):
            torch.nn.functional.cross_entropy(trainer.model(images), labels).backward()
            optimizer.step()
            optimizer.zero_grad()
    for name, tensor in theirs.model.state_dict().items():
        assert torch.allclose(tensor, ours.model.state_dict()[name], atol=1e-6), name


# --- Evaluation ------------------------------------------------------------------------------------------------------


def test_accuracy_follows_from_the_confusion_matrix() -> None:
    outcome = Evaluation(np.array([[3, 1, 0], [0, 0, 0], [2, 0, 4]]), 1.0)
    assert outcome.accuracy == 0.7
    assert outcome.images == 10
    assert outcome.class_accuracies == [0.75, None, pytest.approx(2 / 3)]


def test_evaluation_changes_nothing(dataset: Dataset) -> None:
    trainer, loader = a_trainer(), a_loader(dataset)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    evaluate(trainer.model, loader.evaluation(dataset.splits.test), 3, CPU)
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainer.model.state_dict().items())
    assert trainer.model.training


# --- Checkpoints -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_resumed_run_ends_as_if_it_had_not_been_interrupted(dataset: Dataset, channels_last: bool) -> None:
    settings = replace(SETTINGS, channels_last=channels_last)
    whole = a_trainer(10, settings)
    whole.train(a_loader(dataset).training(), 10)

    first = a_trainer(10, settings)
    first.train(a_loader(dataset).training(), 4)
    body = capture(first, {"note": "kept"}).to_bytes()

    second = a_trainer(10, settings)
    checkpoint = Checkpoint.from_bytes(body)
    restore(second, checkpoint)
    assert checkpoint.state["note"] == "kept"
    assert second.step == 4
    second.train(a_loader(dataset).training(4), 10)
    for name, tensor in whole.model.state_dict().items():
        assert torch.allclose(tensor, second.model.state_dict()[name], atol=1e-6), name
    assert not math.isnan(second.loss)


EMPTY = Checkpoint({"a": torch.zeros(1)}, {}).to_bytes()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x80\x04garbage", id="a pickle"),
        pytest.param(EMPTY.replace(b"nasoa_state", b"other_state"), id="no state"),
        pytest.param(EMPTY.replace(b'version\\": 1', b'version\\": 9'), id="another version"),
    ],
)
def test_what_is_no_checkpoint_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="checkpoint"):
        Checkpoint.from_bytes(body)


def test_a_checkpoint_of_another_network_is_refused(dataset: Dataset) -> None:
    body = capture(a_trainer(), {}).to_bytes()
    other = Trainer(build_model("1-_8_1-1-1-1", 3), SETTINGS, CPU)
    with pytest.raises(ValueError, match="another network"):
        restore(other, Checkpoint.from_bytes(body))
