"""From a probe, a zoo and a predictor to the persisted schedule, and from that to what is learned. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from nasoa_operator.finetune.observed import ObservedRequest
from nasoa_operator.steps import device_of
from nasoa_runtime.architecture.structure import FROZEN_STAGES
from nasoa_runtime.boundary import MeasuredModel, ModelReference, ProbeResult, Regime, Run
from nasoa_runtime.documents.outcomes import OutcomeRecord
from nasoa_runtime.documents.request import ModelFacts, Schedule
from nasoa_runtime.documents.zoo import ZooManifest, ZooModel
from nasoa_runtime.durations import seconds
from nasoa_runtime.online.candidates import Candidate, Grid, NothingFits, Request, Suggestion
from nasoa_runtime.online.decision import model_choices, overheads, rows_for, statistics_of
from nasoa_runtime.online.generator import suggest
from nasoa_runtime.online.state import PredictorState


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
                frozen_stages_missing=tuple(k for k in FROZEN_STAGES if k not in known),
            )
        )
    return tuple(models)


def decide(
    observed: ObservedRequest, zoo: ZooManifest, predictor: PredictorState, probe: ProbeResult
) -> Suggestion | NothingFits:
    """The schedule that the predictor chooses now."""
    spec = observed.spec
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
    grid = Grid(
        learning_rates=spec.grid.learning_rates,
        frozen_stages=spec.grid.frozen_stages,
        fractions=spec.grid.step_fractions,
        most_epochs=spec.grid.max_epochs,
    )
    choices = model_choices(zoo.models, probe, spec.batch_size)
    return suggest(request, choices, statistics_of(probe), overheads(zoo.models, probe), predictor, grid)


def schedule_document(observed: ObservedRequest, zoo: ZooManifest, suggestion: Suggestion) -> Schedule:
    """The decision as it is persisted: whole, so that nothing of it is ever looked up again."""
    regimes = tuple(regime(c) for c in (suggestion.chosen, *suggestion.runners_up))
    wanted = {r.model for r in regimes}
    models = [m for m in zoo.models if m.name in wanted]
    return Schedule(
        strategy=observed.spec.strategy,
        regimes=regimes,
        planned_seconds=suggestion.chosen.seconds,
        candidates=suggestion.candidates,
        predictor_version=suggestion.predictor_version,
        zoo_version=zoo.version,
        models=tuple(reference(m) for m in models),
        facts={
            m.name: ModelFacts(source=m.source, source_accuracy=m.source_accuracy, parameters=m.parameters, macs=m.macs)
            for m in models
        },
        decided_at=observed.now,
    )


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
    observed: ObservedRequest, schedule: Schedule, probe: ProbeResult, runs: Sequence[Run]
) -> OutcomeRecord:
    """What the predictor learns from: a description and an accuracy for each run that showed one."""
    known = probe.statistics
    outcomes = []
    for run in runs:
        if run.failure == "OutOfMemory" or (run.failure is None and run.validation_accuracy is None):
            continue  # Out of memory says nothing about accuracy, nor does a run that was never validated.
        facts = schedule.facts[run.regime.model]
        outcomes.append(
            {
                "model": run.regime.model,
                "classes": known.classes,
                "images_per_class_mean": known.images_per_class_mean,
                "images_per_class_std": known.images_per_class_std,
                "iterations": max(1, run.steps),
                "learning_rate": run.regime.learning_rate,
                "frozen_stages": run.regime.frozen_stages,
                "domain_similarity": known.domain_similarity.get(facts.source),
                "source_accuracy": facts.source_accuracy,
                "parameters": facts.parameters,
                "macs": facts.macs,
                "accuracy": 1.0 / known.classes if run.failure == "Diverged" else run.validation_accuracy,
                "failure": run.failure,
            }
        )
    return OutcomeRecord(
        uid=observed.owner.uid,
        request=f"{observed.owner.namespace}/{observed.owner.name}",
        zoo=observed.spec.zoo,
        outcomes=tuple(outcomes),
        recorded_at=observed.now,
    )
