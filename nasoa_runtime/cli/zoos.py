"""``nasoa zoo``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from nasoa_runtime.boundary import Precision
from nasoa_runtime.cli import local
from nasoa_runtime.cli.common import JsonFlag, RefusedError, answer, facts, system_store, table, zoo_manifest
from nasoa_runtime.documents.base import dump
from nasoa_runtime.storage.imports import import_model, register_extractor
from nasoa_runtime.storage.zoo import IMPORT, NAME, list_zoos, publish, read_manifest

zoo = typer.Typer(no_args_is_help=True, help="Look at the zoos of pretrained models, and bring models in.")


@zoo.command(name="list")
def list_all(as_json: JsonFlag = False) -> None:
    """List all zoos."""
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
    """Show the models of a zoo."""
    store, bucket = system_store()
    manifest = zoo_manifest(store, bucket, name)
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
def import_network(
    name: Annotated[str, typer.Option(help="Name of the model or extractor.")],
    architecture: Annotated[str, typer.Option(help="An encoding, timm:NAME or torchvision:NAME.")],
    weights: Annotated[
        Path,
        typer.Option(exists=True, dir_okay=False, help="A .safetensors, .pt or .pth file; no code in it is run."),
    ],
    target: Annotated[
        str | None,
        typer.Option("--zoo", help="Zoo to import the model into; it is created if there is none of this name."),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="Number of classes, or a text file with one class name a line; without it, the weights tell."
        ),
    ] = None,
    source: Annotated[str, typer.Option(help="Name of the dataset that the weights were trained on.")] = "imagenet",
    source_accuracy: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Top-1 accuracy on that dataset's validation images, from 0 to 1."),
    ] = None,
    image_size: Annotated[int, typer.Option(min=8, help="Width and height of the model's input, in pixels.")] = 224,
    precision: Annotated[Precision, typer.Option(help="Number format in which the model trains fastest.")] = "fp32",
    channels_last: Annotated[
        bool, typer.Option(help="Whether the model trains fastest with channels last in memory.")
    ] = False,
    low_resolution_stem: Annotated[
        bool, typer.Option(help="Whether the stem has no strides; for encodings only.")
    ] = False,
    extractor: Annotated[
        bool,
        typer.Option("--extractor", help="Register a feature extractor, which compares datasets, instead of a model."),
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Bring a pretrained model into a zoo, or register one as a feature extractor."""
    if not extractor and (target is None or source_accuracy is None):
        lacking = "--zoo" if target is None else "--source-accuracy"
        msg = f"{lacking} is missing: a zoo's model needs --zoo and --source-accuracy (an extractor needs neither)"
        raise RefusedError(msg)
    for option, text in (("--name", name), ("--zoo", target), ("--source", source)):
        if text is not None and not re.fullmatch(NAME, text):
            msg = f"{option} {text!r}: write up to 63 letters, digits, '-', '_' and '.', the first and last no sign"
            raise RefusedError(msg)
    class_names, class_count = read_classes(classes)
    network = local.prepare_weights(
        architecture,
        weights,
        image_size,
        class_names=class_names,
        class_count=class_count,
        low_resolution_stem=low_resolution_stem,
        extractor=extractor,
    )
    store, bucket = system_store()
    if extractor:
        registered = register_extractor(store, bucket, name, network)
        answer(registered.model_dump(mode="json"), as_json, f"Extractor {name} is registered: {registered.weights_uri}")
        return
    model = import_model(
        store,
        bucket,
        str(target),
        name,
        network,
        source=source,
        source_accuracy=float(source_accuracy or 0.0),
        precision=precision,
        channels_last=channels_last,
    )
    manifest = publish(store, bucket, str(target), IMPORT, [model])
    document = {"zoo": target, "version": manifest.version, "model": model.model_dump(mode="json")}
    answer(document, as_json, f"Model {name} is in zoo {target}, version {manifest.version}: {model.weights_uri}")


def read_classes(text: str | None) -> tuple[tuple[str, ...], int | None]:
    """What ``--classes`` says: the names in the file that it names, or else the number that it is.

    Raises:
        RefusedError: it is neither a number of at least 2 nor a file of at least two names.
    """
    if text is None:
        return (), None
    if text.isdecimal():
        if int(text) < 2:
            msg = f"--classes {text}: a classifier has at least two"
            raise RefusedError(msg)
        return (), int(text)
    try:
        names = tuple(line.strip() for line in Path(text).read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        msg = f"--classes {text}: write a number, or a text file with one class name a line ({error})"
        raise RefusedError(msg) from error
    if len(names) < 2:
        msg = f"--classes {text}: the file must have at least two names, one a line; it has {len(names)}"
        raise RefusedError(msg)
    return names, len(names)
