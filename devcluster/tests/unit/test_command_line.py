"""What the command line takes, and what its README says of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from devcluster.__main__ import application
from devcluster.__main__ import up as up_command
from devcluster.cluster import Cluster, ClusterError

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def asked(monkeypatch):
    """Starts nothing: the arguments with which a cluster would have been started."""
    given = {}

    def start(_folder, **arguments):
        given.update(arguments)
        raise ClusterError("not here")

    monkeypatch.setattr(Cluster, "start", start)
    return given


def up(*arguments):
    return CliRunner().invoke(application, ["up", *arguments])


def test_a_cluster_is_started_with_the_buckets_and_images_that_are_asked_for(asked):
    up("--bucket", "one", "--bucket", "two", "--image", "example/app:1=python -m app --say 'a b'")
    assert asked["buckets"] == ["one", "two"]
    assert asked["images"] == {"example/app:1": ["python", "-m", "app", "--say", "a b"]}


def test_a_cluster_has_one_bucket_and_knows_no_images_where_nothing_is_asked_for(asked):
    up()
    assert (asked["name"], asked["nodes"]) == ("devcluster", 1)
    assert (asked["buckets"], asked["images"]) == (("devcluster",), {})


@pytest.mark.parametrize(
    ("image", "message"),
    [
        pytest.param("example/app:1", "is not IMAGE=COMMAND", id="no command"),
        pytest.param("=true", "is not IMAGE=COMMAND", id="no image"),
        pytest.param("example/app:1=sh 'x", "No closing quotation", id="an open quote"),
    ],
)
def test_an_image_without_a_command_is_refused_with_an_example(asked, image, message):
    with pytest.raises(typer.BadParameter, match=message):
        up_command(image=[image])
    assert asked == {}


def test_the_readme_names_every_command_and_no_other():
    commands = {command.name or command.callback.__name__ for command in application.registered_commands}
    assert set(re.findall(r"python -m devcluster ([a-z]+)", README.read_text())) == commands
