"""The manifest, and what is checked before anything enters a zoo. S3 is moto's server."""

import io
import json
import struct

import numpy as np
import pytest
from pydantic import ValidationError
from s3 import an_empty_store

from nasoa_runtime.boundary import Extractor, Preprocessing, StepFactors, StepTime, digest
from nasoa_runtime.documents.base import UnreadableDocumentError
from nasoa_runtime.storage.intake import admit_prototypes, admit_weights
from nasoa_runtime.storage.s3 import MissingObject, ObjectStore
from nasoa_runtime.storage.weights import InvalidWeights, read_header, verify_weights
from nasoa_runtime.storage.zoo import (
    IMPORT,
    ZooError,
    ZooModel,
    ZooNotFound,
    ZooOwnedByOther,
    add_step_times,
    list_zoos,
    publish,
    read_manifest,
)

TINY = "1-_4_1-1-1-1"
TINY_PARAMETERS = 2 * 3 * 9 + 2 * 2 * 9 + 2 * 4 * 9 + 2 * (2 + 2 + 4) + (4 + 3) * (16 + 8) + 4 * 10 + 10
"""By hand: the stem's convolutions and norms, four 1x1 convolutions on four channels and three strided projections with
their norms, the classifier."""


@pytest.fixture
def store(endpoint: str) -> ObjectStore:
    return an_empty_store(endpoint, "sys", "tenant")


def a_model(name: str = "first", **changes) -> ZooModel:
    values = {
        "name": name,
        "architecture": TINY,
        "weights_uri": "s3://tenant/weights.safetensors",
        "weights_digest": "0" * 64,
        "weights_bytes": 8,
        "classes": [str(number) for number in range(10)],
        "source": "fashion",
        "preprocessing": {"image_size": 28},
        "source_accuracy": 0.9,
        "parameters": 1000,
        "macs": 100_000,
    }
    return ZooModel.model_validate(values | changes)


def a_row(step_seconds: float = 0.1, **changes) -> StepTime:
    values = {
        "device": "cpu",
        "product": "a processor",
        "count": 1,
        "batch_size": 32,
        "image_size": 28,
        "frozen_stages": 0,
        "channels_last": False,
        "precision": "fp32",
        "step_seconds": step_seconds,
    }
    return StepTime.model_validate(values | changes)


