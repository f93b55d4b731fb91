"""One cluster with one node for all tests of this folder; each test takes a namespace of its own."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from pods import Namespace

from devcluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane, an S3 store and the node ``local-0``, which end with the test run, however it ends."""
    with Cluster.start(tmp_path_factory.mktemp("cluster"), nodes=1, name="tests", progress=print) as running:
        yield running


@pytest.fixture
def space(cluster: Cluster) -> Iterator[Namespace]:
    """A namespace of the test's own; what is in it goes with it."""
    name = f"space-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    yield Namespace(cluster, name)
    cluster.kubectl("delete", "namespace", name, "--wait=false")
