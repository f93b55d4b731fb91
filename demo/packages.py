"""Real images out of published packages, fetched once into the user's cache through the ordinary package clients."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

from platformdirs import user_cache_path

FASHION_MNIST_VARIABLE = "NASOA_FASHION_MNIST"
FASHION_MNIST_PACKAGE = "dataset-fashion-mnist"
EMOJI_PACKAGES = {"google": "emoji-datasource-google@16.0.0", "twitter": "emoji-datasource-twitter@16.0.0"}


class DataUnavailableError(Exception):
    """A package can't be had; the message says what to do."""


def cache_directory() -> Path:
    """Where packages are kept between runs."""
    return user_cache_path("nasoa") / "datasets"


def fashion_mnist(environment: Mapping[str, str] = os.environ) -> Path:
    """Directory of Fashion-MNIST's four IDX files (MIT licence), from Debian's package.

    Raises:
        DataUnavailableError: without apt; then the variable ``NASOA_FASHION_MNIST`` may name such a directory.
    """
    if FASHION_MNIST_VARIABLE in environment:
        return Path(environment[FASHION_MNIST_VARIABLE])
    target = cache_directory() / "fashion-mnist"
    if target.exists():
        return target
    installed = Path("/usr/share") / FASHION_MNIST_PACKAGE
    if installed.exists():
        return installed
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        msg = (
            f"Fashion-MNIST comes from Debian's package {FASHION_MNIST_PACKAGE}, and there is no apt here: put its "
            f"four files train-*.gz and t10k-*.gz into a directory and name it in {FASHION_MNIST_VARIABLE}"
        )
        raise DataUnavailableError(msg)
    scratch = cache_directory() / f"apt-{os.getpid()}"
    try:
        (scratch / "lists" / "partial").mkdir(parents=True)
        # A list of its own: no root is needed, and the machine's own state of apt stays as it is.
        options = ["-o", f"Dir::State::Lists={scratch / 'lists'}", "-o", f"Dir::Cache={scratch / 'cache'}"]
        run(["apt-get", *options, "-qq", "update"], scratch)
        run(["apt-get", *options, "-qq", "download", FASHION_MNIST_PACKAGE], scratch)
        archive = next(scratch.glob("*.deb"))
        run(["dpkg-deb", "-x", str(archive), str(scratch / "unpacked")], scratch)
        found = next((scratch / "unpacked").rglob("train-images-idx3-ubyte.gz")).parent
        move_into_place(found, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def emoji(style: str) -> Path:
    """Directory of an emoji set: ``emoji.json`` and ``images/*.png``, 64 x 64.

    Google's drawings are under Apache-2.0, Twitter's under CC-BY-4.0.
    """
    target = cache_directory() / f"emoji-{style}"
    if target.exists():
        return target
    scratch = cache_directory() / f"npm-{style}-{os.getpid()}"
    try:
        scratch.mkdir(parents=True)
        npm = Path(sys.executable).parent / "npm"
        run([str(npm) if npm.exists() else "npm", "pack", "--silent", EMOJI_PACKAGES[style]], scratch)
        archive = next(scratch.glob("*.tgz"))
        prepared = scratch / "prepared"
        (prepared / "images").mkdir(parents=True)
        with tarfile.open(archive) as package:
            for member in package:
                parts = Path(member.name).parts
                content = package.extractfile(member)
                if content is None:
                    continue
                if parts[1:] == ("emoji.json",):
                    (prepared / "emoji.json").write_bytes(content.read())
                elif parts[1:-1] == ("img", style, "64"):
                    (prepared / "images" / parts[-1]).write_bytes(content.read())
        move_into_place(prepared, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def run(command: list[str], directory: Path) -> None:
    """Run a package client; its own words become the error."""
    # npm is a script that looks for its node on PATH.
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        msg = f"{command[0]} failed: {(done.stderr or done.stdout).strip()[-500:]}"
        raise DataUnavailableError(msg)


def move_into_place(source: Path, target: Path) -> None:
    """Put a finished directory in place at once; another process may have been faster."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.rename(target)
    except OSError:
        if not target.exists():
            raise
