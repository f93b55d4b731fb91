"""The exponential moving average of a network's weights over a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

DECAY = 0.9998
"""Of long runs, as timm's recipes have it; shorter ones never get there."""


def decay_after(steps: int) -> float:
    """The share of the average that step number ``steps`` keeps: it grows, so that a short run forgets its start.

    After Tensorflow's ``ExponentialMovingAverage`` with ``num_updates``: roughly the last tenth of the steps counts.
    """
    return min(DECAY, (1 + steps) / (10 + steps))


class Ema:
    """Averages of all that training changes in a network: parameters, and statistics of BatchNorm.

    Statistics are averaged like the weights: those of the last weights don't fit averaged ones, and both are taken from
    the same steps. Counters are not averaged, as nothing is computed from them.

    Args:
        model: Frozen as it will be, in training mode, at the start of its run.
    """

    def __init__(self, model: nn.Module) -> None:
        self._live = dict(_changing(model))
        self._averages = [tensor.detach().clone() for tensor in self._live.values()]

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """Take the weights after ``steps`` steps into the averages."""
        live = [tensor.detach() for tensor in self._live.values()]
        torch._foreach_lerp_(self._averages, live, 1 - decay_after(steps))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within, the network has the averages; afterwards what it had before."""
        live = [tensor.detach() for tensor in self._live.values()]
        kept = [tensor.clone() for tensor in live]
        torch._foreach_copy_(live, self._averages)
        try:
            yield
        finally:
            torch._foreach_copy_(live, kept)

    def state(self) -> dict[str, Tensor]:
        """The averages by the names of what they are of."""
        return dict(zip(self._live, self._averages, strict=True))

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take over what :meth:`state` gave."""
        for name, average in self.state().items():
            average.copy_(state[name])


def _changing(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from ((name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad)
    for prefix, module in model.named_modules():
        if module.training:
            for name, buffer in module.named_buffers(prefix, recurse=False):
                if buffer.is_floating_point():
                    yield name, buffer
