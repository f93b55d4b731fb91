"""The socket through which a cluster's supervisor takes commands: one JSON line each way.

The socket lies in the cluster's folder, which only its owner can enter. Its path can be longer than the 107 bytes
that the kernel takes, so it is named relative to an open folder.
"""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

_NAME = "control"
_LIMIT_BYTES = 1 << 20

JSON = dict[str, Any]


class ControlError(RuntimeError):
    """The supervisor is not there, or refused a command."""


def listening_socket(folder: Path) -> socket.socket:
    """The supervisor's end."""
    (folder / _NAME).unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    _in_folder(folder, listening.bind)
    listening.listen()
    listening.setblocking(False)
    return listening


def send(folder: Path, command: str, *, timeout_seconds: float = 120.0, **arguments: str) -> JSON:
    """Sends one command and waits for its answer.

    Raises:
        ControlError: nobody listens, or the command failed; the message says why.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_seconds)
        try:
            _in_folder(folder, connection.connect)
            connection.sendall(json.dumps({"command": command, **arguments}).encode() + b"\n")
            with connection.makefile("rb") as file:
                line = file.readline(_LIMIT_BYTES)
        except OSError as error:
            raise ControlError(f"no cluster answers in {folder}: {error}") from error
    if not line:
        raise ControlError(f"the cluster in {folder} ended before it answered")
    answer: JSON = json.loads(line)
    if "error" in answer:
        raise ControlError(answer["error"])
    return answer


def _in_folder(folder: Path, use: Callable[[str], object]) -> None:
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        use(f"/proc/self/fd/{descriptor}/{_NAME}")
    finally:
        os.close(descriptor)
