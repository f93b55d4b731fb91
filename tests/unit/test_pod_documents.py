"""The documents that pods keep and deliver."""

import json

import pytest
from pydantic import ValidationError

from nasoa_runtime.boundary import Device, Preprocessing
from nasoa_runtime.documents.base import UnreadableDocumentError, dump, dump_pretty, load
from nasoa_runtime.documents.deliverable import Confusion, ModelDescription, ModelMetrics
from nasoa_runtime.documents.heartbeat import Heartbeat
from nasoa_runtime.documents.probe_cache import ProbeOrigin

DESCRIPTION = ModelDescription(
    request="team/digits uid",
    architecture="0-_8_1-1-1-1",
    low_resolution_stem=True,
    classes=("猫", "größe 3"),
    preprocessing=Preprocessing(image_size=16),
    zoo_model="fashion-1",
    learning_rate=0.05,
    frozen_stages=5,
    steps=40,
    weights_digest="ab" * 32,
)


def test_a_delivered_document_is_readable_by_people_and_by_programs() -> None:
    body = dump_pretty(DESCRIPTION)
    assert body.decode().splitlines()[1:8] == [
        '  "request": "team/digits uid",',
        '  "architecture": "0-_8_1-1-1-1",',
        '  "low_resolution_stem": true,',
        '  "classes": [',
        '    "猫",',
        '    "größe 3"',
        "  ],",
    ]
    assert load(ModelDescription, body, "model.json") == load(ModelDescription, dump(DESCRIPTION), "model.json")
    assert json.loads(body)["formatVersion"] == 2


def test_a_delivered_document_that_was_changed_names_the_file() -> None:
    body = dump_pretty(DESCRIPTION).replace(b'"steps": 40', b'"steps": 41')
    with pytest.raises(UnreadableDocumentError, match=r"^model\.json can't be read: .* checksum"):
        load(ModelDescription, body, "model.json")


def test_a_model_that_was_not_tested_says_so() -> None:
    metrics = ModelMetrics(validation_accuracy=0.5, test_accuracy=None, test_images=0, class_accuracy={"a": None})
    assert json.loads(dump_pretty(metrics))["test_accuracy"] is None
    assert json.loads(dump_pretty(Confusion(classes=("a", "b"), test=None)))["rows_are"] == "true classes"


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_a_heartbeat_has_a_number_of_seconds(seconds: float) -> None:
    with pytest.raises(ValidationError, match="seconds"):
        Heartbeat(seconds=seconds, interval_seconds=2.0, closed=False)


ORIGIN = ProbeOrigin(dataset="ab" * 32, zoo="fashion 3", device=Device(product="p"), batch_size=8, time_cap_seconds=6)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"dataset": "cd" * 32}, id="dataset"),
        pytest.param({"zoo": "fashion 4"}, id="zoo"),
        pytest.param({"device": Device(product="q")}, id="product"),
        pytest.param({"device": Device(product="p", count=2)}, id="count"),
        pytest.param({"batch_size": 16}, id="batch size"),
        pytest.param({"time_cap_seconds": 7}, id="time cap"),
    ],
)
def test_a_probe_serves_only_what_its_figures_follow_from(other: dict) -> None:
    assert ORIGIN.model_copy(update=other).digest != ORIGIN.digest
    assert ORIGIN.model_copy().digest == ORIGIN.digest
