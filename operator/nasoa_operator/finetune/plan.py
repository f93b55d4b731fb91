"""The plan of a request: probe, decide, run, learn; the single step that follows from what is recorded. Pure."""

from __future__ import annotations

from nasoa_operator.accept import request_problems
from nasoa_operator.finetune.failing import Failure, fail, failure_of, nothing_fits
from nasoa_operator.finetune.observed import ObservedRequest
from nasoa_operator.finetune.pods import finetune_job, probe_job
from nasoa_operator.finetune.scheduling import decide, learning_record, schedule_document
from nasoa_operator.finetune.status import status_of
from nasoa_operator.observed_jobs import ObservedJob, suspension_of
from nasoa_operator.plan import AddStepTimes, Event, Learn, Plan, SuspendJob, Write
from nasoa_operator.pod_outcomes import PodOutcome
from nasoa_operator.problems import Problem, output_problems
from nasoa_operator.steps import latest_try, unwanted, with_upkeep
from nasoa_runtime.api.base import TERMINAL
from nasoa_runtime.api.types import percent
from nasoa_runtime.boundary import FinetuneResult, ProbeResult, Regime, Run
from nasoa_runtime.documents.request import Probe, Result, Schedule
from nasoa_runtime.documents.steps import FINETUNE, PROBE, parse_request_step
from nasoa_runtime.durations import seconds
from nasoa_runtime.online.candidates import NothingFits
from nasoa_runtime.online.strategies import RACE


def plan(observed: ObservedRequest) -> Plan:
    """What to do now for ``observed``."""
    if observed.status.get("phase") in TERMINAL:
        return Plan(delete_jobs=unwanted(observed.jobs))
    problem = problem_of(observed)
    if problem is not None:
        # What is waited for comes with the resync, so that any number of requests may wait.
        return Plan(status=status_of(observed, problem))
    done = {step: job for step, job in observed.jobs.items() if recorded(observed, job)}
    return with_upkeep(
        next_step(observed), observed.jobs, done, status=status_of(observed), suspensions=suspensions(observed)
    )


def problem_of(observed: ObservedRequest) -> Problem | None:
    """Why the request can't be accepted; once it is scheduled, nothing is asked again."""
    if observed.records.decided:
        return None
    if observed.zoo is None:
        return Problem("ZooNotFound", f"spec.zoo: there is no zoo {observed.spec.zoo!r} yet; the request waits for it")
    problems = output_problems(observed.spec.output_uri, observed.settings.system_bucket)
    problems += request_problems(observed.spec, observed.zoo.models)
    return problems[0] if problems else None


def next_step(observed: ObservedRequest) -> Plan:
    """The first step that is not recorded yet."""
    records = observed.records
    if records.failed is not None or records.learned is not None:
        return Plan()
    if records.probe is None:
        return probe(observed)
    if records.schedule is None:
        return schedule(observed, records.probe.result)
    if records.result is None:
        waits = observed.spec.suspend and str(FINETUNE) not in observed.jobs
        return Plan() if waits else finetune(observed, records.probe.result, records.schedule)
    record = learning_record(observed, records.schedule, records.probe.result, records.result)
    return Plan(actions=(Learn(record, observed.key("learned")),), again=True)


def probe(observed: ObservedRequest) -> Plan:
    """Have the dataset and the node looked at."""
    tried = latest_try(observed.jobs, PROBE)
    if tried is None:
        return Plan(jobs=(probe_job(observed, PROBE),))
    if not tried.finished:
        return Plan()
    outcome = tried.outcomes[0]
    if isinstance(outcome.result, ProbeResult):
        return record_probe(observed, outcome.result)
    if outcome.failure == "InvalidResult" and tried.step == str(PROBE):
        return Plan(jobs=(probe_job(observed, PROBE.again()),))
    return fail(observed, failure_of(outcome, PROBE))


def record_probe(observed: ObservedRequest, result: ProbeResult) -> Plan:
    """Record what the probe found, and enter the rows that it measured in the zoo's table."""
    known = result.statistics
    message = (
        f"{known.images} training images in {known.classes} classes; steps take "
        f"{result.step_correction:.2f} times what the zoo's table says"
    )
    if known.broken_images:
        message += f"; {known.broken_images} broken images are left out: {'; '.join(known.broken_examples)}"
    return Plan(
        writes=(Write(observed.key("probe"), Probe(result=result), Event("Probed", message, "probe")),),
        actions=(AddStepTimes(observed.spec.zoo, result.rows, result.factors),)
        if result.rows or result.factors
        else (),
        again=True,
    )


