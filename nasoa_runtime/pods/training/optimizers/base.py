"""What all optimisers are to a trainer, a gradient scaler and a checkpoint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass
class Group:
    """Parameters that are treated alike."""

    params: list[Tensor]
    weight_decay: float
    rate_scale: float = 1.0
    """The learning rate of these is the optimiser's times this."""


class Optimizer(ABC):
    """Updates parameters by their gradients; what it accumulates can be written and read.

    The updates are those of ``torch.optim`` (tests hold them to that), whose module imports torch's compiler at the
    first step: one to two seconds on a small node, in every pod and from every request's time limit.
    """

    def __init__(self, groups: Iterable[Group], learning_rate: float) -> None:
        self.groups = [group for group in groups if group.params]
        self.learning_rate = learning_rate

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """What a gradient scaler asks an optimiser for."""
        return [{"params": group.params} for group in self.groups]

    @abstractmethod
    def step(self) -> None:
        """Update every parameter; its gradient is used up. One that the loss does not reach counts as zero."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """All that has been accumulated, by names that are the same in another optimiser of this kind and groups."""

    @abstractmethod
    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take over what :meth:`state` gave; nothing, if it was taken before the first step."""

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for group in self.groups:
            for parameter in group.params:
                parameter.grad = None

    def _with_gradients(self) -> Iterator[tuple[int, Group, list[Tensor]]]:
        """Each group with its number and gradients."""
        for number, group in enumerate(self.groups):
            yield number, group, [torch.zeros_like(p) if p.grad is None else p.grad for p in group.params]

    def _rate_of(self, group: Group) -> float:
        return self.learning_rate * group.rate_scale


class Accumulated:
    """One tensor for each parameter in its memory layout, such as its momentum, from the first step on."""

    def __init__(self) -> None:
        self._by_group: dict[int, list[Tensor]] = {}

    def __contains__(self, number: int) -> bool:
        return number in self._by_group

    def __getitem__(self, number: int) -> list[Tensor]:
        return self._by_group[number]

    def __setitem__(self, number: int, tensors: list[Tensor]) -> None:
        self._by_group[number] = tensors

    def state(self) -> dict[str, Tensor]:
        """The tensors by group and number."""
        return {
            f"{number}/{place}": tensor
            for number, tensors in self._by_group.items()
            for place, tensor in enumerate(tensors)
        }

    def load_state(self, state: dict[str, Tensor], groups: list[Group]) -> None:
        """Take over the tensors that are there."""
        for number, group in enumerate(groups):
            if f"{number}/0" in state:
                self._by_group[number] = [
                    torch.empty_like(parameter).copy_(state[f"{number}/{place}"])
                    for place, parameter in enumerate(group.params)
                ]
