"""Training an architecture from scratch by a recipe: what evaluating and pretraining have in common."""

from __future__ import annotations

import math
from collections.abc import Callable

from nasoa_runtime.boundary import Recipe, TrainingInput
from nasoa_runtime.documents.checkpoint import TrainingState
from nasoa_runtime.pods.clock import Clock
from nasoa_runtime.pods.dataset.prefetch import Prefetch
from nasoa_runtime.pods.failures import BadInputError
from nasoa_runtime.pods.networks.building import build_model
from nasoa_runtime.pods.pod import Pod
from nasoa_runtime.pods.retrying import retrying
from nasoa_runtime.pods.training.batches import Loader
from nasoa_runtime.pods.training.checkpoint import (
    Checkpoint,
    read_checkpoint,
    restore,
    seeded,
    state_of,
    tensors_of,
)
from nasoa_runtime.pods.training.device import prepare
from nasoa_runtime.pods.training.evaluation import Evaluation, evaluate
from nasoa_runtime.pods.training.loop import Hyperparameters, Trainer
from nasoa_runtime.pods.training.session import Saver, train


class Training:
    """One pod's training, taken up where an earlier attempt has left it.

    Args:
        document: What to train, and how.
        pod: Where; its index chooses the architecture.
        prefetch: The dataset, on its way.
        clock: Of this attempt.
        checkpoint_uri: Where the training's checkpoint is kept until the result is published.

    Raises:
        BadInputError: The Job has more indices than there are architectures.
    """

    def __init__(
        self, document: TrainingInput, pod: Pod, prefetch: Prefetch, clock: Clock, checkpoint_uri: str
    ) -> None:
        self.architecture = architecture_at(document.architectures, pod.index)
        self.recipe = document.recipe
        self.target = prepare(document.device)
        self._pod, self._clock, self._seconds_before = pod, clock, 0.0
        self.dataset = prefetch.dataset()
        seeded(document.seed)
        classes, low_resolution_stem = len(self.dataset.classes), self.recipe.low_resolution_stem
        model = build_model(self.architecture, classes, low_resolution_stem=low_resolution_stem)
        self.trainer = Trainer(model, hyperparameters_of(self.recipe), self.target)
        self.steps = steps_of(self.recipe, len(self.dataset.splits.train))
        self.trainer.plan(self.steps)
        self._loader = Loader(
            self.dataset, self.recipe.preprocessing, self.recipe.batch_size, document.seed, self.target
        )
        self._saver = Saver(pod, self.trainer, checkpoint_uri, self._checkpoint)
        pod.superseded.append(checkpoint_uri)
        self._take_up()

    @property
    def seconds(self) -> float:
        """Seconds that the training has taken, over all attempts."""
        return self._seconds_before + self._clock.used_seconds()

    def run(self, before_steps: Callable[[], None]) -> None:
        """Train to the last planned step; ``before_steps`` is called before every few steps, and may plan anew."""
        train(self.trainer, self._loader.training(self.trainer.step), self._saver, before_steps=before_steps)
        self._pod.finish()

    def validate(self) -> Evaluation:
        """How the network classifies the validation images."""
        return evaluate(
            self.trainer.model,
            self._loader.evaluation(self.dataset.splits.validation),
            len(self.dataset.classes),
            self.target,
            self.recipe.precision,
            channels_last=self.recipe.channels_last,
        )

    def _checkpoint(self) -> Checkpoint[TrainingState]:
        state = TrainingState(trainer=state_of(self.trainer), seconds=self.seconds, architecture=self.architecture)
        return Checkpoint(tensors_of(self.trainer), state)

    def _take_up(self) -> None:
        """Go on from a checkpoint; one of another architecture is left alone."""
        found = retrying(lambda: read_checkpoint(TrainingState, self._pod.store, self._saver.uri))
        if found is not None and found.state.architecture == self.architecture:
            restore(self.trainer, found)
            self._seconds_before = found.state.seconds


def architecture_at(architectures: tuple[str, ...], index: int) -> str:
    """The architecture of this index.

    Raises:
        BadInputError: The Job has more indices than the input has architectures.
    """
    if index >= len(architectures):
        msg = f"architectures: index {index} was started but there are only {len(architectures)}."
        raise BadInputError(msg)
    return architectures[index]


def hyperparameters_of(recipe: Recipe) -> Hyperparameters:
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


def steps_of(recipe: Recipe, images: int) -> int:
    """Steps that make up the recipe's epochs over ``images`` training images."""
    return max(1, math.ceil(recipe.epochs * images / recipe.batch_size))
