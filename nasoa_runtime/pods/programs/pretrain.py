"""``pretrain``: train one architecture in full for the zoo (SPEC 3, 4)."""

from __future__ import annotations

from nasoa_runtime.boundary import PretrainInput, PretrainResult, digest
from nasoa_runtime.pods.clock import Clock
from nasoa_runtime.pods.dataset.prefetch import Prefetch
from nasoa_runtime.pods.pod import Pod, retrying
from nasoa_runtime.pods.programs.common import (
    architecture_at,
    forget_checkpoint,
    preprocessing_of,
    settings_of,
    steps_of,
    validate,
)
from nasoa_runtime.pods.training.batches import Loader
from nasoa_runtime.pods.training.budget import affordable_steps
from nasoa_runtime.pods.training.checkpoint import read_checkpoint, restore, seeded, weights_bytes
from nasoa_runtime.pods.training.device import prepare
from nasoa_runtime.pods.training.loop import Trainer
from nasoa_runtime.pods.training.models import build_model
from nasoa_runtime.pods.training.session import Saver, train

RESERVE_SHARE = 0.03
RESERVE_SECONDS = 2.0
"""Of the time limit, for validation and upload."""


def run(document: PretrainInput, pod: Pod, prefetch: Prefetch, clock: Clock) -> PretrainResult | None:
    """Train, validate, write the weights; ``None`` in workers other than the first.

    A time limit shortens the training and its cosine with it, as a zoo is better off with a model trained a little
    less than with none.
    """
    recipe = document.recipe
    architecture = architecture_at(document.architectures, pod.index)
    target = prepare(document.device)
    seeded(document.seed)
    dataset = prefetch.dataset()
    model = build_model(architecture, len(dataset.classes), low_resolution_stem=recipe.low_resolution_stem)
    trainer = Trainer(model, settings_of(recipe), target)
    steps = steps_of(recipe, len(dataset.splits.train))
    trainer.plan(steps)
    loader = Loader(dataset, preprocessing_of(recipe), recipe.batch_size, document.seed, target)
    prefix = _prefix(document, pod)
    used_before = 0.0
    saver = Saver(
        pod,
        trainer,
        f"{prefix}/checkpoint",
        state=lambda: {"seconds": used_before + clock.used_seconds(), "architecture": architecture},
    )
    checkpoint = retrying(lambda: read_checkpoint(pod.store, saver.uri))
    if checkpoint is not None and checkpoint.state["architecture"] == architecture:
        restore(trainer, checkpoint)
        used_before = float(checkpoint.state["seconds"])

    def replan() -> None:
        limit = document.time_limit_seconds
        if limit is None or not trainer.pace.recent:
            return
        left = limit - used_before - clock.used_seconds()
        reserve = RESERVE_SECONDS + RESERVE_SHARE * limit
        affordable = affordable_steps(left, reserve, trainer.pace.expected_seconds)
        trainer.plan(int(target.agree(min(steps, trainer.step + affordable))))

    train(trainer, loader.training(trainer.step), saver, before_steps=replan)
    pod.finish()
    if target.rank != 0:
        return None
    outcome = validate(trainer.model, loader, dataset, target, recipe)
    weights = weights_bytes(trainer.model)
    retrying(lambda: pod.store.put(f"{prefix}/weights.safetensors", weights))
    return PretrainResult(
        architecture=architecture,
        accuracy=outcome.accuracy,
        classes=dataset.classes,
        preprocessing=preprocessing_of(recipe),
        weights_digest=digest(weights),
        weights_bytes=len(weights),
        step_seconds=trainer.pace.median_step_seconds,
        steps=trainer.step,
        seconds=used_before + clock.used_seconds(),
    )


def clean_up(document: PretrainInput, pod: Pod) -> None:
    """Delete what the published result has made useless."""
    forget_checkpoint(pod, f"{_prefix(document, pod)}/checkpoint")


def _prefix(document: PretrainInput, pod: Pod) -> str:
    return f"{document.weights_uri.rstrip('/')}/{pod.index}"
