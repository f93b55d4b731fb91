"""What is known of one pod while it is on this node."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from .process import ContainerProcess
from .status import ContainerRecord, PodRecord, Waiting

JSON = dict[str, Any]


@dataclass
class PodState:
    """What the worker, the runner and the reporter of one pod share.

    ``unreported`` is set by every change of the record, ``stopping`` once the pod is to end.
    """

    pod: JSON
    record: PodRecord
    unreported: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    processes: dict[str, ContainerProcess] = field(default_factory=dict)

    def set_record(self, record: PodRecord) -> None:
        """Replaces the record and has it reported."""
        self.record = record
        self.unreported.set()

    def set_container(self, name: str, **changes: Any) -> ContainerRecord:
        """Replaces fields of one container's record."""
        updated = replace(self.record.container(name), **changes)
        self.set_record(self.record.with_container(updated))
        return updated

    def explain_waiting(self, message: str) -> None:
        """Says why no container has been started yet."""
        for one in (*self.record.init, *self.record.main):
            if isinstance(one.state, Waiting):
                self.set_container(one.name, state=Waiting(one.state.reason, message))

    async def pause(self, seconds: float) -> None:
        """Waits, but no longer than until the pod is to end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.stopping.wait()
