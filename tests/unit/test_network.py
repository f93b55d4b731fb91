"""The built network: it is what its string says, and it freezes what it should."""

from __future__ import annotations

import pytest
import torch
from architectures import COUNTED, architectures, blocks
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nasoa_runtime.architecture.complexity import complexity
from nasoa_runtime.architecture.encoding import (
    Architecture,
    Block,
    InvalidArchitecture,
    Macro,
    canonical,
    format_architecture,
    parse,
)
from nasoa_runtime.pods.networks.counting import complexity_of
from nasoa_runtime.pods.networks.encoded import Network, build
from nasoa_runtime.pods.networks.freezing import freeze, train_mode

EVERY_CONNECTION = "02031-a01c02a12_16_1-21-2-1"


@pytest.fixture(autouse=True)
def _one_thread_and_one_seed() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.mark.parametrize("model", [pytest.param(model, id=model["name"]) for model in COUNTED])
def test_published_models_have_their_published_counts_when_built(model: dict) -> None:
    with torch.device("meta"):
        measured = complexity_of(build(model["encoding"]), 224)
    assert (measured.parameters, measured.macs) == (model["parameters"], model["macs_at_224"])


@settings(max_examples=60, deadline=None)
@given(architecture=architectures(), image_size=st.integers(1, 70), low_resolution_stem=st.booleans())
def test_the_string_tells_exactly_what_the_network_has(
    architecture: Architecture, image_size: int, low_resolution_stem: bool
) -> None:
    with torch.device("meta"):
        network = build(architecture, 7, low_resolution_stem)
        measured = complexity_of(network, image_size)
        outputs = [torch.zeros(1, 3, image_size, image_size)]
        network.eval()
        for part in (network.stem, *network.stages):
            outputs.append(part(outputs[-1]))
    counted = complexity(architecture, image_size, 7, low_resolution_stem)
    assert measured.parameters == counted.parameters
    assert measured.macs == counted.macs
    assert measured.activations == counted.activations
    shapes = [(stage.channels, stage.resolution, stage.resolution) for stage in counted.stages]
    assert [tuple(output.shape[1:]) for output in outputs[2:]] == shapes


@settings(max_examples=15, deadline=None)
@given(block=blocks())
def test_spellings_of_one_network_compute_the_same(block: Block) -> None:
    written = Architecture(block, 128, Macro(((1,), (1,), (1,), (1,))))
    first = build(written, 3).eval()
    second = build(canonical(written), 3).eval()
    second.load_state_dict(first.state_dict())
    images = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(first(images), second(images), rtol=1e-4, atol=1e-5)


def test_the_order_of_concatenations_matters() -> None:
    encodings = ["02020-c02c12_8_1-1-1-1", "02020-c12c02_8_1-1-1-1"]
    assert canonical(encodings[0]) != canonical(encodings[1])
    first, second = (build(encoding, 3).eval() for encoding in encodings)
    second.load_state_dict(first.state_dict())
    images = torch.randn(2, 3, 32, 32)
    assert not torch.allclose(first(images), second(images))


def test_a_block_computes_what_its_string_says() -> None:
    block = build("12021-c01a02_8_1-1-1-1", 3).eval().stages[1][0]
    one, two, three = block.nodes
    x = torch.randn(2, 8, 6, 6)
    # The stride is on the 3x3 layer, so node 1 is at full resolution and node 2 at half of it.
    node_1 = torch.relu(torch.cat((x, one.layer(x)), dim=1))
    node_2 = torch.relu(two.layer(node_1) + two.projections["a02"](x))
    node_3 = torch.relu(three.layer(node_2) + three.projections["a03"](x))
    assert node_1.shape == (2, 16, 6, 6)
    assert node_2.shape == (2, 8, 3, 3)
    torch.testing.assert_close(block(x), node_3)


def test_a_concatenated_source_is_strided_and_keeps_its_width() -> None:
    node = build("03021-c01_8_1-1-1-1", 3).stages[1][0].nodes[0]
    convolution = node.projections["c01"][0]
    assert (convolution.in_channels, convolution.out_channels, convolution.stride) == (8, 8, (2, 2))


def test_the_stem_without_strides_keeps_the_resolution() -> None:
    images = torch.zeros(1, 3, 32, 32)
    assert build("0-_8_1-1-1-1", 3).stem(images).shape == (1, 8, 8, 8)
    assert build("0-_8_1-1-1-1", 3, low_resolution_stem=True).stem(images).shape == (1, 8, 32, 32)


