"""Pods and Jobs for tests on a cluster, and a namespace that asks of it what tests want to know."""

from __future__ import annotations

import json
import time

# Conditions are awaited for this long on a busy machine.
PATIENCE_SECONDS = 90.0


class Namespace:
    """A namespace of its own for a test, and what tests ask of it."""

    def __init__(self, cluster, name):
        self.cluster = cluster
        self.name = name

    def kubectl(self, *arguments, stdin=None):
        return self.cluster.kubectl("--namespace", self.name, *arguments, input=stdin).stdout

    def apply(self, *documents):
        items = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(items))

    def get(self, kind, name):
        return json.loads(self.kubectl("get", kind, name, "-o", "json"))

    def list(self, kind, *arguments):
        return json.loads(self.kubectl("get", kind, *arguments, "-o", "json"))["items"]

    def run(self, *containers, **spec):
        """Creates a pod and returns its name."""
        name = f"pod-{time.monotonic_ns()}"
        self.apply(pod(name, *containers, **spec))
        return name

    def until(self, kind, name, holds):
        """Returns the object once ``holds`` is true of it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not holds(found := self.get(kind, name)):
            assert time.monotonic() < deadline, json.dumps(found.get("status"), indent=1)
        return found

    def until_phase(self, name, *phases):
        return self.until("pod", name, lambda found: found["status"].get("phase") in phases)

    def ended(self, name):
        return self.until_phase(name, "Succeeded", "Failed")

    def logs(self, name, *arguments):
        return self.kubectl("logs", name, *arguments).splitlines()

    def until_gone(self, kind, name):
        self.kubectl("wait", "--for=delete", f"{kind}/{name}", f"--timeout={PATIENCE_SECONDS:.0f}s")


def container(script="true", name="main", **fields):
    return {"name": name, "image": "none", "command": ["sh", "-c", script], **fields}


def pod(name, *containers, **spec):
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 5, **spec}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "a"}},
        "spec": {**spec, "containers": list(containers)},
    }


def field(name, path):
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def state_of(found, name="main", kind="containerStatuses"):
    (status,) = [one for one in found["status"][kind] if one["name"] == name]
    return status["state"]


def waiting_of(found):
    statuses = found["status"].get("containerStatuses") or ()
    return statuses[0]["state"].get("waiting", {}) if statuses else {}


def complaint_of(found):
    """Why a container waits, once the API server knows that its pod is on the node and lets the node look."""
    message = waiting_of(found).get("message", "")
    return "" if "no relationship found between node" in message else message


def conditions_of(found):
    return {one["type"]: one["status"] for one in found["status"].get("conditions") or ()}


def job(name, script, **spec):
    template = pod("x", container(script))["spec"]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"completionMode": "Indexed", "template": {"spec": template}, **spec},
    }
