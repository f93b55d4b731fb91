"""What the predictor knows of a run: one line each, with where its value comes from.

A new feature is one more line of a table. Its value then arrives wherever runs are described (see
:mod:`nasoa_runtime.online.description`): in what is predicted, in what is recorded, and in what is learned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from nasoa_runtime.documents.predictor import Transform
from nasoa_runtime.online.rate_schedules import WARMUP, mean_rate, rate_now
from nasoa_runtime.online.regimes import Regimes

Source = Literal["model", "dataset", "regime", "row", "description"]
"""What a value is read from: :class:`~nasoa_runtime.documents.outcomes.ModelFacts`, the
:class:`~nasoa_runtime.boundary.DatasetStatistics`, the :class:`~nasoa_runtime.online.regimes.Regimes`, the rows of a
file of recorded runs, or the other features of the description."""


@dataclass(frozen=True)
class Feature:
    """One number that describes a run."""

    name: str
    transform: Transform
    typical: float
    """A usual value, before the transform."""
    spread: float
    """A usual standard deviation, after the transform."""
    of: Source
    """What the value is read from."""
    optional: bool = False
    """May be missing (NaN in a batch, null in a record)."""
    read: Callable[[Any], Any] | None = None
    """From the source to the value; without it, the source's attribute of the feature's name is read. Regimes, rows and
    descriptions come as columns, so what is computed from them must work on arrays."""

    def value(self, source: Any) -> Any:
        """The feature's value, or its column, before the transform."""
        return getattr(source, self.name) if self.read is None else self.read(source)


FeatureTable = tuple[Feature, ...]


def _constant(value: float | None) -> Callable[[Any], float | None]:
    """What is the same in every run of ours, and differs among recorded ones."""
    return lambda _: value


def _of_rand_augment(value: float) -> Callable[[Regimes], Any]:
    return lambda regimes: np.where(regimes.augmentation == "rand-augment", value, np.nan)


def _of_adam(value: float) -> Callable[[Regimes], Any]:
    return lambda regimes: np.where(regimes.optimizer == "adamw", value, np.nan)


RUN_FEATURES: FeatureTable = (
    Feature("source_accuracy", "linear", 0.75, 0.1, of="model", optional=True),
    Feature("parameters", "log", 1e7, 1.0, of="model", optional=True),
    Feature("macs", "log", 1e9, 1.2, of="model", optional=True),
    Feature("domain_similarity", "linear", 0.8, 0.1, of="model", optional=True),
    Feature("classes", "log", 20.0, 1.2, of="dataset"),
    Feature("images_per_class_mean", "log", 100.0, 1.2, of="dataset"),
    Feature("images_per_class_std", "log1p", 20.0, 1.5, of="dataset", optional=True),
    Feature("iterations", "log", 500.0, 1.5, of="regime"),
    Feature("learning_rate", "log", 0.01, 1.5, of="regime"),
    Feature("frozen_stages", "linear", 2.5, 1.7, of="regime"),
    # What the paper's predictors are not told.
    Feature("image_size", "log", 200.0, 0.5, of="model", optional=True),
    Feature("reduced_precision", "linear", 0.5, 0.5, of="model"),
    Feature("images", "log", 8000.0, 1.5, of="dataset"),
    Feature("planned_iterations", "log", 5000.0, 2.0, of="regime"),
    Feature("annealed", "linear", 0.5, 0.5, of="regime"),
    Feature("held", "linear", 0.5, 0.5, of="regime"),
    Feature("batch_size", "log", 16.0, 1.5, of="regime"),
    Feature("momentum", "linear", 0.7, 0.4, of="regime"),
    Feature("second_beta", "linear", 0.99, 0.02, of="regime", optional=True, read=_of_adam(0.999)),
    Feature("weight_decay", "decades", 1e-4, 4.0, of="regime"),
    Feature("layer_decay", "linear", 0.8, 0.15, of="regime"),
    Feature("clip_gradients", "linear", 5.0, 4.5, of="regime", optional=True, read=_constant(None)),
    Feature("warmup_iterations", "log1p", 500.0, 3.0, of="regime", read=lambda r: WARMUP * r.planned_iterations),
    Feature("warmup_rate", "decades", 1e-6, 5.0, of="regime", read=_constant(0.0)),
    Feature("decay_epochs", "linear", 30.0, 30.0, of="regime", optional=True, read=_constant(None)),
    Feature("decay_rate", "linear", 0.3, 0.3, of="regime", optional=True, read=_constant(None)),
    Feature("patience_epochs", "linear", 5.0, 4.0, of="regime", optional=True, read=_constant(None)),
    Feature("label_smoothing", "linear", 0.05, 0.05, of="regime"),
    Feature("mixup", "log1p", 0.5, 0.6, of="regime"),
    Feature("mixup_probability", "linear", 0.5, 0.4, of="regime", read=lambda r: np.where(r.mixup > 0, 1.0, 0.0)),
    Feature("cutmix", "log1p", 0.5, 0.6, of="regime", read=_constant(0.0)),
    Feature("mirroring", "linear", 0.5, 0.5, of="regime", optional=True),
    Feature("augment_operations", "linear", 2.0, 1.0, of="regime", optional=True, read=_of_rand_augment(2.0)),
    Feature("augment_magnitude", "linear", 10.0, 5.0, of="regime", optional=True, read=_of_rand_augment(9.0)),
    Feature("ema", "linear", 0.3, 0.5, of="regime"),
    Feature("linear_probe", "linear", 0.1, 0.3, of="regime"),
    Feature("drop", "linear", 0.15, 0.15, of="regime", read=_constant(0.0)),
    Feature("stochastic_norm", "linear", 0.5, 0.5, of="regime", read=_constant(0.0)),
    Feature("bss", "decades", 1e-3, 4.0, of="regime", read=_constant(0.0)),
    Feature("cotuning", "decades", 1e-2, 5.0, of="regime", read=_constant(0.0)),
    Feature("delta", "decades", 1e-3, 4.0, of="regime", read=_constant(0.0)),
    Feature("sp", "decades", 1e-3, 4.0, of="regime", read=_constant(0.0)),
)
"""All numbers that are known of a run before it is started (accuracies and similarities in [0, 1]), for ours and for
recorded ones alike. ``iterations`` are those of the point in question: of a run that is considered, what is planned.
Regularisers that only recorded runs have are 0 in ours; what does not act in a run is missing in its description."""

