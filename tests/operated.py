"""A cluster whose pods run the double, with operators that tests start and kill."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.request import urlopen

import yaml
from builders import a_request, a_search
from tiny_zoo import OPERATOR_NAMESPACE, SECRET, install, store_of

from demo.cluster import OPERATOR, POD_IMAGE, SYSTEM_BUCKET, TENANT, TENANT_BUCKET
from devcluster import Cluster
from devcluster.processes import spawn

TESTS = Path(__file__).resolve().parent
PATIENCE_SECONDS = 120.0
POLL_SECONDS = 0.1
DOUBLE = {POD_IMAGE: [sys.executable, str(TESTS / "double.py")]}
SMALL_POD = {"resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}


def until(holds: Callable[[], Any], what: str, patience_seconds: float = PATIENCE_SECONDS) -> Any:
    """What ``holds`` returns, once that is true."""
    deadline = time.monotonic() + patience_seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, f"not within {patience_seconds:.0f} s: {what}"
        time.sleep(POLL_SECONDS)
    return found


def a_free_port() -> int:
    """A port of loopback that nobody has."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def page(address: str) -> str:
    """A metrics page; empty while nobody serves it."""
    try:
        with urlopen(f"http://{address}/metrics", timeout=2) as answer:
            content: bytes = answer.read()
            return content.decode()
    except OSError:
        return ""


class OperatorProcess:
    """One operator process of a team."""

    def __init__(self, cluster: Cluster, log: Path, namespaces: str, settings: Mapping[str, str]) -> None:
        keys = cluster.s3.keys[OPERATOR]
        self.port = a_free_port()
        variables = {
            "PYTHONPATH": f"{TESTS.parent}:{TESTS.parent / 'operator'}",
            "NASOA_KUBECONFIG": str(cluster.kubeconfig_for(OPERATOR_NAMESPACE, "nasoa")),
            "NASOA_WATCH_NAMESPACES": namespaces,
            "NASOA_S3_ENDPOINT": cluster.s3.endpoint,
            "NASOA_HEALTH_HOST": "127.0.0.1",
            "NASOA_HEALTH_PORT": str(self.port),
            "NASOA_RESYNC_SECONDS": "2",
            "AWS_ACCESS_KEY_ID": keys.access_key,
            "AWS_SECRET_ACCESS_KEY": keys.secret_key,
            "OMP_NUM_THREADS": "1",
        }
        self.process = spawn([sys.executable, "-m", "nasoa_operator"], log=log, variables=variables | dict(settings))

    def looks(self) -> float:
        """How often it has looked at searches."""
        name = 'nasoa_operator_reconciliations_total{kind="NASSearch",outcome="ok"}'
        lines = [line for line in page(f"127.0.0.1:{self.port}").splitlines() if line.startswith(name)]
        return float(lines[0].rpartition(" ")[2]) if lines else 0.0

    def kill(self) -> None:
        """As by ``kill -9``."""
        self.process.kill()
        self.process.wait()


