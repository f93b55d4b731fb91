"""What the operator needs of the world around it, S3 aside, of which :mod:`nasoa_runtime.storage.objects` tells.

:class:`nasoa_operator.cluster.Cluster` and :class:`nasoa_operator.step_times.StepTimes` are the real ones; tests have
others, in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from nasoa_operator.plan import Manifest


class ClusterPort(Protocol):
    """The API server, as far as objects are reconciled with it.

    All methods may raise :class:`nasoa_operator.cluster.ClusterError`.
    """

    async def get_object(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """One object of our kinds, as it is now; ``None`` where there is none."""

    async def list_objects(self, kind: str, namespaces: tuple[str, ...]) -> list[Manifest]:
        """All objects of a kind in ``namespaces`` (all namespaces where empty)."""
        ...

    async def write_status(self, manifest: Manifest, status: Mapping[str, Any]) -> Manifest | None:
        """Replace the status of ``manifest`` as it was read; ``None`` if it has changed or gone since."""

    async def list_jobs(self, namespace: str, owner_uid: str) -> list[Manifest]:
        """The Jobs of an owner."""
        ...

    async def list_pods(self, namespace: str, job: str) -> list[Manifest]:
        """The pods of a Job."""
        ...

    async def create_job(self, manifest: Manifest) -> bool:
        """Create a Job; ``False`` if it is there already, made by the same owner from the same input.

        Raises:
            NameConflictError: the name is taken by something else.
        """
        ...

    async def delete_job(self, namespace: str, name: str, uid: str) -> None:
        """Delete one Job and its pods; gone already is success."""

    async def suspend_job(self, namespace: str, name: str, *, suspend: bool) -> None:
        """Suspend or resume a Job that no queue admits."""

    async def activate_workload(self, namespace: str, job_uid: str, *, active: bool) -> None:
        """Set ``active`` of the Kueue Workload that stands for a Job; nothing happens where there is none."""

    async def create_event(self, event: Manifest) -> None:
        """Write an Event; one of that name is the same one."""


class StepTimesPort(Protocol):
    """What running pods say of themselves."""

    def of_job(self, job_uid: str) -> Mapping[str, float]:
        """What was seen of a Job so far."""
        ...

    async def observe(self, job_uid: str, pods: Sequence[Manifest]) -> Mapping[str, float]:
        """What the running pods of a Job say now; one that does not answer is passed over."""
        ...
