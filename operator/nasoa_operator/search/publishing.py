"""From the front to the zoo: select K, pretrain them, measure their step-time table, publish. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nasoa_operator.outcomes import PodOutcome
from nasoa_operator.plan import Document, Event, Plan, Publish
from nasoa_operator.search.generations import stop
from nasoa_operator.search.levels import end_reason
from nasoa_operator.search.observed import ObservedSearch, individuals
from nasoa_operator.steps import RETRY, common_input, dataset_of, job_for, latest_try
from nasoa_runtime.architecture.complexity import complexity
from nasoa_runtime.boundary import (
    Extractor,
    NamedArchitecture,
    PretrainInput,
    PretrainResult,
    ProfileInput,
    ProfileResult,
    Recipe,
)
from nasoa_runtime.durations import seconds
from nasoa_runtime.search.front import best_spread_with_ranks

FROZEN_STAGES = tuple(range(6))


def next_of_publishing(observed: ObservedSearch) -> Plan:
    """The next step after both levels have ended."""
    selection = observed.document("selection")
    if selection is None:
        return select(observed)
    if observed.document("pretrained") is None:
        return pretrain(observed, selection)
    if observed.document("table") is None:
        return measure_table(observed)
    if observed.document("published") is None:
        return publish(observed)
    return Plan()


def select(observed: ObservedSearch) -> Plan:
    """Persist which K architectures become the zoo: the front's best-spread ones, then the next ranks."""
    everybody = [i for i in individuals(observed, "macro") if i.accuracy is not None]
    if not everybody:
        limit = observed.document("limit")
        reason = limit["reason"] if limit else end_reason(observed, "macro")
        why = f": {limit['message']}" if limit else ""
        return stop(observed, reason, f"the macro level has no architecture with an accuracy{why}")
    chosen = best_spread_with_ranks(everybody, observed.spec.zoo.size)
    body = {
        "formatVersion": 1,
        "members": [
            {"encoding": i.encoding, "accuracy": i.accuracy, "stepSeconds": i.step_seconds, "frontRank": rank}
            for i, rank in chosen
        ],
        "extractor": observed.extractor,
    }
    names = ", ".join(i.encoding for i, _ in chosen)
    event = Event("ModelsSelected", f"{len(chosen)} models are pretrained: {names}", "selection")
    return Plan(documents=(Document(observed.key("selection"), body, event),), again=True)


def pretrain(observed: ObservedSearch, selection: Mapping[str, Any]) -> Plan:
    """Have the selected models trained in full, and record them."""
    members = selection["members"]
    job = observed.jobs.get("pretrain")
    if job is None:
        return Plan(jobs=(pretrain_job(observed, "pretrain", [m["encoding"] for m in members]),))
    if not job.finished:
        return Plan()
    outcomes = {o.index: o for o in job.outcomes}
    models = []
    for index, member in enumerate(members):
        result = pretrained(outcomes[index], member["encoding"])
        if result is not None:
            uri = f"{observed.weights_uri()}/{index}/weights.safetensors"
            models.append(member | result.model_dump(mode="json") | {"index": index, "weightsUri": uri})
    if not models:
        first = job.outcomes[0]
        return stop(
            observed, "PretrainingFailed", f"no model could be pretrained: {first.failure}: {first.explanation}"
        )
    failed = [
        {
            "encoding": m["encoding"],
            "failure": outcomes[i].failure or "InvalidResult",
            "message": outcomes[i].explanation,
        }
        for i, m in enumerate(members)
        if pretrained(outcomes[i], m["encoding"]) is None
    ]
    body = {"formatVersion": 1, "models": models, "failed": failed, "recordedAt": observed.now.isoformat()}
    best = max(m["accuracy"] for m in models)
    message = f"{len(models)} of {len(members)} models pretrained, best accuracy {best:.3f}"
    return Plan(
        documents=(Document(observed.key("pretrained"), body, Event("ModelsPretrained", message, "pretrained")),),
        again=True,
    )


def pretrained(outcome: PodOutcome, encoding: str) -> PretrainResult | None:
    """The result, if it is one of the architecture that was asked for."""
    result = outcome.result
    return result if isinstance(result, PretrainResult) and result.architecture == encoding else None


def pretrain_job(observed: ObservedSearch, step: str, encodings: list[str]) -> dict[str, Any]:
    """One pod for each selected model."""
    spec, zoo = observed.spec, observed.spec.zoo
    pod_input = PretrainInput(
        **common_input(observed, step),
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
        weights_uri=observed.weights_uri(),
        time_limit_seconds=seconds(zoo.time_limit) if zoo.time_limit else None,
    )
    return job_for(observed, step, pod_input, completions=len(encodings))


