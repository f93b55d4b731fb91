"""The API server in a dictionary, with Jobs whose pods run until a test says what they came to."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from nasoa_operator.cluster import ClusterError, NameConflictError, same_origin
from nasoa_operator.jobs import OWNER_UID_LABEL, QUEUE_LABEL
from nasoa_operator.plan import Manifest
from nasoa_runtime.api.types import timestamp

JOB_NAME_LABEL = "batch.kubernetes.io/job-name"


def copied(manifest: Any) -> Any:
    """A copy, as it comes back from the API server: what JSON can't say does not get there."""
    return json.loads(json.dumps(manifest))


class MemoryCluster:
    """Objects of our kinds, Jobs and their pods, Kueue's word on them, and Events; what was done is remembered."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._versions = itertools.count(1)
        self._objects: dict[tuple[str, str, str], Manifest] = {}
        self._jobs: dict[tuple[str, str], Manifest] = {}
        self._pods: dict[str, list[Manifest]] = {}
        self._events: dict[tuple[str, str], Manifest] = {}
        self._inactive: set[str] = set()
        self.created: list[Manifest] = []
        """Every Job that was created, in order."""
        self.deleted: list[Manifest] = []
        """Every Job that was deleted by its name."""
        self.deleting: Callable[[Manifest], None] = lambda job: None
        """Hears of each Job that is about to be deleted by its name."""
        self.suspensions: list[tuple[str, bool]] = []
        """Every name of a Job that was suspended or resumed, and which of the two."""
        self.statuses: list[Manifest] = []
        """Every object as it was when a status was written."""

    # --- What the operator does --------------------------------------------------------------------------------------

    async def get_object(self, kind: str, namespace: str, name: str) -> Manifest | None:
        found: Manifest | None = copied(self._objects.get((kind, namespace, name)))
        return found

    async def list_objects(self, kind: str, namespaces: tuple[str, ...]) -> list[Manifest]:
        return [
            copied(manifest)
            for (of, namespace, _), manifest in self._objects.items()
            if of == kind and (not namespaces or namespace in namespaces)
        ]

    async def write_status(self, manifest: Manifest, status: Mapping[str, Any]) -> Manifest | None:
        metadata = manifest["metadata"]
        there = self._objects.get((manifest["kind"], metadata["namespace"], metadata["name"]))
        if there is None or there["metadata"]["resourceVersion"] != metadata["resourceVersion"]:
            return None
        changed = there | {"status": copied(dict(status))}
        if changed != there:
            changed["metadata"] = there["metadata"] | {"resourceVersion": self._version()}
            self._keep(changed)
            self.statuses.append(copied(changed))
        written: Manifest = copied(changed)
        return written

    async def list_jobs(self, namespace: str, owner_uid: str) -> list[Manifest]:
        return [
            copied(job)
            for (of, _), job in self._jobs.items()
            if of == namespace and job["metadata"]["labels"][OWNER_UID_LABEL] == owner_uid
        ]

    async def list_pods(self, namespace: str, job: str) -> list[Manifest]:
        there = self._jobs.get((namespace, job))
        return [] if there is None else [copied(pod) for pod in self._pods[there["metadata"]["uid"]]]

    async def create_job(self, manifest: Manifest) -> bool:
        namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        there = self._jobs.get((namespace, name))
        if there is not None:
            if not same_origin(there, manifest):
                msg = f"Job {name} exists, but belongs to something else; delete or rename it"
                raise NameConflictError(msg)
            return False
        job = copied(manifest)
        job["metadata"] |= {"uid": f"job-{len(self.created)}", "creationTimestamp": timestamp(self._now())}
        self._jobs[namespace, name] = job
        self.created.append(copied(job))
        self._start(job)
        return True

    async def delete_job(self, namespace: str, name: str, uid: str) -> None:
        there = self._jobs.get((namespace, name))
        if there is not None and there["metadata"]["uid"] == uid:
            self.deleting(copied(there))
            self.deleted.append(self._drop(there))

    async def suspend_job(self, namespace: str, name: str, *, suspend: bool) -> None:
        job = self._jobs.get((namespace, name))
        if job is None:
            raise ClusterError(404, f'jobs.batch "{name}" not found')
        self.suspensions.append((name, suspend))
        job["spec"]["suspend"] = suspend
        self._start(job)

    async def activate_workload(self, namespace: str, job_uid: str, *, active: bool) -> None:
        for (of, name), job in self._jobs.items():
            if of == namespace and job["metadata"]["uid"] == job_uid and QUEUE_LABEL in job["metadata"]["labels"]:
                self.suspensions.append((name, not active))
                (self._inactive.discard if active else self._inactive.add)(job_uid)
                job["spec"]["suspend"] = True  # Kueue stops it at once, and admits it again in its own time.
                self._start(job)

    async def create_event(self, event: Manifest) -> None:
        metadata = event["metadata"]
        self._events.setdefault((metadata["namespace"], metadata["name"]), copied(event))

    # --- What others do ----------------------------------------------------------------------------------------------

    def apply(self, manifest: Manifest, uid: str) -> Manifest:
        """Create an object of ours, or edit its spec; a new spec is a new generation."""
        metadata = manifest["metadata"]
        there = self._objects.get((manifest["kind"], metadata["namespace"], metadata["name"]))
        if there is None:
            made = {"uid": uid, "generation": 1, "creationTimestamp": timestamp(self._now())}
            changed = copied(manifest) | {"metadata": metadata | made}
        elif there["spec"] == copied(manifest["spec"]):
            changed = there
        else:
            counted = there["metadata"] | {"generation": there["metadata"]["generation"] + 1}
            changed = there | {"spec": copied(manifest["spec"]), "metadata": counted}
        if changed is not there:
            changed["metadata"]["resourceVersion"] = self._version()
            self._keep(changed)
        applied: Manifest = copied(changed)
        return applied

    def delete(self, kind: str, namespace: str, name: str) -> None:
        """Delete an object of ours, and with it the Jobs that it owns."""
        gone = self._objects.pop((kind, namespace, name))
        for job in list(self._jobs.values()):
            if any(owner["uid"] == gone["metadata"]["uid"] for owner in job["metadata"]["ownerReferences"]):
                self._drop(job)

    def admit(self) -> None:
        """Kueue lets all Jobs run whose Workload is active."""
        for job in self._jobs.values():
            if QUEUE_LABEL in job["metadata"]["labels"] and job["metadata"]["uid"] not in self._inactive:
                job["spec"]["suspend"] = False
                self._start(job)

    def running(self) -> list[Manifest]:
        """Jobs whose pods run."""
        return [copied(job) for job in self._jobs.values() if job.get("status", {}).get("active")]

    def finish(self, job: Manifest, pods: Sequence[Manifest]) -> None:
        """The pods of a running Job have ended."""
        there = self._jobs[job["metadata"]["namespace"], job["metadata"]["name"]]
        succeeded = sum(pod["status"]["phase"] == "Succeeded" for pod in pods)
        condition = {"type": "Complete", "status": "True"}
        if succeeded < len(pods):
            text = "Job has failed indexes"
            condition = {"type": "Failed", "status": "True", "reason": "FailedIndexes", "message": text}
        counts = {"active": 0, "succeeded": succeeded, "failed": len(pods) - succeeded}
        there["status"] = counts | {"startTime": timestamp(self._now()), "conditions": [condition]}
        self._pods[there["metadata"]["uid"]] = [copied(pod) for pod in pods]

    def jobs(self) -> list[Manifest]:
        """The Jobs that there are."""
        return [copied(job) for job in self._jobs.values()]

    def events(self) -> list[Manifest]:
        """The Events, in the order in which they were written first."""
        return [copied(event) for event in self._events.values()]

    # --- Within ------------------------------------------------------------------------------------------------------

    def _start(self, job: Manifest) -> None:
        """Have the pods of an unfinished Job run, or take them away while it is suspended."""
        if job.get("status", {}).get("conditions"):
            return
        metadata, count = job["metadata"], job["spec"]["completions"]
        suspended = job["spec"].get("suspend", False)
        job["status"] = {} if suspended else {"active": count, "startTime": timestamp(self._now())}
        self._pods[metadata["uid"]] = [] if suspended else list(_running(metadata, count))

    def _drop(self, job: Manifest) -> Manifest:
        metadata = job["metadata"]
        del self._pods[metadata["uid"]]
        return self._jobs.pop((metadata["namespace"], metadata["name"]))

    def _keep(self, manifest: Manifest) -> None:
        metadata = manifest["metadata"]
        self._objects[manifest["kind"], metadata["namespace"], metadata["name"]] = manifest

    def _version(self) -> str:
        return str(next(self._versions))


def pod_manifest(job: Mapping[str, Any], index: int, status: Mapping[str, Any]) -> Manifest:
    """The pod of one index of a Job, by the Job's metadata."""
    labels = {JOB_NAME_LABEL: job["name"], "batch.kubernetes.io/job-completion-index": str(index)}
    metadata = {
        "name": f"{job['name']}-{index}",
        "namespace": job["namespace"],
        "labels": labels,
        "annotations": labels,
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": dict(status)}


def _running(job: Mapping[str, Any], count: int) -> Iterable[Manifest]:
    return (pod_manifest(job, index, {"phase": "Running"}) for index in range(count))
