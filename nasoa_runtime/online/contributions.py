"""What each group of features contributes to a prediction, beside what all candidates are predicted on average.

Trees are additive in what each of their columns contributes (SHAP values, Lundberg et al., arXiv 1802.03888, which
LightGBM computes exactly), so a mixture of trees is, too. Of the network only the whole is known.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nasoa_runtime.online.description import Batch
from nasoa_runtime.online.experts import TreeExpert
from nasoa_runtime.online.hedged import Hedged
from nasoa_runtime.online.vocabulary import COLUMNS

Floats = NDArray[np.float64]
MOST_COMPARED = 256
"""Candidates, evenly among all, whose mean a prediction is compared with."""
GROUPS: Mapping[str, tuple[str, ...]] = {
    "model": (
        "source_accuracy", "parameters", "macs", "domain_similarity", "image_size", "reduced_precision",
        "architecture", "family",
    ),
    "dataset": ("classes", "images", "images_per_class_mean", "images_per_class_std"),
    "length": ("iterations", "planned_iterations", "epochs", "annealed", "held"),
    "learning rate": (
        "learning_rate", "mean_rate", "rate_now", "rate_x_iterations", "warmup_iterations", "warmup_rate", "schedule",
        "decay_epochs", "decay_rate", "patience_epochs",
    ),
    "frozen stages": ("frozen_stages",),
    "optimizer": (
        "optimizer", "momentum", "second_beta", "weight_decay", "layer_decay", "clip_gradients",
    ),
    "batch size": ("batch_size",),
    "augmentation": (
        "mixup", "mixup_probability", "cutmix", "mirroring", "augmentation", "augment_operations", "augment_magnitude",
    ),
    "regularisation": (
        "label_smoothing", "ema", "linear_probe", "drop", "stochastic_norm", "bss", "cotuning", "delta", "sp",
    ),
}  # fmt: skip
"""All columns that trees see, by what a person would call them together."""
NETWORK = "network"


def contributions(predictor: Hedged, runs: Batch, chosen: Batch) -> dict[str, float]:
    """What each group contributes to the prediction of ``chosen`` less the mean prediction of ``runs``.

    The values sum to that difference (of about :data:`MOST_COMPARED` runs), residuals aside, which are the same for
    all of a request.

    Args:
        predictor: whose prediction it is.
        runs: all candidates, described.
        chosen: the one in question, which need not be among them.
    """
    step = max(1, len(runs) // MOST_COMPARED)
    sample = Batch.concatenated([runs.take(np.arange(0, len(runs), step)), chosen])
    by_column = np.zeros(len(COLUMNS))
    network = 0.0
    for expert, weight in zip(predictor.experts, predictor.weights, strict=True):
        if isinstance(expert, TreeExpert):
            shares = expert.trees.contributions(expert.vocabulary.encode(sample))
            by_column += weight * expert.slope * (shares[-1] - shares[:-1].mean(axis=0))
        else:
            predicted = expert.predict(sample)
            network += float(weight * (predicted[-1] - predicted[:-1].mean()))
    places = {name: place for place, name in enumerate(COLUMNS)}
    found = {group: float(sum(by_column[places[name]] for name in names)) for group, names in GROUPS.items()}
    return found | {NETWORK: network}
