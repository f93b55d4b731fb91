"""Checkpoints: one safetensors object each, the tensors in its body and everything else as a document in its header.

One object is written by one PUT, so a checkpoint is there whole or not at all, and loading one runs no code.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from nasoa_runtime.documents.base import UnreadableDocumentError, dump, load
from nasoa_runtime.documents.checkpoint import CheckpointState, ScalerState, TrainerState
from nasoa_runtime.pods.networks.weights import stored
from nasoa_runtime.pods.training.loop import Trainer
from nasoa_runtime.storage.s3 import ObjectStore

log = logging.getLogger(__name__)

S = TypeVar("S", bound=CheckpointState)

KEPT_WINDOWS = 200
"""Of the times seen, from which medians are computed."""
_STATE = "nasoa_state"
# Momenta were once all that an optimiser had.
_MODEL, _OPTIMIZER, _EMA = "model/", "momentum/", "ema/"


@dataclass(frozen=True)
class Checkpoint(Generic[S]):
    """Tensors by name, and what they are."""

    tensors: dict[str, Tensor]
    state: S

    def to_bytes(self) -> bytes:
        """Encode as safetensors."""
        return save_safetensors(stored(self.tensors), {_STATE: dump(self.state).decode()})

    @classmethod
    def from_bytes(cls, kind: type[S], body: bytes, uri: str) -> Checkpoint[S]:
        """Decode.

        Args:
            kind: The state that the checkpoint must have.
            body: The object.
            uri: Its address, for the error.

        Raises:
            UnreadableDocumentError: It is not a checkpoint of this kind and version.
        """
        try:
            tensors = load_safetensors(body)
            length = int.from_bytes(body[:8], "little")
            header: Any = json.loads(body[8 : 8 + length])["__metadata__"][_STATE]
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise UnreadableDocumentError(uri, f"it is not a checkpoint: {error}") from error
        return cls(tensors, load(kind, str(header).encode(), uri))

    def below(self, prefix: str) -> dict[str, Tensor]:
        """Tensors whose names begin with ``prefix``, by the rest of their names."""
        return {name.removeprefix(prefix): t for name, t in self.tensors.items() if name.startswith(prefix)}


def tensors_of(trainer: Trainer) -> dict[str, Tensor]:
    """The tensors that ``trainer`` needs to go on."""
    tensors = {_MODEL + name: tensor for name, tensor in trainer.model.state_dict().items()}
    tensors |= {_OPTIMIZER + name: tensor for name, tensor in trainer.optimizer.state().items()}
    averages = {} if trainer.ema is None else trainer.ema.state()
    return tensors | {_EMA + name: tensor for name, tensor in averages.items()}


def state_of(trainer: Trainer) -> TrainerState:
    """What else ``trainer`` needs to go on."""
    return TrainerState(
        step=trainer.step,
        progress=trainer.progress,
        planned_steps=trainer.planned_steps,
        scaler=_scaler_state(trainer.scaler),
        windows=tuple(zip(trainer.pace.step_seconds, trainer.pace.loading_seconds, strict=True))[-KEPT_WINDOWS:],
    )


def restore(trainer: Trainer, checkpoint: Checkpoint[S]) -> None:
    """Bring ``trainer``, freshly built the same way, to where ``checkpoint`` was written.

    Raises:
        ValueError: The checkpoint is of another network.
    """
    try:
        trainer.model.load_state_dict(checkpoint.below(_MODEL))
    except RuntimeError as error:
        msg = f"checkpoint of another network: {str(error)[:200]}"
        raise ValueError(msg) from error
    trainer.optimizer.load_state(checkpoint.below(_OPTIMIZER))
    if trainer.ema is not None:
        trainer.ema.load_state(checkpoint.below(_EMA))
    state = checkpoint.state.trainer
    trainer.step, trainer.progress, trainer.planned_steps = state.step, state.progress, state.planned_steps
    if state.scaler is not None:
        trainer.scaler.load_state_dict(_scaler_fields(state.scaler))
    for step_seconds, loading_seconds in state.windows:
        trainer.pace.add(step_seconds, loading_seconds)
    # Another node may be slower: the pace to plan by is this one's.
    trainer.pace.recent.clear()


def read_checkpoint(kind: type[S], store: ObjectStore, uri: str) -> Checkpoint[S] | None:
    """The checkpoint at ``uri``, ``None`` where there is none or it can't be read (then the run starts anew)."""
    found = store.get(uri)
    if found is None:
        return None
    try:
        checkpoint = Checkpoint.from_bytes(kind, found.body, uri)
    except UnreadableDocumentError as error:
        log.warning("%s can't be used, the run starts anew: %s.", uri, error.reason)
        return None
    log.info("Going on from %s.", uri)
    return checkpoint


def seeded(seed: int) -> None:
    """Seed torch's global generators, from which weights and dropout draw."""
    torch.manual_seed(seed)


_TRACKER = "growth_tracker"
"""The one field of a scaler's state that torch writes with an underscore in front."""


def _scaler_state(scaler: torch.amp.GradScaler) -> ScalerState | None:
    fields = scaler.state_dict()
    return ScalerState(**{name.removeprefix("_"): value for name, value in fields.items()}) if fields else None


def _scaler_fields(state: ScalerState) -> dict[str, Any]:
    return {f"_{name}" if name == _TRACKER else name: value for name, value in state.model_dump().items()}
