"""The models of the API: quantities, defaults, what they refuse, and conditions."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from builders import a_request, a_search
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nasoa_runtime.api.conditions import Condition, find_condition, set_condition, shorten
from nasoa_runtime.api.finetune import FineTuneRequestSpec
from nasoa_runtime.api.finetune_status import FineTuneRequestStatus
from nasoa_runtime.api.search import NASSearchSpec
from nasoa_runtime.api.search_status import NASSearchStatus
from nasoa_runtime.api.types import timestamp
from nasoa_runtime.durations import duration, seconds

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
LATER = datetime(2026, 3, 1, 12, 5, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("80ms", 0.08, id="milliseconds"),
        pytest.param("90m", 5400.0, id="minutes"),
        pytest.param("1h30m", 5400.0, id="hours and minutes"),
        pytest.param("1.5h", 5400.0, id="a fraction"),
        pytest.param("90s", 90.0, id="seconds"),
        pytest.param("1.5m", 90.0, id="a fraction of minutes"),
        pytest.param("2m30s", 150.0, id="minutes and seconds"),
        pytest.param("1m0.25s", 60.25, id="a zero part"),
    ],
)
def test_a_duration_is_read_in_seconds(text, expected):
    assert seconds(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "0s", "-5m", "60", "5 m", "1d", "30m1h", "soon", "9999999h", "300000h"])
def test_what_is_not_a_duration_above_zero_is_refused_with_examples(text):
    with pytest.raises(ValueError, match="such as 80ms, 90s, 30m or 1h30m"):
        seconds(text)


@given(st.integers(min_value=1, max_value=10**9))
def test_formatting_a_duration_is_the_inverse_of_reading_it(milliseconds):
    assert round(seconds(duration(milliseconds / 1000)) * 1000) == milliseconds


def test_a_search_needs_only_data_an_output_and_the_name_of_its_zoo():
    spec = NASSearchSpec.model_validate(a_search()["spec"])
    assert (spec.parallelism, spec.zoo.size, spec.block_phase.generations) == (4, 8, 20)
    assert spec.device.type == "cpu"
    assert spec.storage.region == "us-east-1"


def test_a_request_needs_only_data_a_time_a_zoo_and_an_output():
    spec = FineTuneRequestSpec.model_validate(a_request()["spec"])
    assert (spec.strategy, spec.batch_size, spec.suspend) == ("Race", None, False)
    assert (spec.grid.preset, spec.grid.learning_rates, spec.pins.linear_probe) == ("Default", None, None)


def test_a_spec_is_written_with_the_names_of_the_yaml():
    manifest = NASSearchSpec.model_validate(a_search(limits={"maxGPUHours": 2})["spec"]).to_manifest()
    assert manifest["outputURI"] == "s3://tenant/search"
    assert manifest["limits"] == {"maxGPUHours": 2.0}
    assert manifest["zoo"]["stepTimeBatchSize"] == 32
    assert NASSearchSpec.model_validate(manifest).to_manifest() == manifest


@pytest.mark.parametrize(
    ("override", "message"),
    [
        pytest.param({"timeLimit": "0s"}, "above zero", id="no time"),
        pytest.param({"timeLimit": "-1m"}, "above zero", id="negative time"),
        pytest.param(
            {"dataset": {"uri": "https://example.com/x"}}, "must be s3://BUCKET/PREFIX or pvc://", id="scheme"
        ),
        pytest.param({"dataset": {"uri": "s3://tenant/../zoo"}}, r"without . or \.\.", id="leaves the prefix"),
        pytest.param({"dataset": {"uri": "pvc://claim/a/.."}}, r"without . or \.\.", id="leaves the claim"),
        pytest.param({"outputURI": "pvc://claim/x"}, "must be s3://BUCKET/PREFIX", id="output is not S3"),
        pytest.param({"zoo": "My Zoo"}, "lower-case letters", id="zoo name"),
        pytest.param({"pins": {"frozenStages": 6}}, "less than or equal to 5", id="frozen stages"),
        pytest.param({"strategy": "Luck"}, "Input should be 'Race' or 'OneShot'", id="strategy"),
        pytest.param({"timelimit": "1m"}, "Extra inputs are not permitted", id="misspelt field"),
    ],
)
def test_a_request_that_cannot_be_served_is_refused(override, message):
    with pytest.raises(ValidationError, match=message):
        FineTuneRequestSpec.model_validate(a_request(**override)["spec"])


@pytest.mark.parametrize(
    "uri",
    ["s3://tenant/digits", "s3://tenant", "s3://tenant/a/b/", "pvc://claim", "pvc://claim/", "pvc://my.claim/a/b"],
)
def test_a_dataset_is_a_prefix_or_a_claim(uri):
    assert FineTuneRequestSpec.model_validate(a_request(dataset={"uri": uri})["spec"]).dataset.uri == uri


def test_quantities_may_be_numbers():
    resources = {"requests": {"cpu": 2, "memory": "4Gi"}}
    spec = FineTuneRequestSpec.model_validate(a_request(podTemplate={"resources": resources})["spec"])
    assert spec.pod_template.to_manifest()["resources"]["requests"] == {"cpu": "2", "memory": "4Gi"}


def test_the_dashboard_of_a_search_is_computed_from_its_numbers():
    status = NASSearchStatus(level="macro", generation=2, generations=3, best_accuracy=0.876)
    written = status.to_manifest()
    assert (written["progress"], written["best"]) == ("macro 2/3", "87.6%")
    assert "best" not in NASSearchStatus().to_manifest()


def test_the_dashboard_of_a_request_is_computed_from_its_numbers():
    result = {
        "validationAccuracy": 0.925,
        "seconds": 48.2,
        "timeLimitSeconds": 60,
        "steps": 100,
        "stepSeconds": 0.4,
        "outputURI": "s3://tenant/models/x",
    }
    written = FineTuneRequestStatus.read({"result": result}).to_manifest()["result"]
    assert (written["used"], written["accuracy"]) == ("48s/60s", "92.5%")
    assert FineTuneRequestStatus.read({"result": written}).to_manifest()["result"] == written


def test_a_status_of_another_version_is_read():
    assert NASSearchStatus.read({"phase": "BlockSearch", "later": 1}).phase == "BlockSearch"
    assert NASSearchStatus.read(None).phase == "Pending"


def test_a_condition_keeps_its_time_until_its_status_changes():
    first = set_condition([], "Accepted", "False", "ZooNotFound", "zoo x", 1, NOON)
    second = set_condition(first, "Accepted", "False", "ZooNotFound", "zoo x still", 2, LATER)
    third = set_condition(second, "Accepted", "True", "Accepted", "", 2, LATER)
    assert [c[0].last_transition_time for c in (first, second, third)] == [
        "2026-03-01T12:00:00Z",
        "2026-03-01T12:00:00Z",
        "2026-03-01T12:05:00Z",
    ]
    assert (second[0].message, second[0].observed_generation) == ("zoo x still", 2)


def test_setting_a_condition_leaves_the_others_where_they_are():
    conditions = set_condition([], "Accepted", "True", "Accepted", "", 1, NOON)
    conditions = set_condition(conditions, "Complete", "False", "Running", "", 1, NOON)
    conditions = set_condition(conditions, "Accepted", "True", "Accepted", "again", 2, LATER)
    assert [c.type for c in conditions] == ["Accepted", "Complete"]
    assert find_condition(conditions, "Failed") is None


def test_a_long_message_is_cut_and_marked():
    condition = Condition(
        type="Failed",
        status="True",
        reason="Error",
        message="x" * 5000,
        observed_generation=1,
        last_transition_time=timestamp(NOON),
    )
    assert len(condition.message) == 2048
    assert condition.message.endswith("…")
    assert shorten("short") == "short"
