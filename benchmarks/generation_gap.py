"""Seconds from a generation's last pod to the next generation's first Job, beside Kubernetes' own share of them.

The share of Kubernetes is the time until the Job of the pods is marked complete. Pods run a double of their program.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kubernetes import client, config, watch
from urllib3.exceptions import HTTPError

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "operator")]

from operated import DOUBLE, Team  # noqa: E402

from devcluster import Cluster  # noqa: E402

GENERATIONS = 8
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


def measure() -> list[tuple[float, float]]:
    """For each generation but the last: seconds to the next Job, and seconds to the Job's completion."""
    created, completed, ended = Seen(), Seen(), Seen()
    finished: set[str] = set()

    def note_job(job: Any) -> None:
        step = job.metadata.labels.get(STEP, "")
        created.note(step)
        if any(c.type == "Complete" and c.status == "True" for c in job.status.conditions or ()):
            completed.note(step)

    def note_pod(pod: Any) -> None:
        if pod.status.phase == "Succeeded" and pod.metadata.name not in finished:
            finished.add(pod.metadata.name)
            ended.note(pod.metadata.labels.get(STEP, ""))

    with (
        tempfile.TemporaryDirectory() as folder,
        Cluster.start(Path(folder) / "c", name="bench", images=DOUBLE) as cluster,
    ):
        config.load_kube_config(str(cluster.kubeconfig))
        team = Team(cluster, Path(folder))
        follow(client.BatchV1Api().list_namespaced_job, team.namespace, note_job)
        follow(client.CoreV1Api().list_namespaced_pod, team.namespace, note_pod)
        team.start()
        phase = {"generations": GENERATIONS, "imageSize": 32, "maxStepTime": "100ms"}
        team.apply(team.search(blockPhase=phase | {"firstChannels": 8}))
        team.ended("nassearch", "search")
        team.kill()
    gaps = []
    for generation in range(GENERATIONS - 1):
        evaluate, following = f"block-g{generation:04d}-evaluate", f"block-g{generation + 1:04d}-profile0"
        last = ended.latest[evaluate]
        gaps.append((created.times[following] - last, completed.times[evaluate] - last))
    return gaps


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--json", action="store_true")
    as_json = arguments.parse_args().json
    gaps = measure()
    totals, kubernetes = [g[0] for g in gaps], [g[1] for g in gaps]
    rows = {
        "last pod to the next generation's Job": totals,
        "of these, Kubernetes: last pod to the Job's completion": kubernetes,
        "of these, the operator": [total - own for total, own in gaps],
    }
    if as_json:
        print(json.dumps(rows, indent=2))
        return 0
    print(f"| seconds, {len(gaps)} generations | median | longest |")
    print("|---|---|---|")
    for name, values in rows.items():
        print(f"| {name} | {statistics.median(values):.2f} | {max(values):.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
