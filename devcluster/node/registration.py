"""The Node object and its Lease."""

import asyncio
import logging
import platform
from pathlib import Path
from typing import Any

from .addresses import HOST_IP
from .api import MERGE_PATCH, STRATEGIC_PATCH, Api
from .clock import rfc3339, rfc3339_micro
from .errors import ApiError
from .machine import Capacity

JSON = dict[str, Any]

LEASE_PERIOD_SECONDS = 10.0
STATUS_PERIOD_SECONDS = 30.0
_LEASE_DURATION_SECONDS = 40
_RETRY_SECONDS = 0.5
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_log = logging.getLogger(__name__)


def labels(name: str, capacity: Capacity) -> dict[str, str]:
    """The Node's labels."""
    machine = platform.machine()
    common = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/arch": _ARCHITECTURES.get(machine, machine),
        "kubernetes.io/os": "linux",
    }
    return common | ({"nvidia.com/gpu.product": capacity.gpu_product} if capacity.gpu_product else {})


def node_status(name: str, capacity: Capacity, port: int, version: str, since: str, now: str) -> JSON:
    """The Node's status.

    Args:
        name: The node's name.
        capacity: What the machine has.
        port: Where the node serves logs.
        version: The version that the node passes for, which is the API server's.
        since: When the node's program started: its conditions have been as they are since then.
        now: The time of this heartbeat.
    """
    times = {"lastHeartbeatTime": now, "lastTransitionTime": since}
    healthy = (
        ("MemoryPressure", "KubeletHasSufficientMemory"),
        ("DiskPressure", "KubeletHasNoDiskPressure"),
        ("PIDPressure", "KubeletHasSufficientPID"),
    )
    conditions = [
        {"type": kind, "status": "False", "reason": reason, "message": "not watched by the local node", **times}
        for kind, reason in healthy
    ]
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "the local node is running"}
    machine_id = _read("/etc/machine-id")
    return {
        "capacity": capacity.amounts(),
        "allocatable": capacity.amounts(),
        "conditions": [*conditions, ready | times],
        "addresses": [{"type": "InternalIP", "address": HOST_IP}, {"type": "Hostname", "address": name}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        "nodeInfo": {
            "machineID": machine_id,
            "systemUUID": machine_id,
            "bootID": _read("/proc/sys/kernel/random/boot_id"),
            "kernelVersion": platform.release(),
            "osImage": _os_image(),
            "containerRuntimeVersion": f"process://{platform.python_version()}",
            "kubeletVersion": version,
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": labels(name, capacity)["kubernetes.io/arch"],
        },
    }


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _os_image() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


class Registration:
    """Keeps the Node and its Lease. The node counts as unreachable 40 s after the last renewal."""

    def __init__(self, api: Api, name: str, capacity: Capacity, port: int) -> None:
        self._api = api
        self._name = name
        self._capacity = capacity
        self._port = port
        self._since = rfc3339()
        self._version = ""
        self._uid: str = ""
        self._registered = asyncio.Event()

    async def run(self) -> None:
        """Registers, then reports for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._every(STATUS_PERIOD_SECONDS, self._report))
            group.create_task(self._every(LEASE_PERIOD_SECONDS, self._renew))

    async def _every(self, seconds: float, action: Any) -> None:
        while True:
            try:
                await action()
                pause = seconds
            except ApiError as error:
                _log.warning("%s: %s", action.__name__.strip("_"), error.message)
                pause = _RETRY_SECONDS
            await asyncio.sleep(pause)

    async def _report(self) -> None:
        if not self._version:
            self._version = (await self._api.request("GET", "/version"))["gitVersion"]
        status = node_status(self._name, self._capacity, self._port, self._version, self._since, rfc3339())
        path = f"/api/v1/nodes/{self._name}"
        named = {"metadata": {"name": self._name, "labels": labels(self._name, self._capacity)}}
        try:
            node = await self._api.request("PATCH", path, named, content_type=STRATEGIC_PATCH)
        except ApiError as error:
            if error.status != 404:
                raise
            node = await self._api.request("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", **named})
        self._uid = node["metadata"]["uid"]
        self._registered.set()
        await self._api.request("PATCH", f"{path}/status", {"status": status}, content_type=STRATEGIC_PATCH)

    async def _renew(self) -> None:
        # The Lease is owned by the Node, so that it goes with it.
        await self._registered.wait()
        base = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        spec = {
            "holderIdentity": self._name,
            "leaseDurationSeconds": _LEASE_DURATION_SECONDS,
            "renewTime": rfc3339_micro(),
        }
        try:
            await self._api.request("PATCH", f"{base}/{self._name}", {"spec": spec}, content_type=MERGE_PATCH)
        except ApiError as error:
            if error.status != 404:
                raise
            owner = {"apiVersion": "v1", "kind": "Node", "name": self._name, "uid": self._uid}
            metadata = {"name": self._name, "ownerReferences": [owner]}
            lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
            await self._api.request("POST", base, lease)
