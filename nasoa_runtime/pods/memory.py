"""How much memory a pod's process may still take."""

from __future__ import annotations

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def free_bytes(cgroup: Path = CGROUP) -> int:
    """What is left below the container's limit, or on the machine where there is none."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    limit, used = _figure(cgroup / "memory.max"), _figure(cgroup / "memory.current")
    return machine if limit is None or used is None else min(machine, max(limit - used, 0))


def _figure(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None  # It says "max", or there is no such file.
