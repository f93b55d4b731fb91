"""One request planned to its end in memory: the counterpart of `simulation` for FineTuneRequest."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from builders import a_request

from nasoa_operator.finetune.observed import ObservedRequest
from nasoa_operator.finetune.plan import plan
from nasoa_operator.jobs import STEP_LABEL, Owner
from nasoa_operator.outcomes import ObservedJob, PodOutcome, observed_job
from nasoa_operator.plan import AddStepTimes, Learn, Plan
from nasoa_operator.settings import Settings
from nasoa_runtime.api.finetune import FineTuneRequestSpec
from nasoa_runtime.boundary import (
    INPUT_VARIABLE,
    DatasetStatistics,
    Device,
    FinetuneInput,
    FinetuneResult,
    Preprocessing,
    ProbeInput,
    ProbeResult,
    Run,
    StepTime,
    load_input,
)
from nasoa_runtime.online.state import PredictorState
from nasoa_runtime.storage.zoo import ZooManifest, ZooModel

UID = "0a1b2c3d-0000-4000-8000-000000000002"
START = datetime(2026, 1, 1, tzinfo=UTC)
DIGEST = "ab" * 32


def a_model(name: str, step_seconds: float = 0.05, **changes: Any) -> ZooModel:
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
            inference_seconds=step_seconds / 3,
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


@dataclass
class RequestSimulation:
    """One request and everything that is recorded of it."""

    spec: dict[str, Any] = field(default_factory=dict)
    program: Callable[[Any, int], PodOutcome] = run
    zoo: ZooManifest | None = field(default_factory=a_zoo)
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    jobs: dict[str, ObservedJob] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)
    created: list[str] = field(default_factory=list)
    learned: list[Learn] = field(default_factory=list)
    step_times: list[AddStepTimes] = field(default_factory=list)
    status: dict[str, Any] = field(default_factory=dict)
    now: datetime = START

    def observe(self) -> ObservedRequest:
        """A snapshot."""
        return ObservedRequest(
            owner=Owner("nasoa.io/v1alpha1", "FineTuneRequest", "team", "digits", UID),
            object_generation=1,
            spec=FineTuneRequestSpec.model_validate(a_request(**self.spec)["spec"]),
            status=self.status,
            documents=dict(self.documents),
            jobs=dict(self.jobs),
            zoo=self.zoo,
            predictor=PredictorState.new(models=[m.name for m in self.zoo.models]) if self.zoo else None,
            settings=Settings(),
            now=self.now,
        )

    def end(self, rounds: int = 100) -> dict[str, Any]:
        """Observe and plan until the request has ended, or nothing moves any more; its status."""
        for _ in range(rounds):
            before = (len(self.documents), len(self.created), dict(self.status))
            self.step()
            if before == (len(self.documents), len(self.created), self.status):
                return self.status
        msg = f"still moving after {rounds} rounds: {self.status.get('message')}"
        raise AssertionError(msg)

    def step(self) -> Plan:
        """One round."""
        self.now += timedelta(seconds=1)
        made = plan(self.observe())
        for document in made.documents:
            key = document.key.removeprefix(f"requests/{UID}/")
            self.documents.setdefault(key, json.loads(json.dumps(dict(document.body))))
        for action in made.actions:
            if isinstance(action, Learn):
                self.learned.append(action)
                self.documents.setdefault("learned.json", {"version": 1})
            elif isinstance(action, AddStepTimes):
                self.step_times.append(action)
        for manifest in made.jobs:
            self.create_job(manifest)
        self.jobs = {step: job for step, job in self.jobs.items() if job.name not in made.delete_jobs}
        if made.status is not None:
            self.status = dict(made.status)
        if not made.again:
            for step, job in self.jobs.items():
                if not job.finished:
                    outcome = self.program(self.inputs[step], 0)
                    self.jobs[step] = replace(job, finished=True, active=0, outcomes=(outcome,))
        return made

    def create_job(self, manifest: dict[str, Any]) -> None:
        """Create-only: a Job of the same name is the same Job."""
        step = manifest["metadata"]["labels"][STEP_LABEL]
        if step in self.jobs:
            return
        self.created.append(step)
        container = manifest["spec"]["template"]["spec"]["containers"][0]
        document = next(v["value"] for v in container["env"] if v["name"] == INPUT_VARIABLE)
        self.inputs[step] = load_input(document)
        metadata = manifest["metadata"] | {"uid": f"uid-{step}"}
        self.jobs[step] = replace(observed_job(manifest | {"metadata": metadata}), active=1)
