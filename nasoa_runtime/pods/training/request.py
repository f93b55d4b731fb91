"""A request as its pod runs it: what every strategy has to work with, and what it must give back."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from nasoa_runtime.boundary import FinetuneInput, Regime, Run
from nasoa_runtime.documents.checkpoint import FinetuningState
from nasoa_runtime.documents.keys import finetuning_checkpoint_uri
from nasoa_runtime.pods.clock import Clock
from nasoa_runtime.pods.dataset.images import Interpolation, load_size
from nasoa_runtime.pods.dataset.reading import RESIDENT_BYTES, Dataset, read_dataset
from nasoa_runtime.pods.pod import Pod
from nasoa_runtime.pods.retrying import retrying
from nasoa_runtime.pods.training.checkpoint import Checkpoint, read_checkpoint
from nasoa_runtime.pods.training.device import Target
from nasoa_runtime.pods.training.finetuning import Finetuning
from nasoa_runtime.pods.training.linear_probe import LinearProbe

log = logging.getLogger(__name__)


DATASETS = 3
"""Sizes of the images that are kept at a time, where models want different ones."""
Size = tuple[int, Interpolation]


@dataclass
class Request:
    """What is asked for, where it is run, and the time there is."""

    document: FinetuneInput
    pod: Pod
    clock: Clock
    target: Target
    dataset: Dataset
    _others: dict[Size, Dataset] = field(default_factory=dict)
    """As read for other models, the last one that was asked for at the end."""

    @property
    def checkpoint_uri(self) -> str:
        """The checkpoint of a request that runs one regime at a time."""
        return finetuning_checkpoint_uri(self.document.work_uri)

    def checkpoint(self) -> Checkpoint[FinetuningState] | None:
        """Where an earlier attempt has left off, if it has left a checkpoint of one of the regimes."""
        uri = self.checkpoint_uri
        found = retrying(lambda: read_checkpoint(FinetuningState, self.pod.store, uri))
        if found is not None and found.state.regime not in self.document.regimes:
            log.warning("%s is of a regime that was not asked for; the request starts anew.", uri)
            return None
        return found

    def finetuning(self, regime: Regime, earlier: tuple[Run, ...], checkpoint_uri: str | None = None) -> Finetuning:
        """A run of ``regime``, ready to start, after those in ``earlier``."""
        dataset = self._dataset_for(regime)
        kind = LinearProbe if regime.linear_probe else Finetuning
        return kind(self.document, regime, dataset, self.pod, self.clock, self.target, earlier, checkpoint_uri)

    def reading_seconds(self, regime: Regime) -> float:
        """What reading the images again would take, if this regime's model wants them of another size."""
        return 0.0 if self._found(self._size_of(regime)) else self.dataset.seconds

    def read_for(self, regime: Regime) -> None:
        """Have the images at hand as this regime's model wants them."""
        self._dataset_for(regime)

    @property
    def _resident_bytes(self) -> int:
        """Of images that were read besides the first ones."""
        return sum(0 if other.pixels is None else other.pixels.nbytes for other in self._others.values())

    def _size_of(self, regime: Regime) -> Size:
        preprocessing = self.document.model_of(regime).preprocessing
        return load_size(preprocessing.image_size), preprocessing.interpolation

    def _found(self, size: Size) -> Dataset | None:
        return self.dataset if (self.dataset.side, self.dataset.interpolation) == size else self._others.get(size)

    def _dataset_for(self, regime: Regime) -> Dataset:
        """The dataset at the size this regime's model wants; others may want another than the first."""
        size = self._size_of(regime)
        found = self._found(size)
        if found is None:
            preprocessing = self.document.model_of(regime).preprocessing
            found = read_dataset(
                self.document.dataset,
                preprocessing.image_size,
                lambda: self.pod.store,
                self.pod.work_directory,
                interpolation=preprocessing.interpolation,
            )
        if found is not self.dataset:
            self._others.pop(size, None)
            self._others[size] = found
            while len(self._others) > 1 and (len(self._others) >= DATASETS or self._resident_bytes > RESIDENT_BYTES):
                del self._others[next(iter(self._others))]
        return found


@dataclass(frozen=True)
class Trained:
    """What a strategy has made of a request."""

    runs: tuple[Run, ...]
    """All of them, as each teaches the predictor."""
    deliverable: Mapping[int, Finetuning]
    """Those with weights that have been validated, by their index in ``runs``; there is one at least."""
    strategy: str = ""
    """What was done, which need not be what was asked for."""

    @property
    def chosen(self) -> int:
        """Index of the run with the best validation accuracy."""
        return max(self.deliverable, key=lambda index: self.runs[index].validation_accuracy or 0.0)
