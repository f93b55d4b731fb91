"""Features that are computed once, and the classifier that is trained on them."""

import itertools
from pathlib import Path

import pytest
import torch
from image_folders import make_images
from training import TINY, a_loader

from nasoa_runtime.pods.dataset.reading import Dataset
from nasoa_runtime.pods.networks.building import build_model
from nasoa_runtime.pods.training.features import Features

pytestmark = pytest.mark.usefixtures("one_process")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_images(tmp_path_factory.mktemp("images") / "data", classes=3, per_class=10)


class Watched:
    """The images' means as features, and how many images were asked for."""

    def __init__(self) -> None:
        self.images = 0

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.images += len(images)
        return images.flatten(1).mean(dim=1, keepdim=True)


BATCHES = [[0, 1, 2], [2, 3], [3, 0, 0], [5, 1]]


def asked(dataset: Dataset, **arguments) -> tuple[list, int]:
    extract = Watched()
    return list(Features(a_loader(dataset), extract, 5, **arguments).batches(lambda: BATCHES)), extract.images


def test_the_features_of_an_image_are_computed_once(dataset: Dataset) -> None:
    batches, images = asked(dataset)
    assert images == 5
    assert [len(features) for features, _ in batches] == [3, 2, 3, 2]
    assert torch.equal(batches[0][0][2], batches[1][0][0])
    assert torch.equal(batches[2][0][1], batches[2][0][2])


def test_features_and_labels_are_those_of_the_images_asked_for(dataset: Dataset) -> None:
    batches, _ = asked(dataset)
    for (features, labels), (pixels, wanted) in zip(batches, a_loader(dataset).as_they_are(BATCHES), strict=True):
        assert torch.allclose(features[:, 0], pixels.flatten(1).mean(dim=1), atol=1e-6)
        assert torch.equal(labels, wanted)


@pytest.mark.parametrize(("kept", "computed"), [(0, 9), (2, 7), (100, 5)])
def test_what_is_not_kept_is_computed_again(dataset: Dataset, kept: int, computed: int) -> None:
    batches, images = asked(dataset, kept_images=kept)
    assert images == computed
    for (features, _), (other, _) in zip(batches, asked(dataset)[0], strict=True):
        assert torch.equal(features, other)


def test_a_second_reading_computes_nothing(dataset: Dataset) -> None:
    extract = Watched()
    features = Features(a_loader(dataset), extract, 5)
    first = [features for features, _ in features.batches(lambda: BATCHES)]
    second = [features for features, _ in features.batches(lambda: BATCHES)]
    assert extract.images == 5
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_reading_ahead_ends_though_batches_do_not(dataset: Dataset) -> None:
    extract = Watched()
    batches = Features(a_loader(dataset), extract, 5).batches(lambda: itertools.cycle(BATCHES))
    assert len(list(itertools.islice(batches, 100))) == 100
    assert extract.images == 5


def test_a_classifier_trained_on_features_fits_the_network(dataset: Dataset) -> None:
    torch.manual_seed(0)
    network = build_model(TINY, 3, low_resolution_stem=True).eval()
    handed: list[torch.Tensor] = []
    network.classifier.register_forward_pre_hook(lambda _head, inputs: handed.append(inputs[0].detach()))

    def extract(images: torch.Tensor) -> torch.Tensor:
        network(images)
        return handed.pop()

    (features, _), *_ = Features(a_loader(dataset), extract, 3).batches(lambda: [[0, 7, 20]])
    images, _ = next(a_loader(dataset).as_they_are([[0, 7, 20]]))
    assert torch.allclose(network.classifier(features), network(images), atol=1e-5)
