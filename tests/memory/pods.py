"""Pods from their start to their end: a result in S3, create-only, then a termination message that names it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from memory.cluster import pod_manifest
from memory.figures import zero_weights
from nasoa_operator.jobs import CONTAINER
from nasoa_operator.plan import Manifest
from nasoa_operator.pod_outcomes import PodOutcome
from nasoa_runtime.boundary import (
    EXIT_BAD_INPUT,
    EXIT_DIVERGED,
    INPUT_VARIABLE,
    TERMINATION_MESSAGE_LIMIT_BYTES,
    PretrainInput,
    TerminationMessage,
    digest,
    dump_result,
    load_input,
    program_of,
)
from nasoa_runtime.documents.keys import pretrained_weights_uri, result_uri
from nasoa_runtime.storage.objects import ObjectStore

Program = Callable[[Any, int], PodOutcome]
"""What the pod of an index comes to, by its input."""
EXITS = {"BadInput": EXIT_BAD_INPUT, "Diverged": EXIT_DIVERGED, "InvalidResult": 0}


def input_of(job: Manifest) -> Any:
    """The input document of a Job's pods."""
    container = job["spec"]["template"]["spec"]["containers"][0]
    return load_input(next(v["value"] for v in container["env"] if v["name"] == INPUT_VARIABLE))


def run_pods(job: Manifest, program: Program, store: ObjectStore) -> list[Manifest]:
    """The pods of a Job as they are once all of them have ended."""
    pod_input = input_of(job)
    return [run_pod(job, pod_input, index, program, store) for index in range(job["spec"]["completions"])]


def run_pod(job: Manifest, pod_input: Any, index: int, program: Program, store: ObjectStore) -> Manifest:
    """One pod. Where an earlier one of its index has left a result, it says so again and does nothing else."""
    uri, name = result_uri(pod_input.result_uri, index), program_of(pod_input).name
    found = store.get(uri)
    if found is not None:
        return _ended(job, index, 0, _message(name, index, uri, found.body))
    outcome = program(pod_input, index)
    if outcome.result is None:
        failure = outcome.failure or "Error"
        message = TerminationMessage(
            program=name, index=index, failure=failure, field=outcome.field, message=outcome.message
        ).to_json()
        # A pod whose result is invalid does not know it.
        said = outcome.message.encode() if failure == "InvalidResult" else message
        return _ended(job, index, EXITS.get(failure, 1), said)
    if isinstance(pod_input, PretrainInput):
        weights = zero_weights(pod_input.architectures[index], pod_input.recipe.low_resolution_stem)
        store.put(pretrained_weights_uri(pod_input.weights_uri, index), weights)
    body = store.create_or_read(uri, dump_result(outcome.result))
    return _ended(job, index, 0, _message(name, index, uri, body))


def _message(program: Any, index: int, uri: str, body: bytes) -> bytes:
    message = TerminationMessage(program=program, index=index, result_key=uri, result_digest=digest(body))
    whole = message.model_copy(update={"result": json.loads(body)}).to_json()
    return whole if len(whole) <= TERMINATION_MESSAGE_LIMIT_BYTES else message.to_json()


def _ended(job: Manifest, index: int, code: int, message: bytes) -> Manifest:
    reason = "Error" if code else "Completed"
    terminated = {"exitCode": code, "reason": reason, "message": message.decode(), "finishedAt": "2026-01-01T00:00:00Z"}
    containers = [{"name": CONTAINER, "state": {"terminated": terminated}}]
    phase = "Failed" if code else "Succeeded"
    return pod_manifest(job["metadata"], index, {"phase": phase, "containerStatuses": containers})
