"""Optimisers of our own, and which parameters they treat alike."""

import itertools
import subprocess
import sys

import pytest
import torch
from image_folders import make_images
from torch.nn import functional as F
from training import TINY, a_loader, read

from nasoa_runtime.pods.dataset.reading import Dataset
from nasoa_runtime.pods.networks.building import build_model
from nasoa_runtime.pods.networks.freezing import freeze, levels_of
from nasoa_runtime.pods.training.optimizers.adamw import AdamW
from nasoa_runtime.pods.training.optimizers.base import Group, Optimizer
from nasoa_runtime.pods.training.optimizers.choosing import groups_of, optimizer_for
from nasoa_runtime.pods.training.optimizers.sgd import Sgd

LITE = "timm:tf_efficientnet_lite0"


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return read(make_images(tmp_path_factory.mktemp("images") / "data", classes=3, per_class=30))


def a_network(channels_last: bool = False) -> torch.nn.Module:
    torch.manual_seed(0)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return build_model(TINY, 3, low_resolution_stem=True).to(memory_format=layout)


def torchs(model: torch.nn.Module, kind: str, momentum: float, layer_decay: float) -> torch.optim.Optimizer:
    groups = [
        {"params": group.params, "weight_decay": group.weight_decay, "lr": 0.01 * group.rate_scale}
        for group in groups_of(model, 5e-2, layer_decay)
        if group.params
    ]
    if kind == "adamw":
        return torch.optim.AdamW(groups, betas=(momentum, 0.999))
    return torch.optim.SGD(groups, momentum=momentum, nesterov=momentum > 0)


# --- The updates -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("layer_decay", [1.0, 0.5])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_the_update_is_that_of_torchs_own(
    dataset: Dataset, kind: str, momentum: float, layer_decay: float, channels_last: bool
) -> None:
    ours, theirs = a_network(channels_last), a_network(channels_last)
    own = optimizer_for(ours, kind, learning_rate=0.01, momentum=momentum, weight_decay=5e-2, layer_decay=layer_decay)
    reference = torchs(theirs, kind, momentum, layer_decay)
    for images, labels in itertools.islice(a_loader(dataset).training(), 6):
        for model, optimizer in ((ours, own), (theirs, reference)):
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
            optimizer.zero_grad()
    for name, tensor in theirs.state_dict().items():
        assert torch.allclose(tensor, ours.state_dict()[name], atol=1e-5), name


def test_the_first_step_of_adamw_is_the_rate_whatever_the_gradient() -> None:
    parameter = torch.nn.Parameter(torch.tensor([[2.0, 2.0]]))
    optimizer = AdamW([Group([parameter], weight_decay=0.5)], learning_rate=0.1)
    parameter.grad = torch.tensor([[7.0, -0.01]])
    optimizer.step()
    # Decayed by 0.1 * 0.5 of itself, to 1.9, then moved by 0.1 against the gradient's sign.
    assert parameter.tolist() == [pytest.approx([1.8, 2.0], abs=1e-5)]


@pytest.mark.parametrize("kind", [Sgd, AdamW])
def test_the_rate_of_a_group_is_its_share_of_the_optimisers(kind: type[Optimizer]) -> None:
    slow, fast = torch.nn.Parameter(torch.ones(1)), torch.nn.Parameter(torch.ones(1))
    optimizer = kind([Group([slow], 0.0, rate_scale=0.25), Group([fast], 0.0)], 0.4, 0.0)
    slow.grad, fast.grad = torch.ones(1), torch.ones(1)
    optimizer.step()
    assert (slow.item(), fast.item()) == (pytest.approx(0.9), pytest.approx(0.6))


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_a_parameter_without_gradient_does_no_harm(kind: str) -> None:
    model = torch.nn.Linear(2, 2)
    optimizer = optimizer_for(model, kind, learning_rate=0.1)
    before = model.weight.detach().clone()
    model.bias.grad = torch.ones(2)
    optimizer.step()
    assert torch.equal(model.weight, before)


