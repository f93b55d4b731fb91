"""The table of programs, and the documents that are written and read by it."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import ValidationError
from s3 import an_empty_store

from nasoa_operator.jobs import Owner, build_job
from nasoa_operator.pod_outcomes import Termination, read_message, read_result
from nasoa_operator.settings import Settings
from nasoa_runtime.api.parts import DeviceSpec, PodTemplate, StorageSpec
from nasoa_runtime.boundary import (
    INPUT_VARIABLE,
    MOST_REGIMES,
    PROGRAMS,
    PROGRAMS_BY_NAME,
    TERMINATION_MESSAGE_VARIABLE,
    CurvePoint,
    DatasetReference,
    Device,
    EvaluateInput,
    EvaluateResult,
    Extractor,
    FinetuneInput,
    FinetuneResult,
    InvalidDocumentError,
    MeasuredModel,
    ModelReference,
    PodInput,
    PodResult,
    Preprocessing,
    PretrainInput,
    ProbeInput,
    ProfileInput,
    Program,
    Reading,
    Recipe,
    Regime,
    Run,
    SharedLimit,
    TerminationMessage,
    UnknownProgramError,
    WrongProgramError,
    digest,
    dump_input,
    dump_result,
    load_input,
    load_result,
    program_named,
    program_of,
    spec_field,
)
from nasoa_runtime.documents.steps import FINETUNE, PRETRAIN, PROBE, TABLE, evaluate_step, profile_step
from nasoa_runtime.pods import launcher
from nasoa_runtime.pods import main as pod_main
from nasoa_runtime.pods.exchange import write_termination_message

RECIPE = Recipe(epochs=1, batch_size=4, image_size=16, learning_rate=0.1)
DATA = DatasetReference(uri="s3://tenant/data")


def an_input(**fields) -> EvaluateInput:
    return EvaluateInput(result_uri="s3://b/r", architectures=("a",), dataset=DATA, recipe=RECIPE, **fields)


RESULT = EvaluateResult(architecture="a", accuracy=0.5, step_seconds=0.1, loading_seconds=0, steps=1, seconds=1)


# --- The table -------------------------------------------------------------------------------------------------------


def test_a_program_is_found_by_its_name_its_input_and_its_result() -> None:
    evaluate = program_named("evaluate")
    assert program_of(an_input()) is program_of(RESULT) is program_of(EvaluateInput) is evaluate
    assert program_of(PretrainInput).name == "pretrain"


def test_names_inputs_and_results_are_each_of_one_program() -> None:
    assert [program.name for program in PROGRAMS] == ["profile", "evaluate", "pretrain", "probe", "finetune"]
    for values in zip(*((p.name, p.input, p.result, p.function) for p in PROGRAMS), strict=True):
        assert len(set(values)) == 5


def test_only_what_trains_uses_several_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    several = Device(type="cuda", count=2)
    assert [p.name for p in PROGRAMS if launcher.wanted(p, several)] == ["evaluate", "pretrain", "finetune"]
    assert not any(launcher.wanted(p, Device(type="cuda")) or launcher.wanted(p, Device(count=8)) for p in PROGRAMS)


def test_every_step_runs_a_program_of_the_table() -> None:
    steps = (PRETRAIN, TABLE, PROBE, FINETUNE, profile_step("block", 0, 0), evaluate_step("macro", 1))
    assert {step.program for step in steps} == set(PROGRAMS_BY_NAME)


# --- On the wire -----------------------------------------------------------------------------------------------------


def test_an_input_names_its_program_and_comes_back_as_it_was() -> None:
    body = dump_input(an_input(seed=3))
    assert json.loads(body)["program"] == "evaluate"
    assert load_input(body) == load_input(body.decode(), "evaluate") == an_input(seed=3)
    assert dump_input(an_input(seed=3)) == body


def test_a_result_names_its_program_and_comes_back_as_it_was() -> None:
    body = dump_result(RESULT)
    assert body == (
        b'{"accuracy":0.5,"architecture":"a","loading_seconds":0.0,"program":"evaluate","seconds":1.0,'
        b'"step_seconds":0.1,"steps":1}'
    )
    assert load_result(body, "evaluate") == load_result(json.loads(body), "evaluate") == RESULT


def changed(document: bytes, **fields: object) -> bytes:
    return json.dumps(json.loads(document) | fields).encode()


@pytest.mark.parametrize("load", [load_input, load_result])
@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        pytest.param(b"{", InvalidDocumentError, "Invalid JSON", id="no JSON"),
        pytest.param(b"[" * 100_000, InvalidDocumentError, "Invalid JSON", id="no end of nesting"),
        pytest.param(b"\xff", InvalidDocumentError, "Invalid JSON", id="no text"),
        pytest.param(b"[1]", InvalidDocumentError, "it is not a JSON object", id="a list"),
        pytest.param(b"{}", UnknownProgramError, "there is no program None; there are profile, ", id="no program"),
        pytest.param(b'{"program":"dance"}', UnknownProgramError, "there is no program 'dance'", id="unknown"),
        pytest.param(b'{"program":["probe"]}', UnknownProgramError, "there is no program ", id="no name"),
        pytest.param(b'{"program":"probe"}', WrongProgramError, "of probe, not evaluate", id="another program"),
    ],
)
def test_what_is_no_document_of_the_program_is_a_typed_error(load, content, kind, message) -> None:
    with pytest.raises(kind, match=message):
        load(content, "evaluate")


@pytest.mark.parametrize(
    ("load", "content", "message"),
    [
        pytest.param(
            load_input,
            changed(dump_input(an_input()), surprise=1),
            "evaluate.surprise: Extra inputs are not permitted",
            id="an input with a field too many",
        ),
        pytest.param(
            load_result,
            changed(dump_result(RESULT), surprise=1),
            "evaluate.surprise: Extra inputs are not permitted",
            id="a result with a field too many",
        ),
        pytest.param(
            load_result,
            changed(dump_result(RESULT), accuracy=1.7),
            "evaluate.accuracy: Input should be less than or equal to 1",
            id="out of bounds",
        ),
        pytest.param(
            load_input,
            changed(dump_input(an_input()), recipe={}),
            "evaluate.recipe.epochs: Field required",
            id="a field too few",
        ),
    ],
)
def test_the_first_wrong_field_is_named(load, content, message) -> None:
    with pytest.raises(InvalidDocumentError) as error:
        load(content, "evaluate")
    assert str(error.value) == error.value.problems[0] == message


def test_a_model_that_is_in_no_entry_belongs_to_no_program() -> None:
    with pytest.raises(UnknownProgramError, match="PodInput"):
        dump_input(PodInput(result_uri="s3://b/r"))


# --- Termination messages --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["zoo", "dataset.uri", "outputURI", "device.type", "macroPhase.initialArchitectures[12]", "a1.b2[0].c3"]
)
def test_a_path_of_the_spec_is_a_field(path) -> None:
    assert TerminationMessage(program="probe", index=0, field=path).field == path
    assert spec_field(path) == path


@pytest.mark.parametrize(
    "path",
    ["", ".", "a.", ".a", "a..b", "a b", "dataset.uri: no", "1a", "a[b]", "a[]", "a\n", "a" * 64, "é", "a." * 128],
)
def test_anything_else_is_none(path) -> None:
    with pytest.raises(ValidationError, match="field"):
        TerminationMessage(program="probe", index=0, field=path)
    assert spec_field(path) is None


def test_a_message_of_an_unknown_program_is_refused() -> None:
    with pytest.raises(ValidationError, match="there is no program 'dance'"):
        TerminationMessage(program="dance", index=0)


# --- What follows from an input --------------------------------------------------------------------------------------

SMALL, LARGE = Preprocessing(image_size=16), Preprocessing(image_size=224, interpolation="bicubic")
WEIGHTS = {"weights_uri": "s3://zoo/w", "weights_digest": "ab" * 32}
EXTRACTOR = Extractor(name="x", architecture="timm:x", preprocessing=LARGE, **WEIGHTS)


def a_model(name: str, preprocessing: Preprocessing) -> ModelReference:
    return ModelReference(name=name, architecture="a", source_classes=2, preprocessing=preprocessing, **WEIGHTS)


def a_regime(model: str) -> Regime:
    return Regime(model=model, learning_rate=0.1, frozen_stages=0, steps=9, step_seconds=0.1, predicted_accuracy=0.5)


def regime_of(**fields) -> Regime:
    return Regime.model_validate(a_regime("s").model_dump() | fields)


def test_a_regime_that_says_nothing_more_is_sgd_on_crops() -> None:
    more = a_regime("s").model_dump(exclude={"model", "learning_rate", "frozen_stages", "steps", "step_seconds"})
    assert more == {
        "predicted_accuracy": 0.5, "optimizer": "sgd", "momentum": 0.9, "weight_decay": 1e-4, "layer_decay": 1.0,
        "batch_size": None, "label_smoothing": 0.0, "mixup": 0.0, "mirroring": False, "augmentation": "crop",
        "ema": False, "linear_probe": False, "predicted_low": None, "predicted_high": None, "predicted_curve": (),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        pytest.param({"optimizer": "lion"}, "optimizer", id="an optimiser that there is not"),
        pytest.param({"augmentation": "cutmix"}, "augmentation", id="an augmentation that there is not"),
        pytest.param({"layer_decay": 0.0}, "layer_decay", id="layers that don't learn"),
        pytest.param({"layer_decay": 1.1}, "layer_decay", id="a decay that grows"),
        pytest.param({"mixup": float("inf")}, "mixup", id="an infinite alpha"),
        pytest.param({"batch_size": 0}, "batch_size", id="no images"),
        pytest.param({"linear_probe": True}, "all 5 stages", id="a probe of stages that are trained"),
        pytest.param({"linear_probe": True, "frozen_stages": 5, "mixup": 0.1}, "as they are", id="a mixed probe"),
        pytest.param({"linear_probe": True, "frozen_stages": 5, "mirroring": True}, "as they are", id="a mirrored one"),
        pytest.param(
            {"linear_probe": True, "frozen_stages": 5, "augmentation": "rand-augment"}, "as they are", id="a loud one"
        ),
    ],
)
def test_a_regime_that_no_pod_could_run_is_refused(fields, problem) -> None:
    with pytest.raises(ValidationError, match=problem):
        regime_of(**fields)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        pytest.param({}, "", id="plain"),
        pytest.param({"batch_size": 64, "learning_rate": 0.5}, "", id="what is told elsewhere"),
        pytest.param({"linear_probe": True, "frozen_stages": 5, "ema": True}, "linear probe, EMA", id="a probe"),
        pytest.param(
            {"optimizer": "adamw", "layer_decay": 0.75, "ema": True}, "AdamW, layer decay 0.75, EMA", id="AdamW"
        ),
        pytest.param(
            {"momentum": 0.95, "weight_decay": 0, "label_smoothing": 0.1, "mixup": 0.2, "mirroring": True,
             "augmentation": "rand-augment"},
            "momentum 0.95, weight decay 0, label smoothing 0.1, mixup 0.2, mirroring, RandAugment",
            id="all else",
        ),
    ],
)  # fmt: skip
def test_a_regime_tells_in_a_few_words_what_is_not_plain(fields, words) -> None:
    assert regime_of(**fields).options == words


def test_a_regime_without_a_batch_size_has_the_inputs() -> None:
    document = a_finetuning("s")
    assert [document.batch_size_of(regime_of(batch_size=size)) for size in (None, 24)] == [8, 24]


def a_probe(**fields) -> ProbeInput:
    models = (MeasuredModel(model=a_model("l", LARGE)), MeasuredModel(model=a_model("s", SMALL)))
    base = {"result_uri": "s3://b/r", "dataset": DATA, "batch_size": 8, "time_cap_seconds": 1, "models": models}
    return ProbeInput(**(base | fields))


def a_profile(**fields) -> ProfileInput:
    return ProfileInput(result_uri="s3://b/r", architectures=(), batch_size=8, image_size=16, classes=2, **fields)


def a_finetuning(*regimes: str) -> FinetuneInput:
    return FinetuneInput(
        result_uri="s3://b/r",
        request="team/digits",
        dataset=DATA,
        time_limit_seconds=60,
        batch_size=8,
        models=(a_model("s", SMALL), a_model("l", LARGE)),
        strategy="OneShot",
        regimes=tuple(map(a_regime, regimes)),
        output_uri="s3://b/o",
        work_uri="s3://b/w",
        heartbeat_seconds=3,
    )


def reading(preprocessing: Preprocessing, *, with_test_folder: bool) -> Reading:
    return Reading(dataset=DATA, preprocessing=preprocessing, with_test_folder=with_test_folder)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        pytest.param(an_input(), reading(SMALL, with_test_folder=False), id="a training, as its recipe says"),
        pytest.param(a_probe(), reading(SMALL, with_test_folder=True), id="a probe, as its most modest model"),
        pytest.param(
            a_probe(extractor=EXTRACTOR), reading(LARGE, with_test_folder=True), id="a probe, as its extractor"
        ),
        pytest.param(a_finetuning("l", "s"), reading(LARGE, with_test_folder=True), id="a request, as its first model"),
        pytest.param(a_profile(), None, id="step times need no data"),
        pytest.param(
            a_profile(prototypes_of=DATA, extractor=EXTRACTOR), reading(LARGE, with_test_folder=False), id="prototypes"
        ),
    ],
)
def test_what_is_read_while_torch_is_imported_follows_from_the_input(document, expected) -> None:
    assert document.reading == expected


def test_only_a_request_has_a_limit_over_all_attempts() -> None:
    limit = SharedLimit(seconds=60, work_uri="s3://b/w", heartbeat_seconds=3)
    assert a_finetuning("s").shared_limit == limit
    assert [d.shared_limit for d in (an_input(time_limit_seconds=5), a_probe(), a_profile())] == [None] * 3


def test_a_regime_of_a_model_that_is_not_given_is_refused() -> None:
    with pytest.raises(ValidationError, match="model 'm' is not among models"):
        a_finetuning("m")


# --- Races -----------------------------------------------------------------------------------------------------------

LONGEST = "m" * 63
CURVE = tuple((4**k, 0.9123) for k in range(1, 9))


def the_largest_race() -> FinetuneInput:
    """As many regimes as there may be, each of a model of its own, with long names and addresses."""
    weights = {"weights_uri": "s3://" + "b" * 63 + "/" + "k" * 300, "weights_digest": "ab" * 32}
    names = [f"{LONGEST[:-2]}{number:02d}" for number in range(MOST_REGIMES)]
    models = tuple(
        ModelReference(name=name, architecture="timm:" + "a" * 80, source_classes=1000, preprocessing=LARGE, **weights)
        for name in names
    )
    regimes = tuple(
        regime_of(model=name, learning_rate=0.012345678901234567, predicted_curve=CURVE, batch_size=128)
        for name in names
    )
    fields = a_finetuning("s").model_dump() | {"models": models, "regimes": regimes, "strategy": "Race"}
    return FinetuneInput.model_validate(fields | {"work_uri": "s3://b/" + "w" * 1024})


def test_the_largest_race_fits_into_an_environment_variable() -> None:
    # Linux takes no string above 128 KiB.
    assert len(dump_input(the_largest_race())) < 64 * 1024


def test_more_regimes_than_may_race_are_refused() -> None:
    document = the_largest_race().model_dump()
    with pytest.raises(ValidationError, match="at most 27 items"):
        FinetuneInput.model_validate(document | {"regimes": [*document["regimes"], document["regimes"][0]]})


def test_the_largest_result_of_a_race_is_in_s3_and_the_message_names_it(monkeypatch, tmp_path) -> None:
    curve = tuple(
        CurvePoint(steps=10**k, accuracy=0.123456789012345, annealed=False, seconds=1234.567890123) for k in range(16)
    )
    done = tuple(
        Run(regime=regime, steps=10**15, validation_accuracy=0.123456789012345, seconds=1e5, points=curve)
        for regime in the_largest_race().regimes
    )
    result = FinetuneResult(
        runs=done, chosen=0, validation_accuracy=0.1, test_accuracy=0.1, seconds=1e5, attempts=3, steps=10**15,
        step_seconds=0.1, loading_seconds=0.1, output_uri="s3://b/" + "o" * 1024, model_digest="ab" * 32,
        strategy="Race",
    )  # fmt: skip
    body = dump_result(result)
    assert load_result(body, "finetune") == result
    assert len(body) < 128 * 1024
    path = tmp_path / "termination-log"
    monkeypatch.setenv("TERMINATION_MESSAGE_PATH", str(path))
    fields = {"program": "finetune", "index": 0, "result_key": "s3://b/" + "k" * 1024, "result_digest": digest(body)}
    write_termination_message(TerminationMessage.model_validate(fields | {"result": json.loads(body)}))
    left = TerminationMessage.model_validate_json(path.read_bytes())
    assert path.stat().st_size <= 4096
    assert (left.result, left.result_digest) == (None, digest(body))


# --- One program more ------------------------------------------------------------------------------------------------


class CountInput(PodInput):
    upto: int


class CountResult(PodResult):
    total: int


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> Program:
    """A program like any other: two models, an entry in the table, and a module."""
    module = ModuleType("counting")
    module.run = lambda document, _pod, _prefetch, _clock: CountResult(total=sum(range(document.upto)), seconds=1)
    monkeypatch.setitem(sys.modules, "counting", module)
    program = Program("count", CountInput, CountResult, "counting:run", trains=False)
    monkeypatch.setitem(PROGRAMS_BY_NAME, "count", program)
    return program


def test_a_program_is_added_by_its_models_and_one_entry(
    count: Program, endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = an_empty_store(endpoint, "tenant")
    # The operator builds a Job of it.
    job = build_job(
        owner=Owner("nasoa.io/v1alpha1", "NASSearch", "team", "search", "0a1b2c3d-0000-4000-8000-000000000001"),
        step="counted",
        pod_input=CountInput(store={"endpoint": endpoint}, result_uri="s3://tenant/results/counted", upto=5),
        completions=1,
        device=DeviceSpec(),
        storage=StorageSpec(),
        template=PodTemplate(),
        settings=Settings(),
    )
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["args"] == ["count"]
    # The pod runs it.
    log = tmp_path / "termination-log"
    variables = {v["name"]: v["value"] for v in container["env"] if v["name"] == INPUT_VARIABLE} | {
        TERMINATION_MESSAGE_VARIABLE: str(log),
        "NASOA_WORK_DIRECTORY": str(tmp_path),
        "NASOA_METRICS_PORT": "0",
        "AWS_ACCESS_KEY_ID": "a-key",
        "AWS_SECRET_ACCESS_KEY": "a-secret",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(pod_main.signal, "signal", lambda *_: None)
    assert pod_main.main(container["args"]) == 0
    # The operator reads what it came to, from the message and from S3.
    expected = CountResult(total=10, seconds=1)
    message, outcome = read_message(Termination(0, 0, log.read_text(), "Completed"), "count")
    assert outcome.result == expected
    stored = store.get("s3://tenant/results/counted/0.json").body
    assert read_result(0, stored, "count", message.result_digest).result == expected
    assert read_result(0, stored, "probe", None).message == "result of count, not probe"
