"""Why an object is not accepted: what admission can't see, for both kinds. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from nasoa_operator.obstacles import ACCEPTED, Obstacle


@dataclass(frozen=True)
class Problem:
    """Why an object is not accepted: the reason and message of its condition `Accepted`."""

    reason: str
    message: str

    @property
    def obstacle(self) -> Obstacle:
        """What it means for the object."""
        return Obstacle(ACCEPTED, self.reason, self.message)


def output_problems(output_uri: str, system_bucket: str) -> list[Problem]:
    """Pods write below ``spec.outputURI``; the bucket of zoo and predictor is no place for that."""
    if output_uri.removeprefix("s3://").split("/", 1)[0] != system_bucket:
        return []
    message = f"spec.outputURI: bucket {system_bucket} holds the zoo and the predictor; name a bucket of your own"
    return [Problem("OutputInSystemBucket", message)]
