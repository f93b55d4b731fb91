"""Why a request got the schedule that it got: what was decided, what came of it, and what the predictor says now. Pure.

The decision is read as it was persisted. All else is asked of a predictor that may have learned since, and of the zoo
as it is: what experts think and what features contribute is not recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nasoa_runtime.api.finetune import FineTuneRequestSpec
from nasoa_runtime.boundary import DatasetStatistics, ProbeResult, Regime, Run
from nasoa_runtime.documents.outcomes import ModelFacts
from nasoa_runtime.documents.request import Result, Schedule
from nasoa_runtime.documents.zoo import ZooManifest
from nasoa_runtime.durations import LONGEST_SECONDS, duration, seconds
from nasoa_runtime.online.candidates import Candidate, NothingFits, Suggestion
from nasoa_runtime.online.contributions import contributions
from nasoa_runtime.online.decision import model_facts
from nasoa_runtime.online.description import Batch, describe
from nasoa_runtime.online.hedged import Hedged
from nasoa_runtime.online.predictor import as_accuracies
from nasoa_runtime.online.ranking import Ranking
from nasoa_runtime.online.regimes import Regimes
from nasoa_runtime.online.state import PredictorState
from nasoa_runtime.planning import ranked_for, suggest_for, suggested_of, unnamed_batch_size

OTHER_LIMITS = (0.5, 1.0, 2.0)
"""What else the time limit might have been, as multiples of what it is."""
SHORTEST_SECONDS = 0.001
"""That a time limit can be written as."""
FORETOLD = ("step_seconds", "predicted_accuracy", "predicted_low", "predicted_high", "predicted_curve")
"""Fields of a regime that say nothing of how a run is trained."""


@dataclass(frozen=True)
class HandedOver:
    """A regime of the schedule, and what became of it."""

    regime: Regime
    run: Run | None
    """``None`` where it was not started, or nothing is known yet."""
    delivered: bool = False

    @property
    def inside(self) -> bool | None:
        """Whether the accuracy lay in its interval; ``None`` where nothing can be compared.

        What was foretold is the end of a run, so one that a race stopped is not compared with it.
        """
        low, high = self.regime.predicted_low, self.regime.predicted_high
        if low is None or high is None or self.run is None or not self.run.annealed:
            return None
        reached = self.run.validation_accuracy
        return None if reached is None or self.run.failure is not None else low <= reached <= high


@dataclass(frozen=True)
class Opinion:
    """What is said now of one candidate."""

    regime: Regime
    """Its prediction and interval are those of now."""
    chosen: bool
    by_expert: tuple[float, ...]
    """In the order of :attr:`Explanation.experts`; before they are mixed they may lie outside [0, 1]."""


@dataclass(frozen=True)
class Reasons:
    """What makes the prediction of the chosen candidate another than that of the mean candidate."""

    predicted: float
    average: float
    """Of all candidates. The contributions sum to the difference."""
    groups: dict[str, float]
    """Group of features -> what it contributes."""


@dataclass(frozen=True)
class AtLimit:
    """What would be chosen now under a time limit."""

    seconds: float
    best: Candidate | NothingFits


@dataclass(frozen=True)
class Explanation:
    """All that is to be said of a request's choice."""

    handed_over: tuple[HandedOver, ...]
    """The chosen one first; empty where nothing was scheduled."""
    experts: tuple[tuple[str, float], ...]
    """Names and weights of those that are mixed."""
    opinions: tuple[Opinion, ...]
    """Of the chosen candidate, then of each model's best, best first; empty where nothing was chosen nor fits now."""
    reasons: Reasons | None
    """``None`` where only the whole of a prediction is known, or nothing fits that it could be compared with."""
    limits: tuple[AtLimit, ...]
    """Shortest first."""


def explain(
    spec: FineTuneRequestSpec,
    zoo: ZooManifest,
    probe: ProbeResult,
    predictor: PredictorState,
    schedule: Schedule | None = None,
    result: Result | None = None,
) -> Explanation:
    """Explain a request's choice; before there is one, the choice that would be made now.

    Args:
        spec: what was asked for.
        zoo: as it is now.
        probe: what was found out for the request.
        predictor: as it is now; asking changes nothing.
        schedule: what was decided.
        result: what came of it.
    """
    ranking = ranked_for(spec, zoo, probe, predictor)
    now = ranking if isinstance(ranking, NothingFits) else suggested_of(ranking, spec)
    chosen = schedule.regimes[0] if schedule is not None else _best_of(now)
    opinions: list[Opinion] = []
    reasons = None
    if chosen is not None:
        facts = facts_of(chosen.model, schedule, zoo, probe.statistics)
        run = describe((facts,), probe.statistics, Regimes.of((chosen,), unnamed_batch_size(spec)))
        opinions += _opinions(predictor, run, [chosen], chosen=True)
    if chosen is not None and isinstance(ranking, Ranking):
        opinions += [known for known in best_of_models(predictor, ranking) if not _alike(known.regime, chosen)]
        reasons = reasons_for(predictor, ranking.runs, run)
    return Explanation(
        handed_over=handed_over(schedule, result),
        experts=experts_of(predictor),
        opinions=tuple(opinions),
        reasons=reasons,
        limits=tuple(at_limits(spec, zoo, probe, predictor, now)),
    )