def schedule(observed: ObservedRequest, known: ProbeResult) -> Plan:
    """Let the predictor choose, and persist what it chose."""
    if observed.zoo is None or observed.predictor is None:
        return Plan()
    suggestion = decide(observed, observed.zoo, observed.predictor, known)
    if isinstance(suggestion, NothingFits):
        return fail(observed, nothing_fits(suggestion))
    chosen = suggestion.chosen
    options = f", {chosen.regime.options}" if chosen.regime.options else ""
    message = (
        f"{chosen.model}, learning rate {chosen.learning_rate:g}, {chosen.frozen_stages} frozen stages, "
        f"{chosen.iterations} steps of {chosen.batch_size} images{options}: "
        f"predicted {predicted(chosen.regime)} in {chosen.seconds:.0f}s, "
        f"the best of {suggestion.candidates} candidates (predictor version {suggestion.predictor_version})"
    )
    if observed.spec.strategy == RACE.name and suggestion.runners_up:
        message += f"; it races with up to {len(suggestion.runners_up)} others, if there is time for them"
    document = schedule_document(observed, observed.zoo, known, suggestion)
    return observed.write("schedule", document, Event("Scheduled", message, "schedule"))


def predicted(regime: Regime) -> str:
    """The accuracy that is predicted, with its interval, in words."""
    interval = "" if regime.interval is None else f" (90% interval {regime.interval})"
    return f"{percent(regime.predicted_accuracy)}{interval}"


def finetune(observed: ObservedRequest, known: ProbeResult, decided: Schedule) -> Plan:
    """Run what was scheduled, and record what it came to."""
    tried = latest_try(observed.jobs, FINETUNE)
    if tried is None:
        return Plan(jobs=(finetune_job(observed, FINETUNE, known, decided),))
    if not tried.finished:
        return Plan()
    outcome = as_asked(observed, decided, tried.outcomes[0])
    if isinstance(outcome.result, FinetuneResult):
        return record_result(observed, outcome.result)
    if outcome.failure == "InvalidResult" and tried.step == str(FINETUNE):
        return Plan(jobs=(finetune_job(observed, FINETUNE.again(), known, decided),))
    if outcome.failure == "Diverged":
        return record_divergence(observed, decided, outcome.message or "training diverged")
    return fail(observed, failure_of(outcome, FINETUNE))


def as_asked(observed: ObservedRequest, decided: Schedule, outcome: PodOutcome) -> PodOutcome:
    """The outcome, unless its result is of something else than what was asked for: that is no valid result."""
    result = outcome.result
    if not isinstance(result, FinetuneResult):
        return outcome
    if result.seconds > seconds(observed.spec.time_limit):
        text = f"the pod reports {result.seconds:.1f} s, over the time limit of {observed.spec.time_limit}"
    elif other := next((run.regime for run in result.runs if run.regime not in decided.regimes), None):
        text = f"the pod reports a run of {other.model} that was not scheduled"
    elif len({run.regime for run in result.runs}) < len(result.runs):
        text = "the pod reports two runs of one regime"
    else:
        return outcome
    return PodOutcome(outcome.index, failure="InvalidResult", message=text)


def record_result(observed: ObservedRequest, result: FinetuneResult) -> Plan:
    """Record what was reached."""
    message = (
        f"validation accuracy {100 * result.validation_accuracy:.1f}% "
        f"in {result.seconds:.0f}s of {observed.spec.time_limit}{best_of(result)}; the model is at {result.output_uri}"
    )
    document = Result(result=result, runs=result.runs, failure=None)
    return observed.write("result", document, Event("FineTuned", message, "finetune"))


def best_of(result: FinetuneResult) -> str:
    """Of how many candidates a model is the best."""
    return f", the best of {len(result.runs)} candidates" if len(result.runs) > 1 else ""


def record_divergence(observed: ObservedRequest, decided: Schedule, message: str) -> Plan:
    """Record that the chosen regime diverges, which is worth knowing: it teaches chance accuracy."""
    regime = decided.regimes[0]
    run = Run(regime=regime, steps=regime.steps, validation_accuracy=None, failure="Diverged", seconds=0.0)
    document = Result(result=None, runs=(run,), failure=message)
    return observed.write("result", document, Failure("Diverged", message).event)


def recorded(observed: ObservedRequest, job: ObservedJob) -> bool:
    """Whether what a Job came to is recorded, so that the Job can go."""
    records, step = observed.records, parse_request_step(job.step)
    if records.failed is not None:
        return True
    if step is None:
        return False
    return (records.probe if step.base == PROBE.base else records.result) is not None


def suspensions(observed: ObservedRequest) -> tuple[SuspendJob, ...]:
    """``suspend`` stops the fine-tuning, never the probe: a suspended request is still planned."""
    steps = {str(FINETUNE), str(FINETUNE.again())}
    jobs = (job for job in observed.jobs.values() if job.step in steps)
    return tuple(filter(None, (suspension_of(job, observed.spec.suspend) for job in jobs)))
