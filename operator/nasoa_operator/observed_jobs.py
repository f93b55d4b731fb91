"""A Job of ours as it was seen: how far it is, what its pods came to, what keeps them from running. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from nasoa_operator.jobs import QUEUE_LABEL, STEP_LABEL
from nasoa_operator.obstacles import Obstacle
from nasoa_operator.plan import Manifest, SuspendJob
from nasoa_operator.pod_outcomes import PodOutcome


@dataclass(frozen=True)
class ObservedJob:
    """A Job of ours, and once it has finished, what each index came to."""

    name: str
    uid: str
    step: str
    completions: int
    finished: bool
    suspended: bool
    queued: bool
    """Whether a Kueue queue decides when it runs."""
    active: int
    pods: int = 0
    """Pods there were so far, whatever became of them."""
    deleting: bool = False
    outcomes: tuple[PodOutcome, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    """What the pods' metrics said last: step, planned steps, loss, profiled step times."""
    failure: str = ""
    """The Job's own reason where it failed as a whole, such as ``DeadlineExceeded``."""
    blockage: Obstacle | None = None
    """What keeps the pods of an unfinished Job from running."""

    @property
    def under_way(self) -> bool:
        """Whether its pods run or are about to; what is suspended says so when it goes on."""
        return not self.finished and not self.suspended


def observed_job(manifest: Manifest) -> ObservedJob:
    """Read a Job manifest; outcomes and metrics are filled in by whoever has looked at its pods."""
    metadata, spec, status = manifest["metadata"], manifest["spec"], manifest.get("status", {})
    conditions = {c["type"]: c for c in status.get("conditions", []) if c["status"] == "True"}
    failed = conditions.get("Failed", {})
    return ObservedJob(
        name=metadata["name"],
        uid=metadata["uid"],
        step=metadata.get("labels", {}).get(STEP_LABEL, ""),
        completions=int(spec.get("completions", 1)),
        finished="Complete" in conditions or "Failed" in conditions,
        suspended=bool(spec.get("suspend", False)),
        queued=QUEUE_LABEL in metadata.get("labels", {}),
        active=int(status.get("active", 0)),
        pods=sum(int(status.get(count, 0)) for count in ("active", "succeeded", "failed", "terminating")),
        deleting="deletionTimestamp" in metadata,
        failure=f"{failed.get('reason', '')}: {failed.get('message', '')}" if failed else "",
    )


def suspension_of(job: ObservedJob, suspend: bool) -> SuspendJob | None:
    """What brings an unfinished Job's suspension in line with the spec's; ``None`` if it is.

    A Job that a queue admits is suspended also while it waits: there it is the Workload that is asked.
    """
    if job.finished or job.suspended == suspend:
        return None
    return SuspendJob(job.name, suspend)


def first_blockage(jobs: Iterable[ObservedJob]) -> Obstacle | None:
    """What keeps pods from running, of the first Job of which something does."""
    return next((job.blockage for job in jobs if job.blockage is not None), None)
