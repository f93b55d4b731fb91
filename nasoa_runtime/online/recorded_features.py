"""A full description of recorded runs: every column that is known before a run is started, and nothing else.

Quantities are a :data:`~nasoa_runtime.online.features.FeatureTable` as a request's are; words are a few categories.
Trees get the categories as codes (:class:`Vocabulary`), networks as columns of 0 and 1 (:data:`NETWORK_FEATURES`). What
a run cost, how it ended and what it reached are outcomes, and ``curve`` and ``dataset`` are mere names:
:data:`NOT_DESCRIBED`, so that together with the described columns a file's are complete.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.documents.predictor import Transform
from nasoa_runtime.online.description import describe_rows
from nasoa_runtime.online.encoder import apply_transforms
from nasoa_runtime.online.features import Feature, FeatureTable
from nasoa_runtime.online.rate_schedules import mean_rate
from nasoa_runtime.online.records import RecordedRun

Floats = NDArray[np.float64]
SMALLEST = 1e-7
"""What a quantity that spans decades and may be 0 counts as at least, so that it has a logarithm."""
NOT_DESCRIBED = ("curve", "dataset", "acc", "best_acc", "gpu_seconds", "final", "status", "linear_probing")
"""Names, outcomes, and the column that is 0 in every row."""
CATEGORIES = ("model", "model_family", "opt", "sched", "data_augmentation", "auto_augment")
"""Columns of words."""


def _plain(name: str, typical: float, spread: float, *, optional: bool = False) -> Feature:
    return Feature(name, "linear", typical, spread, of="row", optional=optional)


def _decades(name: str, typical: float, spread: float) -> Feature:
    """A quantity that may be 0."""

    def at_least_smallest(row: RecordedRun) -> float:
        return max(float(getattr(row, name)), SMALLEST)

    return Feature(name, "log", typical, spread, of="row", read=at_least_smallest)


def _log(name: str, typical: float, spread: float) -> Feature:
    transform: Transform = "log"
    return Feature(name, transform, typical, spread, of="row")


def _beta(index: int, typical: float) -> Feature:
    def read(row: RecordedRun) -> float | None:
        return None if row.opt_betas is None else row.opt_betas[index]

    return Feature(f"opt_betas[{index}]", "linear", typical, 0.3, of="row", optional=True, read=read)


QUANTITIES: FeatureTable = (
    _log("n_classes", 50.0, 1.0),
    _log("imgs_per_class", 200.0, 1.5),
    _log("n_train", 8000.0, 1.5),
    _plain("imagenet_top1", 80.0, 6.0),
    _plain("imagenet_top5", 95.0, 3.0),
    _log("model_params_m", 20.0, 1.3),
    _log("model_gmacs", 5.0, 1.7),
    _log("model_img_size", 300.0, 0.4),
    _log("lr", 1e-3, 2.5),
    _plain("pct_to_freeze", 0.4, 0.4),
    _log("batch_size", 16.0, 1.5),
    _log("epochs", 10.0, 1.3),
    _log("iterations", 5000.0, 2.0),
    Feature("mean rate", "log", 1e-3, 2.5, of="row", read=mean_rate),
    Feature("rate x iterations", "log", 5.0, 3.0, of="row", read=lambda row: mean_rate(row) * row.iterations),
    _beta(0, 0.6),
    _beta(1, 0.8),
    _plain("momentum", 0.7, 0.4),
    _decades("weight_decay", 1e-4, 4.0),
    _plain("layer_decay", 0.7, 0.1, optional=True),
    _plain("clip_grad", 5.0, 4.5, optional=True),
    _plain("amp", 0.5, 0.5),
    _plain("warmup_epochs", 5.0, 4.0),
    _decades("warmup_lr", 1e-6, 5.0),
    _plain("decay_epochs", 30.0, 30.0),
    _plain("decay_rate", 0.3, 0.3),
    _plain("patience_epochs", 5.0, 4.0),
    _plain("mixup", 0.5, 1.0),
    _plain("mixup_prob", 0.5, 0.4),
    _plain("cutmix", 0.5, 1.0),
    _plain("smoothing", 0.05, 0.05),
    _plain("drop", 0.15, 0.15),
    _plain("stoch_norm", 0.5, 0.5),
    _plain("ra_num_ops", 2.0, 1.0),
    _plain("ra_magnitude", 10.0, 7.0),
    _decades("bss_reg", 1e-3, 4.0),
    _decades("cotuning_reg", 1e-2, 5.0),
    _decades("delta_reg", 1e-3, 4.0),
    _decades("sp_reg", 1e-3, 4.0),
)
"""Numbers, under the names of the file's columns, and how far the learning rate has carried a run. ``epochs`` and
``iterations`` are those of the point: of a run that is considered, what is planned."""
_WORDS = {
    "opt": ("adam", "adamw", "adamp", "sgd", "momentum"),
    "sched": ("cosine", "step", "multistep", "plateau"),
    "data_augmentation": ("none", "auto_augment", "random_augment", "trivial_augment"),
    "auto_augment": ("v0", "original"),
}


def _is(column: str, word: str) -> Feature:
    read: Callable[[RecordedRun], float] = lambda row: float(getattr(row, column) == word)  # noqa: E731
    return Feature(f"{column}={word}", "linear", 0.3, 0.45, of="row", read=read)


NETWORK_FEATURES: FeatureTable = (
    *QUANTITIES,
    *(_is(column, word) for column, words in _WORDS.items() for word in words),
)
"""What a network is told: the quantities, and one column for each word. The model has its own column in the encoder."""


@dataclass(frozen=True)
class Vocabulary:
    """The words of each category that were met when a model was fitted, in the order of :data:`CATEGORIES`."""

    words: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, runs: Sequence[RecordedRun]) -> Vocabulary:
        """The words of ``runs``, sorted, so that equal runs give equal codes."""
        found = ({getattr(run, name) for run in runs} - {None} for name in CATEGORIES)
        return cls(tuple(tuple(sorted(words)) for words in found))

    def describe(self, runs: Sequence[RecordedRun]) -> Floats:
        """Descriptions of points, shape (n, width): quantities, then codes; NaN is missing, or a word not met."""
        quantities = apply_transforms(QUANTITIES, describe_rows(QUANTITIES, runs))
        codes = np.full((len(runs), len(CATEGORIES)), np.nan)
        for column, (name, words) in enumerate(zip(CATEGORIES, self.words, strict=True)):
            code = {word: float(index) for index, word in enumerate(words)}
            codes[:, column] = [code.get(getattr(run, name), np.nan) for run in runs]
        return np.hstack([quantities, codes])


WIDTH = len(QUANTITIES) + len(CATEGORIES)
"""Columns of a description for trees."""
CODED = tuple(range(len(QUANTITIES), WIDTH))
"""Those of them that are codes of words."""
EPOCHS, ITERATIONS = (next(i for i, f in enumerate(QUANTITIES) if f.name == name) for name in ("epochs", "iterations"))
"""The columns that say how far a run has gone."""
