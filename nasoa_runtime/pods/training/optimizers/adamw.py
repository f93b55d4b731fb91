"""AdamW: Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019), algorithm 2."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from nasoa_runtime.pods.training.optimizers.base import Accumulated, Group, Optimizer

SECOND_BETA = 0.999
EPSILON = 1e-8
_MEANS, _SQUARES, _STEPS = "mean/", "square/", "steps"


class AdamW(Optimizer):
    """p <- (1 - lr wd) p - lr m' / (sqrt(v') + eps), with running means m of g and v of g squared.

    m' and v' are freed of their start from zero, by 1 - beta^t after t steps.

    Args:
        groups: What is updated.
        learning_rate: Set anew before every step.
        beta: The share of m that a step keeps; that of v is 0.999.
    """

    def __init__(self, groups: Iterable[Group], learning_rate: float, beta: float = 0.9) -> None:
        super().__init__(groups, learning_rate)
        self.beta = beta
        self._means, self._squares = Accumulated(), Accumulated()
        self._steps = 0

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter; its gradient is used up. One that the loss does not reach counts as zero."""
        self._steps += 1
        unbiased = math.sqrt(1 - SECOND_BETA**self._steps)
        for number, group, gradients in self._with_gradients():
            if number not in self._means:
                self._means[number] = [torch.zeros_like(parameter) for parameter in group.params]
                self._squares[number] = [torch.zeros_like(parameter) for parameter in group.params]
            means, squares, rate = self._means[number], self._squares[number], self._rate_of(group)
            if group.weight_decay:
                torch._foreach_mul_(group.params, 1 - rate * group.weight_decay)
            torch._foreach_lerp_(means, gradients, 1 - self.beta)
            torch._foreach_mul_(squares, SECOND_BETA)
            torch._foreach_addcmul_(squares, gradients, gradients, value=1 - SECOND_BETA)
            scales = torch._foreach_sqrt(squares)  # noqa: SLF001 - as the others here, which ruff lets pass
            torch._foreach_div_(scales, unbiased)
            torch._foreach_add_(scales, EPSILON)
            torch._foreach_addcdiv_(group.params, means, scales, value=-rate / (1 - self.beta**self._steps))

    def state(self) -> dict[str, Tensor]:
        """Both running means by group and number, and the number of steps they have seen."""
        means = {_MEANS + name: tensor for name, tensor in self._means.state().items()}
        squares = {_SQUARES + name: tensor for name, tensor in self._squares.state().items()}
        return means | squares | {_STEPS: torch.tensor(self._steps)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take over what :meth:`state` gave; nothing, if it was taken before the first step."""
        for kept, prefix in ((self._means, _MEANS), (self._squares, _SQUARES)):
            found = {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}
            kept.load_state(found, self.groups)
        self._steps = int(state[_STEPS])
