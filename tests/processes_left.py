"""Which processes there are, for tests that say that none is left."""

from __future__ import annotations

import os
import select
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from devcluster.processes import handle

if TYPE_CHECKING:
    from devcluster.processes import Identity

PATIENCE_SECONDS = 30.0


def processes_of(folder: Path) -> list[str]:
    """The command lines of all processes that name a folder or run in it."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):
            command = (entry / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            if command and (str(folder) in command or (entry / "cwd").readlink().is_relative_to(folder)):
                found.append(command)
    return found


def all_end(identities: list[Identity]) -> bool:
    """Whether all processes end, each within a patient while."""
    for identity in identities:
        descriptor = handle(identity)
        if descriptor is None:
            continue
        try:
            if not select.select([descriptor], [], [], PATIENCE_SECONDS)[0]:
                return False
        finally:
            os.close(descriptor)
    return True
