"""Figures that are written down when they are there, so that a benchmark that was stopped goes on where it was.

What a file's figures depend on is in its name: the records' bytes, the seed, the draws. The product's code is not, so
delete the product's files (``product-*``) after changing it; the peers' stay true.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

T = TypeVar("T")


@dataclass(frozen=True)
class Kept:
    """A folder of figures about one file of records; without a folder everything is computed."""

    folder: Path | None
    records: str
    """Hex digits of the records' digest."""

    @classmethod
    def of(cls, folder: Path | None, records: Path) -> Kept:
        """Figures in ``folder`` about the file ``records``."""
        return cls(folder, hashlib.sha256(records.read_bytes()).hexdigest()[:8])

    def figures(self, name: str, compute: Callable[[], T]) -> T:
        """What ``compute`` returns, which must be JSON; read where it was written before."""
        if self.folder is None:
            return compute()
        path = self.folder / f"{name}-of-{self.records}.json"
        if path.exists():
            return cast("T", json.loads(path.read_text()))
        figures = compute()
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".part")
        beside.write_text(json.dumps(figures))
        beside.replace(path)
        return figures
