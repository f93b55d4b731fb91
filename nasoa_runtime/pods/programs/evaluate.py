"""``evaluate``: train one architecture shortly and report its validation accuracy (SPEC 3)."""

from __future__ import annotations

from nasoa_runtime.boundary import EvaluateInput, EvaluateResult
from nasoa_runtime.documents.keys import evaluation_checkpoint_uri
from nasoa_runtime.pods.clock import Clock
from nasoa_runtime.pods.dataset.prefetch import Prefetch
from nasoa_runtime.pods.failures import TimedOutError
from nasoa_runtime.pods.pod import Pod
from nasoa_runtime.pods.training.scratch import Training


def run(document: EvaluateInput, pod: Pod, prefetch: Prefetch, clock: Clock) -> EvaluateResult | None:
    """Train and validate; ``None`` in workers other than the first.

    Raises:
        TimedOutError: The time limit struck. A figure from fewer epochs would not compare with the others.
    """
    checkpoint_uri = evaluation_checkpoint_uri(document.result_uri, pod.index)
    training = Training(document, pod, prefetch, clock, checkpoint_uri)
    trainer, target = training.trainer, training.target
    limit = document.time_limit_seconds

    def check_time() -> None:
        if target.agree(float(limit is not None and training.seconds > limit)):
            msg = f"evaluationTimeLimit ({limit:.3g} s) was used up at step {trainer.step} of {trainer.planned_steps}."
            raise TimedOutError(msg)

    training.run(check_time)
    if target.rank != 0:
        return None
    return EvaluateResult(
        architecture=training.architecture,
        accuracy=training.validate().accuracy,
        step_seconds=trainer.pace.median_step_seconds,
        loading_seconds=trainer.pace.median_loading_seconds,
        steps=trainer.step,
        seconds=training.seconds,
    )
