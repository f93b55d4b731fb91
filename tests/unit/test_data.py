"""Reading datasets: folders, images, splits."""

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_folders import make_images
from PIL import Image

from nasoa_runtime.boundary import DatasetReference
from nasoa_runtime.pods.dataset.folders import arrange, keep_at_most
from nasoa_runtime.pods.dataset.images import BrokenImageError, decode, load_size
from nasoa_runtime.pods.dataset.reading import read_dataset
from nasoa_runtime.pods.dataset.split import dataset_digest, split
from nasoa_runtime.pods.failures import BadInputError


def no_store():
    raise AssertionError("no store is needed for a directory")


def read(root: Path, **arguments):
    limit = arguments.pop("max_images", None)
    reference = DatasetReference(uri=str(root), max_images=limit)
    return read_dataset(reference, arguments.pop("image_size", 16), no_store, root.parent / "work", **arguments)


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def a_bomb(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes that claims to be this large; nothing of it is ever decoded."""
    body = bytearray(encoded(Image.new("1", (8, 8))))
    body[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    body[29:33] = zlib.crc32(body[12:29]).to_bytes(4, "big")
    return bytes(body)


# --- Folders ---------------------------------------------------------------------------------------------------------


def test_each_folder_is_a_class_in_order_of_names() -> None:
    folders = arrange("s3://b/d", ["dog/1.png", "cat/2.JPG", "cat/more/3.webp"])
    assert folders.classes == ("cat", "dog")
    assert [(file.path, file.label) for file in folders.files] == [
        ("cat/2.JPG", 0),
        ("cat/more/3.webp", 0),
        ("dog/1.png", 1),
    ]
    assert not folders.has_test_folder


def test_train_and_test_folders_are_told_apart() -> None:
    folders = arrange("s3://b/d", ["train/a/1.png", "train/b/1.png", "test/a/2.png", "notes.txt"])
    assert folders.classes == ("a", "b")
    assert [file.path for file in folders.files if file.test] == ["test/a/2.png"]
    assert folders.ignored == 1


def test_classes_may_be_called_train_and_test() -> None:
    assert arrange("s3://b/d", ["train/1.png", "test/1.png"]).classes == ("test", "train")


def test_other_files_and_hidden_ones_are_no_images() -> None:
    folders = arrange("s3://b/d", ["a/1.png", "b/1.png", "a/readme.md", "list.csv", "a/.DS_Store", "__MACOSX/a/1.png"])
    assert [file.path for file in folders.files] == ["a/1.png", "b/1.png"]
    assert folders.ignored == 2


@pytest.mark.parametrize(
    ("paths", "directories", "message"),
    [
        pytest.param(["1.png", "2.png"], [], "no class folders with images under s3://b/d", id="no folders"),
        pytest.param(["a/1.txt"], [], "no class folders with images", id="no images at all"),
        pytest.param(["a/1.png"], [], "only one class, 'a'", id="one class"),
        pytest.param(["a/1.png", "b/1.txt"], [], "class 'b' under s3://b/d has no images", id="no image in a class"),
        pytest.param(["a/1.png", "b/1.png"], ["c"], "class 'c' under s3://b/d has no images", id="an empty folder"),
        pytest.param(
            ["train/a/1.png", "train/b/1.png", "test/c/1.png"], [], "test class 'c' is not a training class",
            id="a test class that is not trained",
        ),
    ],
)  # fmt: skip
def test_unusable_folders_are_refused_with_what_to_do(paths, directories, message) -> None:
    with pytest.raises(BadInputError, match=r"^dataset\.uri: ") as error:
        arrange("s3://b/d", paths, directories)
    assert error.value.field == "dataset.uri"
    assert message in error.value.message


@given(counts=st.lists(st.integers(1, 30), min_size=2, max_size=6), limit=st.integers(6, 100), seed=st.integers(0, 9))
def test_a_limit_keeps_exactly_so_many_images_and_every_class(counts, limit, seed) -> None:
    folders = arrange("s3://b/d", [f"c{label}/{n}.png" for label, count in enumerate(counts) for n in range(count)])
    kept = keep_at_most(folders, limit, seed)
    assert len(kept.files) == min(limit, sum(counts))
    assert {file.label for file in kept.files} == set(range(len(counts)))
    assert keep_at_most(folders, limit, seed) == kept


def test_a_limit_below_the_number_of_classes_is_refused() -> None:
    folders = arrange("s3://b/d", ["a/1.png", "b/1.png", "c/1.png"])
    with pytest.raises(BadInputError, match=r"dataset.maxImages: 2 is fewer than the 3 classes") as error:
        keep_at_most(folders, 2, 0)
    assert error.value.field == "dataset.maxImages"


# --- Images ----------------------------------------------------------------------------------------------------------


def palette_with_transparency() -> Image.Image:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.info["transparency"] = 1
    return image


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        pytest.param(Image.new("RGB", (4, 4), (1, 2, 3)), (1, 2, 3), id="RGB"),
        pytest.param(Image.new("L", (4, 4), 7), (7, 7, 7), id="greyscale"),
        pytest.param(Image.new("1", (4, 4), 1), (255, 255, 255), id="bilevel"),
        pytest.param(Image.new("RGBA", (4, 4), (200, 0, 0, 0)), (255, 255, 255), id="transparent is white"),
        pytest.param(Image.new("RGBA", (4, 4), (0, 0, 0, 128)), (127, 127, 127), id="half transparent"),
        pytest.param(Image.new("LA", (4, 4), (0, 255)), (0, 0, 0), id="greyscale with alpha"),
        pytest.param(Image.new("I;16", (4, 4), 65535), (255, 255, 255), id="16 bits"),
        pytest.param(palette_with_transparency(), (255, 255, 255), id="palette with transparency"),
    ],
)
def test_every_mode_becomes_rgb(image, expected) -> None:
    assert tuple(decode(encoded(image), 4)[0, 0]) == expected


def test_the_shorter_side_is_scaled_and_the_centre_cut_out() -> None:
    image = Image.new("RGB", (40, 20), "black")
    image.paste("white", (10, 0, 30, 20))
    pixels = decode(encoded(image), 10)
    assert pixels.shape == (10, 10, 3)
    assert pixels[:, 1:-1].min() > 200


@pytest.mark.parametrize("content", [pytest.param(b"not an image", id="text"), pytest.param(b"", id="empty")])
def test_what_is_no_image_is_broken(content) -> None:
    with pytest.raises(BrokenImageError):
        decode(content, 8)


def test_a_cut_off_image_is_broken() -> None:
    whole = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)))
    with pytest.raises(BrokenImageError):
        decode(whole[: len(whole) // 2], 8)


@pytest.mark.parametrize(("image_size", "side"), [(28, 28), (64, 64), (112, 128), (224, 258)])
def test_large_images_are_loaded_with_a_margin(image_size, side) -> None:
    assert load_size(image_size) == side


# --- Splits ----------------------------------------------------------------------------------------------------------


def test_a_hundred_images_are_cut_64_16_20() -> None:
    splits = split([0] * 100, [f"{n:064x}" for n in range(100)], [False] * 100, seed=1)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (64, 16, 20)


def test_with_a_test_folder_the_rest_is_cut_80_20() -> None:
    tests = [False] * 50 + [True] * 10
    splits = split([0] * 60, [f"{n:064x}" for n in range(60)], tests, seed=1)
    assert (len(splits.train), len(splits.validation)) == (40, 10)
    assert splits.test.tolist() == list(range(50, 60))


@given(
    labels=st.lists(st.integers(0, 3), min_size=8, max_size=60),
    contents=st.lists(st.integers(0, 40), min_size=60, max_size=60),
    seed=st.integers(0, 100),
)
def test_no_content_is_on_two_sides_and_all_images_are_on_one(labels, contents, seed) -> None:
    digests = [f"{label}-{content}" for label, content in zip(labels, contents, strict=False)]
    try:
        splits = split(labels, digests, [False] * len(labels), seed)
    except BadInputError:
        assert all(len({d for d, other in zip(digests, labels, strict=True) if other == k}) < 2 for k in set(labels))
        return
    sides = [set(positions.tolist()) for positions in (splits.train, splits.validation, splits.test)]
    assert sorted(n for side in sides for n in side) == list(range(len(labels)))
    seen = [{digests[n] for n in side} for side in sides]
    assert len(seen[0] | seen[1] | seen[2]) == sum(map(len, seen))
    assert {labels[n] for n in sides[0]} == set(labels)
    assert sides[1]


def test_the_split_follows_content_not_names_or_order() -> None:
    digests = [f"{n:064x}" for n in range(30)]
    forward = split([0] * 30, digests, [False] * 30, seed=3)
    backward = split([0] * 30, digests[::-1], [False] * 30, seed=3)
    assert {digests[n] for n in forward.train} == {digests[::-1][n] for n in backward.train}
    other = split([0] * 30, digests, [False] * 30, seed=4)
    assert set(other.train.tolist()) != set(forward.train.tolist())


def test_a_training_image_that_is_also_a_test_image_is_not_trained_on() -> None:
    digests = ["a", "b", "c", "d", "a"]
    splits = split([0] * 5, digests, [False] * 4 + [True], seed=0)
    assert 0 not in {*splits.train.tolist(), *splits.validation.tolist()}
    assert splits.test.tolist() == [4]


def test_the_dataset_digest_knows_content_and_class_only() -> None:
    one = dataset_digest(("a", "b"), [0, 1], ["x", "y"], [False, False])
    assert dataset_digest(("a", "b"), [1, 0], ["y", "x"], [False, False]) == one
    assert dataset_digest(("a", "b"), [0, 1], ["y", "x"], [False, False]) != one


# --- Reading ---------------------------------------------------------------------------------------------------------


def test_a_small_dataset_is_held_decoded(tmp_path: Path) -> None:
    dataset = read(make_images(tmp_path / "data", classes=3, per_class=10))
    assert dataset.pixels is not None
    assert dataset.pixels.shape == (30, 16, 16, 3)
    assert dataset.classes == ("class-0", "class-1", "class-2")
    assert dataset.images_per_class.tolist() == [6, 6, 6]


def test_a_large_one_stays_on_disk(tmp_path: Path) -> None:
    dataset = read(make_images(tmp_path / "data", classes=2, per_class=5), resident_bytes=1000)
    assert dataset.pixels is None
    assert [path.name for path in dataset.files[:2]] == ["0.png", "1.png"]


def test_one_broken_image_in_a_hundred_is_skipped_and_named(tmp_path: Path) -> None:
    root = make_images(tmp_path / "data", classes=2, per_class=50)
    (root / "class-1" / "7.png").write_bytes(b"broken")
    dataset = read(root)
    assert len(dataset.labels) == 99
    assert dataset.pixels is not None
    assert len(dataset.pixels) == 99
    assert dataset.broken[0].startswith("class-1/7.png: ")


def test_more_broken_images_are_refused_by_name(tmp_path: Path) -> None:
    root = make_images(tmp_path / "data", classes=2, per_class=20)
    (root / "class-0" / "3.png").write_bytes(b"broken")
    with pytest.raises(BadInputError, match=r"1 of 40 images .* can't be decoded, .*class-0/3\.png"):
        read(root)


def test_without_its_test_images_a_dataset_is_still_cut_80_20(tmp_path: Path) -> None:
    make_images(tmp_path / "data" / "train", classes=2, per_class=10)
    make_images(tmp_path / "data" / "test", classes=2, per_class=5, seed=1)
    dataset = read(tmp_path / "data", with_test=False)
    assert (len(dataset.splits.train), len(dataset.splits.validation), len(dataset.splits.test)) == (16, 4, 0)
    assert len(read(tmp_path / "data").splits.test) == 10


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        pytest.param("https://example.org/data", "is neither s3://bucket/prefix nor a directory", id="another scheme"),
        pytest.param("/no/such/directory", "there is no directory /no/such/directory", id="no directory"),
    ],
)
def test_a_dataset_elsewhere_is_refused(uri, message, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=message) as error:
        read_dataset(DatasetReference(uri=uri), 16, no_store, tmp_path)
    assert error.value.field == "dataset.uri"


# --- What nobody should do -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        pytest.param(
            [f"{'c' * 129}/1.png", "b/1.png"], "has 129 characters: rename it to at most 128", id="a long class name"
        ),
        pytest.param(["/etc/1.png", "b/1.png"], "only one class, 'b'", id="a key with two slashes names no class"),
        pytest.param([".git/1.png", "b/1.png"], "only one class, 'b'", id="hidden folders are no classes"),
    ],
)
def test_class_folders_that_cannot_be_used_say_what_to_change(paths, words) -> None:
    with pytest.raises(BadInputError, match=words):
        arrange("s3://b/d", paths)


def test_many_empty_folders_are_counted_and_one_is_named() -> None:
    with pytest.raises(BadInputError, match=r"class 'empty-0' under s3://b/d has no images \(nor have 2999 others\)"):
        arrange("s3://b/d", ["a/1.png", "b/1.png"], [f"empty-{n}/" for n in range(3000)])


def test_class_names_may_have_dots_spaces_and_any_script() -> None:
    assert arrange("s3://b/d", ["v1.2/1.png", "größe 3/1.png", "猫/1.png"]).classes == ("größe 3", "v1.2", "猫")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_an_image_that_claims_a_hundred_megapixels_is_not_decoded() -> None:
    with pytest.raises(BrokenImageError, match="10000 x 10000 pixels, more than 64 million: scale it down"):
        decode(a_bomb(10_000, 10_000), 32)


def test_an_image_of_one_pixel_is_an_image() -> None:
    assert decode(encoded(Image.new("RGB", (1, 1), "red")), 32).tolist() == [[[255, 0, 0]] * 32] * 32


def test_a_file_that_cannot_be_read_is_a_broken_image(tmp_path) -> None:
    root = make_images(tmp_path / "data", classes=2, per_class=60)
    (root / "class-0" / "zz.png").symlink_to("nowhere.png")
    assert read(root).broken == ("class-0/zz.png: No such file or directory",)


def test_a_class_of_copies_of_test_images_is_named(tmp_path) -> None:
    root = tmp_path / "data"
    make_images(root / "train", classes=2, per_class=20)
    make_images(root / "test", classes=2, per_class=20, seed=1)
    for image in (root / "train" / "class-1").iterdir():
        image.write_bytes((root / "test" / "class-1" / image.name).read_bytes())
    with pytest.raises(BadInputError, match="class 'class-1' has no image of its own to train on, only copies"):
        read(root)


def test_the_same_image_in_two_classes_stays_on_one_side(tmp_path) -> None:
    root = make_images(tmp_path / "data", classes=2, per_class=20)
    (root / "class-1" / "copy.png").write_bytes((root / "class-0" / "3.png").read_bytes())
    splits = read(root).splits
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 41
