"""Recorded fine-tuning runs, as CSV: each row is a point of a run's learning curve."""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

ROUNDING = 1e-6
"""An accuracy so far outside [0, 1] is a rounded percentage, and is taken for its nearest bound."""


class UnreadableRecords(ValueError):  # noqa: N818 - it says what is unreadable
    """A file of records lacks a column, or a row's value can't be read; names the file, line and column."""


@dataclass(frozen=True)
class RecordedRun:
    """One point of a recorded learning curve; attributes are named as the file's columns."""

    curve: str
    dataset: str
    model: str
    imagenet_top1: float
    n_classes: float
    imgs_per_class: float
    lr: float
    pct_to_freeze: float
    batch_size: float
    linear_probing: float
    iterations: float
    acc: float
    best_acc: float
    gpu_seconds: float
    final: bool


Curve = list[RecordedRun]
"""Points of one run, in the order of iterations."""
_TEXT = ("curve", "dataset", "model")
_NUMBERS = (
    "imagenet_top1",
    "n_classes",
    "imgs_per_class",
    "lr",
    "pct_to_freeze",
    "batch_size",
    "linear_probing",
    "iterations",
    "acc",
    "best_acc",
    "gpu_seconds",
)


def read_records(path: Path | str, *, final_only: bool = False) -> list[RecordedRun]:
    """Read a CSV file of records, packed with gzip if its name ends in ``.gz``.

    Raises:
        UnreadableRecords: it is not a file of records; the message names the line and column at fault.
        OSError: it can't be opened.
    """
    path = Path(path)
    with open_text(path) as stream:
        try:
            reader = csv.DictReader(stream)
            lacking = [name for name in (*_TEXT, *_NUMBERS, "final") if name not in (reader.fieldnames or ())]
            if lacking:
                msg = f"{path}: column {lacking[0]!r} is missing"
                raise UnreadableRecords(msg)
            return [_record(row, path, reader.line_num) for row in reader if not final_only or row["final"] == "True"]
        except (csv.Error, UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
            msg = f"{path}: not a CSV file of records: {error}"
            raise UnreadableRecords(msg) from error


def open_text(path: Path) -> TextIO:
    """Open a CSV file, unpacking it if its name ends in ``.gz``."""
    if path.name.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _record(row: dict[str, str], path: Path, line: int) -> RecordedRun:
    values: dict[str, Any] = {name: row[name] for name in _TEXT}
    for name in _NUMBERS:
        try:
            values[name] = float(row[name])
        except (TypeError, ValueError) as error:
            msg = f"{path}, line {line}: {name} is {row[name]!r}, not a number"
            raise UnreadableRecords(msg) from error
    for name in ("acc", "best_acc"):
        value = values[name]
        if not -ROUNDING <= value <= 1.0 + ROUNDING:
            msg = f"{path}, line {line}: {name} is {value}, outside [0, 1]"
            raise UnreadableRecords(msg)
        values[name] = min(max(value, 0.0), 1.0)
    return RecordedRun(**values, final=row["final"] == "True")