# --- What is accumulated ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "tensors"), [("sgd", 2), ("adamw", 5)])
def test_what_was_accumulated_can_be_taken_over_by_another(kind: str, tensors: int) -> None:
    def stepped(parameters: list[torch.nn.Parameter], optimizer: Optimizer, gradients: list[float]) -> None:
        for gradient in gradients:
            for parameter in parameters:
                parameter.grad = torch.full_like(parameter, gradient)
            optimizer.step()

    def fresh() -> tuple[list[torch.nn.Parameter], Optimizer]:
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 2)
        return list(model.parameters()), optimizer_for(model, kind, learning_rate=0.1, weight_decay=0.1)

    whole, first, second = fresh(), fresh(), fresh()
    stepped(*whole, [1.0, -0.5, 2.0, 0.1])
    stepped(*first, [1.0, -0.5])
    state = {name: tensor.clone() for name, tensor in first[1].state().items()}
    assert len(state) == tensors
    for parameter, other in zip(second[0], first[0], strict=True):
        parameter.data.copy_(other.data)
    second[1].load_state(state)
    stepped(*second, [2.0, 0.1])
    for parameter, other in zip(whole[0], second[0], strict=True):
        assert torch.equal(parameter, other)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_what_was_written_before_the_first_step_is_nothing(kind: str) -> None:
    model = torch.nn.Linear(3, 2)
    one, other = (optimizer_for(model, kind, learning_rate=0.1) for _ in range(2))
    other.load_state(one.state())
    model.weight.grad = torch.ones(2, 3)
    other.step()
    assert torch.isfinite(model.weight).all()


# --- Groups ----------------------------------------------------------------------------------------------------------


def test_biases_and_normalisation_are_not_decayed() -> None:
    matrices, others = groups_of(a_network(), 5e-4)
    assert (matrices.weight_decay, others.weight_decay) == (5e-4, 0.0)
    assert {parameter.ndim for parameter in matrices.params} == {2, 4}
    assert {parameter.ndim for parameter in others.params} == {1}


def test_parts_of_an_encoding_are_levels_from_stem_to_classifier() -> None:
    levels = levels_of(a_network())
    parts = {
        ".".join(name.split(".")[: 2 if name.startswith("stages") else 1]): level for name, level in levels.items()
    }
    assert parts == {"stem": 0, "stages.0": 1, "stages.1": 2, "stages.2": 3, "stages.3": 4, "classifier": 5}


def test_parts_of_another_network_are_levels_too() -> None:
    levels = levels_of(build_model(LITE, 2))
    parts = {
        ".".join(name.split(".")[: 2 if name.startswith("blocks") else 1]): level for name, level in levels.items()
    }
    assert parts == {
        "conv_stem": 0, "bn1": 0, "blocks.0": 0,
        "blocks.1": 1,
        "blocks.2": 2,
        "blocks.3": 3, "blocks.4": 3,
        "blocks.5": 4, "blocks.6": 4, "conv_head": 4, "bn2": 4,
        "classifier": 5,
    }  # fmt: skip


@pytest.mark.parametrize(
    "architecture", [TINY, LITE, "timm:test_resnet", "torchvision:mobilenet_v3_small", "timm:test_vit"]
)
def test_levels_are_what_each_further_frozen_stage_freezes(architecture: str) -> None:
    model = build_model(architecture, 2)
    levels = levels_of(model)
    for frozen_stages in range(6):
        freeze(model, frozen_stages)
        left = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert left == {name for name, level in levels.items() if level >= frozen_stages}, frozen_stages


@pytest.mark.parametrize("architecture", [TINY, LITE])
def test_the_rate_falls_by_the_decay_with_each_stage_before_the_classifier(architecture: str) -> None:
    model = build_model(architecture, 2)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    levels, scales = levels_of(model), {}
    for group in groups_of(model, 0.1, 0.5):
        assert {parameter.ndim > 1 for parameter in group.params} <= {group.weight_decay == 0.1}
        for parameter in group.params:
            scales[names[id(parameter)]] = group.rate_scale
    assert scales.keys() == levels.keys()
    expected = {5: 1.0, 4: 0.5, 3: 0.25, 2: 0.125, 1: 0.0625, 0: 0.03125}
    assert scales == {name: expected[level] for name, level in levels.items()}


def test_frozen_stages_are_in_no_group() -> None:
    model = a_network()
    freeze(model, 3)
    trained = sum(parameter.requires_grad for parameter in model.parameters())
    for layer_decay in (1.0, 0.5):
        assert sum(len(group.params) for group in groups_of(model, 0.1, layer_decay)) == trained


def test_no_optimiser_imports_torchs_compiler() -> None:
    program = (
        "import sys, torch\n"
        "from nasoa_runtime.pods.training.optimizers.choosing import optimizer_for\n"
        "model = torch.nn.Linear(2, 2)\n"
        "for name in ('sgd', 'adamw'):\n"
        "    model(torch.ones(1, 2)).sum().backward()\n"
        "    optimizer_for(model, name, learning_rate=0.1, weight_decay=0.1).step()\n"
        "sys.exit('torch._dynamo' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
