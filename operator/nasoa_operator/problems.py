"""Why an object is not accepted: what admission can't see, for both kinds. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """Why an object is not accepted; ``waits`` if it may become acceptable without an edit."""

    reason: str
    message: str
    waits: bool = False


def output_problems(output_uri: str, system_bucket: str) -> list[Problem]:
    """Pods write below ``spec.outputURI``; the bucket of zoo and predictor is no place for that."""
    if output_uri.removeprefix("s3://").split("/", 1)[0] != system_bucket:
        return []
    message = f"spec.outputURI: bucket {system_bucket} holds the zoo and the predictor; name a bucket of your own"
    return [Problem("OutputInSystemBucket", message)]
