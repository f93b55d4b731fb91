"""From a probe, a zoo and a predictor to the persisted schedule, and from that to pod inputs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nasoa_operator.api.types import seconds
from nasoa_operator.finetune.observed import ObservedRequest
from nasoa_runtime.online.candidates import (
    Candidate,
    Grid,
    ModelChoice,
    NothingFits,
    Overheads,
    Request,
    Schedule,
    Statistics,
)
from nasoa_runtime.online.schedule import plan
from nasoa_runtime.online.state import PredictorState
from nasoa_runtime.records import Device, MeasuredModel, ModelReference, ProbeResult, Regime, StepTime
from nasoa_runtime.zoo import Manifest, Model

UPLOAD_BYTES_PER_SECOND = 20e6
UPLOAD_BASE_SECONDS = 1.0
ALL_FROZEN_STAGES = tuple(range(6))


def reference(model: Model) -> ModelReference:
    """A zoo model as a pod needs it."""
    return ModelReference(
        name=model.name,
        architecture=model.architecture,
        weights_uri=model.weights_uri,
        weights_digest=model.weights_digest,
        source_classes=model.class_count,
        preprocessing=model.preprocessing,
        low_resolution_stem=model.low_resolution_stem,
        channels_last=model.channels_last,
        precision=model.precision,
    )


def rows_for(model: Model, device: Device, batch_size: int) -> dict[int, StepTime]:
    """The table's rows that hold for a device, by frozen stages; without a product the device's any product."""
    return {
        row.frozen_stages: row
        for row in model.step_times
        if row.device == device.type
        and row.count == device.count
        and (device.product is None or row.product == device.product)
        and row.batch_size == batch_size
        and row.image_size == model.preprocessing.image_size
        and row.channels_last == model.channels_last
        and row.precision == model.precision
    }


def measured_models(observed: ObservedRequest, zoo: Manifest) -> tuple[MeasuredModel, ...]:
    """What the probe is to measure: for each model the rows known, and those missing."""
    device = spec_device(observed)
    models = []
    for model in zoo.models:
        known = rows_for(model, device, observed.spec.batch_size)
        models.append(
            MeasuredModel(
                model=reference(model),
                frozen_stages_known={k: row.step_seconds for k, row in known.items()},
                frozen_stages_missing=tuple(k for k in ALL_FROZEN_STAGES if k not in known),
            )
        )
    return tuple(models)


def spec_device(observed: ObservedRequest) -> Device:
    """The device of the spec, as records have it."""
    device = observed.spec.device
    return Device(type=device.type, count=device.count, product=device.product)


def model_choices(observed: ObservedRequest, zoo: Manifest, probe: ProbeResult) -> list[ModelChoice]:
    """What the generator chooses from: models with the rows that hold on the probed device."""
    choices = []
    for model in zoo.models:
        rows = rows_for(model, probe.device, observed.spec.batch_size)
        # Rows that the probe measured are true of this node as they are; the correction is meant for the table's.
        measured = {row.frozen_stages: row for row in probe.rows.get(model.name, ())}
        step_seconds = {k: row.step_seconds for k, row in rows.items()}
        step_seconds |= {k: row.step_seconds / probe.step_correction for k, row in measured.items()}
        inference = [r.inference_seconds for r in (*measured.values(), *rows.values()) if r.inference_seconds]
        per_batch = max(inference, default=max(step_seconds.values(), default=0.0))
        choices.append(
            ModelChoice(
                name=model.name,
                step_seconds=step_seconds,
                inference_seconds_per_image=per_batch / observed.spec.batch_size,
                source_accuracy=model.source_accuracy,
                parameters=model.parameters,
                macs=model.macs,
                domain_similarity=probe.statistics.domain_similarity.get(model.source),
            )
        )
    return choices


def overheads(zoo: Manifest, probe: ProbeResult) -> Overheads:
    """What a run costs beside its steps, from the probe and the largest model's size."""
    largest = max((model.weights_bytes for model in zoo.models), default=0)
    return Overheads(
        startup_seconds=probe.startup_seconds,
        upload_seconds=UPLOAD_BASE_SECONDS + largest / UPLOAD_BYTES_PER_SECOND,
        loading_seconds_per_image=probe.loading_seconds_per_image,
        step_correction=probe.step_correction,
    )


