"""The encoding: what it means, what is refused, and which strings name one network."""

import re

import pytest
from architectures import MODELS, architectures, blocks
from hypothesis import given

from nasoa_runtime.architecture.encoding import (
    ENCODING_PATTERN,
    Architecture,
    Block,
    Connection,
    InvalidArchitecture,
    Layer,
    Macro,
    canonical,
    canonical_block,
    format_architecture,
    format_block,
    parse,
    parse_block,
)


def test_an_encoding_names_its_layers_connections_first_channel_and_stages() -> None:
    assert parse("02031-a02_64_111-2111-211-4") == Architecture(
        Block((Layer(0, 2), Layer(0, 3), Layer(1, 2)), (Connection("a", 0, 2),)),
        64,
        Macro(((1, 1, 1), (2, 1, 1, 1), (2, 1, 1), (4,))),
    )


@pytest.mark.parametrize("model", [pytest.param(model, id=model["name"]) for model in MODELS])
def test_every_published_encoding_is_valid_canonical_and_matches_the_pattern(model: dict) -> None:
    encoding = model["encoding"]
    assert format_architecture(parse(encoding)) == encoding
    assert canonical(encoding) == encoding
    assert re.search(ENCODING_PATTERN, encoding)


@given(architectures())
def test_formatting_and_parsing_round_trip(architecture: Architecture) -> None:
    text = format_architecture(architecture)
    assert parse(text) == architecture
    assert format_architecture(parse(text)) == text
    assert re.search(ENCODING_PATTERN, text)


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        pytest.param("", "has 0 '_'; write BLOCK_FIRSTCHANNEL_MACRO", id="empty"),
        pytest.param("2-_32_1-1-1-1_1", "has 3 '_'", id="four parts"),
        pytest.param("2_32_1-1-1-1", "no '-' between layers and connections; write e.g. 2-", id="no dash"),
        pytest.param("-_32_1-1-1-1", "have 0 digits", id="no layer"),
        pytest.param("7-_32_1-1-1-1", "layer 1: operation '7' (character 1)", id="unknown operation"),
        pytest.param("052-_32_1-1-1-1", "layer 1: width '5' (character 2) is unknown; write a digit of 0 to 4", id="w"),
        pytest.param("02-_32_1-1-1-1", "have 2 digits", id="last width written"),
        pytest.param("0202020-_32_1-1-1-1", "have 7 digits", id="four layers"),
        pytest.param("020-b01_32_1-1-1-1", "connection 'b01' (character 5): write a (add) or c", id="unknown kind"),
        pytest.param("020-a0_32_1-1-1-1", "connection 'a0' (character 5)", id="cut short"),
        pytest.param("02020-a01a02a12a13_32_1-1-1-1", "'a13' (character 16) is one too many", id="four connections"),
        pytest.param("02020-a01a01_32_1-1-1-1", "connection 2 (a01) is written twice", id="repeated"),
        pytest.param("02020-a03_32_1-1-1-1", "connection 1 (a03): the residual", id="residual written"),
        pytest.param("02020-a21_32_1-1-1-1", "source 2 does not come before target 1", id="backwards"),
        pytest.param("02020-a11_32_1-1-1-1", "source 1 does not come before target 1", id="to itself"),
        pytest.param("020-a13_32_1-1-1-1", "node 3 is no target; write one of 1 to 2", id="beyond the last node"),
        pytest.param("02020-c13_32_1-1-1-1", "write a13, or another target", id="concatenated to the output"),
        pytest.param("0-_032_1-1-1-1", "first channel '032' (character 4)", id="leading zero"),
        pytest.param("0-_0_1-1-1-1", "first channel '0'", id="no channel"),
        pytest.param("0-_33_1-1-1-1", "first channel '33' (character 4): write an even number", id="odd"),
        pytest.param("0-_٣٢_1-1-1-1", "first channel", id="digits of another script"),
        pytest.param("0-_32_1-1-1", "has 2 '-'; write exactly three", id="three stages"),
        pytest.param("0-_32_1-1-1-1-1", "has 4 '-'; write exactly three", id="five stages"),
        pytest.param("0-_32_1-1--1", "stage 3 (character 11) has no block", id="empty stage"),
        pytest.param("0-_32_-1-1-1", "stage 1 (character 7) has no block", id="empty first stage"),
        pytest.param("0-_32_1-13-1-1", "multiplier '3' (character 10, stage 2)", id="unknown multiplier"),
        pytest.param("0-_32_1-1-1-1\n", "multiplier '\\n' (character 14, stage 4)", id="line feed"),
        pytest.param("000-_2_1-1-1-1", "stage 1, block 1, layer 1: width 0 gives 0.5 channels", id="half a channel"),
        pytest.param("401-_32_1-1-1-1", "stage 1, block 1, layer 1: operation 4 has 32 groups", id="depthwise narrows"),
        pytest.param("3-_6_1-1-1-1", "operation 3 has 4 groups here, which do not divide its 6", id="four groups of 6"),
        pytest.param("5-_48_1-1-1-1", "operation 5 needs multiples of 32 channels", id="groups of 32"),
        pytest.param("02022-c01_2_1-1-1-1", None, id="valid: both channels of a concatenation divide"),
    ],
)
def test_a_broken_rule_is_refused_with_what_and_where(encoding: str, message: str | None) -> None:
    if message is None:
        parse(encoding)
        return
    with pytest.raises(InvalidArchitecture, match=re.escape(message)):
        parse(encoding)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        pytest.param("02020-a02a01", "02020-a01a02", id="different targets are sorted"),
        pytest.param("02020-a12a02", "02020-a02a12", id="neighbouring adds are sorted"),
        pytest.param("02020-a12a01a02", "02020-a01a02a12", id="adds become neighbours once targets are sorted"),
        pytest.param("02020-c12c02", "02020-c12c02", id="concatenations keep their order"),
        pytest.param("02020-a12c02a02", "02020-a12c02a02", id="adds around a concatenation keep their order"),
        pytest.param("02020-c02a12a02", "02020-c02a02a12", id="adds after a concatenation are sorted"),
        pytest.param("02020-c02a01", "02020-a01c02", id="kinds don't matter between targets"),
    ],
)
def test_one_network_has_one_canonical_form(written: str, expected: str) -> None:
    assert format_block(canonical_block(parse_block(written))) == expected
    assert canonical(f"{written}_32_1-1-1-1") == f"{expected}_32_1-1-1-1"


@given(blocks())
def test_canonical_is_idempotent_and_only_reorders(block: Block) -> None:
    once = canonical_block(block)
    assert canonical_block(once) == once
    assert once.layers == block.layers
    assert sorted(map(str, once.connections)) == sorted(map(str, block.connections))
    for target in range(1, len(block.layers) + 1):
        kinds = [connection.kind for connection in block.connections if connection.target == target]
        assert [connection.kind for connection in once.connections if connection.target == target] == kinds
