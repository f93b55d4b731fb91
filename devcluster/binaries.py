"""Where etcd, the control plane and kubectl come from: given, installed, or built once from pinned Go modules."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .building import build
from .layout import cache_directory
from .toolchain import Progress
from .tools import TOOLSETS, Toolset, major_minor

ASSETS_VARIABLE = "KUBEBUILDER_ASSETS"


def silent(_message: str) -> None:
    """Progress that nobody wants to see."""


def find(progress: Progress = silent, *, toolsets: tuple[Toolset, ...] = TOOLSETS) -> dict[str, Path]:
    """Returns the path of each program, having built what is missing.

    Each is looked for in the folder that ``KUBEBUILDER_ASSETS`` names, then on PATH (where only the pinned minor
    version counts), then in this user's cache, which a build fills.

    Raises:
        NoToolchainError, BuildError: something has to be built and can't be.
    """
    found: dict[str, Path] = {}
    for toolset in toolsets:
        present = look(toolset, os.environ)
        missing = set(toolset.programs) - set(present)
        if missing:
            folder = _cached(toolset, progress)
            present |= {program: folder / program for program in missing}
        found |= present
    return found


def look(toolset: Toolset, environment: Mapping[str, str]) -> dict[str, Path]:
    """The programs of a toolset that are already on this machine, outside the cache."""
    found = {}
    assets = environment.get(ASSETS_VARIABLE)
    for program in toolset.programs:
        given = Path(assets) / program if assets else None
        if given is not None and os.access(given, os.X_OK):
            found[program] = given.resolve()
            continue
        installed = shutil.which(program, path=environment.get("PATH"))
        if installed is not None and _fits(toolset, program, Path(installed)):
            found[program] = Path(installed)
    return found


def _fits(toolset: Toolset, program: str, path: Path) -> bool:
    try:
        said = subprocess.run(
            [str(path), *toolset.version_arguments[program]], capture_output=True, text=True, check=True, timeout=30
        )
        return major_minor(said.stdout) == major_minor(toolset.version)
    except (OSError, ValueError, subprocess.SubprocessError):
        return False


def _cached(toolset: Toolset, progress: Progress) -> Path:
    tools = cache_directory() / "tools"
    folder = tools / toolset.folder_name
    if folder.is_dir():
        return folder
    tools.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(tools / f"{toolset.folder_name}.lock", progress):
        if folder.is_dir():  # Another process has built it while this one waited.
            return folder
        # What an interrupted build left behind: nobody else can be using it, for the lock is held.
        for old in tools.glob(f"{toolset.folder_name}.build-*"):
            shutil.rmtree(old)
        scratch = Path(tempfile.mkdtemp(prefix=f"{toolset.folder_name}.build-", dir=tools))
        try:
            # A folder appears under its name only when it is complete.
            build(toolset, scratch, progress).rename(folder)
        finally:
            progress("removing Go's build caches")
            shutil.rmtree(scratch, ignore_errors=True)
    return folder


@contextmanager
def _one_at_a_time(lock: Path, progress: Progress) -> Iterator[None]:
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("another process builds the same programs: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
