"""The device a pod runs on: threads, precision, synchronised time, memory, and the other workers."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist

from nasoa_runtime.boundary import Device, Precision
from nasoa_runtime.pods.failures import BadInputError, OutOfMemoryError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Target:
    """Where tensors go, and which of how many workers this is."""

    device: torch.device
    rank: int = 0
    world: int = 1

    @property
    def is_cuda(self) -> bool:
        """Whether work is queued on a GPU rather than done when a call returns."""
        return self.device.type == "cuda"

    def synchronize(self) -> None:
        """Wait until the device has done what was asked of it."""
        if self.is_cuda:
            torch.cuda.synchronize(self.device)

    def now(self) -> float:
        """Seconds of a monotonic clock, after the device has caught up."""
        self.synchronize()
        return time.perf_counter()

    def autocast(self, precision: Precision) -> AbstractContextManager[object]:
        """Mixed precision for forward passes; nothing for fp32."""
        return torch.autocast(self.device.type, dtype=DTYPES[precision], enabled=precision != "fp32")

    def agree(self, value: float) -> float:
        """The first worker's value: what depends on time must be decided alike by all."""
        if self.world == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.broadcast(shared, 0)
        return float(shared.item())

    def peak_memory_bytes(self) -> int:
        """Peak memory: what torch has allocated on a GPU, the process's resident set on a CPU."""
        if self.is_cuda:
            return int(torch.cuda.max_memory_allocated(self.device))
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def prepare(device: Device) -> Target:
    """Pin threads or pick the GPU, and join the other workers if torchrun started several.

    Raises:
        BadInputError: The device is not there.
    """
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if device.type == "cpu":
        torch.set_num_threads(max(device.count // world, 1))
        target = Target(torch.device("cpu"), rank, world)
    else:
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if not torch.cuda.is_available() or local >= torch.cuda.device_count():
            msg = f"cuda was asked for but this node shows {torch.cuda.device_count()} GPUs: use cpu."
            raise BadInputError(msg, "device.type")
        torch.cuda.set_device(local)
        torch.backends.cudnn.benchmark = True
        target = Target(torch.device("cuda", local), rank, world)
    if world > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if target.is_cuda else "gloo")
    return target


def product_of(device: Device) -> str:
    """Name of the GPU or of the processor, as the step-time tables key it."""
    if device.type == "cuda" and torch.cuda.is_available():
        return torch.cuda.get_device_name()[:128]
    for line in _cpu_information():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return " ".join(value.split())[:128]
    return (platform.processor() or platform.machine() or "cpu")[:128]


def product_before_torch(device: Device) -> str | None:
    """As :func:`product_of`, without touching CUDA: a process that has can't fork others that use it.

    ``None`` where the driver's own tool can't tell.
    """
    if device.type != "cuda":
        return product_of(device)
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.partition("\n")[0].strip()[:128] or None


def _cpu_information() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


@contextmanager
def out_of_memory_named(what: str) -> Iterator[None]:
    """Turn every way of running out of memory into :class:`OutOfMemoryError`."""
    try:
        yield
    except (torch.cuda.OutOfMemoryError, MemoryError) as error:
        msg = f"{what} ran out of memory: {str(error)[:300]}"
        raise OutOfMemoryError(msg) from error
    except RuntimeError as error:
        text = str(error)
        if "can't allocate memory" in text or "out of memory" in text.lower() or "bad_alloc" in text:
            msg = f"{what} ran out of memory: {text[:300]}"
            raise OutOfMemoryError(msg) from error
        raise
