"""The plan of a request: probe, decide, run, learn; the single step that follows from what is recorded. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from nasoa_operator.accept import request_problems
from nasoa_operator.events import failed
from nasoa_operator.finetune.observed import ObservedRequest
from nasoa_operator.finetune.scheduling import (
    decide,
    learning_record,
    measured_models,
    schedule_document,
)
from nasoa_operator.finetune.status import status_of
from nasoa_operator.outcomes import ObservedJob, PodOutcome, bad_input, suspension_of
from nasoa_operator.plan import AddStepTimes, Document, Event, Learn, Manifest, Plan, SuspendJob
from nasoa_operator.problems import Problem, output_problems
from nasoa_operator.steps import RETRY, common_input, dataset_of, job_for, latest_try, unwanted, with_upkeep
from nasoa_runtime.api.base import TERMINAL
from nasoa_runtime.boundary import (
    FinetuneInput,
    FinetuneResult,
    ModelReference,
    ProbeInput,
    ProbeResult,
    Regime,
)
from nasoa_runtime.durations import duration, seconds
from nasoa_runtime.online.candidates import NothingFits

PROBE_SHARE = 0.1
"""Share of T_l that the probe's measuring may take."""
HEADROOM = 1.25
"""Of an advised time limit over the least one: the next probe may see the node busier."""
BACKSTOP_FACTOR, BACKSTOP_SECONDS = 2, 900
"""When Kubernetes itself ends a fine-tuning Job that no longer keeps its own clock."""


@dataclass(frozen=True)
class Failure:
    """Why a request ends without a model."""

    reason: str
    message: str


def plan(observed: ObservedRequest) -> Plan:
    """What to do now for ``observed``."""
    if observed.status.get("phase") in TERMINAL:
        return Plan(delete_jobs=unwanted(observed.jobs))
    problem = problem_of(observed)
    if problem is not None:
        # What is waited for comes with the resync, so that any number of requests may wait.
        return Plan(status=status_of(observed, problem=problem))
    done = {step: job for step, job in observed.jobs.items() if recorded(observed, job)}
    return with_upkeep(
        next_step(observed), observed.jobs, done, status=status_of(observed), suspensions=suspensions(observed)
    )


def problem_of(observed: ObservedRequest) -> Problem | None:
    """Why the request can't be accepted; once it is scheduled, nothing is asked again."""
    if observed.document("schedule") is not None or observed.document("failed") is not None:
        return None
    if observed.zoo is None:
        message = f"spec.zoo: there is no zoo {observed.spec.zoo!r} yet; the request waits for it"
        return Problem("ZooNotFound", message, waits=True)
    problems = output_problems(observed.spec.output_uri, observed.settings.system_bucket)
    problems += [Problem(p.reason, p.message) for p in request_problems(observed.spec, observed.zoo.models)]
    return problems[0] if problems else None


def next_step(observed: ObservedRequest) -> Plan:
    """The first step that is not recorded yet."""
    if observed.document("failed") is not None or observed.document("learned") is not None:
        return Plan()
    if observed.document("probe") is None:
        return probe(observed)
    if observed.document("schedule") is None:
        return schedule(observed)
    result = observed.document("result")
    if result is None:
        return Plan() if observed.spec.suspend and "finetune" not in observed.jobs else finetune(observed)
    return learn(observed, result)


def probe(observed: ObservedRequest) -> Plan:
    """Have the dataset and the node looked at."""
    tried = latest_try(observed.jobs, "probe")
    if tried is None:
        return Plan(jobs=(probe_job(observed, "probe"),))
    if not tried.finished:
        return Plan()
    outcome = tried.outcomes[0]
    if isinstance(outcome.result, ProbeResult):
        rows = {n: tuple(r.model_dump(mode="json") for r in found) for n, found in outcome.result.rows.items()}
        known = outcome.result.statistics
        message = (
            f"{known.images} training images in {known.classes} classes; steps take "
            f"{outcome.result.step_correction:.2f} times what the zoo's table says"
        )
        if known.broken_images:
            message += f"; {known.broken_images} broken images are left out: {'; '.join(known.broken_examples)}"
        body = {"formatVersion": 1, "result": outcome.result.model_dump(mode="json")}
        return Plan(
            documents=(Document(observed.key("probe"), body, Event("Probed", message, "probe")),),
            actions=(AddStepTimes(observed.spec.zoo, rows),) if rows else (),
            again=True,
        )
    if outcome.failure == "InvalidResult" and tried.step == "probe":
        return Plan(jobs=(probe_job(observed, "probe" + RETRY),))
    return fail(observed, failure_of(outcome, "probe"))


