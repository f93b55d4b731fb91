"""Local nodes: their credentials and how each is started."""

import json
import re
import sys
from collections.abc import Mapping, Sequence

from .certificates import Authority, Pair
from .components import Component
from .controlplane import LOOPBACK, api_server
from .kubeconfig import with_certificate, write
from .layout import Layout

PREFIX = "node-"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?")


def local_node(
    layout: Layout, ports: Mapping[str, int], name: str, images: Mapping[str, Sequence[str]] | None = None
) -> Component:
    """The component that runs a node; its credentials are made on the way.

    Raises:
        ValueError: Kubernetes would not take the name for a node.
    """
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not a node name: use up to 52 lower-case letters, digits and dashes")
    folder = layout.node(name)
    authority = Authority(Pair.read(layout.pki, "ca"))
    # The node authorizer goes by exactly this user and group.
    user = f"system:node:{name}"
    access = with_certificate(api_server(layout, ports), user, authority.client(user, "system:nodes"))
    write(folder / "kubeconfig", access)
    authority.server(user, (LOOPBACK, name)).write(folder, "serving")
    (folder / "client-ca.crt").write_bytes(authority.pair.certificate)
    flags = {
        "kubeconfig": folder / "kubeconfig",
        "name": name,
        "data-dir": folder,
        "serving-cert": folder / "serving.crt",
        "serving-key": folder / "serving.key",
        "client-ca": folder / "client-ca.crt",
        "images": json.dumps(images or {}),
    }
    arguments = [text for flag, value in flags.items() for text in (f"--{flag}", str(value))]
    command = (sys.executable, "-m", "devcluster.node", *arguments)
    # Ending includes killing the pods' processes.
    return Component(f"{PREFIX}{name}", command, grace_seconds=15.0)
