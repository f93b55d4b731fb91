"""``finetune``: the strategy's runs under the time limit, then the deliverable (SPEC 5)."""

from __future__ import annotations

import time

from nasoa_runtime.boundary import FinetuneInput, FinetuneResult
from nasoa_runtime.documents.keys import delivered_uri, finetuning_checkpoint_uri
from nasoa_runtime.pods.clock import Clock
from nasoa_runtime.pods.dataset.prefetch import Prefetch
from nasoa_runtime.pods.deliverable import Delivery
from nasoa_runtime.pods.failures import TimedOutError
from nasoa_runtime.pods.pod import Pod
from nasoa_runtime.pods.retrying import retrying
from nasoa_runtime.pods.strategies import strategy_named
from nasoa_runtime.pods.training.device import prepare
from nasoa_runtime.pods.training.request import Request, Trained


def run(document: FinetuneInput, pod: Pod, prefetch: Prefetch, clock: Clock) -> FinetuneResult | None:
    """Have the strategy run its regimes, and deliver the best; ``None`` in workers other than the first.

    Raises:
        BadInputError: There is no such strategy.
        DivergedError: Every regime that was tried diverged.
        OutOfMemoryError: None fitted into memory.
        TimedOutError: Nothing fits into the limit.
    """
    strategy = strategy_named(document.strategy)
    pod.superseded.append(finetuning_checkpoint_uri(document.work_uri))
    request = Request(document, pod, clock, prepare(document.device), prefetch.dataset())
    trained = strategy(request)
    pod.finish()
    return deliver(request, trained) if request.target.rank == 0 else None


def deliver(request: Request, trained: Trained) -> FinetuneResult:
    """Test, publish, and report the seconds used, the result's own writing included.

    Raises:
        TimedOutError: There is no time left to publish in.
    """
    document, clock, store = request.document, request.clock, request.pod.store
    chosen = trained.chosen
    finetuning = trained.deliverable[chosen]
    best = finetuning.best
    assert best is not None
    test = finetuning.test()
    if clock.remaining_seconds() < finetuning.costs.upload_seconds:
        msg = "nothing is left of it to publish the model in: allow more."
        raise TimedOutError(msg, "timeLimit")
    delivery = Delivery(
        request=document.request,
        model=finetuning.model,
        regime=finetuning.regime,
        steps=best.step,
        classes=finetuning.dataset.classes,
        weights=finetuning.weights(),
        validation_accuracy=best.accuracy,
        test=test,
    )
    seconds_of_one = 0.0

    def put(name: str, content: bytes) -> None:
        nonlocal seconds_of_one
        started = time.monotonic()
        retrying(lambda: store.put(delivered_uri(document.output_uri, name), content))
        seconds_of_one = time.monotonic() - started

    delivery.publish(put)
    pace = finetuning.trainer.pace
    return FinetuneResult(
        runs=trained.runs,
        chosen=chosen,
        validation_accuracy=best.accuracy,
        test_accuracy=None if test is None else test.accuracy,
        seconds=clock.used_seconds() + seconds_of_one,
        attempts=clock.attempt,
        steps=trained.runs[chosen].steps,
        step_seconds=pace.median_step_seconds if pace.step_seconds else finetuning.regime.step_seconds,
        loading_seconds=pace.median_loading_seconds if pace.loading_seconds else 0.0,
        output_uri=document.output_uri.rstrip("/"),
        model_digest=delivery.weights_digest,
        strategy=trained.strategy,
    )