def decide(
    observed: ObservedRequest, zoo: Manifest, predictor: PredictorState, probe: ProbeResult
) -> Schedule | NothingFits:
    """The schedule that the predictor chooses now."""
    spec = observed.spec
    known = probe.statistics
    request = Request(
        time_limit_seconds=seconds(spec.time_limit),
        batch_size=spec.batch_size,
        model=spec.pins.model,
        learning_rate=spec.pins.learning_rate,
        frozen_stages=spec.pins.frozen_stages,
        steps=spec.pins.steps,
        most_parameters=spec.limits.max_parameters,
        most_inference_milliseconds=spec.limits.max_inference_milliseconds,
        infeasible=frozenset(probe.infeasible),
    )
    statistics = Statistics(
        classes=known.classes,
        images=known.images,
        validation_images=known.validation_images,
        images_per_class_mean=known.images_per_class_mean,
        images_per_class_std=known.images_per_class_std,
        test_images=known.test_images,
    )
    grid = Grid(
        learning_rates=spec.grid.learning_rates,
        frozen_stages=spec.grid.frozen_stages,
        fractions=spec.grid.step_fractions,
        most_epochs=spec.grid.max_epochs,
    )
    choices = model_choices(observed, zoo, probe)
    return plan(request, choices, statistics, overheads(zoo, probe), predictor, grid)


def schedule_document(observed: ObservedRequest, zoo: Manifest, schedule: Schedule) -> dict[str, Any]:
    """The decision as it is persisted: whole, so that nothing of it is ever looked up again."""
    regimes = [regime(c) for c in (schedule.chosen, *schedule.runners_up)]
    wanted = {r.model for r in regimes}
    models = [m for m in zoo.models if m.name in wanted]
    return {
        "formatVersion": 1,
        "regimes": [r.model_dump(mode="json") for r in regimes],
        "plannedSeconds": schedule.chosen.seconds,
        "candidates": schedule.candidates,
        "predictorVersion": schedule.predictor_version,
        "zooVersion": zoo.version,
        "models": [reference(m).model_dump(mode="json") for m in models],
        "descriptors": {
            m.name: {
                "sourceAccuracy": m.source_accuracy,
                "parameters": m.parameters,
                "macs": m.macs,
                "source": m.source,
            }
            for m in models
        },
        "decidedAt": observed.now.isoformat(),
    }


def regime(candidate: Candidate) -> Regime:
    """A candidate as the pod gets it."""
    return Regime(
        model=candidate.model,
        learning_rate=candidate.learning_rate,
        frozen_stages=candidate.frozen_stages,
        steps=candidate.iterations,
        step_seconds=candidate.step_seconds,
        predicted_accuracy=candidate.predicted_accuracy,
    )


def learning_record(
    observed: ObservedRequest, schedule: Mapping[str, Any], probe: ProbeResult, runs: list[Mapping[str, Any]]
) -> dict[str, Any]:
    """What the predictor learns from: a description and an accuracy for each run that showed one."""
    known = probe.statistics
    outcomes = []
    for run in runs:
        chosen = run["regime"]
        if run["failure"] == "OutOfMemory" or (run["failure"] is None and run["validation_accuracy"] is None):
            continue  # Out of memory says nothing about accuracy, nor does a run that was never validated.
        described = schedule["descriptors"][chosen["model"]]
        chance = 1.0 / known.classes
        outcomes.append(
            {
                "model": chosen["model"],
                "classes": known.classes,
                "images_per_class_mean": known.images_per_class_mean,
                "images_per_class_std": known.images_per_class_std,
                "iterations": max(1, run["steps"]),
                "learning_rate": chosen["learning_rate"],
                "frozen_stages": chosen["frozen_stages"],
                "domain_similarity": known.domain_similarity.get(described["source"]),
                "source_accuracy": described["sourceAccuracy"],
                "parameters": described["parameters"],
                "macs": described["macs"],
                "accuracy": chance if run["failure"] == "Diverged" else run["validation_accuracy"],
                "failure": run["failure"],
            }
        )
    return {
        "formatVersion": 1,
        "uid": observed.owner.uid,
        "request": f"{observed.owner.namespace}/{observed.owner.name}",
        "zoo": observed.spec.zoo,
        "outcomes": outcomes,
        "recordedAt": observed.now.isoformat(),
    }
