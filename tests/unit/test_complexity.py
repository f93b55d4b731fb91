"""Complexity from the string: published counts, and figures worked out by hand."""

import json

import pytest
from architectures import COUNTED

from nasoa_runtime.architecture.complexity import StageSummary, complexity, describe
from nasoa_runtime.architecture.structure import InvalidArchitecture


@pytest.mark.parametrize("model", [pytest.param(model, id=model["name"]) for model in COUNTED])
def test_published_models_have_their_published_counts(model: dict) -> None:
    counted = complexity(model["encoding"])
    assert (counted.parameters, counted.macs) == (model["parameters"], model["macs_at_224"])


def test_counts_of_a_network_worked_out_by_hand() -> None:
    counted = complexity("1-_2_1-1-1-1", image_size=5, classes=3)
    # Stem 5 -> 3 -> 3 -> 2 pixels: 3->1, 1->1, 1->2 channels. Blocks 1x1 2->2 at 2, 1, 1, 1 pixels; stages 2 to 4
    # have a strided projection of 2->2.
    assert counted.parameters == (27 + 2) + (9 + 2) + (18 + 4) + 4 * (4 + 4) + 3 * (4 + 4) + (2 * 3 + 3)
    assert counted.macs == 27 * 9 + 9 * 9 + 18 * 4 + 4 * 4 + 3 * 4 + 3 * 4 + 6
    assert counted.activations == 9 + 9 + 2 * 4 + 2 * 4 + 3 * 2 + 3 * 2
    assert counted.depth == 4
    assert [stage.resolution for stage in counted.stages] == [2, 1, 1, 1]


def test_a_concatenation_widens_what_the_next_layer_reads() -> None:
    plain, concatenated = (complexity(f"121-{connection}_8_1-1-1-1") for connection in ("", "c01"))
    # Layer 1 has 8 channels, with the input's in front 16: layer 2 reads 8 more, in each of four blocks. In stages 2
    # to 4 layer 1 isn't strided (the last layer is, as all are 1x1), so no projection is needed.
    assert concatenated.parameters - plain.parameters == 4 * 8 * 8


def test_an_add_after_a_concatenation_is_brought_to_the_channels_of_both() -> None:
    before, after = (complexity(f"12121-{connections}_8_1-1-1-1") for connections in ("a02c12", "c12a02"))
    # Before: 8 to 8 channels, no projection. After: 8 to 16 channels by a 1x1 with BatchNorm, in each of four blocks.
    assert after.parameters - before.parameters == 4 * (8 * 16 + 2 * 16)


def test_the_depthwise_separable_operation_has_one_batchnorm() -> None:
    separable, plain = complexity("6-_8_1-1-1-1"), complexity("1-_8_1-1-1-1")
    assert separable.parameters - plain.parameters == 4 * 8 * 9


def test_the_low_resolution_stem_keeps_the_resolution() -> None:
    counted = complexity("0-_16_1-2-2-2", 32, 10, low_resolution_stem=True)
    assert counted.stages == (
        StageSummary(1, 16, 32),
        StageSummary(1, 32, 16),
        StageSummary(1, 64, 8),
        StageSummary(1, 128, 4),
    )


def test_a_description_is_canonical_and_ready_for_json() -> None:
    description = describe("02031-a12a02_64_111-2111-211-11")
    assert json.loads(json.dumps(description)) == {
        "encoding": "02031-a02a12_64_111-2111-211-11",
        "parameters": description["parameters"],
        "macs": description["macs"],
        "activations": description["activations"],
        "depth": 12,
        "stages": [
            {"blocks": 3, "channels": 64, "resolution": 56},
            {"blocks": 4, "channels": 128, "resolution": 28},
            {"blocks": 3, "channels": 256, "resolution": 14},
            {"blocks": 2, "channels": 256, "resolution": 7},
        ],
    }


def test_broken_encodings_and_sizes_are_refused() -> None:
    with pytest.raises(InvalidArchitecture):
        complexity("2-_33_1-1-1-1")
    with pytest.raises(ValueError, match="image size 0"):
        complexity("2-_32_1-1-1-1", image_size=0)
