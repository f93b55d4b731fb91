"""Recorded runs described as our own are: every column that is known before a run is started, and nothing else.

What a run cost, how it ended and what it reached are outcomes, and ``curve`` and ``dataset`` are mere names:
:data:`NOT_DESCRIBED`, so that together with the columns that are read here a file's are complete.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nasoa_runtime.online.description import Batch, describe_rows
from nasoa_runtime.online.features import RUN_FEATURES, RUN_WORDS, FeatureTable
from nasoa_runtime.online.records import RecordedRun

PLANNED_EPOCHS = 50.0
"""Over which every recorded schedule was laid."""
NOT_DESCRIBED = (
    "curve", "dataset", "acc", "best_acc", "gpu_seconds", "final", "status", "linear_probing", "imagenet_top5",
    "epochs",
)  # fmt: skip
"""Names and outcomes; a column that is 0 in every row; what follows from others (``epochs``) or nearly does."""
HEAD_ONLY = 5


def _steps(epochs: str) -> Callable[[Any], Any]:
    return lambda rows: getattr(rows, epochs) * rows.n_train / rows.batch_size


def _where(column: str, words: tuple[str, ...], value: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A value that acts only where a column has one of these words."""
    return lambda rows: np.where(np.isin(getattr(rows, column).astype(np.str_), words), value(rows), np.nan)


def _beta(index: int) -> Callable[[Any], Any]:
    return lambda rows: np.array([np.nan if betas is None else betas[index] for betas in rows.opt_betas], np.float64)


def _momentum(rows: Any) -> Any:
    """Of Adam's kin the first beta; it acts for ``momentum`` and not for ``sgd``."""
    own = np.where(rows.opt == "momentum", rows.momentum, 0.0)
    first = _beta(0)(rows)
    return np.where(np.isnan(first), own, first)


def _augmentation(rows: Any) -> Any:
    plain = {"none": "crop", "random_augment": "rand-augment", "trivial_augment": "trivial-augment"}
    pairs = zip(rows.data_augmentation, rows.auto_augment, strict=True)
    return np.array([plain.get(kind) or f"auto-augment {policy}" for kind, policy in pairs], np.object_)


_NUMBERS: dict[str, Callable[[Any], Any]] = {
    "source_accuracy": lambda rows: rows.imagenet_top1 / 100,
    "parameters": lambda rows: rows.model_params_m * 1e6,
    "macs": lambda rows: rows.model_gmacs * 1e9,
    "domain_similarity": lambda _: np.nan,
    "classes": lambda rows: rows.n_classes,
    "images_per_class_mean": lambda rows: rows.imgs_per_class,
    "images_per_class_std": lambda _: np.nan,
    "iterations": lambda rows: rows.iterations,
    "learning_rate": lambda rows: rows.lr,
    "frozen_stages": lambda rows: HEAD_ONLY * rows.pct_to_freeze,
    "image_size": lambda rows: rows.model_img_size,
    "reduced_precision": lambda rows: rows.amp,
    "images": lambda rows: rows.n_train,
    "planned_iterations": lambda rows: PLANNED_EPOCHS * rows.n_train / rows.batch_size,
    "annealed": lambda _: 0.0,
    "held": lambda _: 0.0,
    "batch_size": lambda rows: rows.batch_size,
    "momentum": _momentum,
    "second_beta": _beta(1),
    "weight_decay": lambda rows: rows.weight_decay,
    "layer_decay": lambda rows: np.nan_to_num(rows.layer_decay, nan=1.0),
    "clip_gradients": lambda rows: rows.clip_grad,
    "warmup_iterations": _steps("warmup_epochs"),
    "warmup_rate": lambda rows: rows.warmup_lr,
    "decay_epochs": _where("sched", ("step", "multistep"), lambda rows: rows.decay_epochs),
    "decay_rate": _where("sched", ("step", "multistep"), lambda rows: rows.decay_rate),
    "patience_epochs": _where("sched", ("plateau",), lambda rows: rows.patience_epochs),
    "label_smoothing": lambda rows: rows.smoothing,
    "mixup": lambda rows: rows.mixup,
    "mixup_probability": lambda rows: rows.mixup_prob,
    "cutmix": lambda rows: rows.cutmix,
    "mirroring": lambda _: np.nan,
    "augment_operations": _where("data_augmentation", ("random_augment",), lambda rows: rows.ra_num_ops),
    "augment_magnitude": _where("data_augmentation", ("random_augment",), lambda rows: rows.ra_magnitude),
    "ema": lambda _: 0.0,
    "linear_probe": lambda _: 0.0,
    "drop": lambda rows: rows.drop,
    "stochastic_norm": lambda rows: rows.stoch_norm,
    "bss": lambda rows: rows.bss_reg,
    "cotuning": lambda rows: rows.cotuning_reg,
    "delta": lambda rows: rows.delta_reg,
    "sp": lambda rows: rows.sp_reg,
}
_WORDS: dict[str, Callable[[Any], Any]] = {
    "architecture": lambda rows: rows.model,
    "family": lambda rows: rows.model_family,
    "optimizer": lambda rows: np.where(rows.opt == "momentum", "sgd", rows.opt),
    "schedule": lambda rows: rows.sched,
    "augmentation": _augmentation,
}


def _read(table: FeatureTable, readers: dict[str, Callable[[Any], Any]]) -> FeatureTable:
    return tuple(replace(feature, of="row", read=readers[feature.name]) for feature in table)


RECORDED_FEATURES = _read(RUN_FEATURES, _NUMBERS)
RECORDED_WORDS = _read(RUN_WORDS, _WORDS)


def described(points: Sequence[RecordedRun]) -> Batch:
    """Points of recorded runs, described as runs of ours are."""
    return describe_rows(points, RECORDED_FEATURES, RECORDED_WORDS)
