"""The steps for which an object has Jobs: their names, which program they run, and whether it is the second try.

A step's name is part of its Job's name and of the address of its results. It is built and taken apart here only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from nasoa_runtime.documents.keys import generation_part
from nasoa_runtime.search.individuals import Level

_RETRY = "-retry"
_GENERATION = re.compile(r"(?P<level>block|macro)-g(?P<generation>\d{4,})-(?:profile(?P<list>\d+)|evaluate)")


@dataclass(frozen=True)
class Step:
    """Work for the pods of one Job; ``str`` gives its name."""

    base: str
    """The name of its first try, such as ``block-g0003-evaluate``."""
    program: str
    """The program that its pods run."""
    level: Level | None = None
    """Level, generation (from 0) and, of a profiling step, list: where the step belongs in a search's levels."""
    generation: int = 0
    list_index: int = 0
    retry: bool = False
    """Whether this is the second try, after a first one that gave no valid result."""

    def __str__(self) -> str:
        return self.base + (_RETRY if self.retry else "")

    def again(self) -> Step:
        """The second try of the same work."""
        return replace(self, retry=True)


PRETRAIN = Step("pretrain", "pretrain")
TABLE = Step("table", "profile")
PROBE = Step("probe", "probe")
FINETUNE = Step("finetune", "finetune")


def profile_step(level: Level, generation: int, list_index: int) -> Step:
    """Measuring a list of proposed architectures."""
    base = f"{level}-{generation_part(generation)}-profile{list_index}"
    return Step(base, "profile", level, generation, list_index)


def evaluate_step(level: Level, generation: int) -> Step:
    """Evaluating a generation's members."""
    return Step(f"{level}-{generation_part(generation)}-evaluate", "evaluate", level, generation)


def parse_search_step(name: str) -> Step | None:
    """The step of a search with this name; ``None`` for a name that no step of a search has."""
    base = name.removesuffix(_RETRY)
    found = _GENERATION.fullmatch(base)
    if found is None:
        return _parsed(name, PRETRAIN, TABLE)
    level: Level = "block" if found["level"] == "block" else "macro"
    generation = int(found["generation"])
    if found["list"] is None:
        return _parsed(name, evaluate_step(level, generation))
    return _parsed(name, profile_step(level, generation, int(found["list"])))


def parse_request_step(name: str) -> Step | None:
    """The step of a request with this name; ``None`` for a name that no step of a request has."""
    return _parsed(name, PROBE, FINETUNE)


def _parsed(name: str, *steps: Step) -> Step | None:
    return next((tried for step in steps for tried in (step, step.again()) if str(tried) == name), None)
