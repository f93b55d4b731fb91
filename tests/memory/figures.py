"""What pods would measure: figures that follow from their input alone, so that the same input gives the same course."""

from __future__ import annotations

import hashlib
import json
import struct
from functools import lru_cache
from typing import Any

from nasoa_operator.pod_outcomes import PodOutcome
from nasoa_runtime.architecture.complexity import complexity
from nasoa_runtime.boundary import (
    Device,
    EvaluateInput,
    EvaluateResult,
    Measurement,
    Preprocessing,
    PretrainInput,
    PretrainResult,
    ProfileInput,
    ProfileResult,
    StepFactors,
    StepTime,
    digest,
)

CLASSES = ("a", "b")
"""Of the dataset that models are pretrained on."""


def figure(text: str, low: float, high: float) -> float:
    """A figure between ``low`` and ``high`` that follows from ``text``."""
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48
    return low + (high - low) * number


def step_seconds(encoding: str) -> float:
    """The step time that an encoding is said to have, from 10 to 110 ms."""
    return round(figure(f"step {encoding}", 0.010, 0.110), 6)


def accuracy(encoding: str) -> float:
    """The accuracy that an encoding is said to reach, from 0.3 to 0.9."""
    return round(figure(f"accuracy {encoding}", 0.3, 0.9), 6)


def run(pod_input: Any, index: int) -> PodOutcome:
    """What a pod of a search would come to."""
    match pod_input:
        case ProfileInput():
            return PodOutcome(index, result=profile(pod_input))
        case EvaluateInput():
            encoding = pod_input.architectures[index]
            result = EvaluateResult(
                architecture=encoding,
                accuracy=accuracy(encoding),
                step_seconds=step_seconds(encoding),
                loading_seconds=0.001,
                steps=10,
                seconds=60.0,
            )
            return PodOutcome(index, result=result)
        case PretrainInput():
            return PodOutcome(
                index, result=pretrain(pod_input.architectures[index], pod_input.recipe.low_resolution_stem)
            )
    raise AssertionError(pod_input)


def profile(pod_input: ProfileInput) -> ProfileResult:
    """Measure until enough candidates meet the limit, as the profiling pod does."""
    measurements = []
    fitting = 0
    limit = pod_input.max_step_seconds or float("inf")
    for candidate in pod_input.architectures:
        if pod_input.wanted is not None and fitting >= pod_input.wanted:
            break
        seconds = step_seconds(candidate.architecture)
        fitting += seconds <= limit
        rows = tuple(
            StepTime(
                device="cpu",
                product="test",
                count=1,
                batch_size=pod_input.batch_size,
                image_size=pod_input.image_size,
                frozen_stages=frozen,
                channels_last=True,
                precision="fp32",
                step_seconds=seconds / (1 + frozen),
                inference_seconds=seconds / 3,
            )
            for frozen in (pod_input.frozen_stages if pod_input.choose_layout else ())
        )
        rows += tuple(
            rows[0].model_copy(update={"batch_size": size, "step_seconds": seconds * size / pod_input.batch_size})
            for size in pod_input.other_batch_sizes
        )
        factors = StepFactors(device="cpu", product="test", count=1, factors={"ema": 1.2})
        measurements.append(
            Measurement(
                name=candidate.name,
                step_seconds=seconds,
                rows=rows,
                factors=factors if pod_input.with_factors else None,
            )
        )
    return ProfileResult(
        device=Device(product="test"), measurements=tuple(measurements), anchor_step_seconds=0.02, seconds=5.0
    )


def pretrain(encoding: str, low_resolution_stem: bool) -> PretrainResult:
    """A pretrained model that nobody trained: its weights are :func:`zero_weights`."""
    size, weights_digest = _weighed(encoding, low_resolution_stem)
    return PretrainResult(
        architecture=encoding,
        accuracy=accuracy(encoding),
        classes=CLASSES,
        preprocessing=Preprocessing(image_size=32),
        weights_digest=weights_digest,
        weights_bytes=size,
        step_seconds=step_seconds(encoding),
        steps=100,
        seconds=300.0,
    )


def zero_weights(encoding: str, low_resolution_stem: bool) -> bytes:
    """Weights that the zoo takes: as many numbers as the architecture has, all of them zero."""
    count = complexity(encoding, classes=len(CLASSES), low_resolution_stem=low_resolution_stem).parameters
    header = json.dumps({"w": {"dtype": "F16", "shape": [count], "data_offsets": [0, 2 * count]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(2 * count)


@lru_cache(maxsize=1000)
def _weighed(encoding: str, low_resolution_stem: bool) -> tuple[int, str]:
    body = zero_weights(encoding, low_resolution_stem)
    return len(body), digest(body)
