"""Why a request ends without a model, told by the field of the spec that is to blame. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from nasoa_operator.events import failed
from nasoa_operator.finetune.observed import ObservedRequest
from nasoa_operator.plan import Event, Plan
from nasoa_operator.pod_outcomes import PodOutcome, bad_input
from nasoa_runtime.documents.request import Failed
from nasoa_runtime.documents.steps import PROBE, Step
from nasoa_runtime.online.candidates import NothingFits
from nasoa_runtime.planning import why_nothing_fits


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
    """That nothing fits, as the request's failure."""
    return Failure(found.reason, why_nothing_fits(found))


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
    return Failure(reason, outcome.explanation)
