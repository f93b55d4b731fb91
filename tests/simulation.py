"""One search from its creation to its end in memory: the real operator, and pods that end with figures of no effort."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from builders import a_search
from memory.figures import run, step_seconds
from memory.lines import Line
from memory.pods import Program
from memory.simulated import Simulated
from memory.world import World

from nasoa_runtime.documents.keys import SearchKeys
from nasoa_runtime.storage.zoo import ZooManifest, read_manifest

__all__ = ["TINY", "UID", "Simulation", "run", "step_seconds"]

UID = "0a1b2c3d-0000-4000-8000-000000000001"
TINY = {
    "parallelism": 2,
    "seed": 3,
    "lowResolutionStem": True,
    "blockPhase": {"generations": 2, "imageSize": 32, "maxStepTime": "60ms", "firstChannels": 8},
    "macroPhase": {"generations": 1, "imageSize": 32, "maxStepTime": "60ms", "blocks": 2},
    "space": {"firstChannels": [8], "maxBlocks": 6},
    "zoo": {"name": "fashion", "size": 2, "imageSize": 32},
}
"""A search of six evaluations, whose models are small."""
FIGURES = {
    "list": ("candidates", ("encoding", "slot", "parents", "mutations")),
    "profile": ("measurements", ("encoding", "step_seconds", "failure")),
    "generation": ("members", ("encoding", "step_seconds")),
    "evaluations": ("evaluations", ("encoding", "step_seconds", "accuracy")),
    "selection": ("members", ("encoding", "step_seconds")),
    "pretrained": ("models", ("encoding", "accuracy", "front_rank")),
    "table": ("measurements", ("name", "rows")),
}
"""By the first word of a document's name, which list of it belongs to the search's course, and what of its entries."""


class Simulation(Simulated):
    """One search and everything that is recorded of it."""

    KIND = "NASSearch"

    def __init__(
        self,
        spec: Mapping[str, Any] | None = None,
        program: Program = run,
        line: Line | None = None,
        world: World | None = None,
        name: str = "search",
        uid: str = UID,
        namespace: str = "team",
    ) -> None:
        super().__init__(a_search, name, uid, spec or {}, world or World(program), line or Line(), namespace)

    @property
    def prefix(self) -> str:
        return SearchKeys(self.spec.get("resumeFrom", self.uid)).prefix

    @property
    def zoo(self) -> ZooManifest | None:
        """The zoo that it publishes to."""
        return read_manifest(self.world.store, self.world.settings.system_bucket, "fashion")

    def evaluated(self, level: str) -> list[str]:
        """Encodings evaluated at a level, in order."""
        course = self.course()
        return [
            e[0] for part in course if part.startswith(level) and part.endswith("/evaluations") for e in course[part]
        ]

    def course(self) -> dict[str, list[Any]]:
        """What it proposed, measured, decided, evaluated, selected and pretrained: part -> figures, in their order."""
        found = {"block/end": self.document("block", "end")["blocks"]}
        for part in (key.removesuffix(".json") for key in self.recorded):
            kind = part.rpartition("/")[2].partition("-")[0]
            if kind in FIGURES:
                name, fields = FIGURES[kind]
                found[part] = [[entry[field] for field in fields] for entry in self.document(part)[name]]
        return found
