"""Which of a pod's volumes a container sees where. Pure, but for making sub-paths."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from .environment import expand
from .errors import ContainerConfigError
from .private_root import Mount
from .volumes import Volume

JSON = dict[str, Any]

SERVICE_ACCOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
DEFAULT_MESSAGE_PATH = "/dev/termination-log"
TEMPORARY_PATH = "/pod-tmp"


def needs_namespace(container: JSON) -> bool:
    """Whether the container can't be run faithfully without mounting.

    The service account's token is mounted into nearly every pod and rarely read: where nothing can be mounted it
    is left out.
    """
    return any(one["mountPath"] != SERVICE_ACCOUNT_PATH for one in container.get("volumeMounts") or ())


def volume_mounts(container: JSON, volumes: Mapping[str, Volume], variables: Mapping[str, str]) -> list[Mount]:
    """Returns the container's mounts of volumes.

    Raises:
        ContainerConfigError: A sub-path leads out of its volume, or is a missing part of a read-only one.
    """
    return [_mount(one, volumes[one["name"]], variables) for one in container.get("volumeMounts") or ()]


def _mount(entry: JSON, volume: Volume, variables: Mapping[str, str]) -> Mount:
    target = str(PurePosixPath("/") / entry["mountPath"])
    read_only = volume.read_only or bool(entry.get("readOnly"))
    inner = PurePosixPath(entry.get("subPath") or expand(entry.get("subPathExpr") or "", variables))
    if inner.is_absolute() or ".." in inner.parts:
        raise ContainerConfigError(f"subPath {inner} of volume {entry['name']} leads out of the volume")
    source = volume.path / inner
    # A link inside the volume could lead out of it as well.
    if not source.resolve().is_relative_to(volume.path.resolve()):
        raise ContainerConfigError(f"subPath {inner} of volume {entry['name']} leads out of the volume")
    if not source.exists():
        if volume.read_only:
            raise ContainerConfigError(f"subPath {inner} does not exist in volume {entry['name']}")
        source.mkdir(parents=True)
    return Mount(source=str(source), target=target, read_only=read_only)


def message_path(container: JSON) -> str:
    """Returns where a container with mounts of its own finds its termination message."""
    return container.get("terminationMessagePath") or DEFAULT_MESSAGE_PATH


def own_mounts(container: JSON, message_file: Path, temporary: Path) -> list[Mount]:
    """Returns what every container gets besides its volumes: its termination message and its TMPDIR."""
    return [Mount(str(message_file), message_path(container)), Mount(str(temporary), TEMPORARY_PATH)]
