"""Replaying recorded outcomes and requests."""

import json
from pathlib import Path

import pytest
from recorded import a_curve, a_point, write

from nasoa_runtime.online.policy import policy_replay
from nasoa_runtime.online.records import UnreadableRecords, read_curves, read_records
from nasoa_runtime.online.replay import replay
from nasoa_runtime.online.strategies import UnknownStrategyError

RECORDS = Path(__file__).parents[1] / "golden" / "finetune_records.csv.gz"


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Whole runs split by dataset: half of DOG's are replayed; those of two others, or of all others, come first."""
    curves = read_curves(RECORDS)
    folder = tmp_path_factory.mktemp("records")
    of = {"two": {"FLW", "TEX_DTD"}, "others": {curve[0].dataset for curve in curves} - {"DOG"}}
    for name, datasets in of.items():
        write(folder / f"{name}.csv", *(curve for curve in curves if curve[0].dataset in datasets))
    write(folder / "requests.csv", *(curve for curve in curves if curve[0].dataset == "DOG"))
    return folder


@pytest.fixture(scope="module")
def replayed():
    """What the default predictor comes to."""
    return replay(RECORDS)


def deterministic(result):
    return {key: value for key, value in result.items() if key != "update_us"}


def test_only_the_last_point_of_each_run_is_an_outcome(replayed):
    assert len(read_records(RECORDS)) == 13940
    assert replayed["records"] == 300


def test_the_result_has_the_keys_of_the_command_line_and_is_json(replayed):
    result = json.loads(json.dumps(replayed, allow_nan=False))
    assert {"mae", "mse", "segments", "update_us", "records"} <= result.keys()
    assert set(result["segments"]) == {"20-40", "80-100"}
    assert set(result["segments"]["20-40"]) == {"mae", "mse"}
    assert result["update_us"] > 0


def test_hedge_is_the_default_and_errs_less_than_the_papers_mode(replayed):
    assert replayed["algorithm"] == "hedge"
    assert replayed["mse"] < replay(RECORDS, algorithm="adaptive-mlp")["mse"]


def test_the_same_seed_gives_the_same_errors_and_another_seed_others(replayed):
    assert deterministic(replay(RECORDS)) == deterministic(replayed)
    for seed in (1, 2):
        once, again = (replay(RECORDS, algorithm="adaptive-mlp", seed=seed) for _ in range(2))
        assert deterministic(once) == deterministic(again)
    assert replay(RECORDS, algorithm="adaptive-mlp", seed=1)["mae"] != once["mae"]


@pytest.mark.parametrize(
    ("algorithm", "share"),
    [
        pytest.param("hedge", 0.85, id="hedge"),
        # Without the optimizer and what ruins a run, a tenth of the variance is all there is to learn.
        pytest.param("adaptive-mlp", 0.95, id="adaptive-mlp"),
        pytest.param("fixed-mlp-3", 0.95, id="fixed-mlp-3"),
    ],
)
def test_it_learns_more_than_the_mean_of_all_accuracies(algorithm, share):
    runs = read_records(RECORDS, final_only=True)
    mean = sum(run.acc for run in runs) / len(runs)
    of_the_mean = sum(abs(run.acc - mean) for run in runs) / len(runs)
    assert replay(RECORDS, algorithm=algorithm)["segments"]["80-100"]["mae"] < share * of_the_mean


def test_a_warm_start_from_other_datasets_lowers_the_error(parts):
    cold = replay(parts / "requests.csv")
    warm = replay(parts / "requests.csv", warm_start=parts / "others.csv")
    assert warm["records"] == cold["records"] == 50
    assert warm["mae"] < cold["mae"]


def test_a_file_without_an_end_says_so(tmp_path):
    with pytest.raises(UnreadableRecords, match="no row has final=True"):
        replay(write(tmp_path / "r.csv", [a_point(final=False)]))
    with pytest.raises(UnreadableRecords, match="no finished run"):
        policy_replay(tmp_path / "r.csv", tmp_path / "r.csv")


@pytest.mark.parametrize("algorithm", ["hedge", "adaptive-mlp"])
def test_a_tiny_stream_is_replayed_too(tmp_path, algorithm):
    assert replay(write(tmp_path / "one.csv", [a_point()]), algorithm=algorithm)["records"] == 1


@pytest.mark.parametrize("strategy", ["OneShot", "Race"])
@pytest.mark.parametrize("algorithm", ["hedge", "fixed-mlp-3"])
def test_a_policy_is_asked_four_times_for_each_dataset_and_never_overruns(parts, strategy, algorithm):
    result = policy_replay(parts / "requests.csv", parts / "two.csv", strategy, algorithm)
    assert {"requests", "mean_accuracy", "mean_regret", "by_limit", "limit_exceeded"} <= result.keys()
    assert result["requests"] == 4
    assert result["limit_exceeded"] == 0
    assert len(result["by_limit"]) == 4
    assert all(0 <= regret <= 1 for regret in result["by_limit"])
    assert result["mean_regret"] == pytest.approx(sum(result["by_limit"]) / 4)
    assert (result["strategy"], result["algorithm"]) == (strategy, algorithm)


def test_a_policy_replay_is_determined_by_its_seed(parts):
    once, again = (policy_replay(parts / "requests.csv", parts / "two.csv", "Race", seed=3) for _ in range(2))
    assert once == again


def test_a_strategy_that_cannot_be_replayed_is_refused_with_what_to_write(parts):
    with pytest.raises(UnknownStrategyError, match="unknown strategy 'Luck': write Race or OneShot"):
        policy_replay(parts / "requests.csv", parts / "two.csv", strategy="Luck")


def test_a_predictor_that_there_is_not_is_refused_with_what_to_write():
    with pytest.raises(ValueError, match="unknown predictor 'luck': write hedge, adaptive-mlp or fixed-mlp-L"):
        replay(RECORDS, algorithm="luck")


def test_regret_counts_from_the_best_to_the_worst_that_the_limit_allows(tmp_path):
    # Three runs of equal length: whichever is chosen, its regret is 0, 0.5 or 1 at each of the four limits.
    runs = [a_curve(str(number), accuracy, model=f"m{number}") for number, accuracy in enumerate((0.2, 0.4, 0.6))]
    path = write(tmp_path / "records.csv", *runs)
    result = policy_replay(path, path)
    assert {round(regret, 9) for regret in result["by_limit"]} <= {0.0, 0.5, 1.0}
    assert result["mean_accuracy"] == pytest.approx(0.6 - 0.4 * result["mean_regret"])
