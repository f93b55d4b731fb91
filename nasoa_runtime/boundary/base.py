"""What all documents are built on: their form and digest, the bounds of figures, names and codes of the boundary."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nasoa_runtime.architecture.structure import HEAD_ONLY

INPUT_VARIABLE = "NASOA_INPUT"
"""Environment variable that holds the pod's input document."""
TERMINATION_MESSAGE_VARIABLE = "TERMINATION_MESSAGE_PATH"
"""Environment variable that may name the termination message file; ``/dev/termination-log`` without it."""
INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
"""Environment variable in which an Indexed Job tells a pod its index."""
METRICS_PORT = 9464
"""Port on which every pod serves its Prometheus metrics."""
TERMINATION_MESSAGE_LIMIT_BYTES = 4096
"""The kubelet keeps the last 4,096 bytes of a termination message."""

EXIT_BAD_INPUT = 64
"""The input can't be used (spec, dataset, zoo): trying again would fail again."""
EXIT_DIVERGED = 65
"""Training gave NaN or infinity: trying again would diverge again."""
EXIT_RETRY = 69
"""Something around the pod failed (S3, node): another attempt may succeed, and counts as one."""
EXIT_CHECKPOINTED = 75
"""Stopped by SIGTERM after writing a checkpoint: another attempt goes on from it, and does not count."""

Accuracy = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
SecondsOrZero = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
FrozenStages = Annotated[int, Field(ge=0, le=HEAD_ONLY)]
"""0 trains all; 1 freezes the stem, k the stem and stages up to k - 1; the highest trains the head only."""
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
"""SHA-256 in hexadecimal digits."""
Precision = Literal["fp32", "bf16", "fp16"]
DeviceType = Literal["cpu", "cuda"]


class Record(BaseModel):
    """Base of all documents: frozen, and closed to keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


def canonical_json(document: Any) -> bytes:
    """Encode ``document`` with sorted keys and no spaces, so that equal documents have equal digests.

    Raises:
        ValueError: there is NaN or an infinity in it.
    """
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def digest(content: bytes) -> str:
    """SHA-256 of ``content`` as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def problems_of(error: ValidationError, root: str = "") -> tuple[str, ...]:
    """What is wrong with a document, each problem in one line of at most 300 characters, the field's path first.

    Args:
        error: of a model of the document.
        root: what the paths begin with.
    """
    found = []
    for problem in error.errors(include_url=False, include_input=False):
        path = ".".join(str(part) for part in ((root,) if root else ()) + problem["loc"])
        found.append(f"{path}: {problem['msg']}"[:300] if path else str(problem["msg"])[:300])
    return tuple(found)
