"""The clock of a request: seconds in which its fine-tuning containers ran, over all attempts.

Every attempt owns one heartbeat, rewritten every few seconds with the seconds it has used. An attempt that ended in
order has closed it; one that vanished is charged to its last heartbeat plus one interval.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from nasoa_runtime.boundary import SharedLimit
from nasoa_runtime.documents.base import UnreadableDocumentError, dump, load
from nasoa_runtime.documents.heartbeat import Heartbeat, charged_seconds
from nasoa_runtime.documents.keys import heartbeat_uri, heartbeats_uri
from nasoa_runtime.pods.process_time import seconds_since_process_start
from nasoa_runtime.storage.s3 import ObjectStore, StoreUnavailable

log = logging.getLogger(__name__)


@dataclass
class Clock:
    """Seconds used and left. Use as a context manager, so that heartbeats are sent and the attempt is closed."""

    limit_seconds: float = math.inf
    used_before_seconds: float = 0.0
    attempt: int = 1
    interval_seconds: float = math.inf
    age: Callable[[], float] = seconds_since_process_start
    """Seconds since this attempt's process started."""
    write: Callable[[bytes], None] | None = None
    """Replaces this attempt's object."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    @classmethod
    def of_this_process(cls) -> Clock:
        """A clock without limit and without heartbeats."""
        return cls()

    @classmethod
    def over_attempts(cls, store: ObjectStore, limit: SharedLimit) -> Clock:
        """Read what earlier attempts used and register this one.

        Raises:
            StoreUnavailable: The store did not answer.
        """
        below = heartbeats_uri(limit.work_uri)
        names = sorted(listed.key.rpartition("/")[2] for listed in store.list(below))
        heartbeats = [read_heartbeat(store, below + name, limit.heartbeat_seconds) for name in names]
        attempt = len(names) + 1
        first = dump(_heartbeat(seconds_since_process_start(), limit.heartbeat_seconds))
        while not store.create(heartbeat_uri(limit.work_uri, attempt), first):
            attempt += 1
        return cls(
            limit_seconds=limit.seconds,
            used_before_seconds=charged_seconds(heartbeats),
            attempt=attempt,
            interval_seconds=limit.heartbeat_seconds,
            write=lambda body: store.put(heartbeat_uri(limit.work_uri, attempt), body),
        )

    def used_seconds(self) -> float:
        """Seconds used, of all attempts."""
        return self.used_before_seconds + self.age()

    def remaining_seconds(self) -> float:
        """Seconds left; negative when the limit is exceeded, infinite without one."""
        return self.limit_seconds - self.used_seconds()

    def beat(self, *, closed: bool = False) -> None:
        """Send one heartbeat; a store that does not answer costs only exactness."""
        if self.write is None:
            return
        try:
            self.write(dump(_heartbeat(self.age(), self.interval_seconds, closed=closed)))
        except StoreUnavailable as error:
            log.warning("Heartbeat not written: %s", error)

    def _beat_until_stopped(self) -> None:
        while not self._stop.wait(self.interval_seconds):
            self.beat()

    def __enter__(self) -> Self:
        if self.write is not None:
            self._thread = threading.Thread(target=self._beat_until_stopped, name="heartbeat", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            # A heartbeat under way must not overwrite the closing one.
            self._thread.join()
            started = time.monotonic()
            self.beat(closed=True)
            log.info("Clock closed in %.2f s.", time.monotonic() - started)


def read_heartbeat(store: ObjectStore, uri: str, interval_seconds: float) -> Heartbeat:
    """What an earlier attempt has said last; where it can't be read, as little as it must have used: one interval."""
    found = store.get(uri)
    try:
        return load(Heartbeat, found.body if found else b"", uri)
    except UnreadableDocumentError as error:
        # Only another writer under the tenant's prefix can do this.
        log.warning("%s One interval is charged.", error)
        return _heartbeat(0.0, interval_seconds)


def _heartbeat(seconds: float, interval_seconds: float, *, closed: bool = False) -> Heartbeat:
    return Heartbeat(seconds=round(seconds, 3), interval_seconds=round(interval_seconds, 3), closed=closed)
