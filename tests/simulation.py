"""A cluster in a dictionary: plans are carried out at once, and Jobs end with figures that follow from their input.

It stands in for pods, not for the API server: what is tested with it is planning alone, which is pure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from builders import a_search

from nasoa_operator.jobs import STEP_LABEL, Owner
from nasoa_operator.outcomes import ObservedJob, PodOutcome, observed_job
from nasoa_operator.plan import Plan, Publish
from nasoa_operator.search.observed import ObservedSearch
from nasoa_operator.search.plan import plan
from nasoa_operator.settings import Settings
from nasoa_runtime.api.search import NASSearchSpec
from nasoa_runtime.boundary import (
    INPUT_VARIABLE,
    Device,
    EvaluateInput,
    EvaluateResult,
    Measurement,
    Preprocessing,
    PretrainInput,
    PretrainResult,
    ProfileInput,
    ProfileResult,
    StepTime,
    load_input,
)

UID = "0a1b2c3d-0000-4000-8000-000000000001"
START = datetime(2026, 1, 1, tzinfo=UTC)


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


Program = Callable[[Any, int], PodOutcome]


def run(pod_input: Any, index: int) -> PodOutcome:
    """What a pod would come to."""
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
            encoding = pod_input.architectures[index]
            return PodOutcome(index, result=pretrain(encoding))
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
        measurements.append(Measurement(name=candidate.name, step_seconds=seconds, rows=rows))
    return ProfileResult(
        device=Device(product="test"), measurements=tuple(measurements), anchor_step_seconds=0.02, seconds=5.0
    )


def pretrain(encoding: str) -> PretrainResult:
    """A pretrained model that nobody trained."""
    return PretrainResult(
        architecture=encoding,
        accuracy=accuracy(encoding),
        classes=("a", "b"),
        preprocessing=Preprocessing(image_size=32),
        weights_digest=hashlib.sha256(encoding.encode()).hexdigest(),
        weights_bytes=1000,
        step_seconds=step_seconds(encoding),
        steps=100,
        seconds=300.0,
    )


@dataclass
class Simulation:
    """One search and everything that is recorded of it."""

    spec: dict[str, Any] = field(default_factory=dict)
    program: Program = run
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    jobs: dict[str, ObservedJob] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)
    created: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    status: dict[str, Any] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    now: datetime = START
    zoo_owner: str | None = None
    interrupted: Callable[[int], bool] = lambda _: False
    """Whether the operator dies before carrying out part ``n`` of everything it ever does."""
    parts: int = 0

    def observe(self) -> ObservedSearch:
        """A snapshot."""
        return ObservedSearch(
            owner=Owner("nasoa.io/v1alpha1", "NASSearch", "team", "search", UID),
            object_generation=1,
            created=START,
            spec=NASSearchSpec.model_validate(a_search(**self.spec)["spec"]),
            status=self.status,
            documents=dict(self.documents),
            jobs=dict(self.jobs),
            zoo_owner=self.zoo_owner,
            extractor=None,
            settings=Settings(),
            now=self.now,
        )

    def end(self, rounds: int = 2000) -> dict[str, Any]:
        """Observe and plan until the search has ended; its status."""
        for _ in range(rounds):
            if self.status.get("phase") in {"Succeeded", "Failed"}:
                return self.status
            self.step()
        msg = f"not ended after {rounds} rounds: {self.status.get('message')}"
        raise AssertionError(msg)

    def step(self) -> Plan:
        """One round; if the operator dies in it, the next one starts with what was carried out."""
        self.now += timedelta(seconds=1)
        made = plan(self.observe())
        for part in self.parts_of(made):
            self.parts += 1
            if self.interrupted(self.parts):
                return made
            part()
        if not made.again:
            self.finish_jobs()
        return made

    def parts_of(self, made: Plan) -> list[Callable[[], None]]:
        """The plan's parts in the order in which they are carried out."""
        parts: list[Callable[[], None]] = [lambda d=d: self.create(d.key, dict(d.body)) for d in made.documents]
        parts += [lambda a=a: self.publish(a) for a in made.actions]
        parts += [lambda j=j: self.create_job(j) for j in made.jobs]
        parts += [lambda n=n: self.delete_job(n) for n in made.delete_jobs]
        parts += [lambda d=d: self.events.append(d.event.reason) for d in made.documents if d.event]
        if made.status is not None:
            parts.append(lambda: self.say(made.status))
        return parts

    def say(self, status: dict[str, Any]) -> None:
        """Write the status."""
        self.status.update(status)
        self.messages.append(status["message"])

    def create(self, key: str, body: dict[str, Any]) -> None:
        """Create-only: what is there wins."""
        self.documents.setdefault(key.removeprefix(f"searches/{UID}/"), json.loads(json.dumps(body)))

    def publish(self, action: Any) -> None:
        """Publish without a zoo."""
        assert isinstance(action, Publish)
        self.create(action.document, {"models": [m["name"] for m in action.models], "version": 1})

    def create_job(self, manifest: dict[str, Any]) -> None:
        """Create-only: a Job of the same name is the same Job."""
        step = manifest["metadata"]["labels"][STEP_LABEL]
        if step in self.jobs:
            return
        self.created.append(step)
        metadata = manifest["metadata"] | {"uid": f"uid-{step}"}
        container = manifest["spec"]["template"]["spec"]["containers"][0]
        document = next(v["value"] for v in container["env"] if v["name"] == INPUT_VARIABLE)
        self.inputs[step] = load_input(document)
        self.jobs[step] = replace(observed_job(manifest | {"metadata": metadata}), active=1)

    def delete_job(self, name: str) -> None:
        """Delete a Job by its name."""
        self.jobs = {step: job for step, job in self.jobs.items() if job.name != name}

    def finish_jobs(self) -> None:
        """Let all running Jobs come to an end."""
        for step, job in self.jobs.items():
            if not job.finished:
                outcomes = tuple(self.program(self.inputs[step], index) for index in range(job.completions))
                self.jobs[step] = replace(job, finished=True, active=0, outcomes=outcomes)

    def evaluated(self, level: str) -> list[str]:
        """Encodings evaluated at a level, in order."""
        keys = sorted(k for k in self.documents if k.startswith(f"{level}/") and k.endswith("/evaluations.json"))
        return [e["encoding"] for key in keys for e in self.documents[key]["evaluations"]]