def framed(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


def safetensors(tensors: dict[str, np.ndarray], dtypes: dict[str, str] | None = None) -> bytes:
    header, data = {}, b""
    for name, tensor in tensors.items():
        dtype = (dtypes or {}).get(name) or {"float32": "F32", "int64": "I64"}[str(tensor.dtype)]
        header[name] = {
            "dtype": dtype,
            "shape": list(tensor.shape),
            "data_offsets": [len(data), len(data) + tensor.nbytes],
        }
        data += tensor.tobytes()
    return framed(json.dumps(header).encode(), data)


def tiny_weights(parameters: int = TINY_PARAMETERS) -> bytes:
    return safetensors(
        {
            "body.weight": np.ones(parameters - 50, np.float32),
            "head.weight": np.ones((10, 5), np.float32),
            "norm.running_mean": np.zeros(4, np.float32),
            "norm.running_var": np.ones(4, np.float32),
            "norm.num_batches_tracked": np.array(3),
        }
    )


# --- Models and manifests


def test_the_number_of_classes_follows_from_their_names() -> None:
    assert a_model().class_count == 10
    assert a_model(classes=(), class_count=1000).classes == ()
    with pytest.raises(ValidationError, match="class_count: 3, but classes has 10 names"):
        a_model(class_count=3)


def test_a_published_zoo_reads_back(store: ObjectStore) -> None:
    assert read_manifest(store, "sys", "fashion") is None
    written = publish(store, "sys", "fashion", "uid-1", [a_model()], {"fashion": "s3://sys/zoo/p.npz"})
    assert read_manifest(store, "sys", "fashion") == written
    assert (written.version, written.owner, written.sources) == (1, "uid-1", {"fashion": "s3://sys/zoo/p.npz"})
    assert written.model("first") == a_model()
    assert written.model("second") is None
    assert list_zoos(store, "sys") == ("fashion",)
    assert json.loads(store.get("s3://sys/zoo/fashion/manifest.json").body)["formatVersion"] == 2


def test_publishing_again_changes_nothing_and_more_counts_up(store: ObjectStore) -> None:
    publish(store, "sys", "fashion", "uid-1", [a_model()])
    assert publish(store, "sys", "fashion", "uid-1", [a_model()]).version == 1
    more = publish(store, "sys", "fashion", "uid-1", [a_model("second"), a_model(source_accuracy=0.95)])
    assert more.version == 2
    assert [(model.name, model.source_accuracy) for model in more.models] == [("first", 0.95), ("second", 0.9)]


@pytest.mark.parametrize(
    ("owner", "words"),
    [
        pytest.param("uid-1", "belongs to the search uid-1", id="a search's"),
        pytest.param(IMPORT, "belongs to imported models", id="imported"),
    ],
)
def test_another_owner_is_refused(store: ObjectStore, owner: str, words: str) -> None:
    before = publish(store, "sys", "fashion", owner, [a_model()])
    with pytest.raises(ZooOwnedByOther, match=f"{words}: publish to a zoo of another name"):
        publish(store, "sys", "fashion", "uid-2", [a_model("second")])
    assert read_manifest(store, "sys", "fashion") == before


def test_the_extractor_stays_while_prototypes_depend_on_it(store: ObjectStore) -> None:
    def extractor(weights_digest: str) -> Extractor:
        return Extractor(
            name="lite0",
            architecture="timm:tf_efficientnet_lite0",
            weights_uri="s3://sys/zoo/extractors/lite0.safetensors",
            weights_digest=weights_digest,
            preprocessing=Preprocessing(image_size=64),
        )

    publish(store, "sys", "fashion", "uid-1", [], {"fashion": "s3://sys/p.npz"}, extractor("a" * 64))
    assert publish(store, "sys", "fashion", "uid-1", [], {}, extractor("a" * 64)).version == 1
    with pytest.raises(ZooError, match="pinned to another extractor"):
        publish(store, "sys", "fashion", "uid-1", [], {}, extractor("b" * 64))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="no JSON"),
        pytest.param(b'{"name": "fashion"}', id="fields missing"),
        pytest.param(b'{"formatVersion": 3, "name": "fashion", "owner": "x", "version": 1}', id="a later format"),
    ],
)
def test_an_unreadable_manifest_is_named_and_never_overwritten(store: ObjectStore, body: bytes) -> None:
    store.put("s3://sys/zoo/fashion/manifest.json", body)
    for action in (
        lambda: read_manifest(store, "sys", "fashion"),
        lambda: publish(store, "sys", "fashion", "uid-1", [a_model()]),
        lambda: add_step_times(store, "sys", "fashion", {}),
    ):
        with pytest.raises(UnreadableDocumentError, match=r"s3://sys/zoo/fashion/manifest\.json can't be read"):
            action()
    assert store.get("s3://sys/zoo/fashion/manifest.json").body == body


# --- Step times


def test_the_first_row_of_a_setting_counts(store: ObjectStore) -> None:
    publish(store, "sys", "fashion", "uid-1", [a_model(step_times=[a_row(0.1)]), a_model("second")])
    rows = {"first": [a_row(0.7), a_row(0.05, frozen_stages=3)], "second": [a_row(0.2)], "gone": [a_row()]}
    written = add_step_times(store, "sys", "fashion", rows)
    assert [[row.step_seconds for row in model.step_times] for model in written.models] == [[0.1, 0.05], [0.2]]
    assert written.version == 2
    assert add_step_times(store, "sys", "fashion", rows).version == 2


