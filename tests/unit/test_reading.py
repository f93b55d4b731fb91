"""What Python refuses of a spec, the API server refuses too, of the same field and in the same words."""

from __future__ import annotations

import pytest
from builders import a_request, a_search

from nasoa_operator.crd import object_schema
from nasoa_runtime.api.finetune import FineTuneRequestSpec
from nasoa_runtime.api.kinds import KINDS, REQUEST, SEARCH
from nasoa_runtime.api.reading import SpecError, read_spec
from nasoa_runtime.api.search import NASSearchSpec
from nasoa_runtime.online.strategies import STRATEGIES

DURATION = "must be a duration above zero, such as 80ms, 90s, 30m or 1h30m"
PATHS = "A path has ASCII letters, digits, spaces and !_.*()=@:+,- between single slashes, without . or .."
DATASET = f"must be s3://BUCKET/PREFIX or pvc://CLAIM/PATH: a folder of class folders of images. {PATHS}"
OUTPUT = f"must be s3://BUCKET/PREFIX; a bucket has 3 to 63 characters. {PATHS}"
NEEDS_GPU = "needs a GPU: use fp32 or bf16, or set device.type to cuda"
NAME = "must be lower-case letters, digits and '-', at most 63, such as vision-small"
PROBE_SEES = "a linear probe trains on images as they are"
OBJECT_NAME = "must be the name of a Kubernetes object: lower-case letters, digits, '-' and '.'"

