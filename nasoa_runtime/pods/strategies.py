"""The table of strategies, the pod's half: which of the regimes that it is handed it runs, and how.

An entry is a function from the request to what was trained. It keeps its own checkpoints, and ends with the error of
its first failure where nothing can be delivered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nasoa_runtime.pods import one_shot
from nasoa_runtime.pods.failures import BadInputError
from nasoa_runtime.pods.racing import race
from nasoa_runtime.pods.training.request import Request, Trained

Strategy = Callable[[Request], Trained]


def strategy_named(name: str) -> Strategy:
    """The strategy of this name.

    Raises:
        BadInputError: There is none.
    """
    if name not in STRATEGIES:
        msg = f"there is no strategy {name!r}: write {' or '.join(STRATEGIES)}."
        raise BadInputError(msg, "strategy")
    return STRATEGIES[name]


STRATEGIES: Mapping[str, Strategy] = {race.NAME: race.race, one_shot.NAME: one_shot.one_shot}
