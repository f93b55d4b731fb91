"""The command line: answers as JSON and for people, and what it refuses. S3 is moto's server."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from described import a_record, an_outcome
from s3 import an_empty_store

from nasoa_runtime.api.finetune import FineTuneRequestSpec
from nasoa_runtime.boundary import CurvePoint, FinetuneResult, Run, load_result
from nasoa_runtime.cli import app as cli
from nasoa_runtime.documents.base import dump
from nasoa_runtime.documents.request import Failed, Learned, Probe, Result, Schedule
from nasoa_runtime.online.decision import model_facts
from nasoa_runtime.online.warm_start import warm_started
from nasoa_runtime.planning import suggest_for
from nasoa_runtime.storage.predictors import learn_once
from nasoa_runtime.storage.s3 import ObjectStore
from nasoa_runtime.storage.zoo import ZooModel, publish, read_manifest

RECORDS = Path(__file__).parents[1] / "golden" / "finetune_records.csv.gz"


@pytest.fixture
def store(endpoint: str, monkeypatch) -> ObjectStore:
    monkeypatch.setenv("NASOA_S3_ENDPOINT", endpoint)
    monkeypatch.setenv("NASOA_SYSTEM_BUCKET", "sys-bucket")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
    monkeypatch.setenv("COLUMNS", "200")
    return an_empty_store(endpoint, "sys-bucket")


@pytest.fixture
def nasoa(monkeypatch, capsys):
    """Run the command line in this process: exit code, standard output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nasoa", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def a_row(frozen_stages: int, step_seconds: float) -> dict:
    return {
        "device": "cpu",
        "product": "a processor",
        "count": 1,
        "batch_size": 32,
        "image_size": 32,
        "frozen_stages": frozen_stages,
        "channels_last": False,
        "precision": "fp32",
        "step_seconds": step_seconds,
    }


def a_model(name: str, step_seconds: float) -> ZooModel:
    return ZooModel.model_validate(
        {
            "name": name,
            "architecture": "0-_16_1-1-1-1",
            "weights_uri": "s3://sys-bucket/weights",
            "weights_digest": "0" * 64,
            "weights_bytes": 1000,
            "class_count": 10,
            "source": "fashion",
            "preprocessing": {"image_size": 32},
            "source_accuracy": 0.9,
            "parameters": 12345,
            "macs": 67890,
            "step_times": [a_row(0, step_seconds), a_row(5, step_seconds / 3)],
        }
    )


PROBE = {
    "program": "probe",
    "device": {"type": "cpu", "count": 1, "product": "a processor"},
    "statistics": {
        "digest": "a" * 64,
        "classes": 10,
        "images": 1000,
        "validation_images": 200,
        "test_images": 300,
        "images_per_class_mean": 100.0,
        "images_per_class_std": 3.0,
    },
    "startup_seconds": 10.0,
    "loading_seconds_per_image": 0.0001,
    "step_correction": 1.0,
    "seconds": 5.0,
}

REQUEST = """
apiVersion: nasoa.io/v1alpha1
kind: FineTuneRequest
metadata: {name: digits, uid: 0f0f}
spec:
  dataset: {uri: s3://tenant/digits}
  outputURI: s3://tenant/models
  zoo: fashion
  timeLimit: 60s
"""


@pytest.fixture
def request_yaml(tmp_path: Path) -> Path:
    path = tmp_path / "request.yaml"
    path.write_text(REQUEST)
    return path


@pytest.fixture
def probe_json(tmp_path: Path) -> Path:
    path = tmp_path / "probe.json"
    path.write_text(json.dumps(PROBE))
    return path


@pytest.fixture
def zoo(store: ObjectStore) -> None:
    publish(store, "sys-bucket", "fashion", "uid-1", [a_model("small", 0.02), a_model("large", 0.2)])


# --- Architectures and spaces


