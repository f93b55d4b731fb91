"""What a container's program is started with: its variables and its command line. Pure."""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import ContainerConfigError
from .quantity import parse_quantity, whole_units

JSON = dict[str, Any]

# What a program needs to find the interpreter, its libraries and the machine's trust store. Everything else in
# the node's own environment, credentials above all, stays with the node.
INHERITED = (
    "PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "CUDA_HOME",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
)  # fmt: skip
_REFERENCE = re.compile(r"\$\$|\$\(([^()]*)\)")
_SUBSCRIPT = re.compile(r"^metadata\.(labels|annotations)\['(.+)'\]$")


@dataclass(frozen=True)
class Sources:
    """The ConfigMaps and Secrets that a container's variables refer to, by name; ``None`` for a missing one.

    Both hold decoded text: the values of a Secret are no longer base64.
    """

    config_maps: Mapping[str, Mapping[str, str] | None] = field(default_factory=dict)
    secrets: Mapping[str, Mapping[str, str] | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Placement:
    """Where a pod has been put: its addresses, and the node's allocatable resources, which stand for unset limits."""

    pod_ip: str
    host_ip: str
    allocatable: Mapping[str, str] = field(default_factory=dict)


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replaces ``$(NAME)`` by its value; an unknown name stays as written and ``$$`` is a literal dollar."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name is None:
            return "$"
        return variables.get(name, match.group(0))

    return _REFERENCE.sub(value, text)


def format_map(entries: Mapping[str, str]) -> str:
    """Formats labels or annotations as the downward API writes them into a file."""
    escaped = (
        (key, text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n"))
        for key, text in sorted(entries.items())
    )
    return "\n".join(f'{key}="{text}"' for key, text in escaped)


def field_value(pod: JSON, path: str, placement: Placement) -> str:
    """Returns the value of a downward API field.

    Raises:
        ContainerConfigError: The field is not one that the downward API has.
    """
    metadata, spec = pod["metadata"], pod["spec"]
    subscript = _SUBSCRIPT.match(path)
    if subscript:
        kind, key = subscript.groups()
        return str((metadata.get(kind) or {}).get(key, ""))
    simple = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "metadata.labels": format_map(metadata.get("labels") or {}),
        "metadata.annotations": format_map(metadata.get("annotations") or {}),
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.podIP": placement.pod_ip,
        "status.podIPs": placement.pod_ip,
        "status.hostIP": placement.host_ip,
        "status.hostIPs": placement.host_ip,
    }
    if path not in simple:
        raise ContainerConfigError(f"unsupported fieldPath: {path}")
    return str(simple[path])


def resource_value(pod: JSON, container: JSON, reference: JSON, placement: Placement) -> str:
    """Returns a container's request or limit in units of the reference's divisor, rounded up.

    An unset limit is the node's allocatable amount, an unset request is zero.

    Raises:
        ContainerConfigError: The reference names another container that the pod lacks, or no known resource.
    """
    wanted = reference.get("containerName") or container["name"]
    named = {one["name"]: one for one in (*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or ()))}
    kind, _, resource = reference["resource"].partition(".")
    if wanted not in named or kind not in {"limits", "requests"}:
        raise ContainerConfigError(f"unsupported resourceFieldRef: {wanted} {reference['resource']}")
    amounts = (named[wanted].get("resources") or {}).get(kind) or {}
    unset = placement.allocatable.get(resource, "0") if kind == "limits" else "0"
    divisor = reference.get("divisor") or "1"
    return str(whole_units(amounts.get(resource, unset), "1" if parse_quantity(divisor) == 0 else divisor))


def references(container: JSON) -> Iterator[tuple[str, str]]:
    """Yields the (kind, name) of each ConfigMap and Secret that the container's variables refer to."""
    for source in container.get("envFrom") or ():
        for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            if source.get(key):
                yield kind, source[key]["name"]
    for variable in container.get("env") or ():
        origin = variable.get("valueFrom") or {}
        for key, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
            if origin.get(key):
                yield kind, origin[key]["name"]


def _object(kind: str, reference: JSON, sources: Sources) -> Mapping[str, str] | None:
    held = sources.config_maps if kind == "ConfigMap" else sources.secrets
    found = held.get(reference["name"])
    if found is None and not reference.get("optional"):
        raise ContainerConfigError(f'{kind.lower()} "{reference["name"]}" not found')
    return found


def _key_value(kind: str, reference: JSON, namespace: str, sources: Sources) -> str | None:
    found = _object(kind, reference, sources)
    if found is not None and reference["key"] in found:
        return found[reference["key"]]
    if not reference.get("optional"):
        raise ContainerConfigError(f"couldn't find key {reference['key']} in {kind} {namespace}/{reference['name']}")
    return None


def container_environment(
    pod: JSON, container: JSON, sources: Sources, placement: Placement, base: Mapping[str, str]
) -> dict[str, str]:
    """Builds the variables of a container: ``base``, then ``envFrom``, then ``env`` in the order written.

    Raises:
        ContainerConfigError: A reference that is not optional leads nowhere.
    """
    variables = dict(base)
    for source in container.get("envFrom") or ():
        for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            if source.get(key):
                found = _object(kind, source[key], sources) or {}
                prefix = source.get("prefix", "")
                variables.update({prefix + name: text for name, text in found.items()})
    for variable in container.get("env") or ():
        value = _variable(pod, container, variable, variables, sources, placement)
        if value is not None:
            variables[variable["name"]] = value
    return variables


def _variable(
    pod: JSON, container: JSON, variable: JSON, known: Mapping[str, str], sources: Sources, placement: Placement
) -> str | None:
    origin = variable.get("valueFrom")
    if not origin:
        return expand(variable.get("value", ""), known)
    if "fieldRef" in origin:
        return field_value(pod, origin["fieldRef"]["fieldPath"], placement)
    if "resourceFieldRef" in origin:
        return resource_value(pod, container, origin["resourceFieldRef"], placement)
    namespace = pod["metadata"]["namespace"]
    for key, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        if key in origin:
            return _key_value(kind, origin[key], namespace, sources)
    raise ContainerConfigError(f"variable {variable['name']}: unsupported valueFrom {sorted(origin)}")


def command_line(
    container: JSON, variables: Mapping[str, str], images: Mapping[str, Sequence[str]] | None = None
) -> list[str]:
    """Returns the program and its arguments; ``images`` says what containers without a command run, by their image.

    Raises:
        ContainerConfigError: There is no ``command``, and nothing is known of the image.
    """
    command = [expand(one, variables) for one in container.get("command") or ()]
    command = command or list((images or {}).get(container.get("image", ""), ()))
    if not command:
        raise ContainerConfigError(
            f"container {container['name']} has no command, and the local node does not read images: "
            "set command to the program that the image's entry point runs"
        )
    program, *rest = command
    if program in {"python", "python3"}:
        program = sys.executable
    return [program, *rest, *(expand(one, variables) for one in container.get("args") or ())]
