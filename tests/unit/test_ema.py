"""The average of a network's weights over a run."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nasoa_runtime.pods.networks.freezing import train_mode
from nasoa_runtime.pods.training.ema import Ema, decay_after


def a_network() -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2))
    network[0].requires_grad_(False)
    network[1].requires_grad_(False)
    train_mode(network)
    return network


@pytest.mark.parametrize(
    ("steps", "decay"),
    [
        pytest.param(1, 2 / 11, id="the first step counts nine elevenths"),
        pytest.param(90, 0.91, id="after 90 steps a tenth is new"),
        pytest.param(1_000_000, 0.9998, id="long runs"),
    ],
)
def test_the_decay_grows_with_the_steps(steps: int, decay: float) -> None:
    assert decay_after(steps) == pytest.approx(decay)


@given(values=st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=60))
def test_an_average_lies_between_the_least_and_the_greatest_value(values: list[float]) -> None:
    network = nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(values[0])
    ema = Ema(network)
    for step, value in enumerate(values, 1):
        network.weight.data.fill_(value)
        ema.update(step)
    assert min(values) - 1e-5 <= float(ema.state()["weight"]) <= max(values) + 1e-5


def test_weights_and_statistics_are_averaged_and_what_is_frozen_is_left_alone() -> None:
    network = a_network()
    ema = Ema(network)
    assert set(ema.state()) == {"2.weight", "2.bias", "3.weight", "3.bias", "3.running_mean", "3.running_var"}
    network[3].running_mean.fill_(11.0)
    network[2].weight.data.add_(11.0)
    start = ema.state()["2.weight"].clone()
    ema.update(1)
    # The first step's decay is 2/11, so of a change of 11 there is 9 in the average.
    assert ema.state()["3.running_mean"].tolist() == pytest.approx([9.0, 9.0])
    assert torch.allclose(ema.state()["2.weight"] - start, torch.tensor(9.0), atol=1e-5)


def test_the_network_has_the_average_while_it_is_applied_and_no_longer() -> None:
    network = a_network()
    ema = Ema(network)
    network[2].weight.data.add_(11.0)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    ema.update(1)
    with ema.applied():
        assert torch.equal(network[2].weight, ema.state()["2.weight"])
        assert not torch.equal(network[2].weight, before["2.weight"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_averaged_statistics_fit_averaged_weights_better_than_the_last_ones() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    ema = Ema(network)
    inputs = torch.randn(256, 4) + 1.0
    for step in range(1, 401):
        with torch.no_grad():
            network[0].weight.add_(0.01)
            network(inputs)
        ema.update(step)
    last = network[1].running_mean.clone()
    with ema.applied(), torch.no_grad():
        own = network[0](inputs).mean(dim=0)
        averaged = network[1].running_mean.clone()
    # The average is some 40 steps behind, as about 9/410 of it are new with each step; statistics are 9 behind theirs.
    assert (averaged - own).abs().mean() < 0.5 * (last - own).abs().mean()


def test_averages_can_be_taken_over_by_another() -> None:
    one, other = Ema(a_network()), Ema(a_network())
    for tensor in one.state().values():
        tensor.add_(1.0)
    other.load_state({name: tensor.clone() for name, tensor in one.state().items()})
    assert all(torch.equal(tensor, other.state()[name]) for name, tensor in one.state().items())
