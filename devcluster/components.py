"""What a component is, to the supervisor that runs it."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Health:
    """An HTTP request that is answered with 200 once the component can be used."""

    port: int
    path: str
    tls: bool = True


@dataclass(frozen=True)
class Component:
    """A program to keep running.

    Attributes:
        name: unique in its cluster; also its log's name.
        arguments: program and arguments.
        health: how to see that it is ready; None for what shows it otherwise.
        grace_seconds: how long it may take to end when asked; 0 for what is simply killed.
        directory: where it runs; None for where the supervisor runs.
        leftovers: files outside the cluster's folder that it may leave behind.
    """

    name: str
    arguments: tuple[str, ...]
    health: Health | None = None
    grace_seconds: float = 0.0
    directory: Path | None = None
    leftovers: tuple[Path, ...] = field(default=())
