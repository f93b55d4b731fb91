"""Replaying recorded outcomes and requests."""

import gzip
import json
from pathlib import Path

import pytest

from nasoa_runtime.online.policy import policy_replay
from nasoa_runtime.online.records import UnreadableRecords, read_records
from nasoa_runtime.online.replay import replay
from nasoa_runtime.online.strategies import UnknownStrategyError

RECORDS = Path(__file__).parents[1] / "golden" / "finetune_records.csv.gz"


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """The records split by dataset, as plain files: DOG's are replayed; two others', or all others', come first."""
    header, *rows = gzip.decompress(RECORDS.read_bytes()).decode().splitlines()
    of_dataset = {}
    for row in rows:
        of_dataset.setdefault(row.split(",")[1], []).append(row)
    others = of_dataset.keys() - {"DOG"}
    folder = tmp_path_factory.mktemp("records")
    for name, datasets in (("requests", ["DOG"]), ("two", ["FLW", "TEX_DTD"]), ("others", sorted(others))):
        chosen = [row for dataset in datasets for row in of_dataset[dataset]]
        (folder / f"{name}.csv").write_text("\n".join([header, *chosen]))
    return folder


def deterministic(result):
    return {key: value for key, value in result.items() if key != "update_us"}


def test_only_the_last_point_of_each_run_is_an_outcome():
    assert len(read_records(RECORDS)) == 1895
    assert replay(RECORDS)["records"] == 984


def test_the_result_has_the_keys_of_the_command_line_and_is_json():
    result = json.loads(json.dumps(replay(RECORDS), allow_nan=False))
    assert {"mae", "mse", "segments", "update_us", "records"} <= result.keys()
    assert set(result["segments"]) == {"20-40", "80-100"}
    assert set(result["segments"]["20-40"]) == {"mae", "mse"}
    assert result["update_us"] > 0


def test_the_same_seed_gives_the_same_errors_and_another_seed_others():
    assert deterministic(replay(RECORDS, seed=1)) == deterministic(replay(RECORDS, seed=1))
    assert replay(RECORDS, seed=1)["mae"] != replay(RECORDS, seed=2)["mae"]


@pytest.mark.parametrize("algorithm", ["adaptive-mlp", "fixed-mlp-3", "fixed-mlp-6"])
def test_it_learns_more_than_the_mean_of_all_accuracies(algorithm):
    runs = read_records(RECORDS, final_only=True)
    mean = sum(run.acc for run in runs) / len(runs)
    of_the_mean = sum(abs(run.acc - mean) for run in runs) / len(runs)
    assert replay(RECORDS, algorithm=algorithm)["segments"]["80-100"]["mae"] < 0.85 * of_the_mean


def test_a_warm_start_from_other_datasets_lowers_the_error(parts):
    replayed, learned = ({run.dataset for run in read_records(parts / name)} for name in ("requests.csv", "others.csv"))
    assert replayed == {"DOG"}
    assert len(learned - replayed) == len(learned) == 15
    cold = replay(parts / "requests.csv")
    warm = replay(parts / "requests.csv", warm_start=parts / "others.csv")
    assert warm["records"] == cold["records"] == 74
    assert warm["mae"] < cold["mae"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "column 'curve' is missing", id="empty"),
        pytest.param("curve,dataset\n1,a\n", "column 'model' is missing", id="a column less"),
        pytest.param("{header}\n{row}".replace("{row}", "x" + ",1" * 16), "no row has final=True", id="no end"),
        pytest.param(
            "{header}\nc,d,m,70,10,100,1000,fast,0,32,0,1,10,0.5,0.5,9,True\n",
            "line 2: lr is 'fast', not a number",
            id="not a number",
        ),
        pytest.param(
            "{header}\nc,d,m,70,10,100,1000,0.1,0,32,0,1,10,1.7,0.5,9,True\n",
            "line 2: acc is 1.7, outside",
            id="accuracy 1.7",
        ),
    ],
)
def test_a_file_that_is_no_records_says_where(tmp_path, text, message):
    header = gzip.decompress(RECORDS.read_bytes()).decode().splitlines()[0]
    path = tmp_path / "records.csv"
    path.write_text(text.replace("{header}", header))
    with pytest.raises(UnreadableRecords, match=message):
        replay(path)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        pytest.param("1.0000000036", 1.0, id="a rounded percentage above 1"),
        pytest.param("-0.0000000036", 0.0, id="a rounded percentage below 0"),
        pytest.param("0.9999999999", 0.9999999999, id="within"),
    ],
)
def test_an_accuracy_that_rounding_has_put_outside_is_taken_for_the_nearest_bound(tmp_path, written, read):
    path = tmp_path / "records.csv"
    header = gzip.decompress(RECORDS.read_bytes()).decode().splitlines()[0]
    path.write_text(f"{header}\nc,d,m,70,10,100,1000,0.1,0,32,0,1,10,{written},{written},9,True\n")
    (run,) = read_records(path)
    assert (run.acc, run.best_acc) == (read, read)
    assert replay(path)["records"] == 1


