"""A double of the pods' program: it says the same at the boundary, with figures that follow from the input alone.

It starts in a second and trains nothing. Objects below the owner's output URI control it, so that tests wait for what
they cause: ``starts/`` counts each start, and ``control/<step>.json`` instructs the pods of that step:

- ``index``: only the pod of this index follows the instruction;
- ``hang``: wait until ``release/<step>`` exists;
- ``message`` and ``exit``: leave this termination message, and end with this code, without a result;
- ``changes``: fields of the result that are not what they should be, ``size``: bytes of a result that can't be read.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from memory.figures import accuracy, pretrain, profile, run, zero_weights
from prometheus_client import start_http_server

from nasoa_runtime.boundary import (
    EXIT_CHECKPOINTED,
    INDEX_VARIABLE,
    INPUT_VARIABLE,
    METRICS_PORT,
    TERMINATION_MESSAGE_LIMIT_BYTES,
    TERMINATION_MESSAGE_VARIABLE,
    DatasetStatistics,
    Device,
    EvaluateInput,
    FinetuneInput,
    FinetuneResult,
    PretrainInput,
    ProbeInput,
    ProbeResult,
    ProfileInput,
    ProfileResult,
    Run,
    TerminationMessage,
    digest,
    dump_result,
    load_input,
    program_of,
)
from nasoa_runtime.documents.keys import pretrained_weights_uri, result_uri
from nasoa_runtime.pods.metrics import LOSS, PLANNED_STEPS, PROFILED_STEP_SECONDS, STEP, STEP_SECONDS
from nasoa_runtime.storage.s3 import ObjectStore, connect

POLL_SECONDS = 0.1


class Double:
    """One pod."""

    def __init__(self) -> None:
        self.document: Any = load_input(os.environ[INPUT_VARIABLE])
        self.index = int(os.environ.get(INDEX_VARIABLE, "0"))
        self.store: ObjectStore = connect(
            self.document.store.endpoint,
            self.document.store.region,
            os.environ["AWS_ACCESS_KEY_ID"],
            os.environ["AWS_SECRET_ACCESS_KEY"],
        )
        self.root, _, _, self.step = self.document.result_uri.rsplit("/", 3)
        self.uri = result_uri(self.document.result_uri, self.index)

    def run(self) -> int:
        """What the pod does; its exit code."""
        found = self.store.get(self.uri)
        if found is not None:
            self.say(found.body)
            return 0
        self.store.create(f"{self.root}/starts/{self.step}/{self.index}/{os.environ['POD_NAME']}", b"1")
        instruction = self.instruction()
        result = self.result()
        self.serve(result)
        if instruction.get("hang"):
            while self.store.head(f"{self.root}/release/{self.step}") is None:
                time.sleep(POLL_SECONDS)
        if "message" in instruction or "exit" in instruction:
            self.write(instruction.get("message", "").encode())
            return int(instruction.get("exit", 0))
        body = dump_result(result)
        if "changes" in instruction:
            body = json.dumps(json.loads(body) | instruction["changes"]).encode()
        if "size" in instruction:
            body = b"x" * instruction["size"]
        self.store.create(self.uri, body)
        self.say(body)
        return 0

    def instruction(self) -> dict[str, Any]:
        """What the test wants of this pod."""
        control = self.store.get(f"{self.root}/control/{self.step}.json")
        instruction: dict[str, Any] = json.loads(control.body) if control else {}
        return instruction if instruction.get("index", self.index) == self.index else {}

    def serve(self, result: Any) -> None:
        """The metrics of a profiling pod that has measured, or of a run that has done a quarter of its steps."""
        if isinstance(result, ProfileResult):
            for measured in result.measurements:
                PROFILED_STEP_SECONDS.labels(architecture=measured.name).set(measured.step_seconds)
        elif isinstance(result, FinetuneResult):
            STEP.set(result.steps // 4)
            PLANNED_STEPS.set(result.steps)
            STEP_SECONDS.set(result.step_seconds)
            LOSS.set(0.5)
        else:
            return
        start_http_server(METRICS_PORT, addr=os.environ["POD_IP"])

    def result(self) -> Any:
        """The result that follows from the input."""
        match self.document:
            case ProfileInput():
                return profile(self.document)
            case EvaluateInput():
                return run(self.document, self.index).result
            case PretrainInput():
                return self.pretrained(self.document.architectures[self.index])
            case ProbeInput():
                return a_probe()
            case FinetuneInput():
                return a_run(self.document)

    def pretrained(self, encoding: str) -> Any:
        """A model that nobody trained, with weights that the zoo takes."""
        stem = self.document.recipe.low_resolution_stem
        uri = pretrained_weights_uri(self.document.weights_uri, self.index)
        self.store.put(uri, zero_weights(encoding, stem))
        return pretrain(encoding, stem)

    def say(self, body: bytes) -> None:
        """Leave a termination message that names the result in S3."""
        message = TerminationMessage(
            program=program_of(self.document).name, index=self.index, result_key=self.uri, result_digest=digest(body)
        )
        try:
            # Not by the model, which would turn what is no number into null.
            whole = json.dumps(json.loads(message.to_json()) | {"result": json.loads(body)}).encode()
        except ValueError:
            whole = b""
        self.write(whole if 0 < len(whole) <= TERMINATION_MESSAGE_LIMIT_BYTES else message.to_json())

    def write(self, content: bytes) -> None:
        """Write the termination message."""
        Path(os.environ[TERMINATION_MESSAGE_VARIABLE]).write_bytes(content)


def a_probe() -> ProbeResult:
    """A probe of two classes on the processor that the double's step-time tables are for."""
    statistics = DatasetStatistics(
        digest="ab" * 32,
        classes=2,
        images=400,
        validation_images=100,
        test_images=100,
        images_per_class_mean=200,
        images_per_class_std=0,
    )
    return ProbeResult(
        device=Device(product="test"),
        statistics=statistics,
        startup_seconds=2,
        loading_seconds_per_image=0.0001,
        step_correction=1,
        seconds=1,
    )


def a_run(document: FinetuneInput) -> FinetuneResult:
    """A run of the first regime."""
    regime = document.regimes[0]
    reached = accuracy(regime.model)
    done = Run(regime=regime, steps=regime.steps, validation_accuracy=reached, step_seconds=0.01, seconds=4)
    return FinetuneResult(
        runs=(done,),
        chosen=0,
        validation_accuracy=reached,
        test_accuracy=reached,
        seconds=5,
        attempts=1,
        steps=regime.steps,
        step_seconds=0.01,
        loading_seconds=0.001,
        output_uri=document.output_uri,
        model_digest="cd" * 32,
    )


if __name__ == "__main__":
    # A pod told to stop never exits 0, and what it has written by then is its checkpoint.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(EXIT_CHECKPOINTED))
    sys.exit(Double().run())
