"""``python -m devcluster``: a cluster that stays until it is told to go."""

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

from .binaries import find
from .building import BuildError
from .cluster import Cluster, ClusterError, stop
from .control import ControlError
from .layout import default_data_directory
from .roster import RosterError
from .s3 import BUCKETS, NoObjectStoreError
from .toolchain import NoToolchainError

_NOT_RUNNING = 3
_EXPECTED = (ClusterError, ControlError, BuildError, NoToolchainError, NoObjectStoreError, RosterError)

application = typer.Typer(
    name="devcluster",
    help="A real Kubernetes and an S3 store on this machine, without root and without containers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Name = Annotated[str, typer.Option(help="Which cluster; several run side by side.")]
DataDir = Annotated[
    Path | None,
    typer.Option(help="The cluster's one folder. Default: a folder of its name in the user's state folder."),
]


def _folder(name: str, data_dir: Path | None) -> Path:
    return (data_dir or default_data_directory(name)).resolve()


def _say(message: str) -> None:
    typer.echo(message, err=True)


def _commands(images: list[str]) -> dict[str, list[str]]:
    """Reads what was given as ``--image``."""
    found = {}
    for text in images:
        image, _, command = text.partition("=")
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise typer.BadParameter(f"{text!r}: {error}") from None
        if not image or not words:
            raise typer.BadParameter(f"{text!r} is not IMAGE=COMMAND, such as 'example/app:1=python -m app'")
        found[image] = words
    return found


@application.command()
def up(
    name: Name = "devcluster",
    data_dir: DataDir = None,
    nodes: Annotated[int, typer.Option(min=0, max=20, help="Local nodes that run pods as processes.")] = 1,
    bucket: Annotated[
        list[str] | None,
        typer.Option(help=f"A bucket of the S3 store, '{BUCKETS[0]}' by default; may be given several times."),
    ] = None,
    image: Annotated[
        list[str] | None,
        typer.Option(
            metavar="IMAGE=COMMAND",
            help="What containers with this image run that have no command; may be given several times.",
        ),
    ] = None,
) -> None:
    """Start a cluster. Interrupted, it leaves nothing running."""
    folder, images = _folder(name, data_dir), _commands(image or [])
    cluster = Cluster.start(folder, nodes=nodes, name=name, progress=_say, images=images, buckets=bucket or BUCKETS)
    try:
        cluster.detach()
    except BaseException:
        cluster.stop()
        raise
    typer.echo(f"cluster {name} runs: export KUBECONFIG={cluster.kubeconfig}")
    typer.echo(f"kubectl of its version: {cluster.kubectl_command[0]}")
    typer.echo(f"S3 at {cluster.s3.endpoint}, keys in {cluster.data_dir / 's3' / 'identities.json'}")


@application.command()
def down(
    name: Name = "devcluster",
    data_dir: DataDir = None,
    keep_data: Annotated[bool, typer.Option("--keep-data", help="Leave data and logs for the next up.")] = False,
) -> None:
    """End a cluster and remove its folder."""
    folder = _folder(name, data_dir)
    ran = stop(folder, keep_data=keep_data)
    _say(f"ended the cluster in {folder}" if ran else f"no cluster ran in {folder}")


@application.command()
def status(
    name: Name = "devcluster",
    data_dir: DataDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show what runs. Exits with 3 if nothing does."""
    folder = _folder(name, data_dir)
    try:
        cluster = Cluster.attach(folder)
    except ClusterError as error:
        typer.echo(json.dumps({"running": False}) if as_json else str(error))
        raise typer.Exit(_NOT_RUNNING) from None
    components = cluster.components()
    if as_json:
        document = {
            "running": True,
            "name": cluster.name,
            "server": cluster.server,
            "kubeconfig": str(cluster.kubeconfig),
            "kubectl": cluster.kubectl_command[0],
            "s3": cluster.s3.endpoint,
            "components": components,
        }
        typer.echo(json.dumps(document, indent=2))
        return
    typer.echo(f"cluster    {cluster.name}\nserver     {cluster.server}\nkubeconfig {cluster.kubeconfig}")
    typer.echo(f"kubectl    {cluster.kubectl_command[0]}")
    typer.echo(f"S3         {cluster.s3.endpoint}\nlogs       {cluster.logs_dir}")
    for component, pid in components.items():
        typer.echo(f"  {component:<24} {f'process {pid}' if pid else 'does not run'}")


@application.command()
def kubeconfig(name: Name = "devcluster", data_dir: DataDir = None) -> None:
    """Print the path of the administrator's kubeconfig."""
    typer.echo(Cluster.attach(_folder(name, data_dir)).kubeconfig)


@application.command()
def build() -> None:
    """Build the control plane now, if it is missing; print where the programs are."""
    for program, path in find(_say).items():
        typer.echo(f"{program:<24} {path}")


def main() -> None:
    """The program's entry point: what is expected to go wrong is told in a sentence."""
    try:
        application()
    except _EXPECTED as error:
        _say(f"error: {error}")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