OF_BOTH = [
    pytest.param({"dataset": {"uri": "https://example.com/x"}}, "dataset.uri", DATASET, id="scheme"),
    pytest.param({"dataset": {"uri": "s3://tenant/../zoo"}}, "dataset.uri", DATASET, id="dots"),
    pytest.param({"outputURI": "pvc://claim/x"}, "outputURI", OUTPUT, id="output"),
    pytest.param(
        {"storage": {"endpoint": "localhost:8333"}},
        "storage.endpoint",
        "must be http://HOST[:PORT] or https://HOST[:PORT]",
        id="endpoint",
    ),
    pytest.param({"storage": {"secretName": "My_Secret"}}, "storage.secretName", OBJECT_NAME, id="Secret"),
    pytest.param(
        {"device": {"product": "H100"}},
        "device.product",
        "names a GPU, but type is cpu: leave product out (podTemplate.nodeSelector picks nodes), or set type to cuda",
        id="product of no GPU",
    ),
    pytest.param({"podTemplate": {"queueName": "Vision Queue"}}, "podTemplate.queueName", NAME, id="queue"),
]
OF_REQUESTS = [
    *OF_BOTH,
    pytest.param({"timeLimit": "0s"}, "timeLimit", DURATION, id="no time"),
    pytest.param({"timeLimit": 60}, "timeLimit", DURATION, id="a number without a unit"),
    pytest.param({"timeLimit": "999999h"}, "timeLimit", DURATION, id="a century"),
    pytest.param({"zoo": "My Zoo"}, "zoo", NAME, id="zoo"),
    pytest.param(
        {"podTemplate": {"resources": {"limits": {"nvidia.com/gpu": 1}}}},
        "podTemplate.resources.limits",
        "asks for nvidia.com/gpu, but device.type is cpu: remove it, or set device.type to cuda",
        id="GPU of a CPU pod",
    ),
    pytest.param(
        {"batchSize": 32, "pins": {"batchSize": 64}},
        "pins.batchSize",
        "is not what batchSize says: write one of both",
        id="two batch sizes",
    ),
    pytest.param(
        {"pins": {"linearProbe": True, "frozenStages": 4}},
        "pins.frozenStages",
        "a linear probe trains the classifier only: leave frozenStages out or write 5, or leave linearProbe out",
        id="a linear probe of more than the classifier",
    ),
    pytest.param(
        {"pins": {"linearProbe": True, "mixup": 0.2}},
        "pins.mixup",
        f"{PROBE_SEES}: leave mixup out or write 0, or leave linearProbe out",
        id="a linear probe of mixed images",
    ),
    pytest.param(
        {"pins": {"linearProbe": True, "mirroring": True}},
        "pins.mirroring",
        f"{PROBE_SEES}: leave mirroring out or write false, or leave linearProbe out",
        id="a linear probe of mirrored images",
    ),
    pytest.param(
        {"pins": {"linearProbe": True, "augmentation": "RandAugment"}},
        "pins.augmentation",
        f"{PROBE_SEES}: leave augmentation out or write Crop, or leave linearProbe out",
        id="a linear probe of augmented images",
    ),
]
OF_SEARCHES = [
    *OF_BOTH,
    pytest.param({"blockPhase": {"maxStepTime": "80"}}, "blockPhase.maxStepTime", DURATION, id="a time without a unit"),
    pytest.param({"blockPhase": {"precision": "fp16"}}, "blockPhase.precision", NEEDS_GPU, id="fp16 of blocks"),
    pytest.param({"macroPhase": {"precision": "fp16"}}, "macroPhase.precision", NEEDS_GPU, id="fp16 of networks"),
    pytest.param({"zoo": {"precision": "fp16"}}, "zoo.precision", NEEDS_GPU, id="fp16 of the zoo"),
    pytest.param(
        {"space": {"firstChannels": [16, 33]}},
        "space.firstChannels[1]",
        "must be even: the stem has half of it",
        id="odd channels",
    ),
    pytest.param({"space": {"minBlocks": 20}}, "space.minBlocks", "must not exceed maxBlocks", id="blocks"),
    pytest.param({"space": {"minWidening": 32}}, "space.minWidening", "must not exceed maxWidening", id="widening"),
    pytest.param(
        {"parallelism": 1, "macroPhase": {"generations": 2}},
        "zoo.size",
        "exceeds the architectures that the macro phase can evaluate (parallelism times macroPhase.generations): lower"
        " zoo.size, or raise one of them",
        id="a zoo bigger than the search",
    ),
    pytest.param(
        {"macroPhase": {"initialArchitectures": ["resnet50"]}},
        "macroPhase.initialArchitectures[0]",
        "must be BLOCK_FIRSTCHANNEL_MACRO such as 02031-a02_64_111-2111-211-11 (operations 0 to 6, widths 0 to 4,"
        " multipliers 1, 2 or 4, four stages between three '-')",
        id="an architecture",
    ),
    pytest.param(
        {"macroPhase": {"candidateBlocks": ["031"]}},
        "macroPhase.candidateBlocks[0]",
        "must be LAYERS-CONNECTIONS such as 02031-a02 or 031- (operations 0 to 6, widths 0 to 4, nodes 0 to 3)",
        id="a block",
    ),
    pytest.param(
        {"blockPhase": {"macro": "1-2-2"}},
        "blockPhase.macro",
        "must be four stages of channel multipliers 1, 2 or 4, such as 1-2-21-2",
        id="three stages",
    ),
    pytest.param({"resumeFrom": "yesterday"}, "resumeFrom", "must be the UID of an earlier NASSearch", id="resume"),
]
PLAIN = [
    pytest.param({"timeLimit": None}, "timeLimit: Required value", id="left out"),
    pytest.param({"timelimit": "1m", "timeLimit": None}, "timelimit: unknown field", id="misspelt"),
    pytest.param({"time_limit": "1m"}, "time_limit: unknown field", id="a name of Python"),
    pytest.param({"grid": {"maxEpoch": 3}}, "grid.maxEpoch: unknown field", id="misspelt within a part"),
    pytest.param({"zoo": 3}, "zoo: must be of type string", id="a number for text"),
    pytest.param({"batchSize": "32"}, "batchSize: must be of type integer", id="text for a number"),
    pytest.param({"suspend": "yes"}, "suspend: must be of type boolean", id="text for a truth"),
    pytest.param({"pins": [1]}, "pins: must be of type object", id="a list for a part"),
    pytest.param({"grid": {"learningRates": 0.1}}, "grid.learningRates: must be of type array", id="no list"),
    pytest.param({"pins": {"frozenStages": 6}}, "pins.frozenStages: should be less than or equal to 5", id="bound"),
    pytest.param(
        {"grid": {"learningRates": [0.1, 0]}}, "grid.learningRates[1]: should be greater than 0", id="bound of an item"
    ),
    pytest.param(
        {"grid": {"optimizers": ["SGD", "Adam"]}},
        'grid.optimizers[1]: Unsupported value: "Adam": supported values: "SGD", "AdamW"',
        id="unknown optimizer",
    ),
    pytest.param(
        {"grid": {"mixups": []}},
        "grid.mixups: should have at least 1 item after validation, not 0",
        id="an empty list",
    ),
    pytest.param({"pins": {"ema": "yes"}}, "pins.ema: must be of type boolean", id="text for a truth of the pins"),
    pytest.param(
        {"device": {"type": "tpu"}},
        'device.type: Unsupported value: "tpu": supported values: "cpu", "cuda"',
        id="unknown device",
    ),
    pytest.param(
        {"strategy": "Best"},
        'strategy: Unsupported value: "Best": supported values: "Race", "OneShot"',
        id="unknown strategy",
    ),
    pytest.param(
        {"podTemplate": {"resources": {"requests": {"cpu": "two"}}}},
        "podTemplate.resources.requests.cpu: should match '^[0-9]{1,15}([.][0-9]{1,9})?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$'",
        id="quantity",
    ),
]


