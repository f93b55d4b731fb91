"""What a Job's pods came to. Pure: from Job and pod manifests, termination messages and stored results.

What a pod says is untrusted input. It counts only if it is a valid result of the program and index that were asked
for; everything else becomes a failure with a name, and a message for people.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from nasoa_operator.jobs import CONTAINER
from nasoa_operator.plan import Manifest
from nasoa_runtime.boundary import (
    EXIT_BAD_INPUT,
    EXIT_DIVERGED,
    MESSAGE_CHARACTERS,
    TERMINATION_MESSAGE_LIMIT_BYTES,
    BoundaryError,
    PodResult,
    TerminationMessage,
    digest,
    load_result,
    problems_of,
    spec_field,
)

RESULT_LIMIT_BYTES = 4 * 1024 * 1024
REASONS = {
    "dataset": "InvalidDataset",
    "outputURI": "InvalidOutput",
    "zoo": "InvalidZoo",
    "timeLimit": "TimeLimitTooShort",
}
"""Reasons of bad input by the first part of the field of the spec that is to blame."""
OTHER_REASON = "InvalidInput"
INDEX_ANNOTATION = "batch.kubernetes.io/job-completion-index"


@dataclass(frozen=True)
class PodOutcome:
    """One index: its result, or why there is none."""

    index: int
    result: PodResult | None = None
    failure: str | None = None
    """``BadInput``, ``Diverged``, ``OutOfMemory``, ``TimedOut``, ``InvalidResult``, ``Disrupted`` or ``Error``."""
    message: str = ""
    """For people, without the field."""
    field: str | None = None
    """The field of the spec that the pod blames, such as ``dataset.uri``."""

    @property
    def explanation(self) -> str:
        """The message as people read it: the field of the spec first, where one is to blame."""
        return self.message if self.field is None else f"spec.{self.field}: {self.message}"


@dataclass(frozen=True)
class JobContext:
    """What an owner knows of a step's Job: the program that runs, and where its results are."""

    program: str
    result_uri: str


@dataclass(frozen=True)
class Termination:
    """How the pods of one index ended: exit code, termination message, and Kubernetes' reason."""

    index: int
    exit_code: int | None
    message: str
    reason: str


def terminations_of(pods: Sequence[Manifest]) -> dict[int, Termination]:
    """For each index the end of its successful pod, or of the pod that ended last."""
    found: dict[int, tuple[tuple[bool, str], Termination]] = {}
    for pod in pods:
        labels = pod["metadata"].get("labels", {}) | pod["metadata"].get("annotations", {})
        if INDEX_ANNOTATION not in labels:
            continue
        index = int(labels[INDEX_ANNOTATION])
        status = pod.get("status", {})
        ended: dict[str, Any] = {}
        for container in status.get("containerStatuses", []):
            if container["name"] == CONTAINER:
                ended = container.get("state", {}).get("terminated", {})
        disrupted = any(c["type"] == "DisruptionTarget" and c["status"] == "True" for c in status.get("conditions", []))
        reason = "Disrupted" if disrupted else str(ended.get("reason") or status.get("reason") or "")
        termination = Termination(index, ended.get("exitCode"), str(ended.get("message") or ""), reason)
        order = (status.get("phase") == "Succeeded", str(ended.get("finishedAt", "")))
        if index not in found or order >= found[index][0]:
            found[index] = (order, termination)
    return {index: termination for index, (_, termination) in found.items()}


def read_message(termination: Termination, program: str) -> tuple[TerminationMessage | None, PodOutcome]:
    """Read a termination message; the outcome holds the failure when there is no usable one.

    A message that is usable but names a result kept in S3 comes back with an outcome that has neither a result nor a
    failure: the caller fetches the result and gives it to :func:`read_result`.
    """
    index, content = termination.index, termination.message.encode()
    if len(content) > TERMINATION_MESSAGE_LIMIT_BYTES:
        return None, invalid(index, "termination message over 4,096 bytes")
    if termination.exit_code != 0:
        return None, failed_outcome(termination)
    try:
        message = TerminationMessage.model_validate_json(content)
    except ValidationError as error:
        return None, invalid(index, problems_of(error)[0])
    if message.program != program or message.index != index:
        asked = f"{program}[{index}]"
        return None, invalid(index, f"result of {message.program}[{message.index}] where {asked} was asked for")
    if message.result is None:
        return message, PodOutcome(index)
    try:
        return message, PodOutcome(index, result=load_result(message.result, program))
    except BoundaryError as error:
        return None, invalid(index, str(error))


def failed_outcome(termination: Termination) -> PodOutcome:
    """Why a pod that did not exit 0 failed, as it says itself where it says something that can be read."""
    text, failure, blamed = "", "", None
    try:
        document = json.loads(termination.message)
        if isinstance(document, dict):
            text = str(document.get("message", ""))[:MESSAGE_CHARACTERS]
            failure, blamed = str(document.get("failure") or ""), spec_field(document.get("field"))
    except (ValueError, RecursionError):
        text = termination.message[:300]
    by_reason = {"OOMKilled": "OutOfMemory", "Disrupted": "Disrupted"}.get(termination.reason, "Error")
    by_code = {EXIT_BAD_INPUT: "BadInput", EXIT_DIVERGED: "Diverged"}.get(termination.exit_code or 0, by_reason)
    kind = failure if failure in {"OutOfMemory", "TimedOut", "Diverged"} and by_code != "BadInput" else by_code
    message = text or f"exit code {termination.exit_code} ({termination.reason})"
    return PodOutcome(termination.index, failure=kind, message=message, field=blamed if text else None)


def bad_input(outcome: PodOutcome) -> tuple[str, str]:
    """Reason and message of an object that fails for what a pod says of its spec; the message names the field."""
    return REASONS.get((outcome.field or "").partition(".")[0], OTHER_REASON), outcome.explanation


def read_result(index: int, content: bytes, program: str, expected_digest: str | None) -> PodOutcome:
    """Validate a result fetched from S3."""
    if len(content) > RESULT_LIMIT_BYTES:
        return invalid(index, f"result over {RESULT_LIMIT_BYTES} bytes")
    if expected_digest is not None and digest(content) != expected_digest:
        return invalid(index, "the stored result is not the one that the termination message names")
    try:
        return PodOutcome(index, result=load_result(content, program))
    except BoundaryError as error:
        return invalid(index, str(error))


def invalid(index: int, message: str) -> PodOutcome:
    """An index that has said something that can't be used."""
    return PodOutcome(index, failure="InvalidResult", message=message)