def test_a_published_architecture_is_described(nasoa) -> None:
    code, out, _ = nasoa("arch", "describe", "2-_32_2-11-112-1121112", "--json")
    document = json.loads(out)
    assert code == 0
    assert (document["encoding"], document["depth"]) == ("2-_32_2-11-112-1121112", 13)
    assert (document["parameters"], document["macs"]) == (2_615_320, 229_113_856)
    assert set(document) == {"encoding", "parameters", "macs", "activations", "depth", "stages"}


def test_a_description_for_people_groups_thousands(nasoa) -> None:
    code, out, _ = nasoa("arch", "describe", "1-_4_1-1-1-1", "--classes", "10", "--image-size", "32")
    assert code == 0
    assert "396" in out
    assert nasoa("arch", "describe", "02031-a02_64_111-2111-211-11")[1].count("12,537,416") == 1


def test_the_low_resolution_stem_keeps_the_parameters(nasoa) -> None:
    said = [
        json.loads(nasoa("arch", "describe", "1-_4_1-1-1-1", "--stem", stem, "--json")[1])
        for stem in ("standard", "low-resolution")
    ]
    assert said[0]["parameters"] == said[1]["parameters"]
    assert said[1]["macs"] > said[0]["macs"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(("arch", "describe", "02031-c03_64_1-1-1-1"), "can't be concatenated to", id="concatenation"),
        pytest.param(("arch", "describe", "0-_64_1-1-1"), "exactly three", id="three stages"),
        pytest.param(("arch", "describe", "0-_64_1-1-1-1", "--classes", "0"), "--classes", id="no classes"),
        pytest.param(("arch", "describe"), "Missing argument", id="no encoding"),
        pytest.param(("predictor", "replay", "nowhere.csv"), "does not exist", id="no records"),
        pytest.param(("explain", "nowhere.yaml"), "No such file", id="no request"),
        pytest.param(("predictor", "replay", str(RECORDS), "--algorithm", "magic"), "write hedge", id="no algorithm"),
        pytest.param(
            ("policy", "replay", str(RECORDS), "--warm-start", str(RECORDS), "--strategy", "Luck"),
            "write Race or OneShot",
            id="no strategy",
        ),
    ],
)
def test_refused_input_ends_with_2_and_a_reason_on_standard_error(nasoa, arguments, words) -> None:
    code, out, err = nasoa(*arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert "Traceback" not in err


def test_the_published_space_has_its_published_size(nasoa) -> None:
    document = json.loads(nasoa("space", "size", "--json")[1])
    assert document["block"] == 5_427_040
    assert set(document) == {"block", "block_canonical", "macro"}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("operations: [1]\nmaxLayers: 1\nmaxConnections: 0\n", id="bounds"),
        pytest.param(
            "kind: NASSearch\nspec:\n  space: {operations: [1], maxLayers: 1, maxConnections: 0}\n", id="a search"
        ),
    ],
)
def test_a_space_is_read_from_yaml(nasoa, tmp_path, text) -> None:
    (tmp_path / "space.yaml").write_text(text)
    document = json.loads(nasoa("space", "size", "--space", str(tmp_path / "space.yaml"), "--json")[1])
    assert (document["block"], document["block_canonical"]) == (1, 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("maxLayer: 1", "unknown bound 'maxLayer'; there are blocks, firstChannels", id="a typo"),
        pytest.param("maxLayers: 9", "write 1 to 3", id="too many layers"),
        pytest.param("[1, 2]", "write bounds by name", id="a list"),
        pytest.param("{", "not a YAML file", id="no YAML"),
        pytest.param("maxLayers: two", "maxLayers: must be of type integer", id="a word for a number"),
        pytest.param("firstChannels: [15]", "firstChannels [15]: write even numbers", id="odd channels"),
        pytest.param("kind: NASSearch\nspec: 3", "spec: write bounds by name", id="a search without a spec"),
        pytest.param("kind: NASSearch\nspec: {blockPhase: 3}", "blockPhase: write bounds", id="a phase without fields"),
        pytest.param("kind: FineTuneRequest", "has a FineTuneRequest; give a file with a NASSearch", id="a request"),
    ],
)
def test_a_wrong_space_is_refused(nasoa, tmp_path, text, words) -> None:
    (tmp_path / "space.yaml").write_text(text)
    code, _, err = nasoa("space", "size", "--space", str(tmp_path / "space.yaml"))
    assert code == 2
    assert words in err