def schedule(observed: ObservedRequest) -> Plan:
    """Let the predictor choose, and persist what it chose."""
    if observed.zoo is None or observed.predictor is None:
        return Plan()
    known = probe_result(observed)
    decision = decide(observed, observed.zoo, observed.predictor, known)
    if isinstance(decision, NothingFits):
        return fail(observed, nothing_fits(decision))
    chosen = decision.chosen
    message = (
        f"{chosen.model}, learning rate {chosen.learning_rate:g}, {chosen.frozen_stages} frozen stages, "
        f"{chosen.iterations} steps: predicted {100 * chosen.predicted_accuracy:.1f}% in {chosen.seconds:.0f}s, "
        f"the best of {decision.candidates} candidates (predictor version {decision.predictor_version})"
    )
    body = schedule_document(observed, observed.zoo, decision)
    return Plan(
        documents=(Document(observed.key("schedule"), body, Event("Scheduled", message, "schedule")),), again=True
    )


def nothing_fits(decision: NothingFits) -> Failure:
    """Why there is no schedule, by the field that rules it out, with what to write instead."""
    fields = {"UnknownModel": "spec.pins.model", "NoModelWithinLimits": "spec.limits"}
    message = f"{fields.get(decision.reason, 'spec.timeLimit')}: {decision.message}"
    if decision.least_seconds is not None:
        enough = duration(math.ceil(HEADROOM * decision.least_seconds))
        message += f", by this probe; write timeLimit: {enough} or more, as start-up times vary"
    return Failure(decision.reason, message)


def finetune(observed: ObservedRequest) -> Plan:
    """Run what was scheduled, and record what it came to."""
    tried = latest_try(observed.jobs, "finetune")
    if tried is None:
        return Plan(jobs=(finetune_job(observed, "finetune"),))
    if not tried.finished:
        return Plan()
    outcome = tried.outcomes[0]
    decided = observed.documents["schedule.json"]
    if isinstance(outcome.result, FinetuneResult):
        result = outcome.result
        if result.seconds > seconds(observed.spec.time_limit):
            text = f"the pod reports {result.seconds:.1f} s, over the time limit of {observed.spec.time_limit}"
            outcome = PodOutcome(0, failure="InvalidResult", message=text)
        else:
            body: dict[str, Any] = {
                "formatVersion": 1,
                "result": result.model_dump(mode="json"),
                "runs": [run.model_dump(mode="json") for run in result.runs],
                "failure": None,
            }
            message = (
                f"validation accuracy {100 * result.validation_accuracy:.1f}% "
                f"in {result.seconds:.0f}s of {observed.spec.time_limit}; the model is at {result.output_uri}"
            )
            event = Event("FineTuned", message, "finetune")
            return Plan(documents=(Document(observed.key("result"), body, event),), again=True)
    if outcome.failure == "InvalidResult" and tried.step == "finetune":
        return Plan(jobs=(finetune_job(observed, "finetune" + RETRY),))
    if outcome.failure == "Diverged":
        # That this regime diverges is worth knowing: it teaches chance accuracy.
        run = {
            "regime": decided["regimes"][0],
            "steps": decided["regimes"][0]["steps"],
            "failure": "Diverged",
            "validation_accuracy": None,
        }
        body = {"formatVersion": 1, "result": None, "runs": [run], "failure": outcome.message or "training diverged"}
        event = failed("Diverged", body["failure"])
        return Plan(documents=(Document(observed.key("result"), body, event),), again=True)
    return fail(observed, failure_of(outcome, "finetune"))


