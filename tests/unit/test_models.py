"""Building, loading and freezing networks of all three sources."""

import hashlib

import pytest
import torch
from safetensors.torch import save
from torch import nn

from nasoa_runtime.pods.failures import BadInputError
from nasoa_runtime.pods.networks.building import build_model, head_of
from nasoa_runtime.pods.networks.freezing import freeze, train_mode
from nasoa_runtime.pods.networks.weights import fetch_weights, load_weights, weights_bytes
from nasoa_runtime.storage.s3 import Object

TINY = "0-_8_1-1-1-1"


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def trained(model: nn.Module) -> set[str]:
    """Top-level parts that have something to train."""
    return {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize(
    "architecture",
    [
        pytest.param(TINY, id="an encoding"),
        pytest.param("timm:test_resnet", id="timm"),
        pytest.param("torchvision:mobilenet_v3_small", id="torchvision"),
    ],
)
def test_networks_of_every_source_classify(architecture: str) -> None:
    model = build_model(architecture, 7).eval()
    assert model(torch.zeros(2, 3, 64, 64)).shape == (2, 7)


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        pytest.param("0-_7_1-1-1-1", "architecture: ", id="an invalid encoding"),
        pytest.param("timm:no_such_model", "timm has no model 'no_such_model'", id="unknown to timm"),
        pytest.param("torchvision:fasterrcnn_resnet50_fpn", "torchvision has no classifier", id="no classifier"),
        pytest.param("hub:model", "unknown source", id="unknown source"),
        pytest.param("timm:../../x", "is not a model name", id="a path"),
    ],
)
def test_other_architectures_are_refused(architecture: str, message: str) -> None:
    with pytest.raises(BadInputError, match="architecture") as error:
        build_model(architecture, 2)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("frozen_stages", "left"),
    [
        (0, {"stem", "stages", "classifier"}),
        (1, {"stages", "classifier"}),
        (4, {"stages", "classifier"}),
        (5, {"classifier"}),
    ],
)
def test_stages_of_an_encoding_are_frozen_from_the_stem_on(frozen_stages, left) -> None:
    model = build_model(TINY, 2)
    freeze(model, frozen_stages)
    assert trained(model) == left


@pytest.mark.parametrize(
    ("architecture", "frozen_stages", "left"),
    [
        ("timm:resnet18", 1, {"layer1", "layer2", "layer3", "layer4", "fc"}),
        ("timm:resnet18", 2, {"layer2", "layer3", "layer4", "fc"}),
        ("timm:resnet18", 4, {"layer4", "fc"}),
        ("timm:resnet18", 5, {"fc"}),
        ("timm:convnext_atto", 1, {"stages", "head"}),
        ("timm:convnext_atto", 5, {"head"}),
        ("torchvision:resnet18", 1, {"layer1", "layer2", "layer3", "layer4", "fc"}),
        ("torchvision:resnet18", 3, {"layer3", "layer4", "fc"}),
        ("torchvision:mobilenet_v3_small", 5, {"classifier"}),
        ("torchvision:regnet_y_400mf", 1, {"trunk_output", "fc"}),
        ("timm:vit_tiny_patch16_224", 1, {"blocks", "norm", "head"}),
    ],
)
def test_stages_of_other_networks_are_frozen_alike(architecture, frozen_stages, left) -> None:
    with torch.device("meta" if architecture.startswith("timm") else "cpu"):
        model = build_model(architecture, 2)
    freeze(model, frozen_stages)
    if architecture == "torchvision:mobilenet_v3_small":
        assert {n for n, p in model.named_parameters() if p.requires_grad} == {
            "classifier.3.weight",
            "classifier.3.bias",
        }
    else:
        assert trained(model) == left


def test_each_further_stage_freezes_more_of_a_network_with_features() -> None:
    counts = []
    model = build_model("torchvision:mobilenet_v3_small", 2)
    for frozen_stages in range(6):
        freeze(model, frozen_stages)
        counts.append(sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad))
    assert counts == sorted(set(counts), reverse=True)


