"""One cluster with one node for all tests of this folder; each test takes a namespace of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from operated import DOUBLE, Team

from demo.cluster import start_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from devcluster import Cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane, an S3 store and the node ``local-0``, which end with the test run, however it ends."""
    with start_cluster(tmp_path_factory.mktemp("cluster"), name="tests", progress=print) as running:
        yield running


@pytest.fixture(scope="session")
def double_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """As ``cluster``, but the pods of the operator run a double of their program, which starts in a second."""
    folder = tmp_path_factory.mktemp("double")
    with start_cluster(folder, name="double", progress=print, images=DOUBLE) as running:
        yield running


@pytest.fixture
def team(double_cluster: Cluster, tmp_path: Path) -> Iterator[Team]:
    """A namespace with an operator that looks at it; both end with the test."""
    team = Team(double_cluster, tmp_path)
    team.start()
    yield team
    team.end()


@pytest.fixture(scope="session")
def undisturbed(double_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """A team whose search ``search`` has ended without anything happening to anybody, with the zoo that it filled."""
    team = Team(double_cluster, tmp_path_factory.mktemp("undisturbed"))
    team.start()
    team.apply(team.search())
    team.ended("nassearch", "search")
    yield team
    team.end()


@pytest.fixture
def patrons(undisturbed: Team) -> Iterator[Team]:
    """The team with a zoo, for requests; one operator looks at it before and after the test."""
    yield undisturbed
    undisturbed.forget()
    if [operator.process.poll() for operator in undisturbed.operators] != [None]:
        undisturbed.kill()
        undisturbed.start()
