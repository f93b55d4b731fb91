"""What several unit tests need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from s3 import a_server
from training import read

from nasoa_runtime.pods.dataset.reading import Dataset


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The address of an S3 of the module's own."""
    with a_server() as address:
        yield address


@pytest.fixture
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images are read and networks trained without further processes or threads."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    torch.set_num_threads(1)


@pytest.fixture(params=["in memory", "on disk"])
def dataset(request: pytest.FixtureRequest, root: Path) -> Dataset:
    """The images in the module's own ``root``, held in memory and read from disk."""
    return read(root) if request.param == "in memory" else read(root, resident_bytes=0)
