"""What the commands share: where S3 is, how they answer, and what counts as refused input."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from nasoa_runtime.documents.zoo import ZooManifest
from nasoa_runtime.storage.s3 import ObjectStore, connect
from nasoa_runtime.storage.zoo import read_manifest

ENDPOINT_VARIABLE = "NASOA_S3_ENDPOINT"
REGION_VARIABLE = "NASOA_S3_REGION"
BUCKET_VARIABLE = "NASOA_SYSTEM_BUCKET"
DEFAULT_BUCKET = "nasoa-system"
DEFAULT_REGION = "us-east-1"

JsonFlag = Annotated[bool, typer.Option("--json", help="Answer with one JSON document.")]


class RefusedError(Exception):
    """The command can't do what was asked; the message says what to write or do instead."""


def system_store(environment: Mapping[str, str] = os.environ) -> tuple[ObjectStore, str]:
    """The store and the system bucket that the environment names; credentials come from the usual chain."""
    store = connect(environment.get(ENDPOINT_VARIABLE) or None, environment.get(REGION_VARIABLE) or DEFAULT_REGION)
    return store, environment.get(BUCKET_VARIABLE) or DEFAULT_BUCKET


def zoo_manifest(store: ObjectStore, bucket: str, name: str, field: str = "") -> ZooManifest:
    """The manifest of a zoo that must be there; ``field`` is what a message begins with otherwise.

    Raises:
        RefusedError: there is no such zoo.
    """
    manifest = read_manifest(store, bucket, name)
    if manifest is None:
        msg = f"{field}there is no zoo {name!r} in bucket {bucket!r}; nasoa zoo list names those that are"
        raise RefusedError(msg)
    return manifest


def answer(document: Any, as_json: bool, *tables: Table | str) -> None:
    """Print the document as JSON, or else the tables for people."""
    if as_json:
        sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")
        return
    console = Console(soft_wrap=True)
    for table in tables:
        console.print(table, highlight=False)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """A table of text; numbers stand to the right."""
    made = Table(title=title or None, title_justify="left", show_header=any(columns))
    for number, column in enumerate(columns):
        right = bool(rows) and all(isinstance(row[number], int | float) for row in rows)
        made.add_column(column, justify="right" if right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(cell(value) for value in row))
    return made


def cell(value: object) -> str:
    """One cell: thousands are grouped, floats have four digits, and what is missing is a dash."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def facts(title: str, document: Mapping[str, object]) -> Table:
    """A table of names and values."""
    return table(title, ("", ""), [(name, value) for name, value in document.items()])
