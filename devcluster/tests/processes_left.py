"""Which processes there are, for tests that say that none is left."""

from __future__ import annotations

import os
import select
from pathlib import Path

import psutil

from devcluster.processes import ProcessId, handle

PATIENCE_SECONDS = 30.0


def processes_of(folder: Path) -> list[str]:
    """The command lines of all processes that name a folder or run in it."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        command, directory = " ".join(process.info["cmdline"] or ()), process.info["cwd"]
        within = directory is not None and Path(directory).is_relative_to(folder)
        if process.pid != os.getpid() and command and (str(folder) in command or within):
            found.append(command)
    return found


def all_end(processes: list[ProcessId]) -> bool:
    """Whether all processes end, each within a patient while."""
    for process in processes:
        descriptor = handle(process)
        if descriptor is None:
            continue
        try:
            if not select.select([descriptor], [], [], PATIENCE_SECONDS)[0]:
                return False
        finally:
            os.close(descriptor)
    return True