def test_rows_outlive_publishing_the_same_weights_again(store: ObjectStore) -> None:
    publish(store, "sys", "fashion", "uid-1", [a_model()])
    add_step_times(store, "sys", "fashion", {"first": [a_row(0.1)]})
    assert publish(store, "sys", "fashion", "uid-1", [a_model()]).models[0].step_times == (a_row(0.1),)
    other = publish(store, "sys", "fashion", "uid-1", [a_model(weights_digest="1" * 64)])
    assert other.models[0].step_times == ()


def some_factors(product: str = "a processor", **factors: float) -> StepFactors:
    return StepFactors(device="cpu", product=product, count=1, factors=factors)


def test_the_first_factor_of_an_option_on_a_device_counts(store: ObjectStore) -> None:
    publish(store, "sys", "fashion", "uid-1", [a_model(step_factors=[some_factors(ema=1.1)]), a_model("second")])
    found = {
        "first": some_factors(ema=2.0, adamw=1.3),
        "second": some_factors("another", ema=1.5),
        "gone": some_factors(ema=3.0),
    }
    written = add_step_times(store, "sys", "fashion", {}, found)
    assert [model.step_factors for model in written.models] == [
        (some_factors(ema=1.1, adamw=1.3),),
        (some_factors("another", ema=1.5),),
    ]
    assert add_step_times(store, "sys", "fashion", {}, found).version == written.version == 2
    elsewhere = add_step_times(store, "sys", "fashion", {}, {"first": some_factors("another", ema=1.9)})
    assert len(elsewhere.models[0].step_factors) == 2


def test_factors_outlive_publishing_the_same_weights_again(store: ObjectStore) -> None:
    publish(store, "sys", "fashion", "uid-1", [a_model(step_factors=[some_factors(ema=1.1)])])
    again = publish(store, "sys", "fashion", "uid-1", [a_model()])
    assert again.models[0].step_factors == (some_factors(ema=1.1),)
    assert publish(store, "sys", "fashion", "uid-1", [a_model(weights_digest="1" * 64)]).models[0].step_factors == ()


@pytest.mark.parametrize("factor", [0.9, 5.1, float("nan")])
def test_a_factor_that_can_not_be_is_refused(factor: float) -> None:
    with pytest.raises(ValidationError):
        some_factors(ema=factor)


def test_rows_for_no_zoo_are_refused(store: ObjectStore) -> None:
    with pytest.raises(ZooNotFound, match="there is no zoo 'nowhere'"):
        add_step_times(store, "sys", "nowhere", {"first": [a_row()]})


# --- Weights


def test_weights_of_the_architecture_are_accepted(tmp_path) -> None:
    assert verify_weights(tiny_weights(), TINY, 10).parameters == TINY_PARAMETERS
    (tmp_path / "weights").write_bytes(tiny_weights())
    assert read_header(tmp_path / "weights") == read_header(tiny_weights())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param(b"", "0 bytes, too few", id="empty"),
        pytest.param(b"\x80\x04\x95" + b"pickle" * 9, "no safetensors file", id="a pickle"),
        pytest.param(framed(b"[]"), "not a JSON object", id="a list"),
        pytest.param(framed(b"{x}"), "not JSON", id="no JSON"),
        pytest.param(framed(b'{"a":{}}'), "lacks dtype, shape or data_offsets", id="no entry"),
        pytest.param(framed(b"{}"), "has no tensors", id="no tensors"),
        pytest.param(tiny_weights()[:-4], "cut off or was added to", id="cut off"),
        pytest.param(tiny_weights() + b"more", "cut off or was added to", id="something behind"),
        pytest.param(tiny_weights(TINY_PARAMETERS + 1), "weights of another network", id="one parameter more"),
        pytest.param(
            safetensors({"a": np.ones(4, np.float32)}, {"a": "U8"}), "has type 'U8'", id="a type no network has"
        ),
        pytest.param(
            safetensors({"a": np.ones(4, np.float32)}, {"a": "F16"}), "type and shape contradict", id="wrong size"
        ),
        pytest.param(
            framed(
                b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
                b'"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
                b"0" * 8,
            ),
            "overlap or leave gaps",
            id="overlapping",
        ),
        pytest.param(
            framed(b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[4,0]}}'),
            "no whole number",
            id="a negative shape",
        ),
    ],
)
def test_other_files_are_refused_with_what_is_wrong(body: bytes, words: str) -> None:
    with pytest.raises(InvalidWeights, match=words):
        verify_weights(body, TINY, 10)


