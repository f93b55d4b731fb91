"""``nasoa plan``: the schedule that a FineTuneRequest would get now. Nothing is run, and nothing is changed."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import typer
from pydantic import ValidationError

from nasoa_runtime.boundary import DatasetReference, DatasetStatistics, ProbeResult
from nasoa_runtime.cli.common import JsonFlag, RefusedError, answer, system_store, table
from nasoa_runtime.cli.request_file import RequestFile, read_request
from nasoa_runtime.online.candidates import Candidate, NothingFits, Suggestion
from nasoa_runtime.online.decision import model_choices, overheads, statistics_of
from nasoa_runtime.online.generator import suggest
from nasoa_runtime.pods.dataset.reading import read_dataset
from nasoa_runtime.storage.predictors import read_state
from nasoa_runtime.storage.s3 import ObjectStore
from nasoa_runtime.storage.zoo import read_manifest

ASSUMED_STARTUP_SECONDS = 15.0
"""Of a pod that nothing is known of: libraries, data and weights."""
ASSUMED_LOADING_SECONDS = 0.001
"""For each image."""
READ_SIZE = 32
"""Pixels a side in which a local dataset is read: only its counts are asked for."""


def plan(
    file: Annotated[Path, typer.Option("--file", "-f", exists=True, dir_okay=False, help="YAML of the request.")],
    name: Annotated[str | None, typer.Option(help="Which one, if the file has several.")] = None,
    statistics: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="JSON of a probe's result.")
    ] = None,
    dataset: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="The dataset's class folders on this machine.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """The schedule that a FineTuneRequest would get now, with the runners-up."""
    request_file = read_request(file, name)
    store, bucket = system_store()
    manifest = read_manifest(store, bucket, request_file.zoo)
    if manifest is None:
        msg = (
            f"spec.zoo: there is no zoo {request_file.zoo!r} in bucket {bucket!r}; nasoa zoo list names those that are"
        )
        raise RefusedError(msg)
    probe, origin = find_probe(request_file, statistics, dataset, store, bucket)
    state = read_state(store, bucket, request_file.zoo, [model.name for model in manifest.models])
    decision = suggest(
        replace(request_file.request, infeasible=frozenset(probe.infeasible)),
        model_choices(manifest.models, probe, request_file.request.batch_size),
        statistics_of(probe),
        overheads(manifest.models, probe),
        state,
        request_file.grid,
    )
    if isinstance(decision, NothingFits):
        field = "spec.timeLimit: " if decision.reason == "TimeLimitTooShort" else ""
        raise RefusedError(field + decision.message)
    document = describe(request_file, manifest.version, origin, decision)
    rows = [
        (c.model, c.learning_rate, c.frozen_stages, c.iterations, c.seconds, f"{100 * c.predicted_accuracy:.1f}%")
        for c in (decision.chosen, *decision.runners_up)
    ]
    columns = ("model", "learning rate", "frozen stages", "steps", "seconds", "predicted accuracy")
    title = (
        f"{request_file.name}: best of {decision.candidates:,} candidates; zoo {request_file.zoo} version "
        f"{manifest.version}, predictor version {decision.predictor_version}, data from {origin}"
    )
    answer(document, as_json, table(title, columns, rows))


def describe(request: RequestFile, zoo_version: int, origin: str, schedule: Suggestion) -> dict[str, Any]:
    """The schedule as a JSON document."""

    def candidate(value: Candidate) -> dict[str, Any]:
        document = asdict(value)
        return document | {"steps": document.pop("iterations")}

    return {
        "request": request.name,
        "zoo": request.zoo,
        "zoo_version": zoo_version,
        "predictor_version": schedule.predictor_version,
        "statistics_from": origin,
        "candidates": schedule.candidates,
        "time_limit_seconds": request.request.time_limit_seconds,
        "chosen": candidate(schedule.chosen),
        "runners_up": [candidate(value) for value in schedule.runners_up],
    }


def find_probe(
    request: RequestFile, statistics: Path | None, dataset: Path | None, store: ObjectStore, bucket: str
) -> tuple[ProbeResult, str]:
    """What is known of the dataset and the node, and where it is from: a file, a local copy, or an earlier probe.

    Raises:
        RefusedError: nothing is known; the message says what is needed.
    """
    if statistics is not None:
        return parse_probe(statistics.read_bytes(), str(statistics)), str(statistics)
    if dataset is not None:
        return probe_locally(request, dataset), str(dataset)
    if request.uid is not None:
        uri = f"s3://{bucket}/requests/{request.uid}/probe.json"
        found = store.get(uri)
        if found is not None:
            return parse_probe(found.body, uri), "its probe"
    msg = (
        "nothing is known of the dataset yet: give --statistics FILE (the JSON of a probe's result), or --dataset "
        "FOLDER (a local copy), or the file of a request that was probed (apply it with suspend: true, wait for phase "
        "Planned, and save it with kubectl get -o yaml)"
    )
    raise RefusedError(msg)


def parse_probe(body: bytes, where: str) -> ProbeResult:
    """A probe's result, as the pod gives it or as the operator records it.

    Raises:
        RefusedError: it is neither.
    """
    try:
        document = json.loads(body)
        document = document.get("result", document) if isinstance(document, dict) else document
        if isinstance(document, dict):
            document.pop("program", None)  # A pod's result names its program, a record of it does not.
        return ProbeResult.model_validate_json(json.dumps(document))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "document"
        msg = f"{where}: no probe's result: {place}: {first['msg']}"
        raise RefusedError(msg) from error
    except ValueError as error:
        msg = f"{where}: not JSON: {error}"
        raise RefusedError(msg) from error


def probe_locally(request: RequestFile, folder: Path) -> ProbeResult:
    """Count a local dataset as a probe would; of the node, usual figures are assumed."""
    reference = DatasetReference(uri=str(folder.resolve()), seed=request.seed, max_images=request.max_images)
    with TemporaryDirectory() as work:
        read = read_dataset(reference, READ_SIZE, _no_store, Path(work))
    return ProbeResult(
        device=request.device,
        statistics=DatasetStatistics(
            digest=read.digest,
            classes=len(read.classes),
            images=len(read.splits.train),
            validation_images=len(read.splits.validation),
            test_images=len(read.splits.test),
            images_per_class_mean=float(np.mean(read.images_per_class)),
            images_per_class_std=float(np.std(read.images_per_class)),
        ),
        startup_seconds=ASSUMED_STARTUP_SECONDS,
        loading_seconds_per_image=ASSUMED_LOADING_SECONDS,
        step_correction=1.0,
        seconds=0.0,
    )


def _no_store() -> ObjectStore:
    msg = "a local dataset is a folder"
    raise RefusedError(msg)
