"""One cluster with one node for all tests of this folder; each test takes a namespace of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from devcluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane, an S3 store and the node ``local-0``, which end with the test run, however it ends."""
    with Cluster.start(tmp_path_factory.mktemp("cluster"), nodes=1, name="tests", progress=print) as running:
        yield running
