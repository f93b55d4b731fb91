"""What keeps a Job's pods from running, told in terms of the spec. Pure: from Job and pod manifests.

None of it fails an object. A Secret may be created, a node may become free; the pods then start by themselves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime

from nasoa_operator.obstacles import RUNNABLE, Obstacle
from nasoa_operator.plan import Manifest
from nasoa_runtime.boundary import EXIT_BAD_INPUT, EXIT_CHECKPOINTED, EXIT_DIVERGED

PATIENCE_SECONDS = 20.0
"""What may pass by itself is said only after this long: a busy node, a controller that has not got to the Job yet."""
CREATION_PATIENCE_SECONDS = 90.0
"""Images are pulled and volumes are mounted while a container is being created."""
CREATING = {"ContainerCreating", "PodInitializing"}
IMAGE_REASONS = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
_REASON = re.compile("[A-Z][A-Za-z0-9]{0,62}")
_NO_SECRET = re.compile(r'secrets? "(?P<name>[^"]+)" not found')
_NO_KEY = re.compile(r"couldn't find key (?P<key>\S+) in Secret \S+/(?P<name>\S+)")
_NO_CLAIM = re.compile(r'persistentvolumeclaim "(?P<name>[^"]+)" not found')
_NOT_YET_KNOWN = "no relationship found between node"
"""The API server has not taken up yet that the pod, and thereby its Secret, is on the node."""
_NO_PATH = re.compile(r"(?i)subpath")


def blockage_of(job: Manifest, pods: Sequence[Manifest], now: datetime) -> Obstacle | None:
    """What keeps an unfinished Job's pods from running; ``None`` if nothing does, or if it may still pass by itself."""
    if job["spec"].get("suspend") or "deletionTimestamp" in job["metadata"]:
        return None
    if not pods:
        return _without_pods(job, now)
    failed = _tried_again(pods)
    if failed is not None:
        return failed
    waiting = [p for p in pods if p.get("status", {}).get("phase", "Pending") == "Pending"]
    for pod in waiting:
        found = _waiting_container(pod, now)
        if found is not None:
            return found
    if any(pod.get("status", {}).get("phase") == "Running" for pod in pods):
        # Others of this Job wait for their turn on the nodes that there are.
        return None
    return next(filter(None, (_unscheduled(pod, now) for pod in waiting)), None)


def _without_pods(job: Manifest, now: datetime) -> Obstacle | None:
    status, name = job.get("status", {}), job["metadata"]["name"]
    begun = any(status.get(count) for count in ("active", "failed", "succeeded", "terminating"))
    if begun or not _older(status.get("startTime"), now, PATIENCE_SECONDS):
        return None
    message = (
        f"no pod of Job {name} can be created: `kubectl describe job {name} -n {job['metadata']['namespace']}` says "
        "why. A quota may be used up, or the service account or priority class of spec.podTemplate may be missing"
    )
    return Obstacle(RUNNABLE, "PodsNotCreated", message)


def _tried_again(pods: Sequence[Manifest]) -> Obstacle | None:
    """The last failure, where all pods have failed and Kubernetes is about to start another."""
    ended: list[tuple[str, int, str]] = []
    for pod in pods:
        status = pod.get("status", {})
        if status.get("phase") != "Failed":
            return None
        for container in status.get("containerStatuses", []):
            state = container.get("state", {}).get("terminated", {})
            word = (str(state.get("finishedAt", "")), int(state.get("exitCode", 1)), str(state.get("message", "")))
            ended.append(word)
    _, code, text = max(ended, default=("", 0, ""))
    if code in {0, EXIT_BAD_INPUT, EXIT_DIVERGED, EXIT_CHECKPOINTED}:
        return None  # Nothing is tried again because of these, or it was no failure.
    try:
        document = json.loads(text)
        text = str(document.get("message", "")) if isinstance(document, dict) else text
    except ValueError:
        pass
    why = text[:1000] or f"exit code {code}"
    return Obstacle(RUNNABLE, "PodFailed", f"the last pod failed and is tried again: {why}")


def _waiting_container(pod: Manifest, now: datetime) -> Obstacle | None:
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    for status in pod.get("status", {}).get("containerStatuses", []):
        waiting = status.get("state", {}).get("waiting", {})
        reason, text = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
        if not _REASON.fullmatch(reason) or _NOT_YET_KNOWN in text:
            continue
        if reason in CREATING:
            if not _older(pod["status"].get("startTime"), now, CREATION_PATIENCE_SECONDS):
                continue
            why = text or f"`kubectl describe pod {name} -n {namespace}` says why"
            return Obstacle(RUNNABLE, reason, f"pod {name} has not been able to start for a while: {why}")
        return Obstacle(RUNNABLE, reason, _explained(reason, text, namespace, name))
    return None


def _explained(reason: str, text: str, namespace: str, pod: str) -> str:
    """A container's reason to wait in terms of the spec, where it is one of those that tenants cause."""
    if found := _NO_SECRET.search(text):
        return (
            f"spec.storage.secretName: there is no Secret {found['name']!r} in namespace {namespace}: create it with "
            "the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and the pods start by themselves"
        )
    if found := _NO_KEY.search(text):
        return (
            f"spec.storage.secretName: Secret {found['name']!r} has no key {found['key']}: add it (it needs "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), and the pods start by themselves"
        )
    if _NO_PATH.search(text):
        return f"spec.dataset.uri: the claim has no such path: {text}"
    if reason in IMAGE_REASONS:
        return f"the image of pod {pod} can't be pulled ({text or reason}): the operator's NASOA_POD_IMAGE names it"
    return f"pod {pod} can't start: {text or reason}"


def _unscheduled(pod: Manifest, now: datetime) -> Obstacle | None:
    for condition in pod.get("status", {}).get("conditions", []):
        if condition["type"] != "PodScheduled" or condition["status"] != "False":
            continue
        text = str(condition.get("message") or condition.get("reason") or "")
        namespace = pod["metadata"]["namespace"]
        if found := _NO_CLAIM.search(text):
            claim = found["name"]
            message = (
                f"spec.dataset.uri: there is no PersistentVolumeClaim {claim!r} in namespace {namespace}: create it, "
                "or delete this object and name another one"
            )
            return Obstacle(RUNNABLE, "ClaimNotFound", message)
        if _older(condition.get("lastTransitionTime"), now, PATIENCE_SECONDS):
            name, why = pod["metadata"]["name"], text.rstrip(".")
            message = f"no node takes pod {name} yet: {why}. It waits for one that spec.device and spec.podTemplate fit"
            return Obstacle(RUNNABLE, "Unschedulable", message)
    return None


def _older(timestamp: str | None, now: datetime, seconds: float) -> bool:
    return timestamp is not None and (now - datetime.fromisoformat(timestamp)).total_seconds() >= seconds