def test_of_a_librarys_network_an_output_for_each_class_is_asked_for() -> None:
    assert verify_weights(tiny_weights(), "timm:tf_efficientnet_lite0", 10)
    with pytest.raises(InvalidWeights, match="no tensor has 1000 outputs"):
        verify_weights(tiny_weights(), "timm:tf_efficientnet_lite0", 1000)


def test_admitted_weights_are_named_by_their_digest(store: ObjectStore) -> None:
    body = tiny_weights()
    store.put("s3://tenant/w", body)
    model = a_model(weights_uri="s3://tenant/w", weights_digest=digest(body), weights_bytes=len(body))
    admitted = admit_weights(store, "sys", "fashion", model)
    assert admitted.weights_uri == f"s3://sys/zoo/fashion/models/first/{digest(body)[:12]}.safetensors"
    assert store.get(admitted.weights_uri).body == body
    assert admit_weights(store, "sys", "fashion", model) == admitted


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        pytest.param({"weights_uri": "s3://tenant/gone"}, MissingObject, "there are no weights", id="missing"),
        pytest.param({"weights_bytes": 7}, InvalidWeights, "bytes, not 7", id="another size"),
        pytest.param({"weights_digest": "f" * 64}, InvalidWeights, "another digest than ffff", id="another digest"),
        pytest.param({"architecture": "0-_4_1-1-1-1"}, InvalidWeights, "of another network", id="another network"),
    ],
)
def test_weights_that_are_not_what_the_pod_said_stay_outside(store: ObjectStore, changes, error, words) -> None:
    body = tiny_weights()
    store.put("s3://tenant/w", body)
    said = {"weights_uri": "s3://tenant/w", "weights_digest": digest(body), "weights_bytes": len(body)}
    with pytest.raises(error, match=words):
        admit_weights(store, "sys", "fashion", a_model(**(said | changes)))
    assert list(store.list("s3://sys/zoo/fashion/models/")) == []


# --- Prototypes


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def test_prototypes_enter_under_their_source(store: ObjectStore) -> None:
    body = npz(prototypes=np.ones((3, 5)), weights=np.ones(3) / 3)
    store.put("s3://tenant/p", body)
    uri = admit_prototypes(store, "sys", "fashion", "clothes", "s3://tenant/p")
    assert uri == f"s3://sys/zoo/fashion/sources/clothes-{digest(body)[:12]}.npz"
    assert store.get(uri).body == body


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"no archive", id="no archive"),
        pytest.param(npz(prototypes=np.ones((3, 5))), id="no weights"),
        pytest.param(npz(prototypes=np.ones((3, 5)), weights=np.ones(4)), id="another number of weights"),
        pytest.param(npz(prototypes=np.full((3, 5), np.nan), weights=np.ones(3)), id="not finite"),
        pytest.param(npz(prototypes=np.array([[{}]]), weights=np.ones(1)), id="a pickled object"),
    ],
)
def test_other_prototypes_are_refused(store: ObjectStore, body: bytes) -> None:
    store.put("s3://tenant/p", body)
    with pytest.raises(ZooError, match="s3://tenant/p has no class prototypes"):
        admit_prototypes(store, "sys", "fashion", "clothes", "s3://tenant/p")
