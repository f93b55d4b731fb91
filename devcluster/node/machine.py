"""What this machine has, and what every pod's worker shares."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from .addresses import AddressPool
from .api import Api
from .devices import GPU_RESOURCE, Devices
from .events import Events

_SMI_SECONDS = 30


@dataclass(frozen=True)
class Capacity:
    """Amounts as quantities, in the form of a Node's ``status.capacity``."""

    cpus: tuple[int, ...]
    memory_kib: int
    storage_bytes: int
    max_pods: int
    gpus: tuple[str, ...] = ()
    gpu_product: str = ""

    def amounts(self) -> dict[str, str]:
        """The Node's capacity, all of which can be allocated."""
        amounts = {
            "cpu": str(len(self.cpus)),
            "memory": f"{self.memory_kib}Ki",
            "ephemeral-storage": str(self.storage_bytes),
            "pods": str(self.max_pods),
        }
        return amounts | ({GPU_RESOURCE: str(len(self.gpus))} if self.gpus else {})


def memory_kib(meminfo: str) -> int:
    """Reads the total from the text of /proc/meminfo."""
    line = next(one for one in meminfo.splitlines() if one.startswith("MemTotal:"))
    return int(line.split()[1])


def parse_gpus(listing: str) -> tuple[tuple[str, ...], str]:
    """Returns the UUIDs and the product (as a label value) from ``nvidia-smi --query-gpu=uuid,name`` in CSV."""
    rows = [line.split(",", 1) for line in listing.splitlines() if "," in line]
    product = rows[0][1].strip().replace(" ", "-") if rows else ""
    return tuple(row[0].strip() for row in rows), product


def detect(data_directory: Path, max_pods: int) -> Capacity:
    """Looks at the machine."""
    gpus: tuple[str, ...] = ()
    product = ""
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=uuid,name", "--format=csv,noheader"]
        listing = subprocess.run(query, capture_output=True, text=True, timeout=_SMI_SECONDS, check=False)
        gpus, product = parse_gpus(listing.stdout) if listing.returncode == 0 else ((), "")
    return Capacity(
        cpus=tuple(sorted(os.sched_getaffinity(0))),
        memory_kib=memory_kib(Path("/proc/meminfo").read_text(encoding="ascii")),
        storage_bytes=shutil.disk_usage(data_directory).total,
        max_pods=max_pods,
        gpus=gpus,
        gpu_product=product,
    )


@dataclass
class Machine:
    """The node's parts that pods share. ``mounts_refused`` says why nothing can be mounted here, if so."""

    name: str
    directory: Path
    api: Api
    events: Events
    capacity: Capacity
    mounts_refused: str | None
    devices: Devices
    addresses: AddressPool = field(default_factory=AddressPool)
    images: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Image -> the command that stands for it."""

    def service_variables(self) -> dict[str, str]:
        """Where a program in a pod finds the API server. There are no service addresses on one machine."""
        server = urlsplit(self.api.server)
        return {
            "KUBERNETES_SERVICE_HOST": server.hostname or "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(server.port or 443),
            "KUBERNETES_SERVICE_PORT_HTTPS": str(server.port or 443),
        }