def test_frozen_batch_norm_keeps_its_statistics() -> None:
    model = build_model("timm:test_resnet", 2)
    freeze(model, 2)
    train_mode(model)
    modes = {name: module.training for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}
    parameters = dict(model.named_parameters())
    assert modes == {name: parameters[f"{name}.weight"].requires_grad for name in modes}
    assert {True, False} == set(modes.values())


def test_freezing_can_be_undone() -> None:
    model = build_model(TINY, 2)
    freeze(model, 5)
    freeze(model, 0)
    assert all(parameter.requires_grad for parameter in model.parameters())


# --- Weights ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", [TINY, "timm:test_resnet"])
def test_weights_come_back_as_they_were(architecture: str) -> None:
    source, target = build_model(architecture, 3), build_model(architecture, 3)
    assert load_weights(target, weights_bytes(source))
    for name, tensor in source.state_dict().items():
        assert torch.equal(tensor, target.state_dict()[name])


@pytest.mark.parametrize("architecture", [TINY, "timm:test_resnet"])
def test_a_classifier_of_another_size_stays_fresh(architecture: str) -> None:
    source, target = build_model(architecture, 3), build_model(architecture, 5)
    fresh = head_of(target)[1].weight.clone()
    assert not load_weights(target, weights_bytes(source))
    assert torch.equal(head_of(target)[1].weight, fresh)
    first = next(iter(source.state_dict()))
    assert torch.equal(source.state_dict()[first], target.state_dict()[first])


def test_a_classifier_for_other_classes_stays_fresh_even_if_it_fits() -> None:
    source, target = build_model(TINY, 3), build_model(TINY, 3)
    assert not load_weights(target, weights_bytes(source), keep_head=False)
    assert not torch.equal(head_of(target)[1].weight, head_of(source)[1].weight)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"cos\nsystem\n(S'true'\ntR.", "not a safetensors file", id="a pickle"),
        pytest.param(save({"other": torch.zeros(2)}), "not of this architecture", id="another network"),
    ],
)
def test_other_files_are_refused(content: bytes, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        load_weights(build_model(TINY, 2), content)


class OneObject:
    def __init__(self, body: bytes | None) -> None:
        self.body = body

    def get(self, _uri: str) -> Object | None:
        return None if self.body is None else Object(self.body, "etag")


def test_weights_are_read_only_if_they_are_the_ones_named() -> None:
    digest = hashlib.sha256(b"weights").hexdigest()
    assert fetch_weights(OneObject(b"weights"), "s3://zoo/w", digest) == b"weights"
    with pytest.raises(BadInputError, match="the object was changed") as changed:
        fetch_weights(OneObject(b"others"), "s3://zoo/w", digest)
    with pytest.raises(BadInputError, match="there is no object s3://zoo/w") as gone:
        fetch_weights(OneObject(None), "s3://zoo/w", digest)
    assert (changed.value.field, gone.value.field) == ("zoo", "zoo")
    assert gone.value.message.startswith("there is no object")


def test_weights_that_were_read_once_are_kept_and_checked_again(tmp_path) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()
    assert fetch_weights(OneObject(b"weights"), "s3://zoo/w", digest, tmp_path / "kept") == b"weights"
    assert fetch_weights(OneObject(None), "s3://zoo/w", digest, tmp_path / "kept") == b"weights"
    (tmp_path / "kept" / digest).write_bytes(b"others")
    assert fetch_weights(OneObject(b"weights"), "s3://zoo/w", digest, tmp_path / "kept") == b"weights"
    assert (tmp_path / "kept" / digest).read_bytes() == b"weights"
    (tmp_path / "file").write_bytes(b"")
    assert fetch_weights(OneObject(b"weights"), "s3://zoo/w", digest, tmp_path / "file" / "below") == b"weights"
