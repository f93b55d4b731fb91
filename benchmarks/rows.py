"""How the peers see recorded runs: numbers, and integer codes of words. Nothing of the product's own description.

A quantity that spans decades is its logarithm. What may be empty (layer decay, clipping, the betas of Adam's kin) has
few values and counts as a word. Nothing that a run reached or cost is among the columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.online.records import Curve, RecordedRun

Floats = NDArray[np.float64]
SMALLEST = 1e-7
"""What counts for 0 where a logarithm is taken."""
DATASET = ("n_classes", "imgs_per_class", "n_train")
MODEL = ("imagenet_top1", "imagenet_top5", "model_params_m", "model_gmacs", "model_img_size")
PENALTIES = ("bss_reg", "cotuning_reg", "delta_reg", "sp_reg")
SETTINGS = (
    "lr",
    "pct_to_freeze",
    "batch_size",
    "momentum",
    "weight_decay",
    "amp",
    "warmup_epochs",
    "warmup_lr",
    "decay_epochs",
    "decay_rate",
    "patience_epochs",
    "mixup",
    "mixup_prob",
    "cutmix",
    "smoothing",
    "drop",
    "stoch_norm",
    "ra_num_ops",
    "ra_magnitude",
    *PENALTIES,
)
PROGRESS = ("epochs", "iterations")
NUMBERS = (*DATASET, *MODEL, *SETTINGS, *PROGRESS)
LOGARITHMS = frozenset(
    {*DATASET, *MODEL[2:], "lr", "batch_size", "weight_decay", "warmup_lr", *PENALTIES, *PROGRESS},
)
RATES = ("mean rate", "mean rate x iterations")
"""How far the learning rate has carried a run: short time limits end within the warm-up."""
CHOSEN_WORDS = ("model", "opt", "opt_betas", "layer_decay", "clip_grad", "sched", "data_augmentation", "auto_augment")
WORDS = (*CHOSEN_WORDS, "model_family")
WIDTH = len(NUMBERS) + len(RATES) + len(WORDS)
CODED = tuple(range(WIDTH - len(WORDS), WIDTH))
"""Columns that are codes of words."""


@dataclass(frozen=True)
class Codes:
    """The words that were met, in the order of :data:`WORDS`, each sorted: equal runs give equal codes."""

    words: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, runs: Sequence[RecordedRun]) -> Codes:
        """The words of ``runs``."""
        return cls(tuple(tuple(sorted({word(run, name) for run in runs})) for name in WORDS))

    def rows(self, runs: Sequence[RecordedRun]) -> Floats:
        """Points as rows, shape (n, :data:`WIDTH`); a word that was not met is NaN, and nothing else is."""
        codes = [{known: float(code) for code, known in enumerate(words)} for words in self.words]
        found = [
            [number(run, name) for name in NUMBERS]
            + rates(run)
            + [code.get(word(run, name), math.nan) for name, code in zip(WORDS, codes, strict=True)]
            for run in runs
        ]
        return np.array(found, np.float64).reshape(len(runs), WIDTH)

    def one_hot(self, runs: Sequence[RecordedRun]) -> Floats:
        """The same with a column of 0 and 1 for each word, for models that measure distances."""
        rows = self.rows(runs)
        columns = [rows[:, : CODED[0]]]
        for column, words in zip(CODED, self.words, strict=True):
            columns.append(np.equal.outer(rows[:, column], np.arange(len(words))).astype(float))
        return np.hstack(columns)


def number(run: RecordedRun, name: str) -> float:
    """A column's number, its logarithm to base 10 where it spans decades."""
    value = float(getattr(run, name))
    return math.log10(max(value, SMALLEST)) if name in LOGARITHMS else value


def word(run: RecordedRun, name: str) -> str:
    """A column's word, an empty one where there is none."""
    value = getattr(run, name)
    return "" if value is None else str(value)


def rates(run: RecordedRun) -> list[float]:
    """Logarithms of the mean learning rate so far, without any decay, and of that times the iterations."""
    warming = min(run.epochs, run.warmup_epochs)
    reached = run.warmup_lr + (run.lr - run.warmup_lr) * (warming / run.warmup_epochs if run.warmup_epochs else 1.0)
    mean = (warming * (run.warmup_lr + reached) / 2 + (run.epochs - warming) * run.lr) / run.epochs
    logarithm = math.log10(max(mean, SMALLEST))
    return [logarithm, logarithm + math.log10(run.iterations)]


def spaced(curve: Curve, count: int) -> Curve:
    """At most ``count`` points of a curve, evenly in the logarithm of their number, from first to last."""
    return [curve[index] for index in sorted({round(float(p)) - 1 for p in np.geomspace(1, len(curve), count)})]
