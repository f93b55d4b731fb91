"""From the front to the zoo: select K, pretrain them, measure their step-time table, publish. Pure."""

from __future__ import annotations

from nasoa_operator.plan import Event, Manifest, Plan, Publish
from nasoa_operator.pod_outcomes import PodOutcome
from nasoa_operator.search.levels import end_reason
from nasoa_operator.search.observed import ObservedSearch
from nasoa_operator.search.stopping import stop
from nasoa_operator.search.table import measure_table
from nasoa_operator.steps import common_input, dataset_of, job_for
from nasoa_runtime.architecture.complexity import complexity
from nasoa_runtime.boundary import Measurement, PretrainInput, PretrainResult, Recipe
from nasoa_runtime.documents.keys import SearchPart, pretrained_weights_uri
from nasoa_runtime.documents.search import (
    FailedPretraining,
    Pretrained,
    PretrainedModel,
    Selected,
    Selection,
    StepTimeTable,
)
from nasoa_runtime.documents.steps import PRETRAIN
from nasoa_runtime.documents.zoo import ZooModel
from nasoa_runtime.durations import seconds
from nasoa_runtime.search.front import best_spread


def next_of_publishing(observed: ObservedSearch) -> Plan:
    """The next step after both levels have ended."""
    records = observed.records
    if records.selection is None:
        return select(observed)
    if records.pretrained is None:
        return pretrain(observed, records.selection)
    if records.table is None:
        return measure_table(observed, records.selection, records.pretrained)
    if records.published is None:
        return publish(observed, records.selection, records.pretrained, records.table)
    return Plan()


def select(observed: ObservedSearch) -> Plan:
    """Persist which K architectures become the zoo: the front's best-spread ones, then the next ranks."""
    everybody = [i for i in observed.records.individuals("macro") if i.accuracy is not None]
    if not everybody:
        limit = observed.records.limit
        reason = limit.reason if limit else end_reason(observed, "macro")
        why = f": {limit.message}" if limit else ""
        return stop(observed, reason, f"the macro level has no architecture with an accuracy{why}")
    chosen = best_spread(everybody, observed.spec.zoo.size)
    members = (
        Selected(encoding=i.encoding, accuracy=i.accuracy, step_seconds=i.step_seconds, front_rank=rank)
        for i, rank in chosen
        if i.accuracy is not None
    )
    names = ", ".join(i.encoding for i, _ in chosen)
    event = Event("ModelsSelected", f"{len(chosen)} models are pretrained: {names}", "selection")
    selection = Selection(members=tuple(members), extractor=observed.extractor)
    return observed.write(SearchPart("selection"), selection, event)


def pretrain(observed: ObservedSearch, selection: Selection) -> Plan:
    """Have the selected models trained in full, and record them."""
    job = observed.jobs.get(str(PRETRAIN))
    if job is None:
        return Plan(jobs=(pretrain_job(observed, [m.encoding for m in selection.members]),))
    if not job.finished:
        return Plan()
    models, failed = [], []
    for index, (member, outcome) in enumerate(zip(selection.members, job.outcomes, strict=True)):
        result = pretrained(outcome, member.encoding)
        if result is not None:
            uri = pretrained_weights_uri(observed.uris.weights, index)
            models.append(PretrainedModel(index=index, selected=member, result=result, weights_uri=uri))
        else:
            failure = outcome.failure or "InvalidResult"
            failed.append(FailedPretraining(encoding=member.encoding, failure=failure, message=outcome.explanation))
    if not models:
        first = job.outcomes[0]
        return stop(
            observed, "PretrainingFailed", f"no model could be pretrained: {first.failure}: {first.explanation}"
        )
    best = max(m.result.accuracy for m in models)
    message = f"{len(models)} of {len(selection.members)} models pretrained, best accuracy {best:.3f}"
    record = Pretrained(models=tuple(models), failed=tuple(failed), recorded_at=observed.now)
    return observed.write(SearchPart("pretrained"), record, Event("ModelsPretrained", message, "pretrained"))


def pretrained(outcome: PodOutcome, encoding: str) -> PretrainResult | None:
    """The result, if it is one of the architecture that was asked for."""
    result = outcome.result
    return result if isinstance(result, PretrainResult) and result.architecture == encoding else None


def pretrain_job(observed: ObservedSearch, encodings: list[str]) -> Manifest:
    """One pod for each selected model."""
    spec, zoo = observed.spec, observed.spec.zoo
    pod_input = PretrainInput(
        **common_input(observed, PRETRAIN),
        architectures=tuple(encodings),
        dataset=dataset_of(spec, zoo.max_images),
        recipe=Recipe(
            epochs=zoo.epochs,
            batch_size=zoo.batch_size,
            image_size=zoo.image_size,
            learning_rate=zoo.learning_rate,
            low_resolution_stem=spec.low_resolution_stem,
            precision=zoo.precision,
            label_smoothing=zoo.label_smoothing,
        ),
        weights_uri=observed.uris.weights,
        time_limit_seconds=seconds(zoo.time_limit) if zoo.time_limit else None,
    )
    return job_for(observed, PRETRAIN, pod_input, completions=len(encodings))


def publish(observed: ObservedSearch, selection: Selection, record: Pretrained, table: StepTimeTable) -> Plan:
    """Publish what was pretrained and measured."""
    measured = {m.name: m for m in table.measurements}
    models = (zoo_model(observed, m, measured.get(observed.model_name(m.index))) for m in record.models)
    uri = table.prototypes_uri
    action = Publish(
        zoo=observed.spec.zoo.name,
        owner=observed.uid,
        models=tuple(models),
        extractor=selection.extractor if uri else None,
        prototypes={observed.source: uri} if uri else {},
        receipt_key=observed.key(SearchPart("published")),
        stop_key=observed.key(SearchPart("stop")),
    )
    return Plan(actions=(action,), again=True)


def zoo_model(observed: ObservedSearch, model: PretrainedModel, measured: Measurement | None) -> ZooModel:
    """A pretrained model as the zoo's manifest describes it; its weights are still where the pod left them."""
    result, stem = model.result, observed.spec.low_resolution_stem
    rows = measured.rows if measured else ()
    figures = complexity(
        model.selected.encoding,
        image_size=observed.spec.zoo.image_size,
        classes=len(result.classes),
        low_resolution_stem=stem,
    )
    return ZooModel(
        name=observed.model_name(model.index),
        architecture=model.selected.encoding,
        weights_uri=model.weights_uri,
        weights_digest=result.weights_digest,
        weights_bytes=result.weights_bytes,
        classes=result.classes,
        class_count=len(result.classes),
        source=observed.source,
        preprocessing=result.preprocessing,
        low_resolution_stem=stem,
        channels_last=rows[0].channels_last if rows else False,
        precision=rows[0].precision if rows else "fp32",
        source_accuracy=result.accuracy,
        parameters=figures.parameters,
        macs=figures.macs,
        step_times=rows,
        step_factors=(measured.factors,) if measured and measured.factors else (),
        front_rank=model.selected.front_rank,
    )