def rules(schema, path=()):
    """Each rule of a schema: the path that it blames, without indices, and its message; no rules on edits."""
    for rule in schema.get("x-kubernetes-validations", ()):
        if "oldSelf" not in rule["rule"]:
            yield ".".join((*path, *rule.get("fieldPath", "").split(".")[1:])), rule["message"]
    for name, child in schema.get("properties", {}).items():
        yield from rules(child, (*path, name))
    if "items" in schema:
        yield from rules(schema["items"], path)


def rules_of(kind):
    return set(rules(object_schema(kind)["properties"]["spec"]))


def refusal(kind, manifest):
    with pytest.raises(SpecError) as refused:
        read_spec(kind, manifest["spec"])
    return str(refused.value)


@pytest.mark.parametrize(("overrides", "path", "message"), OF_REQUESTS)
def test_a_request_is_refused_in_the_words_of_admission(overrides, path, message):
    assert refusal(FineTuneRequestSpec, a_request(**overrides)) == f"spec.{path}: {message}"
    assert (path, message) in rules_of(REQUEST)


@pytest.mark.parametrize(("overrides", "path", "message"), OF_SEARCHES)
def test_a_search_is_refused_in_the_words_of_admission(overrides, path, message):
    assert refusal(NASSearchSpec, a_search(**overrides)) == f"spec.{path}: {message}"
    assert (path.partition("[")[0], message) in rules_of(SEARCH)


@pytest.mark.parametrize(
    ("kind", "cases"),
    [pytest.param(REQUEST, OF_REQUESTS, id="request"), pytest.param(SEARCH, OF_SEARCHES, id="search")],
)
def test_every_rule_of_admission_is_one_of_python_too(kind, cases):
    told = {case.values[2] for case in cases}
    assert {message for _, message in rules_of(kind)} - told == set()


@pytest.mark.parametrize(("overrides", "message"), PLAIN)
def test_types_bounds_and_names_are_told_as_the_api_server_tells_them(overrides, message):
    assert refusal(FineTuneRequestSpec, a_request(**overrides)) == f"spec.{message}"


@pytest.mark.parametrize(
    "pins",
    [
        pytest.param({"linearProbe": True, "frozenStages": 5, "mixup": 0, "mirroring": False}, id="said twice"),
        pytest.param({"linearProbe": True, "augmentation": "Crop", "ema": True, "optimizer": "AdamW"}, id="a probe"),
        pytest.param({"linearProbe": False, "frozenStages": 2, "mixup": 0.2, "mirroring": True}, id="no probe"),
        pytest.param({"frozenStages": 2, "mixup": 0.2, "augmentation": "RandAugment"}, id="not said"),
    ],
)
def test_pins_that_agree_are_taken(pins):
    assert read_spec(FineTuneRequestSpec, a_request(pins=pins)["spec"]).pins.to_manifest() == pins


def test_items_that_must_differ_are_compared():
    spec = a_search(space={"operations": [0, 1, 0]})
    assert refusal(NASSearchSpec, spec) == "spec.space.operations[2]: Duplicate value: 0"


def test_what_is_no_spec_at_all_is_refused():
    for spec in (None, "digits", [1]):
        assert refusal(FineTuneRequestSpec, {"spec": spec}) == "spec: must be of type object"


def test_fields_that_are_null_are_left_out_as_the_api_server_leaves_them_out():
    spec = a_request()["spec"] | {"pins": None, "device": {"product": None, "count": 2}}
    assert read_spec(FineTuneRequestSpec, spec) == FineTuneRequestSpec.model_validate(
        a_request(device={"count": 2})["spec"]
    )


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.kind) for kind in KINDS])
def test_what_a_model_writes_it_reads(kind):
    spec = (a_request if kind is REQUEST else a_search)()["spec"]
    read = read_spec(kind.spec, spec)
    assert read_spec(kind.spec, read.to_manifest()) == read


def test_every_strategy_can_be_asked_for_and_is_explained():
    field = object_schema(REQUEST)["properties"]["spec"]["properties"]["strategy"]
    assert field["enum"] == list(STRATEGIES)
    for name in STRATEGIES:
        assert read_spec(FineTuneRequestSpec, a_request(strategy=name)["spec"]).strategy == name
        assert f"{name} " in field["description"]