RUN_WORDS: FeatureTable = (
    Feature("architecture", "linear", 0, 1, of="model", optional=True, read=lambda model: model.known_as),
    Feature("family", "linear", 0, 1, of="model", optional=True),
    Feature("optimizer", "linear", 0, 1, of="regime"),
    Feature("schedule", "linear", 0, 1, of="regime", read=lambda _: "cosine"),
    Feature("augmentation", "linear", 0, 1, of="regime"),
)
"""All that is known of it in words. ``architecture`` is the public name of a model, whatever a zoo calls it."""

PAPER_FEATURES: FeatureTable = tuple(
    # A request's dataset has been counted; only of recorded runs the spread of images is not known.
    replace(feature, optional=False) if feature.name == "images_per_class_std" else feature
    for feature in RUN_FEATURES[:10]
)
"""What the paper's predictors are told of a request's runs (SPEC 5), beside the model."""


def _epochs(batch: Any) -> Any:
    return batch.values["iterations"] * batch.values["batch_size"] / batch.values["images"]


DERIVED: FeatureTable = (
    Feature("epochs", "log", 10.0, 1.3, of="description", read=_epochs),
    Feature("mean_rate", "log", 1e-3, 2.5, of="description", read=mean_rate),
    Feature("rate_now", "linear", 0.5, 0.4, of="description", read=rate_now),
    Feature(
        "rate_x_iterations", "log", 5.0, 3.0, of="description", read=lambda b: mean_rate(b) * b.values["iterations"]
    ),
)
"""What follows from a description: how long a run is for its data, and how far the learning rate has carried it."""

NUMBERS: FeatureTable = (*RUN_FEATURES, *DERIVED)
"""All numbers that experts are told."""
_ONE_HOT = {
    "optimizer": ("sgd", "adam", "adamw", "adamp"),
    "schedule": ("cosine", "step", "multistep", "plateau"),
    "augmentation": ("crop", "rand-augment", "trivial-augment", "auto-augment v0", "auto-augment original"),
}


def _is(name: str, word: str) -> Feature:
    return Feature(
        f"{name}={word}",
        "linear",
        0.3,
        0.45,
        of="description",
        read=lambda batch: (batch.words[name] == word).astype(np.float64),
    )


NETWORK_FEATURES: FeatureTable = (*NUMBERS, *(_is(name, word) for name, words in _ONE_HOT.items() for word in words))
"""What the network of ``hedge`` is told: all numbers, and a column for each word. Models have columns of their own."""

REPLAY_FEATURES: FeatureTable = (
    Feature("imagenet_top1", "linear", 75.0, 8.0, of="row"),
    Feature("n_classes", "log", 50.0, 1.0, of="row"),
    Feature("imgs_per_class", "log", 200.0, 1.5, of="row"),
    Feature("lr", "log", 1e-3, 2.5, of="row"),
    Feature("iterations", "log", 5000.0, 3.0, of="row"),
    Feature("batch_size", "log", 32.0, 1.6, of="row"),
    Feature("pct_to_freeze", "linear", 0.5, 0.35, of="row"),
)
"""What the paper's predictors are told of a recorded run in replays, under the names of its file's columns."""
