"""What a cluster's folder says about what runs, so that it can be ended by whoever comes later."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .processes import Identity

_FORMAT = 1


class StateError(RuntimeError):
    """The file can't be understood; it is left as it is."""


@dataclass(frozen=True)
class State:
    """The supervisor and its children, with the block of ports (see `devcluster.ports`)."""

    name: str
    block: int
    supervisor: Identity
    processes: Mapping[str, Identity] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Replaces the file at once: a reader sees the old or the new state."""
        document = {"format": _FORMAT, **asdict(self)}
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(document, indent=2))
        temporary.replace(path)

    @classmethod
    def read(cls, path: Path) -> "State | None":
        """What the file says; None if there is none.

        Raises:
            StateError: it is another program's or another version's.
        """
        try:
            text = path.read_text()
        except FileNotFoundError:
            return None
        try:
            return cls._parse(json.loads(text))
        except (ValueError, TypeError, KeyError) as error:
            raise StateError(f"{path} is not a state that this version of devcluster wrote: {error}") from error

    @classmethod
    def _parse(cls, document: Any) -> "State":
        if document["format"] != _FORMAT:
            raise ValueError(f"format {document['format']}")
        processes = {name: Identity(**one) for name, one in document["processes"].items()}
        return cls(document["name"], int(document["block"]), Identity(**document["supervisor"]), processes)
