"""``pretrain``: train one architecture in full for the zoo (SPEC 3, 4)."""

from __future__ import annotations

from nasoa_runtime.boundary import PretrainInput, PretrainResult, digest
from nasoa_runtime.documents.keys import pretrained_weights_uri, pretraining_checkpoint_uri
from nasoa_runtime.pods.clock import Clock
from nasoa_runtime.pods.dataset.prefetch import Prefetch
from nasoa_runtime.pods.networks.weights import weights_bytes
from nasoa_runtime.pods.pod import Pod
from nasoa_runtime.pods.retrying import retrying
from nasoa_runtime.pods.training.budget import affordable_steps
from nasoa_runtime.pods.training.scratch import Training

RESERVE_SHARE = 0.03
RESERVE_SECONDS = 2.0
"""Of the time limit, for validation and upload."""


def run(document: PretrainInput, pod: Pod, prefetch: Prefetch, clock: Clock) -> PretrainResult | None:
    """Train, validate, write the weights; ``None`` in workers other than the first.

    A time limit shortens the training and its cosine with it, as a zoo is better off with a model trained a little
    less than with none.
    """
    checkpoint_uri = pretraining_checkpoint_uri(document.weights_uri, pod.index)
    training = Training(document, pod, prefetch, clock, checkpoint_uri)
    trainer, target = training.trainer, training.target
    limit = document.time_limit_seconds

    def replan() -> None:
        if limit is None or not trainer.pace.recent:
            return
        reserve = RESERVE_SECONDS + RESERVE_SHARE * limit
        affordable = affordable_steps(limit - training.seconds, reserve, trainer.pace.expected_seconds)
        trainer.plan(int(target.agree(min(training.steps, trainer.step + affordable))))

    training.run(replan)
    if target.rank != 0:
        return None
    accuracy = training.validate().accuracy
    weights = weights_bytes(trainer.model)
    weights_uri = pretrained_weights_uri(document.weights_uri, pod.index)
    retrying(lambda: pod.store.put(weights_uri, weights))
    return PretrainResult(
        architecture=training.architecture,
        accuracy=accuracy,
        classes=training.dataset.classes,
        preprocessing=document.recipe.preprocessing,
        weights_digest=digest(weights),
        weights_bytes=len(weights),
        step_seconds=trainer.pace.median_step_seconds,
        steps=trainer.step,
        seconds=training.seconds,
    )
