"""SGD with Nesterov momentum, over all tensors of a group at once.

The update is that of ``torch.optim.SGD`` (a test holds it to that), whose module imports torch's compiler at the first
step: one to two seconds on a small node, in every pod and from every request's time limit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class Group:
    """Parameters that are decayed alike."""

    params: list[Tensor]
    weight_decay: float
    momenta: list[Tensor] = field(default_factory=list)
    """One for each parameter in its memory layout, from the first step on."""


class Sgd:
    """v <- m v + g, p <- p - lr (g + m v), where g is the gradient plus the decayed parameter."""

    def __init__(self, groups: Iterable[Group], learning_rate: float, momentum: float) -> None:
        self.groups = [group for group in groups if group.params]
        self.learning_rate, self.momentum = learning_rate, momentum

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """What a gradient scaler asks an optimiser for."""
        return [{"params": group.params} for group in self.groups]

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter; its gradient is used up. One that the loss does not reach counts as zero."""
        for group in self.groups:
            gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in group.params]
            if group.weight_decay:
                torch._foreach_add_(gradients, group.params, alpha=group.weight_decay)
            if self.momentum:
                self._accumulate(group, gradients)
                torch._foreach_add_(gradients, group.momenta, alpha=self.momentum)
            torch._foreach_add_(group.params, gradients, alpha=-self.learning_rate)

    def _accumulate(self, group: Group, gradients: list[Tensor]) -> None:
        if not group.momenta:
            group.momenta = [gradient.clone() for gradient in gradients]
            return
        torch._foreach_mul_(group.momenta, self.momentum)
        torch._foreach_add_(group.momenta, gradients)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for group in self.groups:
            for parameter in group.params:
                parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """Momenta by group and number."""
        return {
            f"{number}/{place}": momentum
            for number, group in enumerate(self.groups)
            for place, momentum in enumerate(group.momenta)
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take over what :meth:`state` gave; nothing, if it was taken before the first step."""
        for number, group in enumerate(self.groups):
            if f"{number}/0" in state:
                group.momenta = [
                    torch.empty_like(parameter).copy_(state[f"{number}/{place}"])
                    for place, parameter in enumerate(group.params)
                ]
