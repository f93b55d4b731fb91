"""The list of what runs in a cluster's folder, so that whoever comes later can use it and end it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .processes import ProcessId

_FORMAT = 2


class RosterError(RuntimeError):
    """The file can't be understood; it is left as it is."""


@dataclass(frozen=True)
class Roster:
    """The supervisor and its children, with the block of ports (see `devcluster.ports`) and the store's buckets."""

    name: str
    block: int
    buckets: tuple[str, ...]
    supervisor: ProcessId
    processes: Mapping[str, ProcessId] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Replaces the file at once: a reader sees the old or the new list."""
        document = {"format": _FORMAT, **asdict(self)}
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(document, indent=2))
        temporary.replace(path)

    @classmethod
    def read(cls, path: Path) -> "Roster | None":
        """What the file says; None if there is none.

        Raises:
            RosterError: it is another program's or another version's.
        """
        try:
            text = path.read_text()
        except FileNotFoundError:
            return None
        try:
            return cls._parse(json.loads(text))
        except (ValueError, TypeError, KeyError) as error:
            raise RosterError(f"{path} is not a list that this version of devcluster wrote: {error}") from error

    @classmethod
    def _parse(cls, document: Any) -> "Roster":
        if document["format"] != _FORMAT:
            raise ValueError(f"format {document['format']}")
        processes = {name: ProcessId(**one) for name, one in document["processes"].items()}
        supervisor, buckets = ProcessId(**document["supervisor"]), tuple(document["buckets"])
        return cls(document["name"], int(document["block"]), buckets, supervisor, processes)
