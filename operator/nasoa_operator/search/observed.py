"""What is known of one NASSearch at one moment, and the keys and steps by which its parts are found again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from nasoa_operator.jobs import Owner, results_uri
from nasoa_operator.outcomes import JobContext, ObservedJob
from nasoa_operator.settings import Settings
from nasoa_runtime.api.search import NASSearchSpec
from nasoa_runtime.search.individuals import Individual

Level = Literal["block", "macro"]
LEVELS: tuple[Level, ...] = ("block", "macro")
LISTS_AT_MOST = 5
"""Candidate lists a generation may take to find N members that meet T_m."""

Document = Mapping[str, Any]


@dataclass(frozen=True)
class ObservedSearch:
    """A frozen snapshot: the object, its documents in S3, its Jobs."""

    owner: Owner
    object_generation: int
    created: datetime
    spec: NASSearchSpec
    status: Mapping[str, Any]
    documents: Mapping[str, Document]
    """Below ``searches/<uid>/``: key -> document."""
    jobs: Mapping[str, ObservedJob]
    """Step -> Job."""
    zoo_owner: str | None
    """Who owns the zoo that the search publishes to; ``None`` if there is no such zoo yet."""
    extractor: Mapping[str, Any] | None
    """The feature extractor that manifests are pinned to, where one has been imported."""
    settings: Settings
    now: datetime

    @property
    def uid(self) -> str:
        """UID whose records this search builds on."""
        return self.spec.resume_from or self.owner.uid

    def document(self, *parts: str) -> Document | None:
        """The document at ``parts`` joined by slashes; ``None`` if it is not written yet."""
        return self.documents.get("/".join(parts) + ".json")

    def key(self, *parts: str) -> str:
        """The key in the system bucket of the document at ``parts``."""
        return f"searches/{self.uid}/" + "/".join(parts) + ".json"

    def result_uri(self, step: str) -> str:
        """Where the pods of ``step`` write their results."""
        return f"{results_uri(self.spec.output_uri, self.uid)}/{step}"

    def weights_uri(self) -> str:
        """Where pretraining pods write weights."""
        return f"{self.spec.output_uri.rstrip('/')}/{self.uid}/weights"


def generation_part(generation: int) -> str:
    """The part of a key or step that names a generation."""
    return f"g{generation:04d}"


def step_name(level: Level, generation: int, what: str) -> str:
    """The step of a generation's Job, such as ``block-g0003-evaluate``."""
    return f"{level}-{generation_part(generation)}-{what}"


PROGRAMS = (
    (re.compile(r"(block|macro)-g\d+-profile\d(-retry)?"), "profile"),
    (re.compile(r"(block|macro)-g\d+-evaluate(-retry)?"), "evaluate"),
    (re.compile(r"pretrain(-retry)?"), "pretrain"),
    (re.compile(r"table(-retry)?"), "profile"),
)


def job_context(results: str, step: str) -> JobContext | None:
    """The program that a step runs, and where its results are; ``None`` for a step that is not ours."""
    for pattern, program in PROGRAMS:
        if pattern.fullmatch(step):
            return JobContext(program, f"{results}/{step}")
    return None


def individuals(observed: ObservedSearch, level: Level) -> tuple[Individual, ...]:
    """Everybody evaluated at ``level``, in the order of generations and slots."""
    found: list[Individual] = []
    generation = 0
    while (record := observed.document(level, generation_part(generation), "evaluations")) is not None:
        found.extend(
            Individual(
                encoding=e["encoding"],
                step_seconds=e["stepSeconds"],
                accuracy=e["accuracy"],
                failure=e["failure"],
                level=level,
                generation=generation,
                slot=e["slot"],
            )
            for e in record["evaluations"]
        )
        generation += 1
    return tuple(found)


def seen(observed: ObservedSearch, level: Level) -> frozenset[str]:
    """Every encoding measured at ``level`` so far, whatever came of it: none is proposed again."""
    prefix = f"{level}/"
    return frozenset(
        m["encoding"]
        for key, document in observed.documents.items()
        if key.startswith(prefix) and "/profile-" in key
        for m in document["measurements"]
    )
