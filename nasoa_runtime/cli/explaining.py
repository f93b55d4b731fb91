"""``nasoa explain``: why a request got its schedule, what came of it, and what would be chosen under other limits."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from nasoa_runtime.cli.candidates import COLUMNS, cells, document, percent
from nasoa_runtime.cli.common import JsonFlag, RefusedError, answer, system_store, table, zoo_manifest
from nasoa_runtime.cli.request import NamedRequest, read_request
from nasoa_runtime.documents.request import Probe, RequestRecords
from nasoa_runtime.documents.zoo import ZooManifest
from nasoa_runtime.durations import duration, seconds
from nasoa_runtime.explaining import AtLimit, Explanation, HandedOver, Opinion, Reasons
from nasoa_runtime.explaining import explain as explain_request
from nasoa_runtime.online.candidates import NothingFits
from nasoa_runtime.online.state import PredictorState
from nasoa_runtime.storage.documents import DocumentStore
from nasoa_runtime.storage.predictors import read_state

LEAST_TOLD = 0.0005
"""Contributions below this are nothing in the digits that are shown."""


def explain(
    request_file: Annotated[
        Path,
        typer.Argument(
            metavar="REQUEST",
            help="File with a request as kubectl get -o yaml prints it; - reads standard input.",
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Name of the request, if the file has several.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show why a request on the cluster got its schedule, and what came of it.

    Beside what was decided stands what the predictor says now: each expert's opinion, what each group of features
    contributes, and what half and twice the time limit would give.
    """
    request = read_request(request_file, name)
    store, bucket = system_store()
    records = DocumentStore(store, bucket).request_records(uid_of(request))
    probe = probe_of(request, records)
    zoo = zoo_manifest(store, bucket, request.spec.zoo, field="spec.zoo: ")
    predictor = read_state(store, bucket, zoo.name, [model.name for model in zoo.models])
    found = explain_request(request.spec, zoo, probe.result, predictor, records.schedule, records.result)
    told = json_of(request, records, zoo, predictor, found)
    answer(told, as_json, *tables(request, records, zoo, predictor, found))


def uid_of(request: NamedRequest) -> str:
    """The UID under which a request is recorded.

    Raises:
        RefusedError: the file has none, so that it does not come from a cluster.
    """
    if request.uid is None:
        msg = (
            f"metadata.uid: {request.name} has none, so there is no telling what was recorded of it: save it from the "
            f"cluster with kubectl get finetunerequest {request.name} -o yaml; nasoa plan is for what is not there yet"
        )
        raise RefusedError(msg)
    return request.uid


def probe_of(request: NamedRequest, records: RequestRecords) -> Probe:
    """What was found out before the decision.

    Raises:
        RefusedError: nothing was, yet or ever.
    """
    if records.probe is not None:
        return records.probe
    if records.failed is not None:
        msg = f"{request.name} failed before anything was chosen: {records.failed.message}"
        raise RefusedError(msg)
    msg = (
        f"nothing is recorded of {request.name} (UID {request.uid}) yet: wait until its probe is done, which is when "
        "status.statistics is there and the phase is Planned or Training; if it is, check NASOA_SYSTEM_BUCKET"
    )
    raise RefusedError(msg)


def json_of(
    request: NamedRequest, records: RequestRecords, zoo: ZooManifest, predictor: PredictorState, found: Explanation
) -> dict[str, Any]:
    """The explanation as a JSON document."""
    schedule, failed = records.schedule, records.failed
    decision = schedule and {
        "decided_at": schedule.decided_at.isoformat(),
        "predictor_version": schedule.predictor_version,
        "zoo_version": schedule.zoo_version,
        "strategy": schedule.strategy,
        "candidates": schedule.candidates,
        "planned_seconds": schedule.planned_seconds,
        "chosen": _handed_over(found.handed_over[0]),
        "runners_up": [_handed_over(other) for other in found.handed_over[1:]],
    }
    names = [expert for expert, _ in found.experts]
    return {
        "request": request.name,
        "uid": request.uid,
        "zoo": zoo.name,
        "zoo_version": zoo.version,
        "algorithm": predictor.algorithm,
        "predictor_version": predictor.version,
        "time_limit_seconds": seconds(request.spec.time_limit),
        "decision": decision,
        "failure": None if failed is None else failed.model_dump(mode="json", include={"reason", "message"}),
        "experts": dict(found.experts),
        "opinions": [
            {
                "chosen": opinion.chosen,
                "candidate": document(opinion.regime),
                "by_expert": dict(zip(names, opinion.by_expert, strict=True)),
            }
            for opinion in found.opinions
        ],
        "contributions": None if found.reasons is None else asdict(found.reasons),
        "time_limits": [_at_limit(limit) for limit in found.limits],
    }


def _handed_over(value: HandedOver) -> dict[str, Any]:
    run = value.run and {
        "steps": value.run.steps,
        "accuracy": value.run.validation_accuracy,
        "seconds": value.run.seconds,
        "failure": value.run.failure,
        "stopped": not value.run.annealed,
        "inside": value.inside,
        "delivered": value.delivered,
    }
    return document(value.regime) | {"run": run}


def _at_limit(limit: AtLimit) -> dict[str, Any]:
    if isinstance(limit.best, NothingFits):
        reason = {"reason": limit.best.reason, "message": limit.best.message, "least_seconds": limit.best.least_seconds}
        return {"seconds": limit.seconds, "best": None, "nothing_fits": reason}
    best = document(limit.best.regime) | {"seconds": limit.best.seconds}
    return {"seconds": limit.seconds, "best": best, "nothing_fits": None}


