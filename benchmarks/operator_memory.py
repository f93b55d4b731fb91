"""Memory of the operator with 200 idle requests, beside the controller manager's: a process that does likewise.

Half of the requests wait for a zoo that is not there, half have succeeded. Everything is real but the pods, of which
none runs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "operator")]

from operated import Team, page, until  # noqa: E402

from devcluster import Cluster  # noqa: E402

IDLE = 200
SETTLE_SECONDS = 20.0
MEGABYTE = 1e6
DONE = {"status": {"phase": "Succeeded", "observedGeneration": 1, "message": "the model is somewhere"}}


def rss(pid: int) -> float:
    return psutil.Process(pid).memory_info().rss / MEGABYTE


def looks(team: Team) -> float:
    name = 'nasoa_operator_reconciliations_total{kind="FineTuneRequest",outcome="ok"}'
    lines = [x for x in page(f"127.0.0.1:{team.operators[0].port}").splitlines() if x.startswith(name)]
    return float(lines[0].rpartition(" ")[2]) if lines else 0.0


def settled(team: Team, cluster: Cluster) -> dict[str, float]:
    """Figures over a quiet while."""
    process = psutil.Process(team.operators[0].process.pid)
    before, busy = looks(team), sum(process.cpu_times()[:2])
    time.sleep(SETTLE_SECONDS)
    manager = cluster.components()["kube-controller-manager"]
    return {
        "operator_mb": rss(process.pid),
        "controller_manager_mb": rss(manager) if manager else 0.0,
        "looks_a_minute": (looks(team) - before) * 60 / SETTLE_SECONDS,
        "cpu_percent": 100 * (sum(process.cpu_times()[:2]) - busy) / SETTLE_SECONDS,
    }


def measure() -> list[tuple[str, dict[str, float]]]:
    with tempfile.TemporaryDirectory() as folder, Cluster.start(Path(folder) / "c", nodes=0, name="bench") as cluster:
        team = Team(cluster, Path(folder))
        team.start({"NASOA_RESYNC_SECONDS": "30"})
        until(lambda: page(f"127.0.0.1:{team.operators[0].port}"), "the operator")
        rows = [("no requests", settled(team, cluster))]
        names = [f"request-{number:03d}" for number in range(IDLE)]
        team.apply(*(team.request(name) for name in names))
        done = names[: IDLE // 2]
        patch = json.dumps(DONE)
        team.kubectl("patch", "finetunerequest", *done, "--subresource=status", "--type=merge", "-p", patch)
        until(lambda: all("status" in found for found in team.list("finetunerequests")), "a look at each")
        rows.append((f"{IDLE} idle requests", settled(team, cluster)))
        team.kill()
    return rows


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--json", action="store_true")
    as_json = arguments.parse_args().json
    rows = measure()
    if as_json:
        print(json.dumps(dict(rows), indent=2))
        return 0
    print("| | operator, MB | controller manager, MB | looks a minute | operator's CPU, % of a core |")
    print("|---|---|---|---|---|")
    for name, row in rows:
        print(
            f"| {name} | {row['operator_mb']:.0f} | {row['controller_manager_mb']:.0f} | {row['looks_a_minute']:.0f} "
            f"| {row['cpu_percent']:.1f} |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
