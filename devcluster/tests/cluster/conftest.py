"""One cluster with one node for all tests of this folder; each test takes a namespace of its own."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from devcluster import Cluster
from devcluster.s3 import Rights
from devcluster.tests.pods import Namespace

if TYPE_CHECKING:
    from collections.abc import Iterator

BUCKETS = ("shared", "own")
IDENTITIES = {
    "owner": Rights(reads=BUCKETS, writes=BUCKETS),
    "reader": Rights(reads=("shared/open/",)),
    "guest": Rights(reads=("own",), writes=("own",)),
}
IMAGES = {"example/greeter:1": ["python", "-c", "import sys; print('hello', *sys.argv[1:])"]}


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane, an S3 store and the node ``local-0``, which end with these tests, however they end."""
    folder = tmp_path_factory.mktemp("cluster")
    with Cluster.start(
        folder, name="tests", progress=print, images=IMAGES, buckets=BUCKETS, identities=IDENTITIES
    ) as running:
        yield running


@pytest.fixture
def space(cluster: Cluster) -> Iterator[Namespace]:
    """A namespace of the test's own; what is in it goes with it."""
    name = f"space-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    yield Namespace(cluster, name)
    cluster.kubectl("delete", "namespace", name, "--wait=false")
