"""``nasoa predictor`` and ``nasoa policy``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nasoa_runtime.cli.common import JsonFlag, RefusedError, answer, facts, system_store, table
from nasoa_runtime.online.hedged import Hedged
from nasoa_runtime.online.learners import DEFAULT
from nasoa_runtime.online.policy import policy_replay
from nasoa_runtime.online.replay import replay as replay_records
from nasoa_runtime.online.state import PredictorState
from nasoa_runtime.online.strategies import ONE_SHOT, STRATEGIES
from nasoa_runtime.storage.predictors import count_outcomes, read_outcomes, read_state
from nasoa_runtime.storage.predictors import rebuild as rebuild_state
from nasoa_runtime.storage.refits import refit as refit_trees
from nasoa_runtime.storage.zoo import read_manifest

predictor = typer.Typer(no_args_is_help=True, help="The predictors of accuracy, one for each zoo.")
policy = typer.Typer(no_args_is_help=True, help="Policies over whole requests.")

Records = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV file of recorded runs, .gz or not.")]
Algorithm = Annotated[str, typer.Option(help="hedge, adaptive-mlp or fixed-mlp-L.")]
Replayed = "hedge, adaptive-mlp or fixed-mlp-L."
Seed = Annotated[int, typer.Option(min=0, help="Seed of all that is random.")]
Zoo = Annotated[str, typer.Argument(help="Name of the zoo.")]


@predictor.command()
def show(zoo: Zoo, as_json: JsonFlag = False) -> None:
    """What the predictor of a zoo has learned."""
    store, bucket = system_store()
    if read_manifest(store, bucket, zoo) is None:
        msg = f"there is no zoo {zoo!r} in bucket {bucket!r}; nasoa zoo list names those that are"
        raise RefusedError(msg)
    state = read_state(store, bucket, zoo)
    answer_state(zoo, state, as_json, recorded=count_outcomes(store, bucket, zoo))


@predictor.command()
def rebuild(zoo: Zoo, algorithm: Algorithm = DEFAULT, seed: Seed = 0, as_json: JsonFlag = False) -> None:
    """Learn everything anew from the recorded outcomes; the state that was there is kept beside it."""
    store, bucket = system_store()
    if not read_outcomes(store, bucket, zoo):
        msg = f"bucket {bucket!r} has no recorded outcomes for zoo {zoo!r}: there is nothing to rebuild from"
        raise RefusedError(msg)
    state = rebuild_state(store, bucket, zoo, algorithm, seed)
    answer_state(zoo, state, as_json)


def answer_state(zoo: str, state: PredictorState, as_json: bool, **more: Any) -> None:
    """Print what a state knows."""
    document: dict[str, Any] = {
        "zoo": zoo,
        "algorithm": state.algorithm,
        "version": state.version,
        "layout_version": state.layout_version,
        "warm_start": state.warm_start or "none",
        **described(state),
        **more,
    }
    shown = document | {name: told(value) for name, value in document.items() if isinstance(value, (list, dict))}
    answer(document, as_json, facts("", shown))


def described(state: PredictorState) -> dict[str, Any]:
    """What the predictor itself consists of."""
    predictor = state.predictor
    paper = predictor.network if isinstance(predictor, Hedged) else predictor
    found: dict[str, Any] = {
        "models": list(paper.encoder.models),
        "features": [feature.name for feature in paper.encoder.table],
        "alpha": [round(float(weight), 6) for weight in paper.network.alpha],
        "interval_width": round(state.intervals.width, 4),
    }
    if isinstance(predictor, Hedged):
        weights = zip(predictor.experts, predictor.weights, strict=True)
        found["experts"] = {expert.name: round(float(weight), 6) for expert, weight in weights}
        found["trees"] = predictor.forest_digest
        found["fitted_through"] = state.fitted_through
    return found


def told(value: list[Any] | dict[str, Any]) -> str:
    """A list or a mapping in one line."""
    return (
        ", ".join(f"{key} {item}" for key, item in value.items())
        if isinstance(value, dict)
        else ", ".join(map(str, value))
    )


@predictor.command()
def refit(zoo: Zoo, as_json: JsonFlag = False) -> None:
    """Fit the trees of a zoo's predictor anew to its outcomes, where that is due; operators do it by themselves."""
    store, bucket = system_store()
    through = refit_trees(store, bucket, zoo)
    message = "nothing is due" if through is None else f"trees are fitted to the outcomes up to version {through}"
    answer({"zoo": zoo, "fitted_through": through}, as_json, facts("", {"zoo": zoo, "refit": message}))


@predictor.command()
def replay(
    records: Records,
    warm_start: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="CSV file that is learned first.")
    ] = None,
    algorithm: Annotated[str, typer.Option(help=Replayed)] = DEFAULT,
    seed: Seed = 0,
    as_json: JsonFlag = False,
) -> None:
    """Predict, then learn, recorded outcomes one after another."""
    document = replay_records(records, warm_start, algorithm, seed)
    rows = [("all", document["mae"], document["mse"])]
    rows += [(f"{name} %", part["mae"], part["mse"]) for name, part in document["segments"].items()]
    summary = f"{document['records']} outcomes, {algorithm}, {document['update_us']:.0f} us an update"
    answer(document, as_json, table(summary, ("part", "mae", "mse"), rows))


@policy.command(name="replay")
def replay_policy(
    records: Records,
    warm_start: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="CSV file that is learned first.")],
    strategy: Annotated[
        str, typer.Option(help=" ".join(strategy.summary for strategy in STRATEGIES.values()))
    ] = ONE_SHOT.name,
    algorithm: Annotated[str, typer.Option("--predictor", help=Replayed)] = DEFAULT,
    seed: Seed = 0,
    as_json: JsonFlag = False,
) -> None:
    """Serve a request for each recorded dataset and time limit: choose, run, learn."""
    document = policy_replay(records, warm_start, strategy, algorithm, seed)
    summary = {name: value for name, value in document.items() if name != "by_limit"}
    limits = [(number + 1, regret) for number, regret in enumerate(document["by_limit"])]
    answer(document, as_json, facts("", summary), table("regret", ("time limit", "mean regret"), limits))
