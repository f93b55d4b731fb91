"""From a probe, a zoo and a predictor to the persisted schedule, and from that to what is learned. Pure."""

from __future__ import annotations

from nasoa_operator.finetune.observed import ObservedRequest
from nasoa_operator.steps import device_of
from nasoa_runtime.architecture.structure import FROZEN_STAGES
from nasoa_runtime.boundary import MeasuredModel, ModelReference, ProbeResult, Regime
from nasoa_runtime.documents.outcomes import OutcomeRecord
from nasoa_runtime.documents.request import Result, Schedule
from nasoa_runtime.documents.zoo import ZooManifest, ZooModel
from nasoa_runtime.online.candidates import Candidate, NothingFits, Suggestion
from nasoa_runtime.online.decision import model_facts, rows_for
from nasoa_runtime.online.learning import LearnedRequest, outcome_record
from nasoa_runtime.online.state import PredictorState
from nasoa_runtime.online.strategies import strategy_named
from nasoa_runtime.planning import suggest_for


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
    return suggest_for(observed.spec, zoo, probe, predictor)


def schedule_document(
    observed: ObservedRequest, zoo: ZooManifest, probe: ProbeResult, suggestion: Suggestion
) -> Schedule:
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
        facts=tuple(model_facts(m, probe.statistics) for m in models),
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
        predicted_curve=candidate.predicted_curve,
    )


def learning_record(observed: ObservedRequest, schedule: Schedule, probe: ProbeResult, result: Result) -> OutcomeRecord:
    """What the predictor learns from: a description and an accuracy for each run that showed one."""
    owner = observed.owner
    return outcome_record(
        LearnedRequest(
            owner.uid, f"{owner.namespace}/{owner.name}", observed.spec.zoo, observed.now, observed.spec.batch_size
        ),
        schedule.facts,
        probe.statistics,
        result.runs,
        None if result.result is None else result.result.chosen,
        strategy_named(schedule.strategy),
    )
