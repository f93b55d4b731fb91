"""Checkpoints: one safetensors object each, the tensors in its body and everything else as JSON in its header.

One object is written by one PUT, so a checkpoint is there whole or not at all, and loading one runs no code.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from nasoa_runtime.pods.training.loop import Trainer
from nasoa_runtime.storage.s3 import ObjectStore

log = logging.getLogger(__name__)

VERSION = 1
_STATE = "nasoa_state"


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and a JSON document."""

    tensors: dict[str, Tensor]
    state: dict[str, Any]

    def to_bytes(self) -> bytes:
        """Encode as safetensors."""
        tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in self.tensors.items()}
        return save_safetensors(tensors, {_STATE: json.dumps(self.state | {"version": VERSION}, allow_nan=False)})

    @classmethod
    def from_bytes(cls, body: bytes) -> Checkpoint:
        """Decode.

        Raises:
            ValueError: The body is not a checkpoint of this version.
        """
        try:
            tensors = load_safetensors(body)
            length = int.from_bytes(body[:8], "little")
            state: Any = json.loads(json.loads(body[8 : 8 + length])["__metadata__"][_STATE])
        except (SafetensorError, KeyError, TypeError) as error:
            msg = f"not a checkpoint: {error}"
            raise ValueError(msg) from error
        if state.get("version") != VERSION:
            msg = f"checkpoint version {state.get('version')}, this program reads {VERSION}"
            raise ValueError(msg)
        return cls(tensors, state)


def weights_bytes(model: nn.Module) -> bytes:
    """The model's weights as safetensors."""
    return save_safetensors({name: t.detach().cpu().contiguous().clone() for name, t in model.state_dict().items()})


def capture(trainer: Trainer, state: dict[str, Any], extra: dict[str, Tensor] | None = None) -> Checkpoint:
    """What ``trainer`` needs to go on, with ``state`` and the tensors of ``extra`` beside it."""
    tensors = {f"model/{name}": tensor for name, tensor in trainer.model.state_dict().items()}
    tensors |= {f"momentum/{name}": tensor for name, tensor in trainer.optimizer.state().items()}
    progress = {
        "step": trainer.step,
        "progress": trainer.progress,
        "planned_steps": trainer.planned_steps,
        "scaler": trainer.scaler.state_dict(),
        "step_seconds": trainer.pace.step_seconds[-200:],
        "loading_seconds": trainer.pace.loading_seconds[-200:],
    }
    return Checkpoint(tensors | (extra or {}), {"trainer": progress, **state})


def restore(trainer: Trainer, checkpoint: Checkpoint) -> None:
    """Bring ``trainer``, freshly built the same way, to where ``checkpoint`` was captured.

    Raises:
        ValueError: The checkpoint is of another network.
    """
    model = {name.removeprefix("model/"): t for name, t in checkpoint.tensors.items() if name.startswith("model/")}
    try:
        trainer.model.load_state_dict(model)
    except RuntimeError as error:
        msg = f"checkpoint of another network: {str(error)[:200]}"
        raise ValueError(msg) from error
    prefix = "momentum/"
    trainer.optimizer.load_state(
        {name.removeprefix(prefix): t for name, t in checkpoint.tensors.items() if name.startswith(prefix)}
    )
    progress = checkpoint.state["trainer"]
    trainer.step, trainer.progress = int(progress["step"]), float(progress["progress"])
    trainer.planned_steps = int(progress["planned_steps"])
    if progress["scaler"]:
        trainer.scaler.load_state_dict(progress["scaler"])
    for step, loading in zip(progress["step_seconds"], progress["loading_seconds"], strict=True):
        trainer.pace.add(step, loading)
    # Another node may be slower: the pace to plan by is this one's.
    trainer.pace.recent.clear()


def write_checkpoint(store: ObjectStore, uri: str, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint at ``uri``."""
    store.put(uri, checkpoint.to_bytes())


def read_checkpoint(store: ObjectStore, uri: str) -> Checkpoint | None:
    """The checkpoint at ``uri``, ``None`` where there is none or it can't be read (then the run starts anew)."""
    found = store.get(uri)
    if found is None:
        return None
    try:
        checkpoint = Checkpoint.from_bytes(found.body)
    except ValueError as error:
        log.warning("%s can't be used, the run starts anew: %s", uri, error)
        return None
    log.info("Going on from %s.", uri)
    return checkpoint


def seeded(seed: int) -> None:
    """Seed torch's global generators, from which weights and dropout draw."""
    torch.manual_seed(seed)
