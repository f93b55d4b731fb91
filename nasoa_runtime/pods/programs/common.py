"""What the training programs share."""

from __future__ import annotations

import logging
import math

from torch import nn

from nasoa_runtime.boundary import Preprocessing, Recipe
from nasoa_runtime.pods.dataset.reading import Dataset
from nasoa_runtime.pods.failures import BadInputError
from nasoa_runtime.pods.pod import Pod
from nasoa_runtime.pods.training.batches import Loader
from nasoa_runtime.pods.training.device import Target
from nasoa_runtime.pods.training.evaluation import Evaluation, evaluate
from nasoa_runtime.pods.training.loop import Hyperparameters
from nasoa_runtime.storage.s3 import StoreError

log = logging.getLogger(__name__)


def forget_checkpoint(pod: Pod, uri: str) -> None:
    """Delete a checkpoint whose run has published its result; one that stays harms nobody."""
    try:
        pod.store.delete(uri)
    except StoreError as error:
        log.warning("%s could not be deleted: %s", uri, error)


def architecture_at(architectures: tuple[str, ...], index: int) -> str:
    """The architecture of this index.

    Raises:
        BadInputError: The Job has more indices than the input has architectures.
    """
    if index >= len(architectures):
        msg = f"architectures: index {index} was started but there are only {len(architectures)}."
        raise BadInputError(msg)
    return architectures[index]


def settings_of(recipe: Recipe) -> Hyperparameters:
    """The recipe's part that the loop needs."""
    return Hyperparameters(
        learning_rate=recipe.learning_rate,
        batch_size=recipe.batch_size,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        label_smoothing=recipe.label_smoothing,
        warmup_fraction=recipe.warmup_fraction,
        precision=recipe.precision,
        channels_last=recipe.channels_last,
        compile=recipe.compile,
    )


def preprocessing_of(recipe: Recipe) -> Preprocessing:
    """How images are prepared for a network trained with ``recipe``."""
    return Preprocessing(image_size=recipe.image_size)


def steps_of(recipe: Recipe, images: int) -> int:
    """Steps that make up the recipe's epochs over ``images`` training images."""
    return max(1, math.ceil(recipe.epochs * images / recipe.batch_size))


def validate(model: nn.Module, loader: Loader, dataset: Dataset, target: Target, recipe: Recipe) -> Evaluation:
    """How ``model`` classifies the validation images, as ``recipe`` computes."""
    return evaluate(
        model,
        loader.evaluation(dataset.splits.validation),
        len(dataset.classes),
        target,
        recipe.precision,
        channels_last=recipe.channels_last,
    )
