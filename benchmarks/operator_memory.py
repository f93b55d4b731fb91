"""Memory and requests of the operator with 200 idle requests, beside two processes that watch in the same cluster.

A third of the requests wait for a zoo that is not there, a third are planned and suspended, a third have succeeded.
The peers are the controller manager of Kubernetes, and an operator of a dozen lines that does nothing with what kopf
tells it. Everything is real but the pods, of which none runs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "operator")]

from operated import Team, page, until  # noqa: E402
from request_simulation import RequestSimulation  # noqa: E402
from tiny_zoo import OPERATOR_NAMESPACE  # noqa: E402

from demo.cluster import SYSTEM_BUCKET, start_cluster  # noqa: E402
from devcluster.processes import spawn  # noqa: E402

IDLE = 200
RESYNC_SECONDS = 30
QUIET_SECONDS = 4.0 * RESYNC_SECONDS
"""Within as long the operator has looked at each object that it still looks at."""
MEGABYTE = 1e6
DONE = {"status": {"phase": "Succeeded", "observedGeneration": 1, "message": "the model is somewhere"}}
FIGURES = {
    "operator_mb": ("operator, MB", ".0f"),
    "bare_kopf_mb": ("bare kopf, MB", ".0f"),
    "controller_manager_mb": ("controller manager, MB", ".0f"),
    "cpu_percent": ("operator's CPU, % of a core", ".1f"),
    "looks": ("looks a minute", ".0f"),
    "api": ("API requests a minute", ".0f"),
    "s3": ("S3 requests a minute", ".0f"),
}
COUNTERS = {
    "looks": "nasoa_operator_reconciliations_total",
    "api": "nasoa_operator_api_requests_total",
    "s3": "nasoa_operator_s3_requests_total",
}


def counted(team: Team) -> dict[str, float]:
    """The operator's counters, each summed over its labels."""
    lines = page(f"127.0.0.1:{team.operators[0].port}").splitlines()
    return {
        short: sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))
        for short, name in COUNTERS.items()
    }


def quiet(team: Team, peers: Mapping[str, int]) -> dict[str, float]:
    """Figures over a while in which nobody asks for anything."""
    process = psutil.Process(team.operators[0].process.pid)
    assert all(
        psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in peers.values()
    )
    before, busy = counted(team), sum(process.cpu_times()[:2])
    time.sleep(QUIET_SECONDS)
    rates = {name: (value - before[name]) * 60 / QUIET_SECONDS for name, value in counted(team).items()}
    return {
        "operator_mb": process.memory_info().rss / MEGABYTE,
        **{name: psutil.Process(pid).memory_info().rss / MEGABYTE for name, pid in peers.items()},
        "cpu_percent": 100 * (sum(process.cpu_times()[:2]) - busy) / QUIET_SECONDS,
        **rates,
    }


def plan(team: Team, uid: str) -> None:
    """Record for a request what its probe found and what the predictor chose."""
    simulation = RequestSimulation({"suspend": True})
    simulation.end()
    for name, document in simulation.recorded.items():
        team.system.create(f"s3://{SYSTEM_BUCKET}/requests/{uid}/{name}", document)


def fill(team: Team) -> None:
    """Create the requests, and wait until the operator has said of each what it is."""
    waiting, planned, done = (
        [f"{phase}-{number:03d}" for number in range(share, IDLE, 3)]
        for share, phase in enumerate(("waiting", "planned", "done"))
    )
    team.apply(*(team.request(name, suspend=name in planned) for name in (*waiting, *planned, *done)))
    team.kubectl("patch", "finetunerequest", *done, "--subresource=status", "--type=merge", "-p", json.dumps(DONE))
    for request in team.list("finetunerequests"):
        if request["metadata"]["name"] in planned:
            plan(team, request["metadata"]["uid"])
    expected = {"Pending": len(waiting), "Planned": len(planned), "Succeeded": len(done)}

    def phases() -> dict[str, int]:
        found = [request.get("status", {}).get("phase") for request in team.list("finetunerequests")]
        return {phase: found.count(phase) for phase in expected}

    until(lambda: phases() == expected, "a look at each", 3 * QUIET_SECONDS)


def measure() -> dict[str, dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder, start_cluster(Path(folder) / "c", nodes=0, name="bench") as cluster:
        team = Team(cluster, Path(folder))
        team.start({"NASOA_RESYNC_SECONDS": str(RESYNC_SECONDS)})
        access = str(cluster.kubeconfig_for(OPERATOR_NAMESPACE, "nasoa"))
        bare = spawn(
            [sys.executable, str(ROOT / "benchmarks" / "bare_operator.py")],
            log=Path(folder) / "bare.log",
            variables={"KUBECONFIG": access, "NAMESPACE": team.namespace},
        )
        until(lambda: any(counted(team).values()), "the operator")
        manager = cluster.components()["kube-controller-manager"]
        assert manager is not None
        peers = {"bare_kopf_mb": bare.pid, "controller_manager_mb": manager}
        rows = {"no requests": quiet(team, peers)}
        fill(team)
        rows[f"{IDLE} idle requests"] = quiet(team, peers)
        bare.kill()
        bare.wait()
        team.kill()
    return rows


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--json", action="store_true")
    as_json = arguments.parse_args().json
    rows = measure()
    if as_json:
        print(json.dumps(rows, indent=2))
        return 0
    print(f"load of the machine: {os.getloadavg()[1]:.1f}\n")
    print("| | " + " | ".join(rows) + " |")
    print("|---" * (len(rows) + 1) + "|")
    for name, (title, form) in FIGURES.items():
        print(f"| {title} | " + " | ".join(format(row[name], form) for row in rows.values()) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