def learn(observed: ObservedRequest, result: Any) -> Plan:
    """Teach the predictor what the runs showed, once."""
    record = learning_record(
        observed, observed.documents["schedule.json"], probe_result(observed), list(result["runs"])
    )
    return Plan(actions=(Learn(observed.spec.zoo, observed.owner.uid, record),), again=True)


def fail(observed: ObservedRequest, failure: Failure) -> Plan:
    """Persist that the request ends here, and why."""
    body = {"formatVersion": 1, "reason": failure.reason, "message": failure.message}
    event = failed(failure.reason, failure.message)
    return Plan(documents=(Document(observed.key("failed"), body, event),), again=True)


def failure_of(outcome: PodOutcome, step: str) -> Failure:
    """A pod's failure as the request's."""
    if outcome.failure == "BadInput":
        return Failure(*bad_input(outcome))
    reasons = {
        "OutOfMemory": "OutOfMemory",
        "InvalidResult": "InvalidResult",
        "TimedOut": "TimeLimitReached",
    }
    reason = reasons.get(outcome.failure or "", "ProbeFailed" if step == "probe" else "FineTuningFailed")
    return Failure(reason, outcome.explanation)


def probe_result(observed: ObservedRequest) -> ProbeResult:
    """The recorded probe."""
    return ProbeResult.model_validate(observed.documents["probe.json"]["result"])


def recorded(observed: ObservedRequest, job: ObservedJob) -> bool:
    """Whether what a Job came to is recorded, so that the Job can go."""
    if observed.document("failed") is not None:
        return True
    return observed.document({"probe": "probe", "finetune": "result"}.get(job.step.split("-")[0], "")) is not None


def suspensions(observed: ObservedRequest) -> tuple[SuspendJob, ...]:
    """``suspend`` stops the fine-tuning, never the probe: a suspended request is still planned."""
    jobs = (job for job in observed.jobs.values() if job.step.startswith("finetune"))
    return tuple(filter(None, (suspension_of(job, observed.spec.suspend) for job in jobs)))


def probe_job(observed: ObservedRequest, step: str) -> Manifest:
    """The probe's Job."""
    spec, zoo = observed.spec, observed.zoo
    limit = seconds(spec.time_limit)
    pod_input = ProbeInput(
        **common_input(observed, step),
        dataset=dataset_of(spec, spec.dataset.max_images),
        batch_size=spec.batch_size,
        time_cap_seconds=PROBE_SHARE * limit,
        models=measured_models(observed, zoo) if zoo else (),
        extractor=zoo.extractor if zoo else None,
        sources=dict(zoo.sources) if zoo else {},
        zoo=f"{zoo.name} {zoo.version}" if zoo else "",
        cache_uri=f"{spec.output_uri.rstrip('/')}/probes",
    )
    return job_for(observed, step, pod_input, active_deadline_seconds=int(limit) + BACKSTOP_SECONDS)


def finetune_job(observed: ObservedRequest, step: str) -> Manifest:
    """The one fine-tuning Job, built from the persisted schedule alone."""
    spec, decided = observed.spec, observed.documents["schedule.json"]
    limit = seconds(spec.time_limit)
    # The table's rows hold for the product that was probed, so that is asked for again.
    common = common_input(observed, step) | {"device": probe_result(observed).device}
    pod_input = FinetuneInput(
        **common,
        request=f"{observed.owner.namespace}/{observed.owner.name} {observed.owner.uid}",
        dataset=dataset_of(spec, spec.dataset.max_images),
        time_limit_seconds=limit,
        batch_size=spec.batch_size,
        models=tuple(ModelReference.model_validate(m) for m in decided["models"]),
        strategy=spec.strategy,
        regimes=tuple(Regime.model_validate(r) for r in decided["regimes"]),
        output_uri=observed.tenant_uri("model"),
        work_uri=observed.tenant_uri("work"),
    )
    backstop = BACKSTOP_FACTOR * int(limit) + BACKSTOP_SECONDS
    return job_for(observed, step, pod_input, active_deadline_seconds=backstop)
