"""A queue of object keys: each key is worked on by one worker at a time, at most once for any number of hints."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

logger = logging.getLogger(__name__)


@dataclass(frozen=True, order=True)
class Key:
    """An object of our kinds."""

    kind: str
    namespace: str
    name: str


class WorkQueue:
    """Hints become reconciliations: now, later (``delay``), or with exponential back-off after an error."""

    def __init__(self, first_backoff_seconds: float = 1.0, longest_backoff_seconds: float = 120.0) -> None:
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._queued: set[Key] = set()
        self._active: set[Key] = set()
        self._again: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._first = first_backoff_seconds
        self._longest = longest_backoff_seconds

    def add(self, key: Key) -> None:
        """Work on ``key`` soon."""
        self._cancel(key)
        if key in self._active:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._ready.put_nowait(key)

    def add_later(self, key: Key, delay_seconds: float) -> None:
        """Work on ``key`` after ``delay_seconds``, unless something is due earlier."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= loop.time() + delay_seconds:
            return
        self._cancel(key)
        self._timers[key] = loop.call_later(delay_seconds, self.add, key)

    async def work(self, reconcile: Callable[[Key], Awaitable[float | None]]) -> None:
        """Work until cancelled; ``reconcile`` returns the seconds after which to look again, if any."""
        while True:
            key = await self._ready.get()
            self._queued.discard(key)
            self._active.add(key)
            try:
                delay = await reconcile(key)
                self._failures.pop(key, None)
            except Exception as error:  # noqa: BLE001 - one object's failure must not end the worker
                failures = self._failures[key] = self._failures.get(key, 0) + 1
                delay = min(self._longest, self._first * 2 ** (failures - 1))
                log = logger.warning if getattr(error, "temporary", False) else logger.exception
                log("%s %s/%s: %s; again in %.0f s", key.kind, key.namespace, key.name, error, delay)
            finally:
                self._active.discard(key)
            if key in self._again:
                self._again.discard(key)
                self.add(key)
            elif delay is not None:
                self.add_later(key, delay)

    def _cancel(self, key: Key) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
