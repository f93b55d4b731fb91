"""Reading recorded runs: every column, typed, and what is not a file of records says where."""

import gzip
from pathlib import Path

import pytest
from recorded import a_curve, a_point, write

from nasoa_runtime.online.records import COLUMNS, UnreadableRecords, read_curves, read_records

GOLDEN = Path(__file__).parents[1] / "golden" / "finetune_records.csv.gz"


def test_the_excerpt_has_whole_runs_of_six_datasets_and_every_column():
    curves = read_curves(GOLDEN)
    assert (len(curves), sum(map(len, curves))) == (300, 13940)
    assert {curve[0].dataset for curve in curves} == {"ACT_410", "BCT", "CRS", "DOG", "FLW", "TEX_DTD"}
    assert all([point.final for point in curve] == [False] * (len(curve) - 1) + [True] for curve in curves)
    assert len(COLUMNS) == 50


def test_a_run_is_read_as_it_was_written(tmp_path):
    run = a_point(opt="adamw", opt_betas=(0.0, 0.99), layer_decay=0.75, clip_grad=10.0, auto_augment="v0")
    assert read_records(write(tmp_path / "r.csv", [run])) == [run]


def test_an_empty_cell_is_none_where_the_column_may_be_empty(tmp_path):
    run = a_point(opt="sgd", opt_betas=None, layer_decay=None, clip_grad=None, auto_augment=None)
    (read,) = read_records(write(tmp_path / "r.csv", [run]))
    assert (read.opt_betas, read.layer_decay, read.clip_grad, read.auto_augment) == (None, None, None, None)


def test_curves_are_ordered_by_iterations_and_unfinished_ones_left_out(tmp_path):
    finished, unfinished = a_curve("1", 0.2, 0.5), a_curve("2", 0.3, 0.4)[:1]
    (curve,) = read_curves(write(tmp_path / "r.csv", finished[::-1], unfinished))
    assert [point.iterations for point in curve] == [10.0, 20.0]


@pytest.mark.parametrize("column", ["lr", "opt", "status", "imagenet_top5"])
def test_a_missing_column_is_named(tmp_path, column):
    path = write(tmp_path / "r.csv", [a_point()])
    path.write_text(path.read_text().replace(f",{column},", ",").replace(f",{column}\n", "\n"))
    with pytest.raises(UnreadableRecords, match=f"column '{column}' is missing"):
        read_records(path)


def test_an_unknown_column_is_named(tmp_path):
    path = write(tmp_path / "r.csv", [a_point()])
    header, row = path.read_text().splitlines()
    path.write_text(f"{header},luck\n{row},1\n")
    with pytest.raises(UnreadableRecords, match="column 'luck' is unknown"):
        read_records(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"lr": "fast"}, "line 2: lr is 'fast', not a number", id="not a number"),
        pytest.param({"opt_betas": "0.9"}, "line 2: opt_betas is '0.9', not two numbers", id="one beta"),
        pytest.param({"lr": ""}, "line 2: lr is '', but it must not be empty", id="an empty number"),
        pytest.param({"opt": ""}, "line 2: opt is '', but it must not be empty", id="an empty word"),
        pytest.param({"acc": 1.7}, "line 2: acc is 1.7, outside", id="accuracy 1.7"),
        pytest.param({"best_acc": 1.000002}, "line 2: best_acc is 1.000002, outside", id="just above 1"),
        pytest.param({"best_acc": -0.000002}, "line 2: best_acc is -2e-06, outside", id="just below 0"),
        pytest.param({"best_acc": "nan"}, "line 2: best_acc is nan, outside", id="no number at all"),
    ],
)
def test_a_value_that_cannot_be_read_says_where(tmp_path, change, message):
    path = write(tmp_path / "r.csv", [a_point(**change)])
    with pytest.raises(UnreadableRecords, match=message):
        read_records(path)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        pytest.param(1.0000000036, 1.0, id="a rounded percentage above 1"),
        pytest.param(-0.0000000036, 0.0, id="a rounded percentage below 0"),
        pytest.param(0.9999999999, 0.9999999999, id="within"),
    ],
)
def test_an_accuracy_that_rounding_has_put_outside_is_taken_for_the_nearest_bound(tmp_path, written, read):
    (run,) = read_records(write(tmp_path / "r.csv", [a_point(acc=written, best_acc=written)]))
    assert (run.acc, run.best_acc) == (read, read)


def test_a_row_that_ends_early_says_so(tmp_path):
    path = write(tmp_path / "r.csv", [a_point()])
    path.write_text(path.read_text().rsplit(",", 1)[0] + "\n")
    with pytest.raises(UnreadableRecords, match="imagenet_top5 is None, but it must not be empty"):
        read_records(path)


def test_an_archive_that_is_none_says_so(tmp_path):
    path = tmp_path / "records.csv.gz"
    path.write_text("curve,dataset")
    with pytest.raises(UnreadableRecords, match="not a CSV file of records"):
        read_records(path)


def test_a_packed_file_is_unpacked(tmp_path):
    plain = write(tmp_path / "r.csv", [a_point()])
    packed = tmp_path / "r.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_records(packed) == read_records(plain)