# --- Zoos


def test_zoos_are_listed(nasoa, store, zoo) -> None:
    assert json.loads(nasoa("zoo", "list", "--json")[1]) == [
        {"name": "fashion", "owner": "uid-1", "version": 1, "models": 2, "extractor": None}
    ]
    assert "fashion" in nasoa("zoo", "list")[1]


def test_without_a_zoo_that_is_said(nasoa, store) -> None:
    assert nasoa("zoo", "list")[1] == "No zoos in bucket sys-bucket.\n"
    code, out, err = nasoa("zoo", "show", "fashion")
    assert (code, out) == (2, "")
    assert "there is no zoo 'fashion' in bucket 'sys-bucket'" in err


def test_a_zoo_is_shown(nasoa, zoo) -> None:
    document = json.loads(nasoa("zoo", "show", "fashion", "--json")[1])
    assert [model["name"] for model in document["models"]] == ["small", "large"]
    shown = nasoa("zoo", "show", "fashion")[1]
    assert "12,345" in shown
    assert "20" in shown


def test_an_s3_that_does_not_answer_ends_with_1(nasoa, store, monkeypatch) -> None:
    monkeypatch.setattr("nasoa_runtime.storage.s3.ATTEMPTS", 1)
    monkeypatch.setenv("NASOA_S3_ENDPOINT", "http://127.0.0.1:1")
    code, out, err = nasoa("zoo", "list")
    assert (code, out) == (1, "")
    assert "S3 does not answer" in err


def test_an_import_into_a_zoo_needs_zoo_and_accuracy(nasoa, store, tmp_path) -> None:
    (tmp_path / "w.pth").write_bytes(b"")
    base = ("zoo", "import", "--name", "x", "--architecture", "timm:resnet18", "--weights", str(tmp_path / "w.pth"))
    assert "--zoo is missing" in nasoa(*base)[2]
    assert "--source-accuracy is missing" in nasoa(*base, "--zoo", "z")[2]
    assert "--zoo '../z': write up to 63" in nasoa(*base, "--zoo", "../z", "--source-accuracy", "0.5")[2]


# --- Predictors


def test_a_predictor_is_shown_and_rebuilt(nasoa, store, zoo) -> None:
    shown = json.loads(nasoa("predictor", "show", "fashion", "--json")[1])
    assert (shown["version"], shown["algorithm"], shown["fitted_through"], shown["recorded"]) == (0, "hedge", 0, 0)
    assert set(shown["experts"]) == {"points", "order", "network"}
    assert nasoa("predictor", "rebuild", "fashion")[0] == 2
    for number in range(3):
        record = a_record(f"uid-{number}", an_outcome(0.5 + number / 10, model="small"))
        learn_once(store, "sys-bucket", "fashion", record)
    shown = json.loads(nasoa("predictor", "show", "fashion", "--json")[1])
    assert (shown["version"], shown["recorded"]) == (3, 3)
    rebuilt = json.loads(nasoa("predictor", "rebuild", "fashion", "--algorithm", "fixed-mlp-3", "--json")[1])
    assert (rebuilt["version"], rebuilt["algorithm"], rebuilt["models"]) == (3, "fixed-mlp-3", ["small"])
    assert json.loads(nasoa("predictor", "show", "fashion", "--json")[1])["algorithm"] == "fixed-mlp-3"


def test_records_are_replayed(nasoa) -> None:
    # By the quickest algorithm: what the readme shows is printed by the default one.
    document = json.loads(nasoa("predictor", "replay", str(RECORDS), "--algorithm", "adaptive-mlp", "--json")[1])
    assert document["records"] == 300
    assert set(document["segments"]) == {"20-40", "80-100"}
    assert 0 < document["mse"] < document["mae"] < 1
    policy_replay = ("policy", "replay", str(RECORDS), "--warm-start", str(RECORDS), "--predictor", "adaptive-mlp")
    policy = json.loads(nasoa(*policy_replay, "--json")[1])
    assert len(policy["by_limit"]) == 4
    assert policy["limit_exceeded"] == 0


