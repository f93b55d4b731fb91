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

from nasoa_runtime.documents.base import Document
from nasoa_runtime.documents.keys import SearchKeys
from nasoa_runtime.documents.search import (
    Evaluations,
    Generation,
    LevelEnd,
    Measurements,
    Pretrained,
    Proposals,
    Selection,
    StepTimeTable,
)
from nasoa_runtime.documents.search_records import SearchRecords
from nasoa_runtime.search.individuals import Level
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
    def uid_of_records(self) -> str:
        """UID of the search whose records it goes on with."""
        return str(self.spec.get("resumeFrom", self.uid))

    @property
    def prefix(self) -> str:
        return SearchKeys(self.uid_of_records).prefix

    @property
    def records(self) -> SearchRecords:
        """What is recorded of it."""
        return self.world.documents.search_records(self.uid_of_records)

    @property
    def zoo(self) -> ZooManifest | None:
        """The zoo that it publishes to."""
        return read_manifest(self.world.store, self.world.bucket, "fashion")

    def evaluated(self, level: Level) -> list[str]:
        """Encodings evaluated at a level, in order."""
        return [individual.encoding for individual in self.records.individuals(level)]

    def course(self) -> dict[str, list[Any]]:
        """What it proposed, measured, decided, evaluated, selected and pretrained: part -> figures, in their order."""
        found = {str(part): figures(document) for part, document in self.records.documents.items()}
        return {part: known for part, known in found.items() if known is not None}


def figures(document: Document) -> list[Any] | None:
    """What a document says of architectures; ``None`` of one that says nothing of them, or nothing new."""
    match document:
        case Proposals():
            return [[p.encoding, p.slot, [*p.parents], [*p.mutations]] for p in document.proposals]
        case Measurements():
            return [[m.encoding, m.step_seconds, m.failure] for m in document.measurements]
        case Generation():
            return [[m.encoding, m.step_seconds] for m in document.members]
        case Evaluations():
            return [[e.encoding, e.step_seconds, e.accuracy] for e in document.evaluations]
        case LevelEnd():
            return [*document.blocks] or None
        case Selection():
            return [[m.encoding, m.step_seconds] for m in document.members]
        case Pretrained():
            return [[m.selected.encoding, m.result.accuracy, m.selected.front_rank] for m in document.models]
        case StepTimeTable():
            return [[m.name, [row.step_seconds for row in m.rows]] for m in document.measurements]
        case _:
            return None
