"""Why a request ends without a model, told by the field of the spec that is to blame. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nasoa_operator.events import failed
from nasoa_operator.finetune.observed import ObservedRequest
from nasoa_operator.outcomes import PodOutcome, bad_input
from nasoa_operator.plan import Event, Plan
from nasoa_runtime.documents.request import Failed
from nasoa_runtime.documents.steps import PROBE, Step
from nasoa_runtime.durations import duration
from nasoa_runtime.online.candidates import NothingFits

HEADROOM = 1.25
"""Of an advised time limit over the least one: the next probe may see the node busier."""


@dataclass(frozen=True)
class Failure:
    """Why a request ends without a model."""

    reason: str
    message: str

    @property
    def event(self) -> Event:
        """The event that says so."""
        return failed(self.reason, self.message)


def fail(observed: ObservedRequest, failure: Failure) -> Plan:
    """Persist that the request ends here, and why."""
    document = Failed(reason=failure.reason, message=failure.message)
    return observed.write("failed", document, failure.event)


def nothing_fits(found: NothingFits) -> Failure:
    """Why there is no schedule, by the field that rules it out, with what to write instead."""
    fields = {"UnknownModel": "spec.pins.model", "NoModelWithinLimits": "spec.limits"}
    message = f"{fields.get(found.reason, 'spec.timeLimit')}: {found.message}"
    if found.least_seconds is not None:
        enough = duration(math.ceil(HEADROOM * found.least_seconds))
        message += f", by this probe; write timeLimit: {enough} or more, as start-up times vary"
    return Failure(found.reason, message)


def failure_of(outcome: PodOutcome, step: Step) -> Failure:
    """A pod's failure as the request's."""
    if outcome.failure == "BadInput":
        return Failure(*bad_input(outcome))
    reasons = {
        "OutOfMemory": "OutOfMemory",
        "InvalidResult": "InvalidResult",
        "TimedOut": "TimeLimitReached",
    }
    reason = reasons.get(outcome.failure or "", "ProbeFailed" if step == PROBE else "FineTuningFailed")
    return Failure(reason, outcome.message)
