"""Which CPUs and GPUs a container gets for what it requested."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from .quantity import parse_quantity, whole_units

T = TypeVar("T")
GPU_RESOURCE = "nvidia.com/gpu"


@dataclass(frozen=True)
class Grant:
    """The devices of one container. ``cpus`` is ``None`` where any CPU will do."""

    cpus: tuple[int, ...] | None
    gpus: tuple[str, ...]
    threads: int | None

    def variables(self) -> dict[str, str]:
        """The variables that tell a program what it has been given."""
        given = {"CUDA_VISIBLE_DEVICES": ",".join(self.gpus)}
        if self.threads is not None:
            given["OMP_NUM_THREADS"] = str(self.threads)
        return given


def requested(container: dict[str, Any], resource: str) -> str | None:
    """Returns a container's request of a resource; a limit without a request counts as one."""
    resources = container.get("resources") or {}
    amount = (resources.get("requests") or {}).get(resource, (resources.get("limits") or {}).get(resource))
    return None if amount is None else str(amount)


@dataclass
class Devices:
    """The CPUs and GPUs of this machine and who holds them.

    The scheduler sees to it that no more is requested than there is. When a pod is bound to the node by hand, the
    least used devices are shared.
    """

    cpus: Sequence[int]
    gpus: Sequence[str] = ()
    _holders: dict[str, Grant] = field(default_factory=dict)

    def allocate(self, holder: str, container: dict[str, Any]) -> Grant:
        """Gives a container its devices; ``holder`` names it in `release`."""
        self.release(holder)
        cpu = requested(container, "cpu")
        whole = cpu is not None and parse_quantity(cpu) == parse_quantity(cpu).to_integral_value()
        count = whole_units(cpu) if cpu is not None else 0
        chosen = None
        if whole and 0 < count < len(self.cpus):
            used = [one for grant in self._holders.values() for one in grant.cpus or ()]
            chosen = tuple(sorted(_least_used(self.cpus, used, count)))
        used_gpus = [one for grant in self._holders.values() for one in grant.gpus]
        gpus = tuple(_least_used(self.gpus, used_gpus, whole_units(requested(container, GPU_RESOURCE) or "0")))
        grant = Grant(chosen, gpus, max(1, count) if cpu is not None else None)
        self._holders[holder] = grant
        return grant

    def release(self, holder: str) -> None:
        """Takes a container's devices back."""
        self._holders.pop(holder, None)


def _least_used(devices: Iterable[T], used: Sequence[T], count: int) -> list[T]:
    return sorted(devices, key=used.count)[:count]
