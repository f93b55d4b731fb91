"""A linear probe: the classifier alone is trained, on features that the frozen network computes once for each image.

The first epoch costs the network's forward passes, every later one next to nothing. So even a limit of which a training
would get a handful of steps gives a model; and as features are computed when a batch first asks for them, the steps are
those of any other run, which may be re-planned, checkpointed and resumed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from nasoa_runtime.documents.checkpoint import FinetuningState
from nasoa_runtime.pods.networks.building import head_of
from nasoa_runtime.pods.training.batches import Batch
from nasoa_runtime.pods.training.checkpoint import Checkpoint
from nasoa_runtime.pods.training.device import out_of_memory_named
from nasoa_runtime.pods.training.evaluation import Evaluation, evaluate
from nasoa_runtime.pods.training.features import Features
from nasoa_runtime.pods.training.finetuning import Finetuning
from nasoa_runtime.pods.training.loop import Trainer

_NETWORK = "network/"


class LinearProbe(Finetuning):
    """A run of a regime with ``linear_probe``. What it delivers is a whole network, as of any other run."""

    _seen: Features | None = None
    _validating: Features | None = None
    _whole = False
    """Whether checkpoints have all of the network."""

    def _trainer(self) -> Trainer:
        """Trains the classifier of :attr:`network`, which is on the device as a whole."""
        with out_of_memory_named("Loading the network"):
            self.network.to(self.target.device, memory_format=self._layout)  # type: ignore[call-overload]
        self._head = head_of(self.network)[1]
        # Of one layer there are no earlier ones to slow down; and its rows are features, which have no channels.
        hyperparameters = replace(self._hyperparameters(), layer_decay=1.0, precision="fp32", channels_last=False)
        return Trainer(nn.Sequential(self._head, nn.Flatten(1)), hyperparameters, self.target)

    @property
    def _layout(self) -> torch.memory_format:
        return torch.channels_last if self.model.channels_last else torch.contiguous_format

    def checkpoint(self) -> Checkpoint[FinetuningState]:
        """Of the classifier alone; the rest is as the zoo has it."""
        found = super().checkpoint()
        if not self._whole:
            return found
        return replace(found, tensors=found.tensors | {_NETWORK + n: t for n, t in self.network.state_dict().items()})

    def _save_first(self) -> None:
        """With the frozen stages too, though none is needed to go on: they are part of what will be uploaded."""
        self._whole = True
        try:
            super()._save_first()
        finally:
            self._whole = False

    @property
    def _validations(self) -> int:
        """One: the average is evaluated on the same features."""
        return 1

    def _training_batches(self) -> Iterator[Batch]:
        start = self.trainer.step
        self._seen = self._seen or Features(self.loader, self._extract, len(self.dataset.splits.train))

        def positions() -> Iterator[list[int]]:
            order = self.loader.order
            return (order.positions(step).tolist() for step in itertools.count(start))

        return self._seen.batches(positions)

    def _validation(self) -> Evaluation:
        indices = self.dataset.splits.validation
        self._validating = self._validating or Features(self.loader, self._extract, len(indices))
        batches = self._validating.batches(lambda: self.loader.evaluation_batches(indices))
        return evaluate(self.trainer.model, batches, len(self.dataset.classes), self.target)

    def _extract(self, images: Tensor) -> Tensor:
        """What the network hands to its classifier, shape (batch, features), for images as it evaluates them."""
        handed: list[Tensor] = []
        hook = self._head.register_forward_pre_hook(lambda _head, inputs: handed.append(inputs[0]))
        self.network.eval()
        try:
            with out_of_memory_named("A forward pass"), self.target.autocast(self.model.precision):
                self.network(images.contiguous(memory_format=self._layout))
        finally:
            hook.remove()
            self._head.train()
        return handed[0].detach().float()
