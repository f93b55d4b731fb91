"""What the demo ends with: the zoo, predicted against achieved accuracy, and a picture of the Pareto front."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
from rich.console import Console
from rich.table import Table

from demo.cluster import SYSTEM_BUCKET
from nasoa_runtime.storage.s3 import ObjectStore

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import StrMethodFormatter

COLOURS = {"block": "#4477aa", "macro": "#cc6677"}


def evaluations(store: ObjectStore, search_uid: str) -> dict[str, list[dict[str, Any]]]:
    """What a search evaluated, by level, from its records in S3."""
    found: dict[str, list[dict[str, Any]]] = {"block": [], "macro": []}
    for listed in sorted(store.list(f"s3://{SYSTEM_BUCKET}/searches/{search_uid}/"), key=lambda item: item.key):
        parts = listed.key.split("/")
        if parts[-1] == "evaluations.json":
            record = store.get(f"s3://{SYSTEM_BUCKET}/{listed.key}")
            if record is not None:
                found[parts[2]].extend(json.loads(record.body)["evaluations"])
    return found


def draw_front(found: dict[str, list[dict[str, Any]]], zoo: list[dict[str, Any]], path: Path) -> None:
    """Draw accuracy over step time: everything evaluated, each level's front, and the zoo's models."""
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    for level, colour in COLOURS.items():
        good = [e for e in found[level] if e["accuracy"] is not None]
        if not good:
            continue
        axes.scatter(
            [1000 * e["stepSeconds"] for e in good],
            [100 * e["accuracy"] for e in good],
            color=colour,
            alpha=0.6,
            label=f"{level} level, {len(good)} evaluated",
        )
        front = pareto(good)
        axes.plot(
            [1000 * e["stepSeconds"] for e in front],
            [100 * e["accuracy"] for e in front],
            color=colour,
            linewidth=1.2,
            drawstyle="steps-post",
        )
    times = {e["encoding"]: e["stepSeconds"] for e in found["macro"]}
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


def pareto(good: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The members that nothing is both faster and more accurate than, fastest first."""
    front: list[dict[str, Any]] = []
    for e in sorted(good, key=lambda e: (e["stepSeconds"], -e["accuracy"])):
        if not front or e["accuracy"] > front[-1]["accuracy"]:
            front.append(e)
    return front


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
        chosen, result, predictor = status["schedule"], status["result"], status["predictor"]
        test = result.get("testAccuracy")
        table.add_row(
            manifest["metadata"]["name"],
            f"{chosen['model']}, lr {chosen['learningRate']:g}, {chosen['frozenStages']} frozen, "
            f"{result['steps']} steps",
            chosen["predicted"],
            result["accuracy"],
            f"{100 * test:.1f}%" if test is not None else "-",
            f"{100 * abs(chosen['predictedAccuracy'] - result['validationAccuracy']):.1f}",
            f"{result['used']} ({100 * result['seconds'] / result['timeLimitSeconds']:.0f}%)",
            f"{predictor['plannedWith']} → {predictor['produced']}",
        )
    console.print(table)
    for manifest in requests:
        console.print(f"  {manifest['metadata']['name']}: {manifest['status']['result']['outputURI']}", highlight=False)
