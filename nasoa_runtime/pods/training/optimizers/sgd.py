"""SGD with Nesterov momentum."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from nasoa_runtime.pods.training.optimizers.base import Accumulated, Group, Optimizer


class Sgd(Optimizer):
    """v <- m v + g, p <- p - lr (g + m v), where g is the gradient plus the decayed parameter."""

    def __init__(self, groups: Iterable[Group], learning_rate: float, momentum: float) -> None:
        super().__init__(groups, learning_rate)
        self.momentum = momentum
        self._momenta = Accumulated()

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter; its gradient is used up. One that the loss does not reach counts as zero."""
        for number, group, gradients in self._with_gradients():
            if group.weight_decay:
                torch._foreach_add_(gradients, group.params, alpha=group.weight_decay)
            if self.momentum:
                self._accumulate(number, gradients)
                torch._foreach_add_(gradients, self._momenta[number], alpha=self.momentum)
            torch._foreach_add_(group.params, gradients, alpha=-self._rate_of(group))

    def _accumulate(self, number: int, gradients: list[Tensor]) -> None:
        if number not in self._momenta:
            self._momenta[number] = [gradient.clone() for gradient in gradients]
            return
        torch._foreach_mul_(self._momenta[number], self.momentum)
        torch._foreach_add_(self._momenta[number], gradients)

    def state(self) -> dict[str, Tensor]:
        """Momenta by group and number."""
        return self._momenta.state()

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take over what :meth:`state` gave; nothing, if it was taken before the first step."""
        self._momenta.load_state(state, self.groups)
