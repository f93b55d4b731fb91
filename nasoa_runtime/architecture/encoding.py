"""The string that names an architecture, ``BLOCK_FIRSTCHANNEL_MACRO``, e.g. ``02031-a02_64_111-2111-211-11``.

``BLOCK`` is ``layers-connections``: (operation, width) digit pairs, the last width left out as it is always 2, then
connections of three characters each. ``MACRO`` has one channel multiplier a block; after each of its three ``-`` the
next block halves the resolution. ``format_architecture(parse(text)) == text`` for every valid string; strings that
name the same network have one :func:`canonical` form.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import cast

from nasoa_runtime.architecture.structure import (
    LAST_WIDTH,
    MAX_CONNECTIONS,
    MAX_LAYERS,
    STAGES,
    Architecture,
    Block,
    Connection,
    InvalidArchitecture,
    Kind,
    Layer,
    Macro,
    check_block,
)
from nasoa_runtime.architecture.wiring import check_channels, check_macro

BLOCK_PATTERN = "([0-6][0-4]){0,2}[0-6]-([ac][0-2][1-3]){0,3}"
"""A block, as a regular expression that RE2 understands too. Necessary, not sufficient."""
MACRO_PATTERN = "[124]+-[124]+-[124]+-[124]+"
"""A macro structure, likewise."""
FIRST_CHANNELS_PATTERN = "[1-9][0-9]{0,5}"
"""The first channel, likewise."""
ENCODING_PATTERN = f"^{BLOCK_PATTERN}_{FIRST_CHANNELS_PATTERN}_{MACRO_PATTERN}$"
"""What admission can check of an encoding. Node order and channel numbers are left to :func:`parse`."""

EXAMPLE = "02031-a02_64_111-2111-211-11"

__all__ = [
    "ENCODING_PATTERN",
    "Architecture",
    "Block",
    "Connection",
    "InvalidArchitecture",
    "Layer",
    "Macro",
    "canonical",
    "canonical_architecture",
    "canonical_block",
    "format_architecture",
    "format_block",
    "format_macro",
    "parse",
    "parse_block",
    "parse_first_channels",
    "parse_macro",
    "validate",
]


def parse(text: str) -> Architecture:
    """Read an encoding and check every rule, channel numbers too.

    Raises:
        InvalidArchitecture: With what is wrong, where (characters count from 1), and what to write instead.
    """
    parts = text.split("_")
    if len(parts) != 3:
        raise InvalidArchitecture(
            f"{_quoted(text)} has {len(parts) - 1} '_'; write BLOCK_FIRSTCHANNEL_MACRO, e.g. {EXAMPLE}"
        )
    block_text, channels_text, macro_text = parts
    block = parse_block(block_text)
    position = len(block_text) + 2
    first_channels = parse_first_channels(channels_text, position)
    macro = parse_macro(macro_text, position + len(channels_text) + 1)
    architecture = Architecture(block, first_channels, macro)
    validate(architecture)
    return architecture


def parse_first_channels(text: str, position: int = 1) -> int:
    """Read the first channel; ``position`` is where it starts, for messages.

    Raises:
        InvalidArchitecture: If it isn't an even number of at most six digits without a leading zero.
    """
    if not re.fullmatch(FIRST_CHANNELS_PATTERN, text) or int(text) % 2:
        raise InvalidArchitecture(
            f"first channel {_quoted(text)} (character {position}): write an even number of at most six digits "
            "without a leading zero, e.g. 64"
        )
    return int(text)


def parse_block(text: str) -> Block:
    """Read a block, ``layers-connections``, and check every rule that doesn't depend on channel numbers.

    Raises:
        InvalidArchitecture: With what is wrong, where (characters count from 1), and what to write instead.
    """
    digits, dash, rest = text.partition("-")
    if not dash:
        raise InvalidArchitecture(
            f"block {_quoted(text)} has no '-' between layers and connections; write e.g. {_shortened(text)}-"
        )
    layers = _parse_layers(digits)
    block = Block(layers, _parse_connections(rest, len(digits) + 2))
    check_block(block)
    return block


def _parse_layers(digits: str) -> tuple[Layer, ...]:
    for position, digit in enumerate(digits, start=1):
        name, greatest = ("width", 4) if position % 2 == 0 else ("operation", 6)
        if digit not in "0123456"[: greatest + 1]:
            raise InvalidArchitecture(
                f"layer {(position + 1) // 2}: {name} {digit!r} (character {position}) is unknown; write a digit of "
                f"0 to {greatest}"
            )
    if len(digits) % 2 == 0 or len(digits) > 2 * MAX_LAYERS - 1:
        raise InvalidArchitecture(
            f"layers {_quoted(digits)} (character 1) have {len(digits)} digits; write operation and width of each of "
            f"1 to {MAX_LAYERS} layers but the last, and the last one's operation alone: 1, 3 or 5 digits"
        )
    widths = (*(int(digit) for digit in digits[1::2]), LAST_WIDTH)
    return tuple(Layer(int(operation), width) for operation, width in zip(digits[::2], widths, strict=True))


def _parse_connections(text: str, position: int) -> tuple[Connection, ...]:
    """Read connections; ``position`` is where they start, for messages."""
    connections = []
    for offset in range(0, len(text), 3):
        token = text[offset : offset + 3]
        if not re.fullmatch("[ac][0-9][0-9]", token):
            raise InvalidArchitecture(
                f"connection {_quoted(token)} (character {position + offset}): write a (add) or c (concatenate), the "
                "source node and the target node, e.g. a02"
            )
        connections.append(Connection(cast("Kind", token[0]), int(token[1]), int(token[2])))
        if len(connections) > MAX_CONNECTIONS:
            raise InvalidArchitecture(
                f"connection {token!r} (character {position + offset}) is one too many; write at most {MAX_CONNECTIONS}"
            )
    return tuple(connections)


def parse_macro(text: str, position: int = 1) -> Macro:
    """Read the multipliers of four stages; ``position`` is where they start, for messages.

    Raises:
        InvalidArchitecture: With what is wrong, where, and what to write instead.
    """
    for offset, character in enumerate(text):
        if character not in "124-":
            raise InvalidArchitecture(
                f"multiplier {character!r} (character {position + offset}, stage {text[:offset].count('-') + 1}) is "
                "unknown; write 1, 2 or 4 for each block and '-' between stages"
            )
    stages = text.split("-")
    if len(stages) != STAGES:
        raise InvalidArchitecture(
            f"macro structure {_quoted(text)} (character {position}) has {len(stages) - 1} '-'; write exactly three, "
            "between the four stages, e.g. 11-21-211-2"
        )
    if "" in stages:
        empty = stages.index("")
        raise InvalidArchitecture(
            f"stage {empty + 1} (character {position + len('-'.join(stages[:empty])) + (empty > 0)}) has no block; "
            "write at least one multiplier (1, 2 or 4)"
        )
    return Macro(tuple(tuple(int(digit) for digit in stage) for stage in stages))


def _quoted(text: str) -> str:
    return repr(_shortened(text))


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."


def validate(architecture: Architecture) -> None:
    """Check every rule of an architecture that was put together from values.

    Raises:
        InvalidArchitecture: With the first rule that is broken, and where.
    """
    check_block(architecture.block)
    check_macro(architecture.macro)
    check_channels(architecture)


def format_architecture(architecture: Architecture) -> str:
    """Write an architecture as its string; the order of connections is kept."""
    return f"{format_block(architecture.block)}_{architecture.first_channels}_{format_macro(architecture.macro)}"


def format_block(block: Block) -> str:
    """Write a block as ``layers-connections``."""
    layers = "".join(f"{layer.operation}{layer.width}" for layer in block.layers)[:-1]
    return f"{layers}-{''.join(map(str, block.connections))}"


def format_macro(macro: Macro) -> str:
    """Write the multipliers, stages separated by ``-``."""
    return "-".join("".join(map(str, stage)) for stage in macro.stages)


def canonical_block(block: Block) -> Block:
    """The one form of all blocks that differ only in an order that does not matter.

    Two rewrites, nothing more: connections are sorted by target, those of one target keeping their order; then adds
    that follow each other at one target are sorted by source, for a sum has no order. Concatenations keep their
    places, as they decide on the order and number of channels.
    """
    ordered = sorted(block.connections, key=lambda connection: connection.target)
    result: list[Connection] = []
    run: list[Connection] = []
    for connection in ordered:
        if run and (connection.kind != "a" or connection.target != run[-1].target):
            result += sorted(run, key=lambda add: add.source)
            run = []
        if connection.kind == "a":
            run.append(connection)
        else:
            result.append(connection)
    result += sorted(run, key=lambda add: add.source)
    return replace(block, connections=tuple(result))


def canonical_architecture(architecture: Architecture) -> Architecture:
    """The same network with its block in canonical form."""
    return replace(architecture, block=canonical_block(architecture.block))


def canonical(architecture: str | Architecture) -> str:
    """The canonical string of an architecture, so that no network is trained twice under two names.

    Raises:
        InvalidArchitecture: If a string is given that breaks a rule.
    """
    value = parse(architecture) if isinstance(architecture, str) else architecture
    return format_architecture(canonical_architecture(value))