@pytest.mark.parametrize("written", ["1.000002", "-0.000002", "nan"])
def test_an_accuracy_further_outside_is_refused(tmp_path, written):
    path = tmp_path / "records.csv"
    header = gzip.decompress(RECORDS.read_bytes()).decode().splitlines()[0]
    path.write_text(f"{header}\nc,d,m,70,10,100,1000,0.1,0,32,0,1,10,0.5,{written},9,True\n")
    with pytest.raises(UnreadableRecords, match=f"line 2: best_acc is {float(written)}, outside"):
        read_records(path)


def test_an_archive_that_is_none_says_so(tmp_path):
    path = tmp_path / "records.csv.gz"
    path.write_text("curve,dataset")
    with pytest.raises(UnreadableRecords, match="not a CSV file of records"):
        replay(path)


def test_a_tiny_stream_is_replayed_too(tmp_path):
    header, *rows = gzip.decompress(RECORDS.read_bytes()).decode().splitlines()
    path = tmp_path / "one.csv"
    path.write_text("\n".join([header, next(row for row in rows if row.endswith("True"))]))
    assert replay(path)["records"] == 1


def test_a_policy_is_asked_four_times_for_each_dataset_and_never_overruns(parts):
    result = policy_replay(parts / "requests.csv", parts / "two.csv")
    assert {"requests", "mean_accuracy", "mean_regret", "by_limit", "limit_exceeded"} <= result.keys()
    assert result["requests"] == 4
    assert result["limit_exceeded"] == 0
    assert len(result["by_limit"]) == 4
    assert all(0 <= regret <= 1 for regret in result["by_limit"])
    assert result["mean_regret"] == pytest.approx(sum(result["by_limit"]) / 4)


def test_a_policy_replay_is_determined_by_its_seed(parts):
    once, again = (policy_replay(parts / "requests.csv", parts / "two.csv", seed=3) for _ in range(2))
    assert once == again


def test_a_strategy_that_cannot_be_replayed_is_refused_with_what_to_write(parts):
    with pytest.raises(UnknownStrategyError, match="unknown strategy 'Race': write OneShot"):
        policy_replay(parts / "requests.csv", parts / "two.csv", strategy="Race")


def test_regret_counts_from_the_best_to_the_worst_that_the_limit_allows(tmp_path):
    header = gzip.decompress(RECORDS.read_bytes()).decode().splitlines()[0]
    # Three runs of equal length: whichever is chosen, its regret is 0, 0.5 or 1 at each of the four limits.
    rows = [
        f"{curve},d,m{curve},70,10,100,1000,0.1,0,32,0,1,10,{accuracy},{accuracy},9,True"
        for curve, accuracy in enumerate((0.2, 0.4, 0.6))
    ]
    path = tmp_path / "records.csv"
    path.write_text("\n".join([header, *rows]))
    result = policy_replay(path, path)
    assert {round(regret, 9) for regret in result["by_limit"]} <= {0.0, 0.5, 1.0}
    assert result["mean_accuracy"] == pytest.approx(0.6 - 0.4 * result["mean_regret"])
