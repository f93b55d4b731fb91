"""The networks of a race: one on the device, the states of the others in host memory."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from nasoa_runtime.boundary import Run
from nasoa_runtime.documents.checkpoint import FinetuningState
from nasoa_runtime.pods.networks.weights import stored
from nasoa_runtime.pods.racing.keeping import Kept
from nasoa_runtime.pods.training.budget import Costs, Upload
from nasoa_runtime.pods.training.checkpoint import Checkpoint
from nasoa_runtime.pods.training.finetuning import Finetuning
from nasoa_runtime.pods.training.request import Request


class UnusableStateError(Exception):
    """A run can't go on from what is kept of it."""


@dataclass(frozen=True)
class Parked:
    """A run that waits."""

    checkpoint: Checkpoint[FinetuningState]
    costs: Costs | None = None
    """As measured on this node."""
    saved: bool = False
    """Whether this state is in S3."""


@dataclass
class Bench:
    """Holds every run that may go on or be delivered, under the number of its regime."""

    request: Request
    kept: Kept
    number: int | None = None
    """Of the run on the device."""
    active: Finetuning | None = None
    parked: dict[int, Parked] = field(default_factory=dict)
    upload: Upload | None = None
    """What writing a checkpoint took, once one was written."""
    building_seconds: float = 0.0
    """The longest that getting a run ready took."""
    costs: Costs = field(default_factory=lambda: Costs(0.0, 0.0, 0.0))
    """The highest of all runs."""

    def take(self, number: int, earlier: Sequence[Run], *, checkpoint_uri: str | None = None) -> Finetuning:
        """The run of this regime, on the device and measured; whichever was there before is parked.

        Args:
            number: Of its regime.
            earlier: Runs that are out, for its checkpoints to tell.
            checkpoint_uri: Where its checkpoints go, if not where races keep them.

        Raises:
            OutOfMemoryError: It does not fit.
            UnusableStateError: Its parked state is of another network.
        """
        if self.active is not None and self.number == number:
            self.active.earlier = tuple(earlier)
            return self.active
        self.park()
        clock = self.request.clock
        self.request.read_for(self.request.document.regimes[number])
        started = clock.used_seconds()
        regime, uri = self.request.document.regimes[number], checkpoint_uri or self.kept.checkpoint_uri(number)
        active = self.request.finetuning(regime, tuple(earlier), uri)
        waiting = self.parked.get(number)
        if waiting is not None:
            try:
                active.restore(waiting.checkpoint)
            except (ValueError, KeyError, RuntimeError) as error:
                raise UnusableStateError(str(error)) from error
            if waiting.costs is not None:
                active.take_over(waiting.costs)
        uploading = 0.0
        active.measure_costs(self.upload)
        if self.upload is None:
            uploading = self.request.target.agree(active.saver.cost_seconds)
            self.upload = Upload(uploading, active.network_bytes)
        self.active, self.number = active, number
        self.parked.pop(number, None)
        self._reckon(active.costs, clock.used_seconds() - started - uploading)
        return active

    def _reckon(self, costs: Costs, building_seconds: float) -> None:
        agree = self.request.target.agree
        self.building_seconds = agree(max(self.building_seconds, building_seconds))
        self.costs = Costs(
            max(self.costs.validation_seconds, costs.validation_seconds),
            max(self.costs.test_seconds, costs.test_seconds),
            max(self.costs.upload_seconds, costs.upload_seconds),
        )

    def keep_in_race(self) -> None:
        """Have the run on the device write its checkpoints where races keep them."""
        if self.active is not None and self.number is not None:
            self.active.saver.uri = self.kept.checkpoint_uri(self.number)
            self.active.saver.saved_step = None

    def handed_over(self) -> Finetuning | None:
        """The run on the device, if there is one, which is not held here from now on."""
        active, self.active, self.number = self.active, None, None
        return active

    def park(self) -> None:
        """Take the run on the device, if there is one, into host memory."""
        if self.active is None or self.number is None:
            return
        active = self.active
        found = active.checkpoint()
        copied = replace(found, tensors=stored(found.tensors))
        self.parked[self.number] = Parked(copied, active.costs, active.saver.saved_step == active.trainer.step)
        del active, found
        self.leave()

    def leave(self) -> None:
        """Free the device; what was on it is lost."""
        self.number, self.active = None, None
        gc.collect()
        if self.request.target.is_cuda:
            torch.cuda.empty_cache()

    def drop(self, number: int) -> None:
        """Forget a run."""
        self.parked.pop(number, None)
        if number == self.number:
            self.leave()

    def saved(self, number: int) -> bool:
        """Whether S3 has the run as it is now."""
        if self.active is not None and self.number == number:
            return self.active.saver.saved_step == self.active.trainer.step
        return self.parked[number].saved

    def save(self, number: int, earlier: Sequence[Run]) -> None:
        """Write the run's checkpoint, by the first worker.

        Raises:
            StoreUnavailable: The store did not answer.
        """
        if self.active is not None and self.number == number:
            self.active.earlier = tuple(earlier)
            self.active.saver.save()
            return
        waiting = self.parked[number]
        state = waiting.checkpoint.state.model_copy(update={"runs": tuple(earlier)})
        if self.request.target.rank == 0:
            body = replace(waiting.checkpoint, state=state).to_bytes()
            self.request.pod.store.put(self.kept.checkpoint_uri(number), body)
        self.parked[number] = replace(waiting, saved=True)