def test_convolutions_start_from_kaiming_normal_by_fan_out_and_batchnorm_from_one_and_zero() -> None:
    network = build("0-_64_4-1-1-1", 3)
    weight = network.stages[3][0].nodes[0].layer[0].weight
    assert weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.02)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert bool((module.weight == 1).all())
            assert bool((module.bias == 0).all())
        if isinstance(module, nn.Conv2d):
            assert module.bias is None


def parts(network: Network) -> list[nn.Module]:
    return [network.stem, *network.stages, network.classifier]


@pytest.mark.parametrize("frozen", [pytest.param(k, id=f"{k} frozen") for k in range(6)])
def test_frozen_parts_stay_as_they_are_and_the_others_learn(frozen: int) -> None:
    network = build(EVERY_CONNECTION, 3)
    freeze(network, frozen)
    train_mode(network)
    before = [{k: v.clone() for k, v in part.state_dict().items()} for part in parts(network)]
    optimiser = torch.optim.SGD((p for p in network.parameters() if p.requires_grad), lr=0.1)
    nn.functional.cross_entropy(network(torch.randn(4, 3, 64, 64)), torch.tensor([0, 1, 2, 0])).backward()
    optimiser.step()
    for number, (part, old) in enumerate(zip(parts(network), before, strict=True)):
        same = all(torch.equal(old[name], value) for name, value in part.state_dict().items())
        assert same == (number < frozen)
        for module in part.modules():
            assert module.training == (number >= frozen)
        for parameter in part.parameters():
            assert (parameter.grad is None) == (number < frozen)


def test_frozen_parts_record_no_gradients_even_for_inputs_that_want_them() -> None:
    network = build(EVERY_CONNECTION, 3)
    freeze(network, 2)
    images = torch.randn(2, 3, 32, 32, requires_grad=True)
    network(images).sum().backward()
    assert images.grad is None


def test_thawing_trains_everything_again() -> None:
    network = build(EVERY_CONNECTION, 3).train()
    freeze(network, 5)
    freeze(network, 0)
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(module.training for module in network.modules())
    assert not any(module.training for module in network.eval().modules())


@pytest.mark.parametrize("frozen", [pytest.param(-1, id="negative"), pytest.param(6, id="more than there are")])
def test_an_impossible_number_of_frozen_stages_is_refused(frozen: int) -> None:
    with pytest.raises(ValueError, match="write 0 \\(none\\) to 5"):
        freeze(build("0-_8_1-1-1-1", 3), frozen)


def test_channels_last_and_bfloat16_keep_layout_and_result() -> None:
    network = build(EVERY_CONNECTION, 3).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = network(images)
        network = network.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
        assert network.forward_features(images).is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(network(images), expected, rtol=1e-3, atol=1e-4)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            halved = network(images)
    assert halved.dtype == torch.bfloat16
    torch.testing.assert_close(halved.float(), expected, rtol=0.1, atol=0.1 * float(expected.abs().max()))


@pytest.mark.parametrize("frozen", [pytest.param(0, id="all trained"), pytest.param(3, id="prefix frozen")])
def test_the_network_compiles_without_graph_breaks(frozen: int) -> None:
    network = build(EVERY_CONNECTION, 3)
    freeze(network, frozen)
    train_mode(network)
    images = torch.randn(2, 3, 64, 64)
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(images), network(images), rtol=1e-4, atol=1e-4)
    compiled(images).sum().backward()
    assert [parameter.grad is None for parameter in network.stem.parameters()] == [frozen > 0] * 9


def test_measuring_leaves_modes_and_statistics_alone() -> None:
    network = build("0-_8_1-1-1-1", 3)
    freeze(network, 1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    train_mode(network)
    complexity_of(network, 20)
    assert network.stages.training
    assert not network.stem.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def test_an_architecture_that_breaks_a_rule_is_not_built() -> None:
    broken = Architecture(parse("3-_8_1-1-1-1").block, 6, Macro(((1,), (1,), (1,), (1,))))
    with pytest.raises(InvalidArchitecture, match="operation 3 has 4 groups"):
        build(broken)
    assert format_architecture(broken) == "3-_6_1-1-1-1"