class Team:
    """A namespace of its own, its objects, its place in S3, and the operators that look at it."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self.cluster = cluster
        self.directory = directory
        mark = uuid.uuid4().hex[:6]
        self.namespace = f"team-{mark}"
        self.zoo = f"zoo-{mark}"
        self.output = f"s3://{TENANT_BUCKET}/{self.namespace}"
        self.tenant = store_of(cluster, cluster.s3.keys[TENANT])
        self.system = store_of(cluster, cluster.s3.keys[OPERATOR])
        self.operators: list[OperatorProcess] = []
        install(cluster, self.namespace)

    # --- operators ---

    def start(self, settings: Mapping[str, str] = MappingProxyType({})) -> OperatorProcess:
        """Start one more operator."""
        operator = OperatorProcess(self.cluster, self.directory / "operator.log", self.namespace, settings)
        self.operators.append(operator)
        return operator

    def kill(self) -> None:
        """Kill all operators."""
        while self.operators:
            self.operators.pop().kill()

    # --- objects ---

    def search(self, name: str = "search", **overrides: Any) -> dict[str, Any]:
        """A search of two levels with two generations of two."""
        phase = {"generations": 2, "imageSize": 32, "maxStepTime": "60ms"}
        spec: dict[str, Any] = {
            "dataset": {"uri": f"{self.output}/data"},
            "outputURI": self.output,
            "parallelism": 2,
            "seed": 3,
            "lowResolutionStem": True,
            "storage": {"secretName": SECRET},
            "podTemplate": SMALL_POD,
            "blockPhase": phase | {"firstChannels": 8},
            "macroPhase": phase | {"blocks": 2},
            "space": {"firstChannels": [8, 16], "maxBlocks": 6},
            "zoo": {"name": self.zoo, "size": 2, "imageSize": 32},
        }
        return a_search(name, self.namespace, **(spec | overrides))

    def request(self, name: str, **overrides: Any) -> dict[str, Any]:
        """A request to the team's zoo."""
        spec: dict[str, Any] = {
            "dataset": {"uri": f"{self.output}/data"},
            "outputURI": self.output,
            "storage": {"secretName": SECRET},
            "podTemplate": SMALL_POD,
            "zoo": self.zoo,
            "timeLimit": "60s",
        }
        return a_request(name, self.namespace, **(spec | overrides))

    def apply(self, *manifests: dict[str, Any]) -> None:
        """``kubectl apply``."""
        self.cluster.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(manifests))

    def kubectl(self, *arguments: str) -> str:
        """Output of kubectl in the namespace."""
        return self.cluster.kubectl("-n", self.namespace, *arguments).stdout

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """One object."""
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "-o", "json"))
        return found

    def list(self, kind: str) -> list[dict[str, Any]]:
        """All objects of a kind."""
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, "-o", "json"))["items"]
        return found

    def ended(self, kind: str, name: str, phase: str = "Succeeded") -> dict[str, Any]:
        """The status of an object that has ended as it should."""

        def end() -> Any:
            status = self.get(kind, name).get("status", {})
            return status if status.get("phase") in {"Succeeded", "Failed"} else None

        status: dict[str, Any] = until(end, f"the end of {kind} {name}")
        assert status["phase"] == phase, status.get("message")
        return status

    def until_running(self, step: str) -> None:
        """Wait for a pod of ``step`` that the double has counted."""
        until(lambda: self.starts(step), f"a start of {step}")

    def until_finished(self, step: str, owner: str = "search") -> dict[str, Any]:
        """The finished Job of a step of one object."""

        def finished() -> Any:
            for job in self.list("jobs"):
                labels = job["metadata"]["labels"]
                if (labels["nasoa.io/step"], labels["nasoa.io/owner-name"]) == (step, owner):
                    types = {c["type"] for c in job.get("status", {}).get("conditions", []) if c["status"] == "True"}
                    return job if types & {"Complete", "Failed"} else None
            return None

        found: dict[str, Any] = until(finished, f"the end of the Job of {step}")
        return found

    def reasons(self, name: str) -> list[str]:
        """Reasons of the operator's events about an object."""
        events = self.list("events")
        return [e["reason"] for e in events if e["involvedObject"]["name"] == name and e["source"].get("component")]

    # --- the double ---

    def control(self, step: str, **instruction: Any) -> None:
        """Say what the pods of ``step`` do."""
        self.tenant.put(f"{self.output}/control/{step}.json", json.dumps(instruction).encode())

    def release(self, step: str) -> None:
        """Let hanging pods of ``step`` go on."""
        self.tenant.put(f"{self.output}/release/{step}", b"1")

    def forget(self) -> None:
        """Take back all instructions."""
        for folder in ("control", "release"):
            for found in list(self.tenant.list(f"{self.output}/{folder}/")):
                self.tenant.delete(f"s3://{TENANT_BUCKET}/{found.key}")

    def starts(self, step: str = "") -> list[str]:
        """``step/index/pod`` of each start, of one step or of all."""
        prefix = f"{self.output}/starts/" + (f"{step}/" if step else "")
        return sorted(found.key.partition("/starts/")[2] for found in self.tenant.list(prefix))

    def pods(self, step: str, owner: str = "search") -> list[dict[str, Any]]:
        """The pods of a step of one object."""
        labels = f"nasoa.io/owner-name={owner},nasoa.io/step={step}"
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", "pods", "-l", labels, "-o", "json"))["items"]
        return found

    def running_pod(self, step: str, owner: str = "search") -> dict[str, Any]:
        """The first pod of a step of one object that has said that it has started."""

        def first() -> Any:
            started = {start.rsplit("/", 1)[1] for start in self.starts(step)}
            pods = [pod for pod in self.pods(step, owner) if pod["status"].get("phase") == "Running"]
            return next((pod for pod in pods if pod["metadata"]["name"] in started), None)

        found: dict[str, Any] = until(first, f"a pod of {step} of {owner}")
        return found

    def kill_pod(self, pod: Mapping[str, Any]) -> None:
        """Kill the program of a running pod, as by the kernel."""
        folder = self.cluster.node_directory("local-0") / "pods" / pod["metadata"]["uid"] / "nasoa"
        os.kill(int((folder / "pid").read_text()), signal.SIGKILL)

    # --- what is recorded ---

    def documents(self, prefix: str) -> dict[str, dict[str, Any]]:
        """JSON documents of the system bucket below ``prefix``."""
        found = {}
        for listed in self.system.list(f"s3://{SYSTEM_BUCKET}/{prefix}"):
            if listed.key.endswith(".json"):
                stored = self.system.get(f"s3://{SYSTEM_BUCKET}/{listed.key}")
                assert stored is not None
                found[listed.key.removeprefix(prefix)] = json.loads(stored.body)
        return found

    def evaluated(self, name: str = "search") -> list[str]:
        """Encodings that a search evaluated, in order, block level first."""
        found = self.course(name)
        return [encoding for part in sorted(found) if part.endswith("/evaluations") for encoding, *_ in found[part]]

    def course(self, name: str = "search") -> dict[str, list[tuple[Any, ...]]]:
        """What a search proposed, measured, decided, evaluated and selected: part -> figures, in their order."""
        uid = self.get("nassearch", name)["metadata"]["uid"]
        fields = {
            "proposals": ("encoding", "slot", "parents", "mutations"),
            "measurements": ("encoding", "step_seconds", "failure"),
            "members": ("encoding", "step_seconds"),
            "evaluations": ("encoding", "step_seconds", "accuracy", "failure"),
            "models": ("encoding", "accuracy", "weights_digest"),
        }
        found: dict[str, list[tuple[Any, ...]]] = {}
        for key, document in self.documents(f"searches/{uid}/").items():
            for part, names in fields.items():
                if isinstance(document.get(part), list) and key != "published.json":
                    found[key.removesuffix(".json")] = [tuple(m.get(n) for n in names) for m in document[part]]
        return found

    def end(self) -> None:
        """Leave nothing running."""
        self.kill()
        for kind in ("finetunerequests", "nassearches"):
            self.cluster.kubectl("delete", kind, "--all", "-n", self.namespace, "--wait=false")
        self.cluster.kubectl("delete", "namespace", self.namespace, "--wait=false")
