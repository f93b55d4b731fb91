"""Live progress of searches and requests in the terminal, read from their statuses as anybody may."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from demo.environment import TENANT_NAMESPACE
from devcluster import Cluster

POLL_SECONDS = 1.0
ENDED = {"Succeeded", "Failed"}
STYLES = {"Succeeded": "green", "Failed": "bold red", "Pending": "dim"}


class TookTooLongError(Exception):
    """What was waited for has not happened in time; the message says how far it got."""


def objects(cluster: Cluster, kind: str) -> list[dict[str, Any]]:
    """All objects of a kind in the tenant's namespace."""
    output = cluster.kubectl("get", kind, "-n", TENANT_NAMESPACE, "-o", "json").stdout
    found: list[dict[str, Any]] = json.loads(output)["items"]
    return found


def follow(
    cluster: Cluster,
    kind: str,
    names: tuple[str, ...],
    show: Sequence[Callable[[list[dict[str, Any]]], None]],
    time_limit_seconds: float,
    alive: Callable[[], None],
) -> list[dict[str, Any]]:
    """Give the objects to all of ``show`` until all of ``names`` have ended; they, as they then are.

    Raises:
        TookTooLongError: if they have not ended within ``time_limit_seconds``.
    """
    deadline = time.monotonic() + time_limit_seconds
    while True:
        alive()
        found = [o for o in objects(cluster, kind) if o["metadata"]["name"] in names]
        for each in show:
            each(found)
        if len(found) == len(names) and all(phase(o) in ENDED for o in found):
            return found
        if time.monotonic() > deadline:
            states = ", ".join(f"{o['metadata']['name']}: {phase(o)} ({o['status'].get('message', '')})" for o in found)
            msg = f"after {time_limit_seconds:.0f} s: {states or 'nothing there'}"
            raise TookTooLongError(msg)
        time.sleep(POLL_SECONDS)


def phase(manifest: dict[str, Any]) -> str:
    """The phase of an object; one that the operator has not seen yet is pending."""
    return str(manifest.get("status", {}).get("phase", "Pending"))


def search_view(found: list[dict[str, Any]]) -> RenderableType:
    """A search: where it is, and the head of its front."""
    if not found:
        return Text("waiting for the search")
    status = found[0].get("status", {})
    facts = Table.grid(padding=(0, 2))
    for name, value in (
        ("search", found[0]["metadata"]["name"]),
        ("phase", Text(phase(found[0]), style=STYLES.get(phase(found[0]), "cyan"))),
        ("generation", status.get("progress", "-")),
        ("evaluated", f"{status.get('evaluated', 0)} ({status.get('failed', 0)} failed)"),
        ("best", status.get("best", "-")),
        ("hypervolume", f"{status['hypervolume']:.4f}" if "hypervolume" in status else "-"),
        ("now", status.get("message", "-")),
    ):
        facts.add_row(Text(name, style="dim"), value)
    front = Table(title="Pareto front", title_justify="left", show_edge=False)
    front.add_column("architecture")
    front.add_column("accuracy", justify="right")
    front.add_column("step", justify="right")
    for member in status.get("front", [])[:6]:
        front.add_row(
            member["architecture"], f"{100 * member['accuracy']:.1f} %", f"{1000 * member['stepSeconds']:.1f} ms"
        )
    return Group(facts, Text(), front)


def requests_view(found: list[dict[str, Any]]) -> RenderableType:
    """Requests: what was chosen for each, how far it is, what came of it."""
    table = Table(show_edge=False)
    for column, justify in (
        ("request", "left"),
        ("phase", "left"),
        ("model", "left"),
        ("lr", "right"),
        ("frozen", "right"),
        ("progress", "left"),
        ("predicted", "right"),
        ("achieved", "right"),
        ("used", "right"),
        ("version", "right"),
    ):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for manifest in sorted(found, key=lambda o: str(o["metadata"]["name"])):
        status = manifest.get("status", {})
        schedule, result = status.get("schedule", {}), status.get("result", {})
        progress, predictor = status.get("progress"), status.get("predictor", {})
        schedule = result.get("delivered", schedule)
        bar: RenderableType = ""
        if progress and progress.get("steps"):
            bar = ProgressBar(total=progress["steps"], completed=min(progress["step"], progress["steps"]), width=16)
        elif phase(manifest) in ENDED and result:
            bar = f"{result['steps']} steps"
        table.add_row(
            manifest["metadata"]["name"],
            Text(phase(manifest), style=STYLES.get(phase(manifest), "cyan")),
            schedule.get("model", ""),
            f"{schedule['learningRate']:g}" if schedule else "",
            str(schedule.get("frozenStages", "")),
            bar,
            status.get("predicted", ""),
            result.get("accuracy", ""),
            result.get("used", ""),
            version(predictor),
        )
    return table


def version(predictor: dict[str, Any]) -> str:
    """The predictor's versions before and after a request."""
    if not predictor:
        return ""
    return f"{predictor.get('plannedWith', '')} → {predictor.get('produced', '')}"
