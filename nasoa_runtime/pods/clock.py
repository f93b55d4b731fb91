"""The clock of a request: seconds in which its fine-tuning containers ran, over all attempts.

Every attempt owns one object under ``<work_uri>/clock/``, rewritten every few seconds with the seconds it has used. An
attempt that ended in order has closed its object; one that vanished is charged to its last heartbeat plus one interval.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from nasoa_runtime.boundary import canonical_json
from nasoa_runtime.pods.process_time import seconds_since_process_start
from nasoa_runtime.storage.s3 import ObjectStore, StoreUnavailable

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Heartbeat:
    """What an attempt has last said of itself."""

    seconds: float
    interval_seconds: float
    closed: bool

    @property
    def charged_seconds(self) -> float:
        """Seconds this attempt has cost: exact when closed, else up to when the next heartbeat was due."""
        return self.seconds if self.closed else self.seconds + self.interval_seconds

    def to_json(self) -> bytes:
        """The object's body."""
        return canonical_json(
            {
                "closed": self.closed,
                "interval_seconds": round(self.interval_seconds, 3),
                "seconds": round(self.seconds, 3),
            }
        )

    @classmethod
    def from_json(cls, body: bytes) -> Heartbeat:
        """Read a heartbeat.

        Raises:
            ValueError: The body is not a heartbeat.
        """
        document: Any = json.loads(body)
        try:
            seconds, interval = float(document["seconds"]), float(document["interval_seconds"])
            closed = bool(document["closed"])
        except (KeyError, TypeError) as error:
            msg = f"not a heartbeat: {error}"
            raise ValueError(msg) from error
        if not (math.isfinite(seconds) and math.isfinite(interval) and seconds >= 0 and interval >= 0):
            msg = "not a heartbeat: seconds must be finite and not negative"
            raise ValueError(msg)
        return cls(seconds, interval, closed)


def charged_seconds(heartbeats: Iterable[Heartbeat]) -> float:
    """Seconds of the time limit that earlier attempts have used."""
    return sum(heartbeat.charged_seconds for heartbeat in heartbeats)


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
    def over_attempts(cls, store: ObjectStore, work_uri: str, limit_seconds: float, interval_seconds: float) -> Clock:
        """Read what earlier attempts used and register this one.

        Raises:
            StoreUnavailable: The store did not answer.
        """
        prefix = f"{work_uri.rstrip('/')}/clock/"
        names = sorted(listed.key.rpartition("/")[2] for listed in store.list(prefix))
        heartbeats = []
        for name in names:
            found = store.get(prefix + name)
            try:
                heartbeats.append(Heartbeat.from_json(found.body if found else b""))
            except ValueError:
                # Only another writer under the tenant's prefix can do this; the least charge is one interval.
                log.warning("%s%s is not a heartbeat; one interval is charged.", prefix, name)
                heartbeats.append(Heartbeat(0.0, interval_seconds, closed=False))
        attempt = len(names) + 1
        first = Heartbeat(seconds_since_process_start(), interval_seconds, closed=False).to_json()
        while not store.create(f"{prefix}{attempt:04d}.json", first):
            attempt += 1
        return cls(
            limit_seconds=limit_seconds,
            used_before_seconds=charged_seconds(heartbeats),
            attempt=attempt,
            interval_seconds=interval_seconds,
            write=lambda body: store.put(f"{prefix}{attempt:04d}.json", body),
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
            self.write(Heartbeat(self.age(), self.interval_seconds, closed).to_json())
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
