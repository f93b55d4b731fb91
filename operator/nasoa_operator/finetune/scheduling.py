"""From a probe, a zoo and a predictor to the persisted schedule, and from that to what is learned. Pure."""

from __future__ import annotations

from nasoa_operator.finetune.observed import ObservedRequest
from nasoa_operator.steps import device_of
from nasoa_runtime.architecture.structure import FROZEN_STAGES
from nasoa_runtime.boundary import MeasuredModel, ModelReference, ProbeResult
from nasoa_runtime.documents.outcomes import OutcomeRecord
from nasoa_runtime.documents.request import Result, Schedule
from nasoa_runtime.documents.zoo import ZooManifest, ZooModel
from nasoa_runtime.online.candidates import NothingFits, Suggestion
from nasoa_runtime.online.decision import factors_on, model_facts, other_batches, rows_for, rows_on
from nasoa_runtime.online.learning import LearnedRequest, outcome_record
from nasoa_runtime.online.state import PredictorState
from nasoa_runtime.online.strategies import strategy_named
from nasoa_runtime.planning import measured_batch_size, pinned_grid, suggest_for, unnamed_batch_size


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
    device, batch_size = device_of(observed.spec), probed_batch_size(observed, zoo)
    # Where one batch size is settled, and where no option can be chosen, nobody asks for more than its rows.
    grid = pinned_grid(observed.spec)
    second = next((size for size in grid.batch_sizes if size != batch_size), None)
    models = []
    for model in zoo.models:
        known = rows_for(model, device, batch_size)
        others = other_batches(rows_on(model, device), batch_size)
        models.append(
            MeasuredModel(
                model=reference(model),
                frozen_stages_known={k: row.step_seconds for k, row in known.items()},
                frozen_stages_missing=tuple(k for k in FROZEN_STAGES if k not in known),
                other_batch_size_missing=None if others else second,
                factors_missing=grid.has_options and not factors_on(model, device),
            )
        )
    return tuple(models)


def probed_batch_size(observed: ObservedRequest, zoo: ZooManifest | None) -> int:
    """The batch size with which the probe measures."""
    return measured_batch_size(observed.spec, zoo.models if zoo else (), device_of(observed.spec))


def decide(
    observed: ObservedRequest, zoo: ZooManifest, predictor: PredictorState, probe: ProbeResult
) -> Suggestion | NothingFits:
    """The schedule that the predictor chooses now."""
    return suggest_for(observed.spec, zoo, probe, predictor)


def schedule_document(
    observed: ObservedRequest, zoo: ZooManifest, probe: ProbeResult, suggestion: Suggestion
) -> Schedule:
    """The decision as it is persisted: whole, so that nothing of it is ever looked up again."""
    regimes = tuple(candidate.regime for candidate in (suggestion.chosen, *suggestion.runners_up))
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


def learning_record(observed: ObservedRequest, schedule: Schedule, probe: ProbeResult, result: Result) -> OutcomeRecord:
    """What the predictor learns from: a description and an accuracy for each run that showed one."""
    owner = observed.owner
    return outcome_record(
        LearnedRequest(
            owner.uid,
            f"{owner.namespace}/{owner.name}",
            observed.spec.zoo,
            observed.now,
            unnamed_batch_size(observed.spec),
        ),
        schedule.facts,
        probe.statistics,
        result.runs,
        None if result.result is None else result.result.chosen,
        strategy_named(schedule.strategy),
    )
