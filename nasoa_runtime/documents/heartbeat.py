"""What an attempt of a request says of the time that it has used: one document an attempt, rewritten while it runs."""

from __future__ import annotations

from collections.abc import Iterable

from nasoa_runtime.boundary import SecondsOrZero
from nasoa_runtime.documents.base import Document


class Heartbeat(Document):
    """The last thing that an attempt has said of itself."""

    seconds: SecondsOrZero
    """Since its process started."""
    interval_seconds: SecondsOrZero
    """When the next heartbeat was due after this one."""
    closed: bool
    """Whether it ended in order, so that no more seconds follow."""

    @property
    def charged_seconds(self) -> float:
        """Seconds this attempt has cost: exact when closed, else up to when the next heartbeat was due."""
        return self.seconds if self.closed else self.seconds + self.interval_seconds


def charged_seconds(heartbeats: Iterable[Heartbeat]) -> float:
    """Seconds of the time limit that earlier attempts have used."""
    return sum(heartbeat.charged_seconds for heartbeat in heartbeats)
