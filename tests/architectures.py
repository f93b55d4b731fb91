"""What the tests of architectures share: the published models, and hypothesis strategies that draw valid ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from nasoa_runtime.architecture.block_space import contains_block
from nasoa_runtime.architecture.encoding import Architecture, Block, Macro, validate
from nasoa_runtime.architecture.macro_space import contains_macro
from nasoa_runtime.architecture.space import BlockSpace, MacroSpace, random_block
from nasoa_runtime.architecture.structure import InvalidArchitecture

GOLDEN = Path(__file__).parent / "golden" / "etnas.json"
MODELS: list[dict[str, Any]] = json.loads(GOLDEN.read_text())["models"]
COUNTED = [model for model in MODELS if "parameters" in model]
ALL_OPERATIONS = BlockSpace(operations=(0, 1, 2, 3, 4, 5, 6), small_macro="128_1-1-1-1")


@st.composite
def blocks(draw: st.DrawFn, space: BlockSpace = ALL_OPERATIONS) -> Block:
    """Valid blocks; connections in any order, so not always canonical."""
    block = random_block(space, np.random.default_rng(draw(st.integers(0, 2**32 - 1))))
    return Block(block.layers, tuple(draw(st.permutations(block.connections))))


@st.composite
def architectures(draw: st.DrawFn, first_channels: int = 128, most_blocks: int = 2) -> Architecture:
    """Valid architectures with at most ``most_blocks`` blocks a stage."""
    stage = st.lists(st.sampled_from((1, 2)), min_size=1, max_size=most_blocks).map(tuple)
    architecture = Architecture(draw(blocks()), first_channels, Macro(draw(st.tuples(stage, stage, stage, stage))))
    try:
        validate(architecture)
    except InvalidArchitecture:  # A channel raise can break the groups of an operation after a concatenation.
        return Architecture(architecture.block, first_channels, Macro(((1,), (1,), (1,), (1,))))
    return architecture


def contains(space: BlockSpace | MacroSpace, architecture: Architecture) -> bool:
    """Whether an architecture is a valid member: of a block space its block is judged, of a macro space the rest."""
    if isinstance(space, BlockSpace):
        return contains_block(space, architecture.block)
    return contains_macro(space, architecture)
