"""Recorded fine-tuning runs, as CSV: each row is a point of a run's learning curve."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TextIO

ROUNDING = 1e-6
"""An accuracy so far outside [0, 1] is a rounded percentage, and is taken for its nearest bound."""


class UnreadableRecords(ValueError):  # noqa: N818 - it says what is unreadable
    """A file of records has other columns than it must, or a value can't be read; names file, line and column."""


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """One point of a recorded learning curve; attributes are the file's columns, all of them, ``None`` where empty.

    Only columns whose type allows ``None`` may be empty. Shares, momenta and probabilities are in [0, 1], accuracies
    of ImageNet in per cent, learning rates per step, model sizes in millions of parameters and 10^9
    multiply-accumulates.
    """

    curve: str
    dataset: str
    model: str
    imagenet_top1: float
    n_classes: float
    imgs_per_class: float
    n_train: float
    lr: float
    pct_to_freeze: float
    batch_size: float
    linear_probing: float
    epochs: float
    iterations: float
    """Batches of the run's own size, so far."""
    acc: float
    """Validation accuracy at this point."""
    best_acc: float
    """The best so far."""
    gpu_seconds: float
    final: bool
    """Whether this is the run's last point."""
    status: str
    opt: str
    opt_betas: tuple[float, float] | None
    """Of Adam's kin alone."""
    momentum: float
    weight_decay: float
    layer_decay: float | None
    clip_grad: float | None
    amp: float
    sched: str
    warmup_epochs: float
    warmup_lr: float
    decay_epochs: float
    decay_rate: float
    patience_epochs: float
    mixup: float
    mixup_prob: float
    cutmix: float
    smoothing: float
    drop: float
    stoch_norm: float
    data_augmentation: str
    auto_augment: str | None
    """The policy, where ``data_augmentation`` is ``auto_augment``."""
    ra_num_ops: float
    ra_magnitude: float
    bss_reg: float
    cotuning_reg: float
    delta_reg: float
    sp_reg: float
    model_family: str
    model_params_m: float
    model_gmacs: float
    model_img_size: float
    imagenet_top5: float


Curve = list[RecordedRun]
"""Points of one run, in the order of iterations."""
COLUMNS = tuple(field.name for field in fields(RecordedRun))
NUMERIC = frozenset(field.name for field in fields(RecordedRun) if str(field.type).startswith(("float", "bool")))
"""Columns of numbers; the others hold words, or pairs of numbers."""
_TYPES: dict[str, str] = {field.name: str(field.type) for field in fields(RecordedRun)}


def read_records(path: Path | str, *, final_only: bool = False) -> list[RecordedRun]:
    """Read a CSV file of records, packed with gzip if its name ends in ``.gz``. The columns may come in any order.

    Raises:
        UnreadableRecords: it is not a file of records; the message names the line and column at fault.
        OSError: it can't be opened.
    """
    path = Path(path)
    with open_text(path) as stream:
        try:
            reader = csv.DictReader(stream)
            _check_columns(reader.fieldnames or (), path)
            return [_record(row, path, reader.line_num) for row in reader if not final_only or row["final"] == "True"]
        except (csv.Error, UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
            msg = f"{path}: not a CSV file of records: {error}"
            raise UnreadableRecords(msg) from error


def read_curves(path: Path | str) -> list[Curve]:
    """The finished runs of a file, whole, each in the order of its iterations; runs in the order of their first row."""
    curves: dict[str, Curve] = {}
    for record in read_records(path):
        curves.setdefault(record.curve, []).append(record)
    ordered = (sorted(curve, key=lambda point: point.iterations) for curve in curves.values())
    return [curve for curve in ordered if any(point.final for point in curve)]


def open_text(path: Path) -> TextIO:
    """Open a CSV file, unpacking it if its name ends in ``.gz``."""
    if path.name.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _check_columns(names: Iterable[str], path: Path) -> None:
    present = list(names)
    for name in COLUMNS:
        if name not in present:
            msg = f"{path}: column {name!r} is missing"
            raise UnreadableRecords(msg)
    for name in present:
        if name not in COLUMNS:
            msg = f"{path}: column {name!r} is unknown"
            raise UnreadableRecords(msg)


def _record(row: Mapping[str, str | None], path: Path, line: int) -> RecordedRun:
    values: dict[str, Any] = {}
    for name, kind in _TYPES.items():
        try:
            values[name] = _value(row[name], kind)
        except ValueError as error:
            msg = f"{path}, line {line}: {name} is {row[name]!r}, {error}"
            raise UnreadableRecords(msg) from None
    for name in ("acc", "best_acc"):
        value = values[name]
        if not -ROUNDING <= value <= 1.0 + ROUNDING:
            msg = f"{path}, line {line}: {name} is {value}, outside [0, 1]"
            raise UnreadableRecords(msg)
        values[name] = min(max(value, 0.0), 1.0)
    return RecordedRun(**values)


def _value(text: str | None, kind: str) -> Any:
    """A cell's value. ``text`` is ``None`` where a row ends early.

    Raises:
        ValueError: it is none; says what was expected.
    """
    if not text:
        if text is not None and kind.endswith("| None"):
            return None
        msg = "but it must not be empty"
        raise ValueError(msg)
    plain = kind.removesuffix(" | None")
    if plain == "str":
        return text
    if plain == "bool":
        return text == "True"
    try:
        if plain == "float":
            return float(text)
        first, second = text.split()
        return float(first), float(second)
    except ValueError:
        msg = "not a number" if plain == "float" else "not two numbers"
        raise ValueError(msg) from None
