"""Which regime comes next after one has failed: a pure choice."""

from __future__ import annotations

from collections.abc import Sequence

from nasoa_runtime.boundary import Regime, Run


def next_regime(regimes: Sequence[Regime], runs: Sequence[Run]) -> Regime | None:
    """The best-ranked regime that differs in what made the earlier ones fail.

    After divergence a model is not tried with that learning rate or a higher one; after running out of memory it is
    not tried with as many or fewer frozen stages.

    Args:
        regimes: In the order of the schedule.
        runs: The runs so far, all failed.
    """
    tried = [run.regime for run in runs]
    return next((regime for regime in regimes if regime not in tried and not _would_fail(regime, runs)), None)


def _would_fail(regime: Regime, runs: Sequence[Run]) -> bool:
    for run in runs:
        if run.regime.model != regime.model:
            continue
        if run.failure == "Diverged" and regime.learning_rate >= run.regime.learning_rate:
            return True
        if run.failure == "OutOfMemory" and regime.frozen_stages <= run.regime.frozen_stages:
            return True
    return False
