"""``nasoa arch`` and ``nasoa space``."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
import yaml

from nasoa_runtime.architecture.complexity import describe as describe_encoding
from nasoa_runtime.architecture.space import BlockSpace, MacroSpace, space_size
from nasoa_runtime.cli.common import JsonFlag, RefusedError, answer, facts, table

arch = typer.Typer(no_args_is_help=True, help="Architectures by their encodings.")
space = typer.Typer(no_args_is_help=True, help="The search spaces.")


@arch.command()
def describe(
    encoding: Annotated[str, typer.Argument(help="BLOCK_FIRSTCHANNEL_MACRO, e.g. 02031-a02_64_111-2111-211-11")],
    image_size: Annotated[int, typer.Option(min=1, help="Pixels a side.")] = 224,
    classes: Annotated[int, typer.Option(min=1, help="Outputs of the classifier.")] = 1000,
    stem: Annotated[
        Literal["standard", "low-resolution"], typer.Option(help="low-resolution goes without the stem's strides.")
    ] = "standard",
    as_json: JsonFlag = False,
) -> None:
    """Canonical form and cost of an architecture."""
    document = describe_encoding(encoding, image_size, classes, low_resolution_stem=stem == "low-resolution")
    stages = [tuple(stage.values()) for stage in document["stages"]]
    answer(
        document,
        as_json,
        facts("", {name: value for name, value in document.items() if name != "stages"}),
        table("stages", ("blocks", "channels", "resolution"), stages),
    )


@space.command()
def size(
    file: Annotated[
        Path | None,
        typer.Option("--space", exists=True, dir_okay=False, help="YAML of the bounds, or of a whole NASSearch."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Members of the block and of the macro space."""
    document = space_size(*(read_spaces(file) if file else (None, None)))
    rows = [
        ("block", document["block"], "as the paper counts: all codes"),
        ("block_canonical", document["block_canonical"], "valid blocks, each network once"),
        ("macro", document["macro"], "macro structures within the bounds"),
    ]
    answer(document, as_json, table("", ("space", "members", ""), rows))


def read_spaces(path: Path) -> tuple[BlockSpace, MacroSpace]:
    """The spaces that a YAML file bounds, in the words of a NASSearch's ``spec.space``.

    Raises:
        RefusedError: the file has something else in it, or a bound can't be used.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        msg = f"{path}: not a YAML file: {error}"
        raise RefusedError(msg) from error
    spec = document.get("spec", {}) if isinstance(document, dict) and "kind" in document else {"space": document}
    bounds = spec.get("space") or {}
    if not isinstance(bounds, dict):
        msg = f"{path}: write bounds by name, such as maxLayers: 2"
        raise RefusedError(msg)
    block_names, macro_names = ({camel(f.name): f.name for f in fields(kind)} for kind in (BlockSpace, MacroSpace))
    unknown = sorted(set(bounds) - set(block_names) - set(macro_names))
    if unknown:
        known = ", ".join(sorted({*block_names, *macro_names}))
        msg = f"{path}: unknown bound {unknown[0]!r}; there are {known}"
        raise RefusedError(msg)
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in bounds.items()}
    phase = spec.get("blockPhase") or {}
    if phase:
        small = BlockSpace.small_macro.split("_")
        values.setdefault("smallMacro", f"{phase.get('firstChannels', small[0])}_{phase.get('macro', small[1])}")
    try:
        return (
            BlockSpace(**{block_names[name]: v for name, v in values.items() if name in block_names}),
            MacroSpace(**{macro_names[name]: v for name, v in values.items() if name in macro_names}),
        )
    except (TypeError, ValueError) as error:
        msg = f"{path}: {error}"
        raise RefusedError(msg) from error


def camel(name: str) -> str:
    """A Python name as YAML has it."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
