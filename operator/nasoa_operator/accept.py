"""What admission can't see of a spec: each problem names the field, and says what to write instead. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Protocol

from nasoa_operator.problems import Problem
from nasoa_runtime.api.finetune import FineTuneRequestSpec
from nasoa_runtime.api.search import NASSearchSpec
from nasoa_runtime.architecture.block_space import REFERENCE_CHANNELS
from nasoa_runtime.architecture.encoding import InvalidArchitecture, canonical, parse, parse_block
from nasoa_runtime.architecture.space import count_macros, enumerate_blocks
from nasoa_runtime.architecture.structure import MULTIPLIERS
from nasoa_runtime.architecture.wiring import wire_block

NAMED_AT_MOST = 10
"""A message names at most this many of the zoo's models."""


class Named(Protocol):
    """A model of a zoo's manifest, as far as it matters here."""

    @property
    def name(self) -> str:
        """Its name in the zoo."""
        ...


def search_problems(spec: NASSearchSpec) -> list[Problem]:
    """All that is wrong with a search, in the order of its fields; nothing if it can start."""
    macro = spec.macro_phase
    return [
        *_invalid("spec.macroPhase.candidateBlocks", macro.candidate_blocks, _check_candidate_block),
        *_invalid("spec.macroPhase.initialArchitectures", macro.initial_architectures, parse),
        *_repeated("spec.macroPhase.initialArchitectures", macro.initial_architectures),
        *_space_problems(spec),
    ]


def request_problems(spec: FineTuneRequestSpec, models: Iterable[Named]) -> list[Problem]:
    """All that is wrong with a request to a zoo of ``models``."""
    pinned = spec.pins.model
    names = sorted(model.name for model in models)
    if pinned is None or pinned in names:
        return []
    close = get_close_matches(pinned, names, n=1)
    more = f" and {len(names) - NAMED_AT_MOST} more" if len(names) > NAMED_AT_MOST else ""
    message = (
        f"spec.pins.model: zoo {spec.zoo} has no model {pinned!r}"
        + (f" (did you mean {close[0]}?)" if close else "")
        + (f"; it has {', '.join(names[:NAMED_AT_MOST])}{more}" if names else "; it has none yet")
        + ". Leave pins.model out to let the predictor choose"
    )
    return [Problem("PinNotInZoo", message)]


def _invalid(path: str, texts: Sequence[str], check: Callable[[str], object]) -> Iterator[Problem]:
    """A problem for each text that ``check`` refuses."""
    for index, text in enumerate(texts):
        try:
            check(text)
        except InvalidArchitecture as error:
            yield Problem("InvalidArchitecture", f"{path}[{index}] {text!r}: {error}")


def _check_candidate_block(text: str) -> None:
    """A candidate must fit wherever a macro structure puts it: at every channel multiplier."""
    block = parse_block(text)
    for multiplier in MULTIPLIERS:
        try:
            wire_block(block, REFERENCE_CHANNELS, REFERENCE_CHANNELS * multiplier)
        except InvalidArchitecture as error:
            msg = f"with {REFERENCE_CHANNELS} input channels and channel multiplier {multiplier}: {error}"
            raise InvalidArchitecture(msg) from error


def _repeated(path: str, texts: Sequence[str]) -> Iterator[Problem]:
    """A problem for each valid architecture that is there already under another spelling."""
    seen: dict[str, int] = {}
    for index, text in enumerate(texts):
        try:
            first = seen.setdefault(canonical(text), index)
        except InvalidArchitecture:
            continue
        if first != index:
            yield Problem(
                "InvalidArchitecture", f"{path}[{index}] {text!r}: is the same network as [{first}]; remove one of them"
            )


def _space_problems(spec: NASSearchSpec) -> Iterator[Problem]:
    """A problem for bounds that nothing meets."""
    if next(iter(enumerate_blocks(spec.block_space())), None) is None:
        message = (
            "spec.space: no block of these operations fits the network of spec.blockPhase (firstChannels"
            f" {spec.block_phase.first_channels}, macro {spec.block_phase.macro}); raise firstChannels or allow other"
            " operations"
        )
        yield Problem("InvalidSpace", message)
    if count_macros(spec.macro_space()) == 0:
        bounds = spec.space
        message = (
            f"spec.space: no macro structure has {bounds.min_blocks} to {bounds.max_blocks} blocks, at most"
            f" {bounds.max_stage_blocks} a stage, and multipliers of 2 and 4 whose product is {bounds.min_widening} to"
            f" {bounds.max_widening}; widen these bounds (minWidening 8, maxWidening 16 are the defaults)"
        )
        yield Problem("InvalidSpace", message)