# --- Plans


def test_a_request_is_planned_from_a_probes_result(nasoa, zoo, request_yaml, probe_json) -> None:
    code, out, _ = nasoa("plan", "-f", str(request_yaml), "--statistics", str(probe_json), "--json")
    document = json.loads(out)
    assert code == 0
    assert document["chosen"]["model"] in {"small", "large"}
    assert document["chosen"]["seconds"] <= document["time_limit_seconds"] == 60
    assert 1 <= len(document["runners_up"]) <= 26
    assert (document["zoo_version"], document["predictor_version"]) == (1, 0)
    assert "predicted accuracy" in nasoa("plan", "-f", str(request_yaml), "--statistics", str(probe_json))[1]


def test_a_probes_result_that_was_written_by_hand_need_not_name_its_program(
    nasoa, zoo, request_yaml, probe_json
) -> None:
    probe_json.write_text(json.dumps({key: value for key, value in PROBE.items() if key != "program"}))
    code, _, err = nasoa("plan", "-f", str(request_yaml), "--statistics", str(probe_json), "--json")
    assert (code, err) == (0, "")


def test_a_plan_tells_the_whole_regime(nasoa, zoo, request_yaml, probe_json) -> None:
    request = yaml.safe_load(request_yaml.read_text())
    request["spec"]["pins"] = {
        "optimizer": "AdamW", "layerDecay": 0.75, "weightDecay": 0.05, "labelSmoothing": 0, "mixup": 0, "ema": True,
        "augmentation": "Crop", "frozenStages": 0,
    }  # fmt: skip
    request_yaml.write_text(yaml.safe_dump(request))
    arguments = ("plan", "-f", str(request_yaml), "--statistics", str(probe_json))
    chosen = json.loads(nasoa(*arguments, "--json")[1])["chosen"]
    assert chosen["options"] == "AdamW, weight decay 0.05, layer decay 0.75, EMA"
    assert (chosen["optimizer"], chosen["layer_decay"], chosen["ema"]) == ("adamw", 0.75, True)
    shown = nasoa(*arguments)[1]
    assert "batch size" in shown
    assert "AdamW" in shown


def test_a_probed_request_is_planned_from_its_probe(nasoa, store, zoo, request_yaml, probe_json) -> None:
    record = dump(Probe.model_validate({"result": load_result(json.dumps(PROBE), "probe")}))
    store.put("s3://sys-bucket/requests/0f0f/probe.json", record)
    document = json.loads(nasoa("plan", "-f", str(request_yaml), "--json")[1])
    assert document["statistics_from"] == "its probe"
    probe_json.write_bytes(record)
    from_file = json.loads(nasoa("plan", "-f", str(request_yaml), "--statistics", str(probe_json), "--json")[1])
    assert from_file["chosen"] == document["chosen"]


def test_a_recorded_probe_that_was_edited_is_refused(nasoa, store, zoo, request_yaml) -> None:
    record = dump(Probe.model_validate({"result": load_result(json.dumps(PROBE), "probe")}))
    store.put("s3://sys-bucket/requests/0f0f/probe.json", record.replace(b'"classes":10', b'"classes":11'))
    code, out, err = nasoa("plan", "-f", str(request_yaml))
    assert (code, out) == (2, "")
    assert "s3://sys-bucket/requests/0f0f/probe.json can't be read: its content does not match its checksum" in err


def test_planning_changes_nothing(nasoa, store, zoo, request_yaml, probe_json) -> None:
    before = {listed.key: listed.etag for listed in store.list("s3://sys-bucket/")}
    nasoa("plan", "-f", str(request_yaml), "--statistics", str(probe_json))
    assert {listed.key: listed.etag for listed in store.list("s3://sys-bucket/")} == before


