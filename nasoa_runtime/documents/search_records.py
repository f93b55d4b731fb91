"""A search's documents put together: its levels, generations and lists, in their order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from nasoa_runtime.documents.base import Document
from nasoa_runtime.documents.keys import SearchPart
from nasoa_runtime.documents.search import (
    AcceptedSearch,
    Evaluations,
    Generation,
    LevelEnd,
    Limit,
    Measurements,
    Pretrained,
    Proposals,
    Published,
    Selection,
    StepTimeTable,
    Stop,
)
from nasoa_runtime.search.individuals import Individual, Level

D = TypeVar("D", bound=Document)

WHOLE: dict[str, type[Document]] = {
    "spec": AcceptedSearch,
    "limit": Limit,
    "stop": Stop,
    "selection": Selection,
    "pretrained": Pretrained,
    "table": StepTimeTable,
    "published": Published,
}
"""Documents that a search has once."""
OF_LEVEL: dict[str, type[Document]] = {"end": LevelEnd}
OF_GENERATION: dict[str, type[Document]] = {"generation": Generation, "evaluations": Evaluations}
OF_LIST: dict[str, type[Document]] = {"list": Proposals, "profile": Measurements}


def kind_of(part: SearchPart) -> type[Document] | None:
    """The document that belongs at ``part``; ``None`` where none does."""
    if part.level is None:
        kinds = WHOLE if part.generation is None and part.list_index is None else {}
    elif part.generation is None:
        kinds = OF_LEVEL if part.list_index is None else {}
    else:
        kinds = OF_GENERATION if part.list_index is None else OF_LIST
    return kinds.get(part.name)


@dataclass(frozen=True)
class SearchRecords:
    """All that is recorded of one search; what is absent has not happened yet."""

    documents: Mapping[SearchPart, Document] = field(default_factory=dict)

    def _find(self, kind: type[D], part: SearchPart) -> D | None:
        found = self.documents.get(part)
        return found if isinstance(found, kind) else None

    @property
    def spec(self) -> AcceptedSearch | None:
        """The search as it was accepted."""
        return self._find(AcceptedSearch, SearchPart("spec"))

    @property
    def limit(self) -> Limit | None:
        """The limit that has ended the search early."""
        return self._find(Limit, SearchPart("limit"))

    @property
    def stop(self) -> Stop | None:
        """Why the search can't go on."""
        return self._find(Stop, SearchPart("stop"))

    @property
    def selection(self) -> Selection | None:
        """What is pretrained."""
        return self._find(Selection, SearchPart("selection"))

    @property
    def pretrained(self) -> Pretrained | None:
        """What was pretrained."""
        return self._find(Pretrained, SearchPart("pretrained"))

    @property
    def table(self) -> StepTimeTable | None:
        """The step times of what was pretrained."""
        return self._find(StepTimeTable, SearchPart("table"))

    @property
    def published(self) -> Published | None:
        """What the zoo got."""
        return self._find(Published, SearchPart("published"))

    def end(self, level: Level) -> LevelEnd | None:
        """How ``level`` ended."""
        return self._find(LevelEnd, SearchPart("end", level))

    def generation(self, level: Level, generation: int) -> Generation | None:
        """Who a generation's members are."""
        return self._find(Generation, SearchPart("generation", level, generation))

    def evaluations(self, level: Level, generation: int) -> Evaluations | None:
        """What a generation reached."""
        return self._find(Evaluations, SearchPart("evaluations", level, generation))

    def proposals(self, level: Level, generation: int, list_index: int) -> Proposals | None:
        """A list of proposed architectures."""
        return self._find(Proposals, SearchPart("list", level, generation, list_index))

    def measurements(self, level: Level, generation: int, list_index: int) -> Measurements | None:
        """What was measured of a list."""
        return self._find(Measurements, SearchPart("profile", level, generation, list_index))

    def all_of(self, kind: type[D], level: Level | None = None) -> tuple[D, ...]:
        """All documents of a kind, of one level or of both."""
        found: list[Any] = [
            document
            for part, document in self.documents.items()
            if isinstance(document, kind) and level in {None, part.level}
        ]
        return tuple(found)

    def individuals(self, level: Level) -> tuple[Individual, ...]:
        """Everybody evaluated at ``level``, in the order of generations and slots."""
        found: list[Individual] = []
        generation = 0
        while (record := self.evaluations(level, generation)) is not None:
            found.extend(
                Individual(e.encoding, e.step_seconds, e.accuracy, e.failure, level, generation, e.slot)
                for e in record.evaluations
            )
            generation += 1
        return tuple(found)

    def seen(self, level: Level) -> frozenset[str]:
        """Every encoding measured at ``level`` so far, whatever came of it: none is proposed again."""
        return frozenset(m.encoding for record in self.all_of(Measurements, level) for m in record.measurements)
