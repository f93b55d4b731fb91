"""Seconds from a generation's last pod to the next generation's first Job and pod, beside Kubernetes' own share.

The share of Kubernetes is the time until the Job of the pods is marked complete, and then that from the next Job to its
running pod. Pods run a double of their program.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from kubernetes import client, config, watch
from urllib3.exceptions import HTTPError

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "operator")]

from operated import DOUBLE, Team, until  # noqa: E402

from demo.cluster import start_cluster  # noqa: E402

GENERATIONS = 8
PATIENCE_SECONDS = 480.0
"""A machine that is busy with other things takes several times as long as one that is not."""
STEP = "nasoa.io/step"


class Seen:
    """When something was first seen, by name."""

    def __init__(self) -> None:
        self.times: dict[str, float] = {}
        self.latest: dict[str, float] = {}

    def note(self, name: str) -> None:
        """Now."""
        self.times.setdefault(name, time.monotonic())
        self.latest[name] = time.monotonic()


def follow(listing: Callable[..., Any], namespace: str, note: Callable[[Any], None]) -> None:
    """Watch in a thread, as long as the process lives."""

    def run() -> None:
        # The cluster ends before its watchers do.
        with contextlib.suppress(HTTPError):
            for event in watch.Watch().stream(listing, namespace):
                note(event["object"])

    threading.Thread(target=run, daemon=True).start()


@dataclass(frozen=True)
class Gap:
    """Between two generations, in seconds."""

    completion: float
    """From the last pod's end to its Job's completion."""
    decision: float
    """From there to the next generation's Job."""
    start: float
    """From there to that Job's running pod."""


def phase_of(team: Team) -> str | None:
    """How far the search is; ``None`` before the operator has said anything."""
    phase: str | None = team.get("nassearch", "search").get("status", {}).get("phase")
    return phase


def measure() -> list[Gap]:
    """A gap for each generation but the last."""
    created, completed, running, ended = Seen(), Seen(), Seen(), Seen()
    finished: set[str] = set()

    def note_job(job: Any) -> None:
        step = job.metadata.labels.get(STEP, "")
        created.note(step)
        if any(c.type == "Complete" and c.status == "True" for c in job.status.conditions or ()):
            completed.note(step)

    def note_pod(pod: Any) -> None:
        if pod.status.phase != "Pending":
            running.note(pod.metadata.labels.get(STEP, ""))
        if pod.status.phase == "Succeeded" and pod.metadata.name not in finished:
            finished.add(pod.metadata.name)
            ended.note(pod.metadata.labels.get(STEP, ""))

    with (
        tempfile.TemporaryDirectory() as folder,
        start_cluster(Path(folder) / "c", name="bench", images=DOUBLE) as cluster,
    ):
        config.load_kube_config(str(cluster.kubeconfig))
        team = Team(cluster, Path(folder))
        follow(client.BatchV1Api().list_namespaced_job, team.namespace, note_job)
        follow(client.CoreV1Api().list_namespaced_pod, team.namespace, note_pod)
        team.start()
        phase = {"generations": GENERATIONS, "imageSize": 32, "maxStepTime": "100ms"}
        team.apply(team.search(blockPhase=phase | {"firstChannels": 8}))
        ends = {"Succeeded", "Failed"}
        until(lambda: phase_of(team) in ends, "the end of the search", PATIENCE_SECONDS)
        team.ended("nassearch", "search")
        team.kill()
    gaps = []
    for generation in range(GENERATIONS - 1):
        evaluate, following = f"block-g{generation:04d}-evaluate", f"block-g{generation + 1:04d}-profile0"
        moments = (
            ended.latest[evaluate],
            completed.times[evaluate],
            created.times[following],
            running.times[following],
        )
        gaps.append(Gap(*(after - before for before, after in pairwise(moments))))
    return gaps


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--json", action="store_true")
    as_json = arguments.parse_args().json
    gaps = measure()
    rows = {
        "last pod to the next generation's Job": [g.completion + g.decision for g in gaps],
        "of these, Kubernetes: last pod to its Job's completion": [g.completion for g in gaps],
        "of these, the operator": [g.decision for g in gaps],
        "last pod to the next generation's running pod": [g.completion + g.decision + g.start for g in gaps],
        "of these, Kubernetes: Job to running pod": [g.start for g in gaps],
    }
    if as_json:
        print(json.dumps(rows, indent=2))
        return 0
    print(f"load of the machine: {os.getloadavg()[0]:.1f}\n")
    print(f"| seconds, {len(gaps)} generations | median | longest |")
    print("|---|---|---|")
    for name, values in rows.items():
        print(f"| {name} | {statistics.median(values):.2f} | {max(values):.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
