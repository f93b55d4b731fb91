"""``nasoa zoo``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from nasoa_runtime.boundary import Extractor, Precision
from nasoa_runtime.cli.common import JsonFlag, RefusedError, answer, facts, system_store, table
from nasoa_runtime.documents.base import dump
from nasoa_runtime.storage.zoo import IMPORT, NAME, list_zoos, publish, read_manifest

zoo = typer.Typer(no_args_is_help=True, help="The zoos of pretrained models.")

CLASS_NAMES_KEPT = 100
"""A list of more names is kept as its number and digest: it would be most of the manifest."""


@zoo.command(name="list")
def list_all(as_json: JsonFlag = False) -> None:
    """All zoos."""
    store, bucket = system_store()
    document = []
    for name in list_zoos(store, bucket):
        manifest = read_manifest(store, bucket, name)
        if manifest is not None:
            document.append(
                {
                    "name": name,
                    "owner": manifest.owner,
                    "version": manifest.version,
                    "models": len(manifest.models),
                    "extractor": manifest.extractor.name if manifest.extractor else None,
                }
            )
    columns = ("name", "owner", "version", "models", "extractor")
    rows = [tuple(entry[column] for column in columns) for entry in document]
    answer(document, as_json, table("", columns, rows) if rows else f"No zoos in bucket {bucket}.")


@zoo.command()
def show(name: Annotated[str, typer.Argument(help="Name of the zoo.")], as_json: JsonFlag = False) -> None:
    """The models of a zoo."""
    store, bucket = system_store()
    manifest = read_manifest(store, bucket, name)
    if manifest is None:
        msg = f"there is no zoo {name!r} in bucket {bucket!r}; nasoa zoo list names those that are"
        raise RefusedError(msg)
    head = {
        "owner": manifest.owner,
        "version": manifest.version,
        "extractor": manifest.extractor.name if manifest.extractor else None,
        "sources": ", ".join(manifest.sources) or None,
    }
    rows = [
        (
            model.name,
            model.architecture,
            model.source,
            model.source_accuracy,
            model.parameters,
            model.macs,
            min((row.step_seconds * 1000 for row in model.step_times if row.frozen_stages == 0), default=None),
            len(model.step_times),
            model.front_rank,
        )
        for model in manifest.models
    ]
    columns = ("model", "architecture", "source", "accuracy", "parameters", "macs", "fastest step ms", "rows", "rank")
    document = json.loads(dump(manifest))
    answer(document, as_json, facts(name, head), table("models", columns, rows))


@zoo.command(name="import")
def import_model(
    name: Annotated[str, typer.Option(help="Name of the model (or extractor).")],
    architecture: Annotated[str, typer.Option(help="An encoding, timm:NAME or torchvision:NAME.")],
    weights: Annotated[
        Path,
        typer.Option(exists=True, dir_okay=False, help=".safetensors, .pt or .pth; no code of it is run."),
    ],
    target: Annotated[str | None, typer.Option("--zoo", help="Zoo to import into; it is made if need be.")] = None,
    classes: Annotated[
        str | None, typer.Option(help="Number of outputs, or a file with one class name a line; else the weights'.")
    ] = None,
    source: Annotated[str, typer.Option(help="Name of the data that the weights were trained on.")] = "imagenet",
    source_accuracy: Annotated[
        float | None, typer.Option(min=0, max=1, help="Top-1 on that data's validation split.")
    ] = None,
    image_size: Annotated[int, typer.Option(min=8, help="Pixels a side of the input.")] = 224,
    precision: Annotated[Precision, typer.Option(help="In which the model trains fastest.")] = "fp32",
    channels_last: Annotated[bool, typer.Option(help="Whether it trains fastest in this memory layout.")] = False,
    low_resolution_stem: Annotated[bool, typer.Option(help="Stem without strides; encodings only.")] = False,
    extractor: Annotated[
        bool, typer.Option("--extractor", help="Register as a feature space of domain similarity instead.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Bring a pretrained model into a zoo, or register one as extractor."""
    if not extractor and (target is None or source_accuracy is None):
        lacking = "--zoo" if target is None else "--source-accuracy"
        msg = f"{lacking} is missing: a zoo's model needs --zoo and --source-accuracy (an extractor needs neither)"
        raise RefusedError(msg)
    for option, text in (("--name", name), ("--zoo", target), ("--source", source)):
        if text is not None and not re.fullmatch(NAME, text):
            msg = f"{option} {text!r}: write up to 63 letters, digits, '-', '_' and '.', the first and last no sign"
            raise RefusedError(msg)
    # This pulls in torch, which takes seconds: only an import needs it.
    from nasoa_runtime.pods.importing import as_extractor, as_model, prepare  # noqa: PLC0415

    prepared = prepare(architecture, weights, classes, image_size, low_resolution_stem=low_resolution_stem)
    store, bucket = system_store()
    if extractor:
        registered: Extractor = as_extractor(store, bucket, name, prepared)
        answer(registered.model_dump(mode="json"), as_json, f"Extractor {name} is registered: {registered.weights_uri}")
        return
    model = as_model(
        store,
        bucket,
        str(target),
        name,
        prepared,
        source=source,
        source_accuracy=float(source_accuracy or 0.0),
        precision=precision,
        channels_last=channels_last,
    )
    manifest = publish(store, bucket, str(target), IMPORT, [model])
    document = {"zoo": target, "version": manifest.version, "model": model.model_dump(mode="json")}
    answer(document, as_json, f"Model {name} is in zoo {target}, version {manifest.version}: {model.weights_uri}")