def handed_over(schedule: Schedule | None, result: Result | None) -> tuple[HandedOver, ...]:
    """What was scheduled, each with its run."""
    if schedule is None:
        return ()
    runs = () if result is None else result.runs
    delivered = None if result is None or result.result is None else result.result.runs[result.result.chosen]
    return tuple(
        HandedOver(regime, run, run is not None and run == delivered)
        for regime in schedule.regimes
        for run in (next((run for run in runs if run.regime == regime), None),)
    )


def facts_of(model: str, schedule: Schedule | None, zoo: ZooManifest, dataset: DatasetStatistics) -> ModelFacts:
    """What the predictor was told of a model when the request was planned, else what it would be told now."""
    if schedule is not None:
        return next(facts for facts in schedule.facts if facts.name == model)
    return next(model_facts(known, dataset) for known in zoo.models if known.name == model)


def experts_of(predictor: PredictorState) -> tuple[tuple[str, float], ...]:
    """Names and weights of those that are mixed; of a predictor that mixes none its own."""
    mixed = predictor.predictor
    if not isinstance(mixed, Hedged):
        return ((mixed.algorithm, 1.0),)
    return tuple((expert.name, float(weight)) for expert, weight in zip(mixed.experts, mixed.weights, strict=True))


def best_of_models(predictor: PredictorState, ranking: Ranking) -> list[Opinion]:
    """What is said of the best candidate of each model, best first."""
    _, first = np.unique(ranking.regimes.model[ranking.order], return_index=True)
    numbers = ranking.order[np.sort(first)]
    regimes = [ranking.candidate(int(number)).regime for number in numbers]
    return _opinions(predictor, ranking.runs.take(numbers), regimes, chosen=False)


def reasons_for(predictor: PredictorState, candidates: Batch, run: Batch) -> Reasons | None:
    """What each group of features contributes to the prediction of ``run``; ``None`` if only the whole is known."""
    if not isinstance(predictor.predictor, Hedged):
        return None
    groups = contributions(predictor.predictor, candidates, run)
    predicted = float(predictor.predict(run)[0])
    return Reasons(predicted, predicted - sum(groups.values()), groups)


def at_limits(
    spec: FineTuneRequestSpec,
    zoo: ZooManifest,
    probe: ProbeResult,
    predictor: PredictorState,
    now: Suggestion | NothingFits,
) -> Iterator[AtLimit]:
    """What would be chosen now under other time limits; ``now`` is what would be under the request's own."""
    limit = seconds(spec.time_limit)
    for factor in OTHER_LIMITS:
        other = min(max(factor * limit, SHORTEST_SECONDS), LONGEST_SECONDS)
        changed = spec.model_copy(update={"time_limit": duration(other)})
        suggested = now if factor == 1.0 else suggest_for(changed, zoo, probe, predictor)
        yield AtLimit(other, suggested if isinstance(suggested, NothingFits) else suggested.chosen)


def _best_of(now: Suggestion | NothingFits) -> Regime | None:
    return None if isinstance(now, NothingFits) else now.chosen.regime


def _opinions(predictor: PredictorState, runs: Batch, regimes: Sequence[Regime], *, chosen: bool) -> list[Opinion]:
    """What is said now of ``runs``, which ``regimes`` describe too."""
    predicted = predictor.predict(runs)
    low, high = predictor.interval(runs)
    mixed = predictor.predictor
    by_expert = mixed.opinions(runs) if isinstance(mixed, Hedged) else predicted[None]
    found = []
    for number, regime in enumerate(regimes):
        said = {
            "predicted_accuracy": float(as_accuracies(predicted[number])),
            "predicted_low": float(low[number]),
            "predicted_high": float(high[number]),
        }
        opinions = tuple(float(value) for value in by_expert[:, number])
        found.append(Opinion(regime.model_copy(update=said), chosen, opinions))
    return found


def _alike(one: Regime, other: Regime) -> bool:
    """Whether two regimes are one way to train, whatever was foretold of it."""
    left_out = set(FORETOLD)
    return one.model_dump(exclude=left_out) == other.model_dump(exclude=left_out)
