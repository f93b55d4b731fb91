"""What is done to training images, for datasets in memory and on disk."""

import itertools
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from image_folders import make_images
from torch.nn import functional as F
from training import HYPERPARAMETERS, a_loader, a_trainer

from nasoa_runtime.boundary import Preprocessing, Regime
from nasoa_runtime.pods.dataset.reading import Dataset
from nasoa_runtime.pods.training.augmentation import (
    Augmentation,
    drawing,
    mirrored,
    mixed,
    policy_transform,
    transformed,
)
from nasoa_runtime.pods.training.batches import Loader

EVERYTHING = [
    pytest.param(Augmentation(), id="crops alone"),
    pytest.param(Augmentation(mirroring=True), id="mirroring"),
    pytest.param(Augmentation(mixup=0.4), id="mixup"),
    pytest.param(Augmentation("rand-augment"), id="RandAugment"),
    pytest.param(Augmentation("trivial-augment", mirroring=True, mixup=0.2), id="all together"),
]


pytestmark = pytest.mark.usefixtures("one_process")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_images(tmp_path_factory.mktemp("images") / "data", classes=3, per_class=30)


def some(loader: Loader, count: int, start: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(itertools.islice(loader.training(start), count))


def equal(one: list, other: list) -> bool:
    return all(torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in zip(one, other, strict=True))


# --- The same batches again ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("augmentation", EVERYTHING)
def test_a_resumed_run_sees_the_images_it_would_have_seen(dataset: Dataset, augmentation: Augmentation) -> None:
    whole = some(a_loader(dataset, augmentation=augmentation), 4)
    torch.rand(7)  # Whatever else was drawn meanwhile, such as fresh weights, is of no consequence.
    assert equal(whole[2:], some(a_loader(dataset, augmentation=augmentation), 2, start=2))


@pytest.mark.parametrize("augmentation", EVERYTHING)
def test_another_seed_gives_other_images(dataset: Dataset, augmentation: Augmentation) -> None:
    one = some(a_loader(dataset, 0, augmentation), 1)
    assert not equal(one, some(a_loader(dataset, 1, augmentation), 1))


@pytest.mark.parametrize("augmentation", EVERYTHING[1:])
def test_every_option_does_something(dataset: Dataset, augmentation: Augmentation) -> None:
    plain, other = some(a_loader(dataset), 1)[0], some(a_loader(dataset, augmentation=augmentation), 1)[0]
    assert plain[0].shape == other[0].shape
    assert not torch.equal(plain[0], other[0])


def test_mirroring_leaves_the_crops_as_they_are(dataset: Dataset) -> None:
    (plain, _), (other, _) = (
        some(a_loader(dataset, augmentation=Augmentation(mirroring=mirroring)), 1)[0] for mirroring in (False, True)
    )
    kinds = [
        (torch.equal(one, image), torch.equal(one, image.flip(2))) for one, image in zip(plain, other, strict=True)
    ]
    assert set(kinds) == {(True, False), (False, True)}


@pytest.mark.parametrize("policy", ["rand-augment", "trivial-augment"])
def test_images_of_one_batch_are_changed_each_for_itself(policy) -> None:
    transform = policy_transform(policy, Preprocessing(image_size=16))
    pixels = torch.randint(0, 256, (1, 16, 16, 3), dtype=torch.uint8).expand(32, -1, -1, -1)
    changed = transformed(pixels, transform, seed=0)
    assert (changed.shape, changed.dtype) == ((32, 16, 16, 3), torch.uint8)
    assert len({image.numpy().tobytes() for image in changed}) > 16


def test_what_is_moved_into_an_image_normalises_to_zero() -> None:
    from torchvision.transforms import v2

    transform = policy_transform("rand-augment", Preprocessing(image_size=16, mean=(0.5, 0.25, 1.0)))
    assert isinstance(transform, v2.RandAugment)
    assert transform.fill == [128, 64, 255]


def test_drawing_leaves_the_global_generator_as_it_was() -> None:
    torch.manual_seed(0)
    undisturbed = torch.rand(3)
    torch.manual_seed(0)
    with drawing(5):
        first = torch.rand(3)
    assert torch.equal(torch.rand(3), undisturbed)
    with drawing(5):
        assert torch.equal(torch.rand(3), first)


def test_an_evaluation_sees_images_as_they_are_whatever_the_regime(dataset: Dataset) -> None:
    loud = Augmentation("trivial-augment", mirroring=True, mixup=1.0)
    found = list(a_loader(dataset, augmentation=loud).evaluation(dataset.splits.validation))
    assert equal(found, list(a_loader(dataset).evaluation(dataset.splits.validation)))


# --- Mirroring, mixup ------------------------------------------------------------------------------------------------


def test_about_half_of_the_images_are_mirrored() -> None:
    ramp = torch.arange(4.0).expand(1000, 3, 4, 4)
    count = int((mirrored(ramp, seed=0)[:, 0, 0, 0] == 3).sum())
    assert 450 < count < 550


@given(alpha=st.floats(0.05, 5), seed=st.integers(0, 2**40), labels=st.lists(st.integers(0, 4), min_size=1))
def test_mixed_labels_are_shares_that_sum_to_one(alpha: float, seed: int, labels: list[int]) -> None:
    images = F.one_hot(torch.tensor(labels), 5).float()[:, None, :, None]
    found, shares = mixed(images, torch.tensor(labels), 5, alpha, seed)
    assert torch.allclose(shares.sum(dim=1), torch.ones(len(labels)))
    # These images say what they are of, so images and labels must have been mixed alike.
    assert torch.allclose(found[:, 0, :, 0], shares, atol=1e-6)


def test_an_image_to_be_ignored_has_no_share() -> None:
    _, shares = mixed(torch.zeros(2, 3, 4, 4), torch.tensor([1, -100]), 3, 1.0, seed=0)
    assert shares[:, [0, 2]].sum() == 0
    assert bool((shares[:, 1] <= 1).all())


def test_the_loss_of_mixed_labels_is_the_mixture_of_both_losses() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 3), torch.tensor([0, 2])
    share = 0.7
    shares = torch.tensor([[share, 0.0, 1 - share], [1 - share, 0.0, share]])
    by_hand = share * F.cross_entropy(logits, labels) + (1 - share) * F.cross_entropy(logits, labels.flip(0))
    assert float(F.cross_entropy(logits, shares)) == pytest.approx(float(by_hand))


@pytest.mark.parametrize("augmentation", EVERYTHING[1:])
def test_a_network_is_trained_on_whatever_is_done_to_its_images(dataset: Dataset, augmentation: Augmentation) -> None:
    trainer = a_trainer(3, HYPERPARAMETERS)
    trainer.train(a_loader(dataset, augmentation=augmentation).training(), 3)
    assert trainer.finished


def test_augmentation_is_what_the_regime_says() -> None:
    fields = {"model": "a", "learning_rate": 0.1, "frozen_stages": 0, "steps": 9, "step_seconds": 0.1}
    regime = Regime.model_validate(fields | {"predicted_accuracy": 0.5})
    assert Augmentation.of(regime) == Augmentation("crop", mirroring=False, mixup=0.0)
    loud = regime.model_copy(update={"augmentation": "rand-augment", "mirroring": True, "mixup": 0.2})
    assert Augmentation.of(loud) == Augmentation("rand-augment", mirroring=True, mixup=0.2)
