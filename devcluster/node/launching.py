"""From a container's manifest to what its shim runs."""

import os
import sys
from pathlib import Path
from typing import Any

from .environment import INHERITED, Placement, Sources, command_line, container_environment, expand, references
from .errors import ContainerConfigError
from .machine import Machine
from .mount_plan import TEMPORARY_PATH, message_path, needs_namespace, own_mounts, volume_mounts
from .pod_paths import PodPaths
from .shim import Launch
from .volume_files import object_text
from .volumes import Volume

JSON = dict[str, Any]

_NO_MOUNTS = (
    "container {name} mounts volumes, and this machine lets the local node mount nothing ({why}): run the node as "
    "root or permit unprivileged user namespaces, or hand the program paths by its environment instead of volumeMounts"
)


async def read_sources(machine: Machine, namespace: str, container: JSON) -> Sources:
    """Fetches what the container's variables refer to.

    Raises:
        ApiError: The API server can't be reached or refuses.
    """
    config_maps: dict[str, dict[str, str] | None] = {}
    secrets: dict[str, dict[str, str] | None] = {}
    for kind, name in set(references(container)):
        plural, held = ("configmaps", config_maps) if kind == "ConfigMap" else ("secrets", secrets)
        document = await machine.api.find(namespace, plural, name)
        held[name] = None if document is None else object_text(kind, document)
    return Sources(config_maps, secrets)


def _base_variables(machine: Machine, pod: JSON, container: JSON, paths: PodPaths) -> dict[str, str]:
    inherited = {key: os.environ[key] for key in INHERITED if key in os.environ}
    inherited["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), inherited.get("PATH", os.defpath)])
    name = container["name"]
    private = machine.mounts_refused is None
    return inherited | machine.service_variables() | {
        # Caches and settings that a program keeps go with its container.
        "HOME": str(paths.work(name)),
        "PYTHONUNBUFFERED": "1",
        "HOSTNAME": pod["spec"].get("hostname") or pod["metadata"]["name"],
        "TMPDIR": TEMPORARY_PATH if private else str(paths.temporary(name)),
        # A volume of the container may cover the node's own folder, but never its own message.
        "TERMINATION_MESSAGE_PATH": message_path(container) if private else str(paths.message(name)),
    }  # fmt: skip


async def build_launch(
    machine: Machine, pod: JSON, container: JSON, volumes: dict[str, Volume], placement: Placement
) -> Launch:
    """Describes the next run of a container and makes its folders.

    Raises:
        ContainerConfigError: The container can't be started as it is.
        ApiError: What it refers to can't be read now.
    """
    name = container["name"]
    if container.get("restartPolicy"):
        raise ContainerConfigError(
            f"init container {name} has a restartPolicy: the local node runs no sidecar containers"
        )
    private = machine.mounts_refused is None
    if not private and needs_namespace(container):
        raise ContainerConfigError(_NO_MOUNTS.format(name=name, why=machine.mounts_refused))
    paths = PodPaths.of(machine.directory, pod["metadata"]["uid"])
    grant = machine.devices.allocate(f"{pod['metadata']['uid']}/{name}", container)
    sources = await read_sources(machine, pod["metadata"]["namespace"], container)
    base = _base_variables(machine, pod, container, paths) | grant.variables()
    variables = container_environment(pod, container, sources, placement, base)
    arguments = command_line(container, variables, machine.images)
    mounts = volume_mounts(container, volumes, variables) if private else []
    if private:
        mounts += own_mounts(container, paths.message(name), paths.temporary(name))
    paths.fresh_container(name)
    return Launch(
        arguments=arguments,
        variables=variables,
        directory=expand(container.get("workingDir") or "", variables) or str(paths.work(name)),
        parent=os.getpid(),
        root=str(paths.private_root(name)) if private else "",
        mounts=mounts,
        cpus=list(grant.cpus or ()),
    )
