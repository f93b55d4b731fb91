"""From a probe, a zoo and a predictor to the persisted schedule, and from that to pod inputs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nasoa_operator.finetune.observed import ObservedRequest
from nasoa_operator.steps import device_of
from nasoa_runtime.boundary import MeasuredModel, ModelReference, ProbeResult, Regime
from nasoa_runtime.documents.zoo import ZooManifest, ZooModel
from nasoa_runtime.online.candidates import Candidate, NothingFits, Suggestion
from nasoa_runtime.online.decision import rows_for
from nasoa_runtime.online.state import PredictorState
from nasoa_runtime.planning import suggest_for

ALL_FROZEN_STAGES = tuple(range(6))


def reference(model: ZooModel) -> ModelReference:
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


def measured_models(observed: ObservedRequest, zoo: ZooManifest) -> tuple[MeasuredModel, ...]:
    """What the probe is to measure: for each model the rows known, and those missing."""
    device = device_of(observed.spec)
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


def decide(
    observed: ObservedRequest, zoo: ZooManifest, predictor: PredictorState, probe: ProbeResult
) -> Suggestion | NothingFits:
    """The schedule that the predictor chooses now."""
    return suggest_for(observed.spec, zoo, probe, predictor)


def schedule_document(observed: ObservedRequest, zoo: ZooManifest, schedule: Suggestion) -> dict[str, Any]:
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