def test_a_local_dataset_will_do(nasoa, zoo, request_yaml, tmp_path) -> None:
    from PIL import Image

    for label in ("cat", "dog"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(10):
            Image.new("RGB", (8, 8), (number * 20, 100 if label == "cat" else 0, 0)).save(
                tmp_path / "data" / label / f"{number}.png"
            )
    code, out, err = nasoa("plan", "-f", str(request_yaml), "--dataset", str(tmp_path / "data"), "--json")
    assert code == 0, err
    assert json.loads(out)["statistics_from"] == str(tmp_path / "data")


def test_a_folder_that_is_no_dataset_is_refused(nasoa, zoo, request_yaml, tmp_path) -> None:
    (tmp_path / "data" / "cat").mkdir(parents=True)
    code, out, err = nasoa("plan", "-f", str(request_yaml), "--dataset", str(tmp_path / "data"))
    assert (code, out) == (2, "")
    assert err.startswith("nasoa: --dataset: ")
    assert "Traceback" not in err


def test_what_is_not_known_is_asked_for(nasoa, zoo, request_yaml) -> None:
    code, out, err = nasoa("plan", "-f", str(request_yaml))
    assert (code, out) == (2, "")
    assert "give --statistics FILE" in err
    assert "--dataset FOLDER" in err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(("60s", "1s"), "the least time limit is", id="too short"),
        pytest.param(("60s", "soon"), "spec.timeLimit: must be a duration above zero", id="no duration"),
        pytest.param(("60s", "0s"), "spec.timeLimit: must be a duration above zero", id="nothing"),
        pytest.param(("zoo: fashion", "zoo: birds"), "spec.zoo: there is no zoo 'birds'", id="no such zoo"),
        pytest.param(("zoo: fashion", "pins: {model: huge}\n  zoo: fashion"), "no model 'huge'", id="no such model"),
        pytest.param(("zoo: fashion", "zoo: 3"), "spec.zoo: must be of type string", id="a wrong type"),
        pytest.param(("timeLimit:", "timelimit:"), "spec.timelimit: unknown field", id="a misspelt field"),
        pytest.param(("  zoo: fashion\n", ""), "spec.zoo: Required value", id="a missing field"),
        pytest.param(("kind: FineTuneRequest", "kind: Pod"), "there is no FineTuneRequest", id="another kind"),
    ],
)
def test_a_request_that_can_not_be_planned_says_why(nasoa, zoo, request_yaml, probe_json, change, words) -> None:
    request_yaml.write_text(REQUEST.replace(*change))
    code, out, err = nasoa("plan", "-f", str(request_yaml), "--statistics", str(probe_json))
    assert (code, out) == (2, "")
    assert words in err


def test_fields_that_are_empty_are_left_out(nasoa, zoo, request_yaml, probe_json) -> None:
    request_yaml.write_text(REQUEST + "  limits:\n  pins:\n    # model: small\n")
    code, _, err = nasoa("plan", "-f", str(request_yaml), "--statistics", str(probe_json), "--json")
    assert (code, err) == (0, "")


def test_of_several_requests_one_is_named(nasoa, zoo, request_yaml, probe_json) -> None:
    request_yaml.write_text(REQUEST + "---" + REQUEST.replace("digits, uid", "mnist, uid"))
    base = ("plan", "-f", str(request_yaml), "--statistics", str(probe_json))
    assert "--name: digits, mnist" in nasoa(*base)[2]
    assert json.loads(nasoa(*base, "--name", "mnist", "--json")[1])["request"] == "mnist"
    assert "it has no request 'birds'; choose one with --name: digits, mnist" in nasoa(*base, "--name", "birds")[2]


