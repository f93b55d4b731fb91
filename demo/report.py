"""What the demo ends with: the zoo, predicted against achieved accuracy, and a picture of the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from rich.console import Console
from rich.table import Table

from demo.cluster import SYSTEM_BUCKET
from nasoa_runtime.search.front import pareto_front
from nasoa_runtime.search.individuals import LEVELS, Individual, Level
from nasoa_runtime.storage.documents import DocumentStore
from nasoa_runtime.storage.s3 import ObjectStore

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import StrMethodFormatter

COLOURS: dict[Level, str] = {"block": "#4477aa", "macro": "#cc6677"}


def evaluated(store: ObjectStore, search_uid: str) -> dict[Level, tuple[Individual, ...]]:
    """What a search evaluated, by level, from its records in S3."""
    records = DocumentStore(store, SYSTEM_BUCKET).search_records(search_uid)
    return {level: records.individuals(level) for level in LEVELS}


def draw_front(found: Mapping[Level, Sequence[Individual]], zoo: list[dict[str, Any]], path: Path) -> None:
    """Draw accuracy over step time: everything evaluated, each level's front, and the zoo's models."""
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    for level in LEVELS:
        good = [i for i in found[level] if i.accuracy is not None]
        if not good:
            continue
        axes.scatter(*points(good), color=COLOURS[level], alpha=0.6, label=f"{level} level, {len(good)} evaluated")
        front = sorted(pareto_front(good), key=lambda i: i.step_seconds)
        axes.plot(*points(front), color=COLOURS[level], linewidth=1.2, drawstyle="steps-post")
    times = {i.encoding: i.step_seconds for i in found["macro"]}
    for index, model in enumerate(sorted(zoo, key=lambda m: times[m["architecture"]])):
        at = (1000 * times[model["architecture"]], 100 * model["source_accuracy"])
        axes.scatter(*at, marker="*", s=180, color="#ddaa33", edgecolor="black", zorder=3)
        axes.annotate(
            model["name"], at, textcoords="offset points", xytext=(0, -19 if index % 2 else 11), ha="center", fontsize=9
        )
    axes.set_xscale("log")
    axes.margins(x=0.08, y=0.12)
    for axis in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        axis(StrMethodFormatter("{x:g}"))
    axes.tick_params(axis="x", which="both", length=4, pad=4)
    axes.set_xlabel("training step on the reference device, ms (log)")
    axes.set_ylabel("validation top-1, %")
    axes.set_title("Search on Fashion-MNIST: accuracy against step time (stars: the zoo, pretrained in full)")
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend(loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=140)
    plt.close(figure)


def points(individuals: Sequence[Individual]) -> tuple[list[float], list[float]]:
    """Step times in milliseconds and accuracies in percent."""
    return [1000 * i.step_seconds for i in individuals], [100 * (i.accuracy or 0.0) for i in individuals]


def print_zoo(console: Console, manifest: dict[str, Any]) -> None:
    """The zoo's models."""
    table = Table(title=f"Zoo {manifest['name']}, version {manifest['version']}", title_justify="left", show_edge=False)
    for column in ("model", "architecture", "source accuracy", "parameters", "MACs", "rows", "layout"):
        table.add_column(column)
    for model in manifest["models"]:
        layout = ("channels-last" if model["channels_last"] else "contiguous") + f", {model['precision']}"
        table.add_row(
            model["name"],
            model["architecture"],
            f"{100 * model['source_accuracy']:.1f} %",
            f"{model['parameters']:,}",
            f"{model['macs']:,}",
            str(len(model["step_times"])),
            layout,
        )
    console.print(table)


def print_requests(console: Console, requests: list[dict[str, Any]]) -> None:
    """Predicted against achieved accuracy, use of T_l, and where the models are."""
    table = Table(title="Requests", title_justify="left", show_edge=False)
    for column, justify in (
        ("request", "left"),
        ("choice", "left"),
        ("predicted", "right"),
        ("validation", "right"),
        ("test", "right"),
        ("error", "right"),
        ("used of T_l", "right"),
        ("predictor", "right"),
    ):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for manifest in sorted(requests, key=lambda o: int(o["status"].get("predictor", {}).get("produced") or 0)):
        status = manifest["status"]
        result, predictor = status["result"], status["predictor"]
        chosen = result.get("delivered", status["schedule"])
        test = result.get("testAccuracy")
        table.add_row(
            manifest["metadata"]["name"],
            f"{chosen['model']}, lr {chosen['learningRate']:g}, {chosen['frozenStages']} frozen, "
            f"{result['steps']} steps",
            f"{100 * chosen['predictedAccuracy']:.1f}%",
            result["accuracy"],
            f"{100 * test:.1f}%" if test is not None else "-",
            f"{100 * abs(chosen['predictedAccuracy'] - result['validationAccuracy']):.1f}",
            f"{result['used']} ({100 * result['seconds'] / result['timeLimitSeconds']:.0f}%)",
            f"{predictor['plannedWith']} → {predictor['produced']}",
        )
    console.print(table)
    for manifest in requests:
        console.print(f"  {manifest['metadata']['name']}: {manifest['status']['result']['outputURI']}", highlight=False)
