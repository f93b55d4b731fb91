"""Tasks that run as long as the operator does: one that ends is told of, counted, and started again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from nasoa_operator import metrics

logger = logging.getLogger(__name__)

FIRST_BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 30.0
"""Well below the time after which a resync task that stands still has the process restarted."""


async def supervised(
    name: str,
    run: Callable[[], Awaitable[None]],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Keep ``run`` running until this is cancelled.

    What is expected to go wrong, ``run`` sees to by itself. An error that comes out of it is one that nobody thought
    of, and is no reason to lose what the other tasks have in hand.

    Args:
        name: the task's, in the log and in the metric.
        run: what has no end of its own.
        clock: seconds. A run that lasted longer than the longest wait is the first one again.
        sleep: waits for as many seconds.
    """
    restarts = metrics.TASK_RESTARTS.labels(name)
    backoff = FIRST_BACKOFF_SECONDS
    while True:
        started = clock()
        error: Exception | None = None
        try:
            await run()
        except Exception as raised:  # noqa: BLE001 - whatever it is, the task has to go on
            error = raised
        if clock() - started > LONGEST_BACKOFF_SECONDS:
            backoff = FIRST_BACKOFF_SECONDS
        restarts.inc()
        logger.error("task %s: %s; again in %.0f s", name, error or "has ended", backoff, exc_info=error)
        await sleep(backoff)
        backoff = min(2 * backoff, LONGEST_BACKOFF_SECONDS)
