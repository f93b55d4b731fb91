"""``evaluate``: train one architecture shortly and report its validation accuracy (SPEC 3)."""

from __future__ import annotations

from nasoa_runtime.boundary import EvaluateInput, EvaluateResult
from nasoa_runtime.pods.clock import Clock
from nasoa_runtime.pods.dataset.prefetch import Prefetch
from nasoa_runtime.pods.failures import TimedOutError
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
from nasoa_runtime.pods.training.checkpoint import read_checkpoint, restore, seeded
from nasoa_runtime.pods.training.device import prepare
from nasoa_runtime.pods.training.loop import Trainer
from nasoa_runtime.pods.training.models import build_model
from nasoa_runtime.pods.training.session import Saver, train


def run(document: EvaluateInput, pod: Pod, prefetch: Prefetch, clock: Clock) -> EvaluateResult | None:
    """Train and validate; ``None`` in workers other than the first.

    Raises:
        TimedOutError: The time limit struck. A figure from fewer epochs would not compare with the others.
    """
    recipe = document.recipe
    architecture = architecture_at(document.architectures, pod.index)
    target = prepare(document.device)
    seeded(document.seed)
    model = build_model(architecture, len(prefetch.dataset().classes), low_resolution_stem=recipe.low_resolution_stem)
    dataset = prefetch.dataset()
    trainer = Trainer(model, settings_of(recipe), target)
    trainer.plan(steps_of(recipe, len(dataset.splits.train)))
    loader = Loader(dataset, preprocessing_of(recipe), recipe.batch_size, document.seed, target)
    used_before = 0.0
    saver = Saver(
        pod,
        trainer,
        _checkpoint_uri(document, pod),
        state=lambda: {"seconds": used_before + clock.used_seconds()},
    )
    checkpoint = retrying(lambda: read_checkpoint(pod.store, saver.uri))
    if checkpoint is not None:
        restore(trainer, checkpoint)
        used_before = float(checkpoint.state["seconds"])

    def check_time() -> None:
        limit = document.time_limit_seconds
        if target.agree(float(limit is not None and used_before + clock.used_seconds() > limit)):
            msg = f"evaluationTimeLimit ({limit:.3g} s) was used up at step {trainer.step} of {trainer.planned_steps}."
            raise TimedOutError(msg)

    train(trainer, loader.training(trainer.step), saver, before_steps=check_time)
    pod.finish()
    if target.rank != 0:
        return None
    outcome = validate(trainer.model, loader, dataset, target, recipe)
    return EvaluateResult(
        architecture=architecture,
        accuracy=outcome.accuracy,
        step_seconds=trainer.pace.median_step_seconds,
        loading_seconds=trainer.pace.median_loading_seconds,
        steps=trainer.step,
        seconds=used_before + clock.used_seconds(),
    )


def clean_up(document: EvaluateInput, pod: Pod) -> None:
    """Delete what the published result has made useless."""
    forget_checkpoint(pod, _checkpoint_uri(document, pod))


def _checkpoint_uri(document: EvaluateInput, pod: Pod) -> str:
    """Beside the result, where only this index writes."""
    return pod.result_uri(document.result_uri).removesuffix(".json") + ".checkpoint"
