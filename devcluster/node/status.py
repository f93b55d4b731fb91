"""A pod's status from what the node knows of its containers, in the words that a kubelet uses. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

JSON = dict[str, Any]

MESSAGE_BYTES = 4096
POD_MESSAGE_BYTES = 12 * 1024
LOG_FALLBACK_BYTES = 2048
LOG_FALLBACK_LINES = 80
KILLED = 137
_OWN_CONDITIONS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady")


@dataclass(frozen=True)
class Waiting:
    """Not started, or between two attempts."""

    reason: str
    message: str = ""


@dataclass(frozen=True)
class Running:
    """Started. ``ready`` follows the readiness probe, or is true from the start where there is none."""

    started_at: str
    ready: bool = True
    started: bool = True


@dataclass(frozen=True)
class Terminated:
    """Ended, with an exit code (128 + n after signal n). Times are RFC 3339."""

    exit_code: int
    reason: str
    message: str
    started_at: str
    finished_at: str
    container_id: str


State = Waiting | Running | Terminated


@dataclass(frozen=True)
class ContainerRecord:
    """One container: its state now, how its last attempt ended, and how often it was restarted."""

    name: str
    image: str
    state: State
    last: Terminated | None = None
    restarts: int = 0
    container_id: str = ""

    def terminated(self) -> Terminated | None:
        """How the present attempt ended, if it has."""
        return self.state if isinstance(self.state, Terminated) else None


@dataclass(frozen=True)
class PodRecord:
    """All that the node knows of a pod. ``failure`` is a (reason, message) that ends the pod whatever its programs
    returned; ``stopped`` means that nothing of the pod runs or will run again."""

    init: tuple[ContainerRecord, ...]
    main: tuple[ContainerRecord, ...]
    start_time: str
    host_ip: str
    pod_ip: str = ""
    stopped: bool = False
    failure: tuple[str, str] | None = None

    def with_container(self, record: ContainerRecord) -> "PodRecord":
        """Returns the record with one container replaced."""
        return replace(
            self,
            init=tuple(record if one.name == record.name else one for one in self.init),
            main=tuple(record if one.name == record.name else one for one in self.main),
        )

    def container(self, name: str) -> ContainerRecord:
        """Returns the container of this name."""
        return next(one for one in (*self.init, *self.main) if one.name == name)


def should_restart(policy: str, exit_code: int) -> bool:
    """Whether a container of a running pod is started again after it has ended."""
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def restart_delay_seconds(quick_failures: int) -> float:
    """The wait before a restart: none before the first, then 10 s doubling to 300 s."""
    return 0.0 if quick_failures <= 0 else min(10.0 * 2.0 ** (quick_failures - 1), 300.0)


def initialized(record: PodRecord) -> bool:
    """Whether all init containers have succeeded."""
    return all(one.state.exit_code == 0 if isinstance(one.state, Terminated) else False for one in record.init)


def phase(record: PodRecord, restart_policy: str) -> str:
    """Returns the pod's phase.

    A pod that has stopped is always in a terminal phase, because the Job controller counts a pod only once its
    phase is terminal, also when the pod is being deleted.
    """
    if record.failure:
        return "Failed" if record.stopped else _live_phase(record, restart_policy)
    if record.stopped:
        ended = [one.terminated() for one in record.main]
        return "Succeeded" if all(one is not None and one.exit_code == 0 for one in ended) else "Failed"
    return _live_phase(record, restart_policy)


def _live_phase(record: PodRecord, restart_policy: str) -> str:
    if not initialized(record):
        failed = any(one.state.exit_code for one in record.init if isinstance(one.state, Terminated))
        return "Failed" if failed and restart_policy == "Never" else "Pending"
    ended = [one.state.exit_code for one in record.main if isinstance(one.state, Terminated)]
    if len(ended) == len(record.main) and not any(should_restart(restart_policy, code) for code in ended):
        return "Failed" if any(ended) else "Succeeded"
    begun = any(not isinstance(one.state, Waiting) or one.last is not None for one in record.main)
    return "Running" if begun else "Pending"


def _state(state: State) -> JSON:
    if isinstance(state, Running):
        return {"running": {"startedAt": state.started_at}}
    if isinstance(state, Terminated):
        ended = {
            "exitCode": state.exit_code,
            "reason": state.reason,
            "message": state.message,
            "startedAt": state.started_at,
            "finishedAt": state.finished_at,
            "containerID": state.container_id,
        }
        return {"terminated": {key: value for key, value in ended.items() if value != ""}}
    return {"waiting": {"reason": state.reason} | ({"message": state.message} if state.message else {})}


def _container_status(record: ContainerRecord, *, init: bool) -> JSON:
    state = record.state
    ready = state.ready if isinstance(state, Running) else False
    if init and isinstance(state, Terminated):
        ready = state.exit_code == 0
    status = {
        "name": record.name,
        "image": record.image,
        "imageID": "",
        "ready": ready,
        "started": isinstance(state, Running) and state.started,
        "restartCount": record.restarts,
        "state": _state(state),
        "lastState": _state(record.last) if record.last else {},
    }
    return status | ({"containerID": record.container_id} if record.container_id else {})


def _unready(records: Iterable[ContainerRecord]) -> list[str]:
    return [one.name for one in records if not (isinstance(one.state, Running) and one.state.ready)]


def _conditions(record: PodRecord, now_phase: str) -> Iterable[tuple[str, bool, str, str]]:
    """Yields (type, status, reason, message) of the conditions that the node owns."""
    over = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(now_phase)
    yield "PodReadyToStartContainers", bool(record.pod_ip) and not record.stopped and over is None, "", ""
    incomplete = [one.name for one in record.init if not (one.terminated() and one.terminated().exit_code == 0)]  # type: ignore[union-attr]
    if now_phase == "Succeeded":
        yield "Initialized", True, "PodCompleted", ""
    elif incomplete:
        listed = " ".join(incomplete)
        yield "Initialized", False, "ContainersNotInitialized", f"containers with incomplete status: [{listed}]"
    else:
        yield "Initialized", True, "", ""
    unready = _unready(record.main)
    for kind in ("Ready", "ContainersReady"):
        if over:
            yield kind, False, over, ""
        elif unready or incomplete:
            listed = " ".join(unready)
            yield kind, False, "ContainersNotReady", f"containers with unready status: [{listed}]"
        else:
            yield kind, True, "", ""


def pod_status(
    record: PodRecord, restart_policy: str, previous: Sequence[JSON], generation: int | None, now: str
) -> JSON:
    """Builds the part of the status that belongs to the node.

    The result is meant for a strategic merge patch, in which conditions merge by type: those of others (the
    scheduler's, the eviction's) stay. Transition times are kept where a condition has not changed.

    Args:
        record: What the node knows.
        restart_policy: The pod's.
        previous: The conditions that the API server has now.
        generation: The pod's ``metadata.generation``.
        now: RFC 3339 time for conditions that change.
    """
    now_phase = phase(record, restart_policy)
    known = {one["type"]: one for one in previous}
    conditions = []
    for kind, holds, reason, message in _conditions(record, now_phase):
        value = "True" if holds else "False"
        before = known.get(kind, {})
        same = before.get("status") == value
        condition = {
            "type": kind,
            "status": value,
            "lastProbeTime": None,
            "lastTransitionTime": before["lastTransitionTime"] if same else now,
            # An explicit null takes a reason away that an earlier patch has set.
            "reason": reason or None,
            "message": message or None,
        }
        conditions.append(condition | ({"observedGeneration": generation} if generation else {}))
    status: JSON = {
        "phase": now_phase,
        "conditions": conditions,
        "hostIP": record.host_ip,
        "hostIPs": [{"ip": record.host_ip}],
        "startTime": record.start_time,
        "containerStatuses": [_container_status(one, init=False) for one in record.main],
    }
    if generation:
        status["observedGeneration"] = generation
    if record.init:
        status["initContainerStatuses"] = [_container_status(one, init=True) for one in record.init]
    if record.pod_ip:
        status |= {"podIP": record.pod_ip, "podIPs": [{"ip": record.pod_ip}]}
    if record.failure and now_phase == "Failed":
        status |= {"reason": record.failure[0], "message": record.failure[1]}
    return status


def termination_message(raw: bytes, log_tail: bytes, policy: str, exit_code: int, containers: int = 1) -> str:
    """Returns what a terminated container says: the last bytes of its file or, where that is empty and the policy
    says so, the end of a failed container's log.

    Args:
        raw: The termination message file.
        log_tail: The end of the log, without time stamps.
        policy: ``File`` or ``FallbackToLogsOnError``.
        exit_code: The container's.
        containers: Containers of the pod, which share 12 KiB.
    """
    limit = min(MESSAGE_BYTES, POD_MESSAGE_BYTES // max(1, containers))
    if not raw and policy == "FallbackToLogsOnError" and exit_code != 0:
        lines = log_tail[-LOG_FALLBACK_BYTES:].splitlines(keepends=True)
        raw = b"".join(lines[-LOG_FALLBACK_LINES:])
    # A cut in the middle of a character leaves bytes that are no text: they are dropped, so that the message
    # does not grow beyond the limit.
    return raw[-limit:].decode("utf-8", errors="ignore")


def resumed_record(pod: JSON, host_ip: str, now: str) -> PodRecord:
    """Returns the record of a pod that this node sees for the first time since it started.

    Programs don't outlive the node, so what the status calls running was killed with it.
    """
    status = pod.get("status") or {}
    seen = {one["name"]: one for key in ("containerStatuses", "initContainerStatuses") for one in status.get(key) or ()}

    def record(container: JSON, reason: str) -> ContainerRecord:
        before = seen.get(container["name"], {})
        state = _resumed_state(before, reason, now)
        ended = (before.get("lastState") or {}).get("terminated")
        return ContainerRecord(
            name=container["name"],
            image=container.get("image", ""),
            state=state,
            last=_terminated(ended) if ended else None,
            restarts=before.get("restartCount", 0),
            container_id=before.get("containerID", ""),
        )

    init = pod["spec"].get("initContainers") or ()
    return PodRecord(
        init=tuple(record(one, "PodInitializing") for one in init),
        main=tuple(
            record(one, "PodInitializing" if init else "ContainerCreating") for one in pod["spec"]["containers"]
        ),
        start_time=status.get("startTime") or now,
        host_ip=host_ip,
        pod_ip=status.get("podIP", ""),
    )


def _terminated(ended: JSON) -> Terminated:
    return Terminated(
        exit_code=ended["exitCode"],
        reason=ended.get("reason", ""),
        message=ended.get("message", ""),
        started_at=ended.get("startedAt") or "",
        finished_at=ended.get("finishedAt") or "",
        container_id=ended.get("containerID", ""),
    )


def _resumed_state(before: JSON, waiting_reason: str, now: str) -> State:
    state = before.get("state") or {}
    if "terminated" in state:
        return _terminated(state["terminated"])
    if "running" in state:
        return Terminated(
            exit_code=KILLED,
            reason="Error",
            message="The node stopped while the container was running.",
            started_at=state["running"].get("startedAt") or now,
            finished_at=now,
            container_id=before.get("containerID", ""),
        )
    return Waiting(waiting_reason)
