"""What a Job's pods came to. Pure: from Job and pod manifests, termination messages and stored results.

A pod's word is untrusted input. It counts only if it is a valid result of the program and index that were asked for;
everything else becomes a failure with a name, and a message for people.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from nasoa_operator.jobs import CONTAINER
from nasoa_operator.plan import Manifest
from nasoa_runtime.boundary import (
    EXIT_BAD_INPUT,
    EXIT_DIVERGED,
    RESULTS,
    TERMINATION_MESSAGE_LIMIT_BYTES,
    AnyResult,
    TerminationMessage,
    digest,
)

RESULT_LIMIT_BYTES = 4 * 1024 * 1024
REASONS = {
    "dataset": "InvalidDataset",
    "outputURI": "InvalidOutput",
    "zoo": "InvalidZoo",
    "timeLimit": "TimeLimitTooShort",
}
"""Reasons by the field of the spec that a pod's message starts with."""
_FIELD = re.compile(f"(?P<field>{'|'.join(REASONS)})[.:]")
INDEX_ANNOTATION = "batch.kubernetes.io/job-completion-index"


@dataclass(frozen=True)
class PodOutcome:
    """One index: its result, or why there is none."""

    index: int
    result: AnyResult | None = None
    failure: str | None = None
    """``BadInput``, ``Diverged``, ``OutOfMemory``, ``TimedOut``, ``InvalidResult``, ``Disrupted`` or ``Error``."""
    message: str = ""


@dataclass(frozen=True)
class JobContext:
    """What an owner knows of a step's Job: the program that runs, and where its results are."""

    program: str
    result_uri: str


@dataclass(frozen=True)
class PodWord:
    """The last thing the pods of one index said: exit code, termination message, and the reason of the end."""

    index: int
    exit_code: int | None
    message: str
    reason: str


def last_words(pods: Sequence[Manifest]) -> dict[int, PodWord]:
    """For each index the word of its successful pod, or of the pod that ended last."""
    words: dict[int, tuple[tuple[bool, str], PodWord]] = {}
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
        word = PodWord(index, ended.get("exitCode"), str(ended.get("message") or ""), reason)
        order = (status.get("phase") == "Succeeded", str(ended.get("finishedAt", "")))
        if index not in words or order >= words[index][0]:
            words[index] = (order, word)
    return {index: word for index, (_, word) in words.items()}


def read_message(word: PodWord, program: str) -> tuple[TerminationMessage | None, PodOutcome]:
    """Read a termination message; the outcome holds the failure when there is no usable one.

    A message that is usable but names a result kept in S3 comes back with an outcome that has neither a result nor a
    failure: the caller fetches the result and gives it to :func:`read_result`.
    """
    content = word.message.encode()
    if len(content) > TERMINATION_MESSAGE_LIMIT_BYTES:
        return None, PodOutcome(word.index, failure="InvalidResult", message="termination message over 4,096 bytes")
    if word.exit_code != 0:
        return None, failed_outcome(word)
    try:
        message = TerminationMessage.model_validate_json(content)
    except ValidationError as error:
        return None, PodOutcome(word.index, failure="InvalidResult", message=explain(error))
    if message.program != program or message.index != word.index:
        text = f"result of {message.program}[{message.index}] where {program}[{word.index}] was asked for"
        return None, PodOutcome(word.index, failure="InvalidResult", message=text)
    if message.result is None:
        return message, PodOutcome(word.index)
    try:
        result = RESULTS.validate_python(message.result)
    except ValidationError as error:
        return None, PodOutcome(word.index, failure="InvalidResult", message=explain(error))
    if result.program != program:
        return None, PodOutcome(
            word.index, failure="InvalidResult", message=f"result of {result.program}, not {program}"
        )
    return message, PodOutcome(word.index, result=result)


def failed_outcome(word: PodWord) -> PodOutcome:
    """Why a pod that did not exit 0 failed, in its own words where it left some."""
    text, failure = "", ""
    try:
        document = json.loads(word.message)
        if isinstance(document, dict):
            text, failure = str(document.get("message", ""))[:1500], str(document.get("failure") or "")
    except ValueError:
        text = word.message[:300]
    by_reason = {"OOMKilled": "OutOfMemory", "Disrupted": "Disrupted"}.get(word.reason, "Error")
    by_code = {EXIT_BAD_INPUT: "BadInput", EXIT_DIVERGED: "Diverged"}.get(word.exit_code or 0, by_reason)
    kind = failure if failure in {"OutOfMemory", "TimedOut", "Diverged"} and by_code != "BadInput" else by_code
    return PodOutcome(word.index, failure=kind, message=text or f"exit code {word.exit_code} ({word.reason})")


def bad_input(outcome: PodOutcome) -> tuple[str, str]:
    """Reason and message of an object that fails for what a pod says of its spec; the message names the field."""
    named = _FIELD.match(outcome.message)
    if named is None:
        return "InvalidInput", outcome.message
    return REASONS[named["field"]], f"spec.{outcome.message}"


def read_result(index: int, content: bytes, program: str, expected_digest: str | None) -> PodOutcome:
    """Validate a result fetched from S3."""
    if len(content) > RESULT_LIMIT_BYTES:
        return PodOutcome(index, failure="InvalidResult", message=f"result over {RESULT_LIMIT_BYTES} bytes")
    if expected_digest is not None and digest(content) != expected_digest:
        text = "the stored result is not the one that the termination message names"
        return PodOutcome(index, failure="InvalidResult", message=text)
    try:
        result = RESULTS.validate_json(content)
    except ValidationError as error:
        return PodOutcome(index, failure="InvalidResult", message=explain(error))
    if result.program != program:
        return PodOutcome(index, failure="InvalidResult", message=f"result of {result.program}, not {program}")
    return PodOutcome(index, result=result)


def explain(error: ValidationError) -> str:
    """The first problem of a validation error, with the field's path, in one line."""
    first = error.errors(include_url=False, include_input=False)[0]
    path = ".".join(str(part) for part in first["loc"])
    return f"{path}: {first['msg']}"[:300] if path else str(first["msg"])[:300]
