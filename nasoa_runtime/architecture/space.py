"""The two search spaces together: membership and size."""

from __future__ import annotations

from nasoa_runtime.architecture.block_space import (
    BlockSpace,
    EmptySpace,
    count_blocks,
    count_coded_blocks,
    enumerate_blocks,
    macro_for_block,
    random_block,
)
from nasoa_runtime.architecture.macro_space import (
    MacroSpace,
    count_macros,
    enumerate_macros,
    random_macro,
)

__all__ = [
    "BlockSpace",
    "EmptySpace",
    "MacroSpace",
    "count_blocks",
    "count_coded_blocks",
    "count_macros",
    "enumerate_blocks",
    "enumerate_macros",
    "macro_for_block",
    "random_block",
    "random_macro",
    "space_size",
]


def space_size(block_space: BlockSpace | None = None, macro_space: MacroSpace | None = None) -> dict[str, int]:
    """Members of both spaces, of the default ones where none is given.

    Returns:
        ``block`` as the paper counts (5,427,040 by default), ``block_canonical`` the valid blocks with each network
        counted once, ``macro`` the macro structures within the bounds in use.
    """
    block_space, macro_space = block_space or BlockSpace(), macro_space or MacroSpace()
    return {
        "block": count_coded_blocks(block_space),
        "block_canonical": count_blocks(block_space),
        "macro": count_macros(macro_space),
    }
