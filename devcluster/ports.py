"""Which loopback ports a cluster uses: one block that no other cluster of this user can take at the same time."""

import fcntl
import os
import random
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

# Below the range from which Linux takes the ports of outgoing connections, also after adding the offset.
_FIRST_PORT = 12_000
_BLOCK = 32
_BLOCKS = 312
# The store's own worker looks for its administration at this offset, whatever it was told.
_ADMIN_OFFSET = 10_000
_LOOPBACK = "127.0.0.1"

NAMES = (
    "apiserver",
    "etcd",
    "etcd-peer",
    "etcd-metrics",
    "controller-manager",
    "scheduler",
    "s3",
    "s3-grpc",
    "s3-master",
    "s3-master-grpc",
    "s3-volume",
    "s3-volume-grpc",
    "s3-filer",
    "s3-filer-grpc",
    "s3-admin",
)


class NoFreePortsError(RuntimeError):
    """Every block of ports is taken."""


@dataclass(frozen=True)
class Reservation:
    """The ports by name. The block stays reserved while the file descriptor ``lock`` is open in this process."""

    by_name: Mapping[str, int]
    block: int
    lock: int


def reserve(locks: Path, *, preferred: int | None = None) -> Reservation:
    """Reserves a block of ports whose every port can be bound now.

    Args:
        locks: folder of the lock files, one for all clusters of this user.
        preferred: the block that a cluster had before, tried first.

    Raises:
        NoFreePortsError: nothing is free.
    """
    for block in _order(preferred):
        lock = lock_block(locks, block)
        if lock is None:
            continue
        numbers = ports_of(block)
        if all(_free(port) for port in numbers.values()):
            return Reservation(numbers, block, lock)
        os.close(lock)
    raise NoFreePortsError("no block of free ports on 127.0.0.1: end something that listens there")


def lock_block(locks: Path, block: int) -> int | None:
    """Takes a block while the returned file descriptor is open; None if another cluster has it."""
    locks.mkdir(parents=True, exist_ok=True)
    lock = os.open(locks / f"{block}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def ports_of(block: int) -> dict[str, int]:
    """The port of each name in a block."""
    first = _FIRST_PORT + _BLOCK * block
    numbers = {name: first + offset for offset, name in enumerate(NAMES)}
    return numbers | {"s3-admin-grpc": numbers["s3-admin"] + _ADMIN_OFFSET}


def _order(preferred: int | None) -> Iterator[int]:
    if preferred is not None:
        yield preferred
    yield from random.SystemRandom().sample(range(_BLOCKS), _BLOCKS)


def _free(port: int) -> bool:
    # What create_server asks for is what Go's listeners ask for: connections that linger are no obstacle.
    try:
        socket.create_server((_LOOPBACK, port)).close()
    except OSError:
        return False
    return True