def test_a_plan_tells_how_sure_each_prediction_is(nasoa, zoo, request_yaml, probe_json) -> None:
    arguments = ("plan", "-f", str(request_yaml), "--statistics", str(probe_json))
    document = json.loads(nasoa(*arguments, "--json")[1])
    for candidate in (document["chosen"], *document["runners_up"]):
        assert 0 <= candidate["predicted_low"] <= candidate["predicted_accuracy"] <= candidate["predicted_high"] <= 1
    shown = nasoa(*arguments)[1]
    chosen = document["chosen"]
    assert "90% interval" in shown
    assert f"{100 * chosen['predicted_low']:.1f} to {100 * chosen['predicted_high']:.1f}%" in shown


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param("{", "not JSON", id="no JSON"),
        pytest.param("{}", "not a probe's result: seconds: Field required", id="empty"),
        pytest.param("[1]", "not a probe's result: it is not a JSON object", id="a list"),
        pytest.param(json.dumps(PROBE | {"startup_seconds": -1}), "result: startup_seconds", id="a negative time"),
        pytest.param(
            json.dumps(PROBE | {"program": "evaluate"}), "result of evaluate, not probe", id="another program"
        ),
    ],
)
def test_statistics_are_checked(nasoa, zoo, request_yaml, probe_json, body, words) -> None:
    probe_json.write_text(body)
    code, _, err = nasoa("plan", "-f", str(request_yaml), "--statistics", str(probe_json))
    assert code == 2
    assert words in err


# --- Explanations

ASKED = REQUEST + "  grid: {preset: Paper}\n"


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    path = tmp_path / "asked.yaml"
    path.write_text(ASKED)
    return path


@pytest.fixture
def probed(store, zoo) -> None:
    record = Probe.model_validate({"result": load_result(json.dumps(PROBE), "probe")})
    store.put("s3://sys-bucket/requests/0f0f/probe.json", dump(record))


@pytest.fixture
def scheduled(store, probed) -> Schedule:
    """What was decided for the request, with predictor version 0."""
    manifest = read_manifest(store, "sys-bucket", "fashion")
    probe = load_result(json.dumps(PROBE), "probe")
    spec = FineTuneRequestSpec.model_validate(yaml.safe_load(ASKED)["spec"])
    suggestion = suggest_for(spec, manifest, probe, warm_started())
    regimes = [candidate.regime for candidate in (suggestion.chosen, *suggestion.runners_up)]
    reference = {
        "name": "small", "architecture": "a", "weights_uri": "s3://b/w", "weights_digest": "0" * 64,
        "source_classes": 10, "preprocessing": {"image_size": 32},
    }  # fmt: skip
    document = Schedule(
        strategy="Race",
        regimes=regimes,
        planned_seconds=suggestion.chosen.seconds,
        candidates=suggestion.candidates,
        predictor_version=0,
        zoo_version=1,
        models=[reference],
        facts=[model_facts(model, probe.statistics) for model in manifest.models],
        decided_at="2026-01-02T03:04:05Z",
    )
    store.put("s3://sys-bucket/requests/0f0f/schedule.json", dump(document))
    return document


def ended(schedule: Schedule, accuracy: float) -> Result:
    """The chosen candidate reached ``accuracy``, the next one was stopped, the third diverged."""
    chosen, second, third = schedule.regimes[:3]
    stopped = CurvePoint(steps=20, accuracy=0.4, annealed=False, seconds=4.0)
    runs = (
        Run(regime=chosen, steps=chosen.steps, validation_accuracy=accuracy, seconds=30.0),
        Run(regime=second, steps=20, validation_accuracy=0.4, seconds=4.0, points=(stopped,)),
        Run(regime=third, steps=9, validation_accuracy=None, failure="Diverged", seconds=2.0),
    )
    result = FinetuneResult(
        runs=runs, chosen=0, validation_accuracy=accuracy, test_accuracy=0.5, attempts=1, steps=chosen.steps,
        step_seconds=0.02, loading_seconds=0.0, output_uri="s3://tenant/models", model_digest="0" * 64, seconds=50.0,
        strategy="Race",
    )  # fmt: skip
    return Result(result=result, runs=runs, failure=None)


