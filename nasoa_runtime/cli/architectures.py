"""``nasoa arch`` and ``nasoa space``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer
import yaml
from pydantic import TypeAdapter, ValidationError

from nasoa_runtime.api.kinds import SEARCH
from nasoa_runtime.api.reading import first_problem
from nasoa_runtime.architecture.complexity import describe as describe_encoding
from nasoa_runtime.architecture.space import BlockSpace, MacroSpace, space_size
from nasoa_runtime.cli.common import JsonFlag, RefusedError, answer, facts, table

arch = typer.Typer(no_args_is_help=True, help="Look at architectures by their encodings.")
Space = TypeVar("Space", BlockSpace, MacroSpace)

space = typer.Typer(no_args_is_help=True, help="Look at the spaces that are searched.")


@arch.command()
def describe(
    encoding: Annotated[str, typer.Argument(help="BLOCK_FIRSTCHANNEL_MACRO, such as 02031-a02_64_111-2111-211-11.")],
    image_size: Annotated[int, typer.Option(min=1, help="Width and height of the images, in pixels.")] = 224,
    classes: Annotated[int, typer.Option(min=1, help="Number of the classifier's outputs.")] = 1000,
    stem: Annotated[
        Literal["standard", "low-resolution"],
        typer.Option(help="low-resolution leaves out the two strides of the stem."),
    ] = "standard",
    as_json: JsonFlag = False,
) -> None:
    """Show the canonical form of an architecture, and what it costs."""
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
        typer.Option(
            "--space",
            exists=True,
            dir_okay=False,
            help="YAML file with bounds, or with a whole NASSearch; without it, the published space.",
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Count the members of the block and of the macro space."""
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
    phase: Mapping[str, Any] = {}
    if isinstance(document, dict) and "kind" in document:
        if document["kind"] != SEARCH.kind:
            msg = f"{path}: has a {document['kind']}; give a file with a {SEARCH.kind}, or with bounds by name"
            raise RefusedError(msg)
        spec = part_of(document, "spec", path)
        document, phase = part_of(spec, "space", path), part_of(spec, "blockPhase", path)
    bounds = part_of({"bounds": document}, "bounds", path)
    known = {camel(field.name) for kind in (BlockSpace, MacroSpace) for field in fields(kind)}
    unknown = sorted(map(str, set(bounds) - known))
    if unknown:
        msg = f"{path}: unknown bound {unknown[0]!r}; there are {', '.join(sorted(known))}"
        raise RefusedError(msg)
    if phase:
        small = BlockSpace.small_macro.split("_")
        text = f"{phase.get('firstChannels', small[0])}_{phase.get('macro', small[1])}"
        bounds = {"smallMacro": text} | dict(bounds)
    return space_of(BlockSpace, bounds, path), space_of(MacroSpace, bounds, path)


def part_of(document: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Any]:
    """What is below ``name``; nothing where it is left out.

    Raises:
        RefusedError: it has no fields.
    """
    part = document.get(name)
    if part is None:
        return {}
    if not isinstance(part, dict):
        msg = f"{path}: {name}: write bounds by name, such as maxLayers: 2"
        raise RefusedError(msg)
    return part


def space_of(kind: type[Space], bounds: Mapping[str, Any], path: Path) -> Space:
    """The space of a kind within those of ``bounds`` that are its own.

    Raises:
        RefusedError: a bound is of another type, or can't be used; the message names it as YAML does.
    """
    names = {field.name: camel(field.name) for field in fields(kind)}
    own = {field: bounds[name] for field, name in names.items() if bounds.get(name) is not None}
    try:
        return TypeAdapter(kind).validate_json(json.dumps(own, default=str), strict=True)
    except ValidationError as error:
        problem = re.sub(r"\b[a-z]+(_[a-z]+)+\b", lambda found: camel(found[0]), first_problem(error, root=""))
        msg = f"{path}: {problem}"
        raise RefusedError(msg) from error


def camel(name: str) -> str:
    """A Python name as YAML has it."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