def tables(
    request: NamedRequest, records: RequestRecords, zoo: ZooManifest, predictor: PredictorState, found: Explanation
) -> list[Table | str]:
    """The explanation for people."""
    shown: list[Table | str] = [decision_table(request, records, found), as_of(records, zoo, predictor)]
    if found.opinions:
        shown.append(opinions_table(found))
    if found.reasons is not None:
        shown.append(reasons_table(found.reasons))
    elif found.opinions:
        shown.append(
            f"What features contribute is not known of {predictor.algorithm}: only its whole prediction is.\n"
            if len(found.experts) == 1
            else "What features contribute is not told: nothing fits now that the chosen one could be compared with.\n"
        )
    return [*shown, *limits_tables(found.limits)]


def decision_table(request: NamedRequest, records: RequestRecords, found: Explanation) -> Table | str:
    """What was handed over, and what each run of it came to."""
    schedule = records.schedule
    if schedule is None:
        why = "nothing is scheduled yet" if records.failed is None else f"it failed: {records.failed.message}"
        return f"{request.name}: {why}\n"
    title = (
        f"{request.name}: best of {schedule.candidates:,} candidates, decided {schedule.decided_at:%Y-%m-%d %H:%M}; "
        f"strategy {schedule.strategy}, zoo version {schedule.zoo_version}, "
        f"predictor version {schedule.predictor_version}"
    )
    rows = [
        (
            *cells(value.regime, None if value.run is None else f"{value.run.steps:,} of {value.regime.steps:,}"),
            percent(value.regime.predicted_accuracy),
            value.regime.interval,
            _reached(value),
            what_became_of(value),
        )
        for value in found.handed_over
    ]
    columns = (*COLUMNS, "predicted accuracy", "90% interval", "reached", "what became of it")
    return table(title, columns, rows)


def _reached(value: HandedOver) -> str | None:
    accuracy = None if value.run is None else value.run.validation_accuracy
    return None if accuracy is None else percent(accuracy)


def what_became_of(value: HandedOver) -> str:
    """What a run came to, in a few words."""
    if value.run is None:
        return "not run"
    words = ["delivered"] if value.delivered else []
    if value.run.failure is not None:
        words.append({"Diverged": "diverged", "OutOfMemory": "out of memory"}[value.run.failure])
    elif not value.run.annealed:
        words.append("stopped early")
    if value.inside is not None:
        words.append("inside the interval" if value.inside else "outside the interval")
    return ", ".join(words) or "run"


def as_of(records: RequestRecords, zoo: ZooManifest, predictor: PredictorState) -> str:
    """Of what versions all is that is said of now."""
    words = (
        f"From here on: predictor version {predictor.version} ({predictor.algorithm}), zoo version {zoo.version}, now."
    )
    schedule = records.schedule
    if schedule is not None and schedule.predictor_version != predictor.version:
        own = ", this request's own outcome included," if records.learned is not None else ""
        words += (
            f" The request was planned with predictor version {schedule.predictor_version}: what was learned since"
            f"{own} may have changed every figure."
        )
    if schedule is not None and schedule.zoo_version != zoo.version:
        words += f" It was planned with zoo version {schedule.zoo_version}."
    return words + "\n"


def opinions_table(found: Explanation) -> Table:
    """What each expert says of the chosen candidate, and of each model's best."""
    experts = tuple(f"{name} (weight {weight:.2f})" for name, weight in found.experts)

    def row(opinion: Opinion) -> tuple[object, ...]:
        said = tuple(percent(value) for value in opinion.by_expert)
        regime = opinion.regime
        which = "chosen" if opinion.chosen else "best of its model"
        return (which, *cells(regime), *said, percent(regime.predicted_accuracy), regime.interval)

    columns = ("candidate", *COLUMNS, *experts, "together", "90% interval")
    return table("What the experts say", columns, [row(opinion) for opinion in found.opinions])


def reasons_table(reasons: Reasons) -> Table:
    """What each group of features contributes, the largest first."""
    groups = sorted(reasons.groups.items(), key=lambda group: -abs(group[1]))
    rows = [(name, f"{100 * value:+.1f}") for name, value in groups if abs(value) >= LEAST_TOLD]
    title = (
        f"Why {percent(reasons.predicted)} is predicted for the chosen one, "
        f"and {percent(reasons.average)} for the mean candidate"
    )
    return table(title, ("features", "percentage points"), rows)


def limits_tables(limits: tuple[AtLimit, ...]) -> list[Table | str]:
    """The best candidate under each limit, and below it why there is none."""
    rows: list[tuple[object, ...]] = []
    notes: list[Table | str] = []
    for limit in limits:
        length = duration(limit.seconds)
        if isinstance(limit.best, NothingFits):
            rows.append((length, *(None for _ in COLUMNS), None, "nothing fits", None))
            notes.append(f"{length}: {limit.best.message}")
            continue
        best = limit.best
        rows.append((length, *cells(best.regime), best.seconds, percent(best.predicted_accuracy), best.regime.interval))
    columns = ("time limit", *COLUMNS, "seconds", "predicted accuracy", "90% interval")
    return [table("What other time limits would give", columns, rows), *notes]