def test_a_request_that_has_ended_is_explained(nasoa, store, scheduled, asked) -> None:
    low, high = scheduled.regimes[0].predicted_low, scheduled.regimes[0].predicted_high
    store.put("s3://sys-bucket/requests/0f0f/result.json", dump(ended(scheduled, (low + high) / 2)))
    code, out, err = nasoa("explain", str(asked), "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    decision = document["decision"]
    assert (decision["predictor_version"], decision["candidates"]) == (0, scheduled.candidates)
    assert len(decision["runners_up"]) == len(scheduled.regimes) - 1
    runs = [decision["chosen"]["run"], *(other["run"] for other in decision["runners_up"])]
    assert [(run["inside"], run["stopped"], run["failure"]) for run in runs[:3]] == [
        (True, False, None),
        (None, True, None),
        (None, False, "Diverged"),
    ]
    assert set(runs[3:]) == {None}
    assert [run["delivered"] for run in runs[:3]] == [True, False, False]
    chosen, *others = document["opinions"]
    assert chosen["chosen"]
    assert chosen["candidate"]["model"] == scheduled.regimes[0].model
    assert chosen["by_expert"].keys() == document["experts"].keys() == {"points", "order", "network"}
    assert {opinion["candidate"]["model"] for opinion in (chosen, *others)} == {"small", "large"}
    contributions = document["contributions"]
    assert contributions["average"] + sum(contributions["groups"].values()) == pytest.approx(contributions["predicted"])
    assert [limit["seconds"] for limit in document["time_limits"]] == [30, 60, 120]


def test_an_explanation_for_people_has_a_table_for_each_question(nasoa, store, scheduled, asked) -> None:
    store.put("s3://sys-bucket/requests/0f0f/result.json", dump(ended(scheduled, 0.0)))
    code, shown, _ = nasoa("explain", str(asked))
    assert code == 0
    assert "decided 2026-01-02 03:04; strategy Race, zoo version 1, predictor version 0" in shown
    for words in (
        "delivered, outside the interval", "stopped early", "diverged", "not run", "What the experts say",
        "best of its model", "is predicted for the chosen one", "percentage points", "learning rate",
        "What other time limits would give", "30s", "2m",
    ):  # fmt: skip
        assert words in shown
    assert "planned with predictor version" not in shown


def test_half_of_a_time_limit_that_is_too_short_says_the_least(nasoa, probed, asked) -> None:
    asked.write_text(ASKED.replace("60s", "20s"))
    code, shown, _ = nasoa("explain", str(asked))
    assert code == 0
    assert "digits: nothing is scheduled yet" in shown
    assert "10s: nothing fits in 10 s: the least time limit is " in shown


def test_a_predictor_that_has_learned_since_is_named(nasoa, store, scheduled, asked) -> None:
    learn_once(store, "sys-bucket", "fashion", a_record("other", an_outcome(0.5)), ["small", "large"])
    shown = nasoa("explain", str(asked))[1]
    assert "predictor version 1 (hedge), zoo version 1, now." in shown
    assert "was planned with predictor version 0: what was learned since may have changed every figure" in shown
    store.put("s3://sys-bucket/requests/0f0f/learned.json", dump(Learned(version=1)))
    assert "learned since, this request's own outcome included, may" in nasoa("explain", str(asked))[1]


def test_of_the_papers_predictor_only_the_whole_is_told(nasoa, store, scheduled, asked) -> None:
    learn_once(store, "sys-bucket", "fashion", a_record("other", an_outcome(0.5)), ["small", "large"])
    nasoa("predictor", "rebuild", "fashion", "--algorithm", "adaptive-mlp")
    shown = nasoa("explain", str(asked))[1]
    assert "not known of adaptive-mlp: only its whole prediction is" in shown
    assert json.loads(nasoa("explain", str(asked), "--json")[1])["contributions"] is None


def test_a_request_is_read_from_standard_input(nasoa, probed, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(ASKED))
    code, out, _ = nasoa("explain", "-", "--json")
    assert (code, json.loads(out)["request"]) == (0, "digits")


def test_of_several_requests_as_kubectl_prints_them_one_is_named(nasoa, probed, asked) -> None:
    other = {"kind": "FineTuneRequest", "metadata": {"name": "mnist", "uid": "1f1f"}, "spec": {}}
    asked.write_text(yaml.safe_dump({"kind": "List", "items": [yaml.safe_load(ASKED), other]}))
    assert "choose one of its requests with --name: digits, mnist" in nasoa("explain", str(asked))[2]
    code, out, _ = nasoa("explain", str(asked), "--name", "digits", "--json")
    assert (code, json.loads(out)["uid"]) == (0, "0f0f")


def test_explaining_changes_nothing(nasoa, store, scheduled, asked) -> None:
    before = {listed.key: listed.etag for listed in store.list("s3://sys-bucket/")}
    nasoa("explain", str(asked))
    assert {listed.key: listed.etag for listed in store.list("s3://sys-bucket/")} == before


def test_a_request_that_was_not_probed_says_what_to_wait_for(nasoa, zoo, asked) -> None:
    code, out, err = nasoa("explain", str(asked))
    assert (code, out) == (2, "")
    assert "nothing is recorded of digits (UID 0f0f) yet: wait until its probe is done" in err


def test_a_request_that_failed_before_its_probe_says_why(nasoa, store, zoo, asked) -> None:
    failed = Failed(reason="InvalidDataset", message="spec.dataset.uri: class 'b' has no images")
    store.put("s3://sys-bucket/requests/0f0f/failed.json", dump(failed))
    code, _, err = nasoa("explain", str(asked))
    assert code == 2
    assert "digits failed before anything was chosen: spec.dataset.uri: class 'b' has no images" in err


def test_a_request_without_a_schedule_says_why_it_has_none(nasoa, store, probed, asked) -> None:
    asked.write_text(ASKED.replace("60s", "1s"))
    failed = Failed(reason="TimeLimitTooShort", message="spec.timeLimit: nothing fits in 1 s")
    store.put("s3://sys-bucket/requests/0f0f/failed.json", dump(failed))
    code, shown, _ = nasoa("explain", str(asked))
    assert code == 0
    assert "digits: it failed: spec.timeLimit: nothing fits in 1 s" in shown
    assert shown.count("the least time limit is ") == 3
    document = json.loads(nasoa("explain", str(asked), "--json")[1])
    assert document["failure"]["reason"] == "TimeLimitTooShort"
    assert (document["decision"], document["opinions"], document["contributions"]) == (None, [], None)


def test_a_file_that_is_not_from_a_cluster_can_not_be_explained(nasoa, zoo, asked) -> None:
    asked.write_text(ASKED.replace(", uid: 0f0f", ""))
    code, _, err = nasoa("explain", str(asked))
    assert code == 2
    assert "metadata.uid: digits has none" in err
    assert "kubectl get finetunerequest digits -o yaml" in err


# --- What is imported


def test_the_pods_code_is_not_imported_where_no_network_is_built() -> None:
    code = "import sys, nasoa_runtime.cli.app; print(*sorted(sys.modules), sep='\\n')"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(said.stdout.split())
    assert "nasoa_runtime.cli.local" in modules
    assert {"PIL", "nasoa_runtime.pods", "safetensors", "timm", "torch", "torchvision"} & modules == set()


@pytest.mark.parametrize(
    ("module", "call"),
    [
        pytest.param("torch", "local.prepare_weights('0-_16_1-1-1-1', Path('w.pth'), 32)", id="weights"),
        pytest.param(
            "PIL", "local.probe(FineTuneRequestSpec.model_construct(seed=0, dataset=data), Path())", id="data"
        ),
    ],
)
def test_an_extra_that_is_not_installed_is_named(module, call) -> None:
    code = f"""
import sys
from pathlib import Path
from nasoa_runtime.api.finetune import FineTuneRequestSpec
from nasoa_runtime.api.parts import DatasetSpec
from nasoa_runtime.cli import local
from nasoa_runtime.cli.common import RefusedError
sys.modules[{module!r}] = None
data = DatasetSpec(uri="s3://tenant/digits")
try:
    {call}
except RefusedError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    expected = f"this needs nasoa's runtime extra, and {module} is not installed: pip install 'nasoa[runtime]'\n"
    assert said.stdout == expected


def test_the_command_can_be_run_as_a_module() -> None:
    command = [sys.executable, "-m", "nasoa_runtime.cli", "arch", "describe", "2-_32_2-11-112-1121112", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["parameters"] == 2615320