def measure_table(observed: ObservedSearch) -> Plan:
    """Have the step-time table and the source's class prototypes measured, alone on the reference device."""
    job = latest_try(observed.jobs, "table")
    if job is None:
        return Plan(jobs=(table_job(observed, "table"),))
    if not job.finished:
        return Plan()
    outcome = job.outcomes[0]
    if not isinstance(outcome.result, ProfileResult):
        if outcome.failure == "InvalidResult" and not job.step.endswith(RETRY):
            return Plan(jobs=(table_job(observed, "table" + RETRY),))
        return stop(observed, "ProfilingFailed", f"table: {outcome.failure}: {outcome.explanation}")
    body = {
        "formatVersion": 1,
        "measurements": [m.model_dump(mode="json") for m in outcome.result.measurements],
        "prototypesUri": prototypes_uri(observed) if outcome.result.prototypes_digest else None,
        "prototypesDigest": outcome.result.prototypes_digest,
        "seconds": outcome.result.seconds,
    }
    rows = sum(len(m.rows) for m in outcome.result.measurements)
    event = Event("StepTimeTableMeasured", f"{rows} rows of the step-time table measured", "table")
    return Plan(documents=(Document(observed.key("table"), body, event),), again=True)


def prototypes_uri(observed: ObservedSearch) -> str:
    """Where the table's pod leaves the source's class prototypes."""
    return f"{observed.weights_uri()}/prototypes.npz"


def table_job(observed: ObservedSearch, step: str) -> dict[str, Any]:
    """One pod that measures all published models in all ways of freezing them."""
    spec, zoo = observed.spec, observed.spec.zoo
    record = observed.document("pretrained") or {"models": []}
    extractor = pinned_extractor(observed)
    pod_input = ProfileInput(
        **common_input(observed, step),
        architectures=tuple(
            NamedArchitecture(name=model_name(zoo.name, m["index"]), architecture=m["encoding"])
            for m in record["models"]
        ),
        batch_size=zoo.step_time_batch_size,
        image_size=zoo.image_size,
        classes=len(record["models"][0]["classes"]),
        low_resolution_stem=spec.low_resolution_stem,
        frozen_stages=FROZEN_STAGES,
        choose_layout=True,
        prototypes_of=dataset_of(spec, spec.dataset.max_images) if extractor else None,
        extractor=extractor,
        prototypes_uri=prototypes_uri(observed) if extractor else None,
    )
    return job_for(observed, step, pod_input)


def pinned_extractor(observed: ObservedSearch) -> Extractor | None:
    """The feature extractor as it was when the models were selected."""
    selection = observed.document("selection")
    found = selection["extractor"] if selection else None
    return Extractor.model_validate(found) if found else None


def model_name(zoo: str, index: int) -> str:
    """The name under which selected model ``index`` is published."""
    return f"{zoo}-{index + 1}"


def publish(observed: ObservedSearch) -> Plan:
    """Publish what was pretrained and measured."""
    pretrained_record, table = observed.document("pretrained"), observed.document("table")
    if pretrained_record is None or table is None:
        return Plan()
    measured = {m["name"]: m for m in table["measurements"]}
    zoo = observed.spec.zoo
    models = []
    for m in pretrained_record["models"]:
        name = model_name(zoo.name, m["index"])
        rows = measured.get(name, {}).get("rows", [])
        figures = complexity(
            m["encoding"],
            image_size=zoo.image_size,
            classes=len(m["classes"]),
            low_resolution_stem=observed.spec.low_resolution_stem,
        )
        models.append(
            {
                "name": name,
                "architecture": m["encoding"],
                "weights_uri": m["weightsUri"],
                "weights_digest": m["weights_digest"],
                "weights_bytes": m["weights_bytes"],
                "classes": m["classes"],
                "source": source_name(observed),
                "preprocessing": m["preprocessing"],
                "low_resolution_stem": observed.spec.low_resolution_stem,
                "channels_last": rows[0]["channels_last"] if rows else False,
                "precision": rows[0]["precision"] if rows else "fp32",
                "source_accuracy": m["accuracy"],
                "parameters": figures.parameters,
                "macs": figures.macs,
                "step_times": rows,
                "front_rank": m["frontRank"],
            }
        )
    uri = table["prototypesUri"]
    extractor = pinned_extractor(observed)
    action = Publish(
        zoo=zoo.name,
        owner=observed.uid,
        models=tuple(models),
        extractor=extractor.model_dump(mode="json") if extractor and uri else None,
        prototypes={source_name(observed): uri} if uri else {},
        document=observed.key("published"),
    )
    return Plan(actions=(action,), again=True)


def source_name(observed: ObservedSearch) -> str:
    """The name of the source data: what the spec says, else the zoo's."""
    return observed.spec.zoo.source or observed.spec.zoo.name
