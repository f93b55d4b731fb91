"""``nasoa plan``: the schedule that a FineTuneRequest would get now. Nothing is run, and nothing is changed."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from nasoa_runtime.boundary import BoundaryError, ProbeResult, load_result
from nasoa_runtime.boundary.programs import PROGRAM
from nasoa_runtime.cli import local
from nasoa_runtime.cli.candidates import COLUMNS, cells, percent
from nasoa_runtime.cli.common import JsonFlag, RefusedError, answer, system_store, table, zoo_manifest
from nasoa_runtime.cli.request import NamedRequest, read_request
from nasoa_runtime.documents.base import FORMAT_VERSION, load
from nasoa_runtime.documents.keys import RequestKeys
from nasoa_runtime.documents.request import Probe
from nasoa_runtime.documents.steps import PROBE
from nasoa_runtime.durations import seconds
from nasoa_runtime.online.candidates import Candidate, NothingFits, Suggestion
from nasoa_runtime.planning import suggest_for, why_nothing_fits
from nasoa_runtime.storage.predictors import read_state
from nasoa_runtime.storage.s3 import ObjectStore


def plan(
    file: Annotated[Path, typer.Option("--file", "-f", exists=True, dir_okay=False, help="YAML of the request.")],
    name: Annotated[str | None, typer.Option(help="Name of the request to plan, if the file has several.")] = None,
    statistics: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="JSON file with the result of a probe.")
    ] = None,
    dataset: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder with a local copy of the class folders.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show the schedule that a FineTuneRequest would get now, and the runners-up.

    What is known of the data comes from --statistics, from --dataset, or from the probe of a request on the cluster.
    """
    request = read_request(file, name)
    store, bucket = system_store()
    zoo = zoo_manifest(store, bucket, request.spec.zoo, field="spec.zoo: ")
    probe, origin = find_probe(request, statistics, dataset, store, bucket)
    predictor = read_state(store, bucket, zoo.name, [model.name for model in zoo.models])
    suggestion = suggest_for(request.spec, zoo, probe, predictor)
    if isinstance(suggestion, NothingFits):
        raise RefusedError(why_nothing_fits(suggestion))
    document = describe(request, zoo.version, origin, suggestion)
    rows = [
        (*cells(c.regime), c.seconds, percent(c.predicted_accuracy), c.regime.interval)
        for c in (suggestion.chosen, *suggestion.runners_up)
    ]
    columns = (*COLUMNS, "seconds", "predicted accuracy", "90% interval")
    title = (
        f"{request.name}: best of {suggestion.candidates:,} candidates; zoo {zoo.name} version {zoo.version}, "
        f"predictor version {suggestion.predictor_version}, data from {origin}"
    )
    answer(document, as_json, table(title, columns, rows))


def describe(request: NamedRequest, zoo_version: int, origin: str, suggestion: Suggestion) -> dict[str, Any]:
    """The suggestion as a JSON document."""

    def candidate(value: Candidate) -> dict[str, Any]:
        document = asdict(value)
        return document | {"steps": document.pop("iterations"), "options": value.regime.options}

    return {
        "request": request.name,
        "zoo": request.spec.zoo,
        "zoo_version": zoo_version,
        "predictor_version": suggestion.predictor_version,
        "statistics_from": origin,
        "candidates": suggestion.candidates,
        "time_limit_seconds": seconds(request.spec.time_limit),
        "chosen": candidate(suggestion.chosen),
        "runners_up": [candidate(value) for value in suggestion.runners_up],
    }


def find_probe(
    request: NamedRequest, statistics: Path | None, dataset: Path | None, store: ObjectStore, bucket: str
) -> tuple[ProbeResult, str]:
    """What is known of the dataset and the node, and where it is from: a file, a local copy, or an earlier probe.

    Raises:
        RefusedError: nothing is known; the message says what is needed.
        UnreadableDocumentError: what is recorded of the probe can't be read.
    """
    if statistics is not None:
        return read_probe(statistics), str(statistics)
    if dataset is not None:
        return local.probe(request.spec, dataset), str(dataset)
    if request.uid is not None:
        uri = f"s3://{bucket}/{RequestKeys(request.uid).of('probe')}"
        found = store.get(uri)
        if found is not None:
            return load(Probe, found.body, uri).result, "its probe"
    msg = (
        "nothing is known of the dataset yet: give --statistics FILE (the JSON of a probe's result), or --dataset "
        "FOLDER (a local copy), or the file of a request that was probed (apply it with suspend: true, wait for phase "
        "Planned, and save it with kubectl get -o yaml)"
    )
    raise RefusedError(msg)


def read_probe(path: Path) -> ProbeResult:
    """A probe's result from a file: as the pod gives it, or as the operator records it.

    Raises:
        RefusedError: it is neither.
        UnreadableDocumentError: it is the operator's record, but of another version, or edited since.
    """
    body = path.read_bytes()
    try:
        document = json.loads(body)
    except ValueError as error:
        msg = f"{path}: not JSON: {error}"
        raise RefusedError(msg) from error
    if isinstance(document, dict):
        if FORMAT_VERSION in document:
            return load(Probe, body, str(path)).result
        document.setdefault(PROGRAM, PROBE.program)  # A pod names its program; whoever writes by hand need not.
    try:
        return cast("ProbeResult", load_result(json.dumps(document), PROBE.program))
    except BoundaryError as error:
        problem = str(error).removeprefix(f"{PROBE.program}.")
        msg = f"{path}: this is not a probe's result: {problem}"
        raise RefusedError(msg) from error
