"""Optuna over recorded curves: its samplers suggest, its pruners stop, recorded runs answer.

A suggestion stands for the nearest recorded run that was not used yet, and the study is told that run's own settings,
so that a sampler learns from what was run instead of what it had in mind. Resources are shares of the time limit, the
same rungs that the other searches have. Optuna's pruners never take up again what they have stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.pruners import BasePruner, HyperbandPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from benchmarks.peers import ETA, RUNGS, Bench
from benchmarks.rows import CHOSEN_WORDS, SETTINGS, number, word
from nasoa_runtime.online.records import Curve

optuna.logging.set_verbosity(optuna.logging.WARNING)
STEPS = tuple(round(share / RUNGS[0]) for share in RUNGS)
"""The rungs as Optuna counts them: multiples of the smallest."""
Setting = dict[str, Any]
Space = dict[str, BaseDistribution]


class Nearest(BaseSampler):
    """Asks another sampler, and suggests the nearest of the recorded runs that were not used yet."""

    def __init__(self, inner: BaseSampler, curves: Sequence[Curve]) -> None:
        """All of ``curves`` are there to be used."""
        self.inner = inner
        self.settings = [setting(curve) for curve in curves]
        self.space = space_of(self.settings)
        self.waiting = list(range(len(curves)))
        self.used = -1
        """The run that the last suggestion stands for."""

    def infer_relative_search_space(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> Space:
        """All settings are suggested at once."""
        del study, trial
        return self.space

    def sample_relative(self, study: optuna.Study, trial: optuna.trial.FrozenTrial, search_space: Space) -> Setting:
        """The settings of the run that is used next."""
        together = self.inner.infer_relative_search_space(study, trial)
        drawn = dict(self.inner.sample_relative(study, trial, together))
        for name, distribution in search_space.items():
            if name not in drawn:
                drawn[name] = self.inner.sample_independent(study, trial, name, distribution)
        self.used = min(self.waiting, key=lambda run: (distance(drawn, self.settings[run], search_space), run))
        self.waiting.remove(self.used)
        return {name: self.settings[self.used][name] for name in search_space}

    def sample_independent(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        """Never needed: every setting was suggested."""
        raise NotImplementedError(param_name)


def setting(curve: Curve) -> Setting:
    """What a search may set of a run: everything but the dataset and how long it goes."""
    run = curve[0]
    return {name: number(run, name) for name in SETTINGS} | {name: word(run, name) for name in CHOSEN_WORDS}


def space_of(settings: Sequence[Setting]) -> Space:
    """The settings that differ between runs, each over what the runs have."""
    space: Space = {}
    for name in settings[0]:
        values = sorted({one[name] for one in settings})
        if len(values) < 2:
            continue
        words = name in CHOSEN_WORDS
        space[name] = CategoricalDistribution(values) if words else FloatDistribution(values[0], values[-1])
    return space


def distance(one: Mapping[str, Any], other: Mapping[str, Any], space: Space) -> float:
    """The sum over settings of the gap, in ranges; words that differ are a range apart."""
    gaps = 0.0
    for name, distribution in space.items():
        if isinstance(distribution, FloatDistribution):
            gaps += abs(one[name] - other[name]) / (distribution.high - distribution.low)
        else:
            gaps += one[name] != other[name]
    return gaps


def search(bench: Bench, sampler: BaseSampler, pruner: BasePruner, name: str) -> float:
    """Spend the budget: suggest, train to the next rung, stop what the pruner stops; the best accuracy that was shown.

    ``name`` is the study's: Hyperband draws the bracket of a trial from it.
    """
    nearest = Nearest(sampler, bench.curves)
    study = optuna.create_study(direction="maximize", sampler=nearest, pruner=pruner, study_name=name)
    while nearest.waiting:
        trial = study.ask(nearest.space)
        for share, step in zip(RUNGS, STEPS, strict=True):
            accuracy = bench.train(nearest.used, share * bench.seconds)
            if accuracy is None:
                return bench.best
            trial.report(accuracy, step)
            if share < 1.0 and trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, accuracy)
    return bench.best


def hyperband() -> HyperbandPruner:
    """Hyperband over the same rungs."""
    return HyperbandPruner(min_resource=STEPS[0], max_resource=STEPS[-1], reduction_factor=ETA)


def successive_halving() -> SuccessiveHalvingPruner:
    """Asynchronous successive halving over the same rungs."""
    return SuccessiveHalvingPruner(min_resource=STEPS[0], reduction_factor=ETA)


SEARCHES: dict[str, tuple[Callable[[int], BaseSampler], Callable[[], BasePruner]]] = {
    "Optuna TPE, Hyperband": (lambda seed: TPESampler(seed=seed), hyperband),
    "Optuna TPE, ASHA": (lambda seed: TPESampler(seed=seed), successive_halving),
    "Optuna random, ASHA": (lambda seed: RandomSampler(seed=seed), successive_halving),
}
