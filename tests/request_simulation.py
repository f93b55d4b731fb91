"""One request from its creation to its end in memory: the counterpart of `simulation` for FineTuneRequest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from builders import a_request
from memory.lines import Line
from memory.pods import Program
from memory.simulated import Simulated
from memory.world import World

from nasoa_operator.pod_outcomes import PodOutcome
from nasoa_runtime.boundary import (
    DatasetStatistics,
    Device,
    FinetuneInput,
    FinetuneResult,
    Preprocessing,
    ProbeInput,
    ProbeResult,
    Run,
    StepTime,
)
from nasoa_runtime.documents.base import dump, load
from nasoa_runtime.documents.keys import PredictorKeys, RequestKeys
from nasoa_runtime.documents.outcomes import Outcome, OutcomeRecord
from nasoa_runtime.documents.request import RequestRecords
from nasoa_runtime.storage.predictors import read_state
from nasoa_runtime.storage.zoo import ZooManifest, ZooModel, manifest_uri, read_manifest

UID = "0a1b2c3d-0000-4000-8000-000000000002"
DIGEST = "ab" * 32


def a_model(name: str, step_seconds: float = 0.05, inference: float | None = None, **changes: Any) -> ZooModel:
    """A zoo model with a whole step-time table for one CPU core."""
    rows = tuple(
        StepTime(
            device="cpu",
            product="test",
            count=1,
            batch_size=32,
            image_size=32,
            frozen_stages=frozen,
            channels_last=False,
            precision="fp32",
            step_seconds=step_seconds / (1 + frozen),
            inference_seconds=inference or step_seconds / 3,
        )
        for frozen in range(6)
    )
    fields = {
        "name": name,
        "architecture": "0-_16_1-2-2-2",
        "weights_uri": f"s3://nasoa-system/zoo/fashion/models/{name}/abababababab.safetensors",
        "weights_digest": DIGEST,
        "weights_bytes": 1_000_000,
        "classes": ("a", "b"),
        "source": "fashion",
        "preprocessing": Preprocessing(image_size=32),
        "source_accuracy": 0.9,
        "parameters": 250_000,
        "macs": 40_000_000,
        "step_times": rows,
    }
    return ZooModel.model_validate(fields | changes)


def a_zoo(*models: ZooModel) -> ZooManifest:
    """A zoo of ``models``, of two where none are given."""
    return ZooManifest(
        name="fashion", owner="search", version=3, models=models or (a_model("fashion-1"), a_model("fashion-2", 0.1))
    )


DEFAULT_ZOO = a_zoo()


def a_probe(**changes: Any) -> ProbeResult:
    """A probe of a dataset of ten classes."""
    statistics = DatasetStatistics(
        digest=DIGEST,
        classes=10,
        images=1000,
        validation_images=250,
        test_images=300,
        images_per_class_mean=100,
        images_per_class_std=4,
    )
    fields = {
        "device": Device(product="test"),
        "statistics": statistics,
        "startup_seconds": 9.0,
        "loading_seconds_per_image": 0.0001,
        "step_correction": 1.0,
        "seconds": 3.0,
    }
    return ProbeResult.model_validate(fields | changes)


def a_result(pod_input: FinetuneInput, **changes: Any) -> FinetuneResult:
    """A run of the first regime that reached 80 %."""
    regime = pod_input.regimes[0]
    run = Run(regime=regime, steps=regime.steps, validation_accuracy=0.8, step_seconds=0.05, seconds=40.0)
    fields = {
        "runs": (run,),
        "chosen": 0,
        "validation_accuracy": 0.8,
        "test_accuracy": 0.79,
        "seconds": min(45.0, pod_input.time_limit_seconds),
        "attempts": 1,
        "steps": regime.steps,
        "step_seconds": 0.05,
        "loading_seconds": 0.001,
        "output_uri": pod_input.output_uri,
        "model_digest": DIGEST,
    }
    return FinetuneResult.model_validate(fields | changes)


def run(pod_input: Any, index: int) -> PodOutcome:
    """What a pod would come to."""
    result = a_probe() if isinstance(pod_input, ProbeInput) else a_result(pod_input)
    return PodOutcome(index, result=result)


@dataclass(frozen=True)
class Taught:
    """A run that the predictor has learned from."""

    model: str
    classes: int
    iterations: int
    accuracy: float


def taught(outcome: Outcome) -> Taught:
    """The parts of an outcome that tests look at."""
    values = outcome.description.values
    classes, iterations = values["classes"], values["iterations"]
    assert classes is not None
    assert iterations is not None
    return Taught(outcome.description.model, int(classes), int(iterations), outcome.accuracy)


class RequestSimulation(Simulated):
    """One request and everything that is recorded of it."""

    KIND = "FineTuneRequest"

    def __init__(
        self,
        spec: Mapping[str, Any] | None = None,
        program: Program = run,
        zoo: ZooManifest | None = DEFAULT_ZOO,
        line: Line | None = None,
        world: World | None = None,
        name: str = "digits",
        uid: str = UID,
    ) -> None:
        world = world or World(program)
        super().__init__(a_request, name, uid, spec or {}, world, line or Line())
        if self.zoo is None:
            self.zoo = zoo

    @property
    def prefix(self) -> str:
        return RequestKeys(self.uid).prefix

    @property
    def records(self) -> RequestRecords:
        """What is recorded of it."""
        return self.world.documents.request_records(self.uid)

    @property
    def zoo(self) -> ZooManifest | None:
        """The zoo as it is now; setting it is what an administrator does."""
        return read_manifest(self.world.store, self.world.bucket, "fashion")

    @zoo.setter
    def zoo(self, zoo: ZooManifest | None) -> None:
        if zoo is not None:
            self.world.store.put(manifest_uri(self.world.bucket, "fashion"), dump(zoo))

    @property
    def learned(self) -> list[tuple[str, tuple[Taught, ...]]]:
        """UID and runs of each request that the zoo's predictor has learned from, in order."""
        store, bucket = self.world.store, self.world.bucket
        found = []
        for uid in read_state(store, bucket, "fashion").applied_uids:
            recorded = store.get(f"s3://{bucket}/{PredictorKeys('fashion').outcome(uid)}")
            assert recorded is not None
            record = load(OutcomeRecord, recorded.body, uid)
            found.append((uid, tuple(taught(outcome) for outcome in record.runs)))
        return found
