"""What is decided in a race: who starts, whose the next rung is, when the rate falls, and who is out. Pure.

The next rung goes to whoever is predicted to reach most if it alone had all the time that is left: what it has shown,
and what the predictor expects the steps from here to there to add. That is the rule of replays too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nasoa_runtime.boundary import Regime
from nasoa_runtime.online.rungs import FIRST_RUNG, RUNG
from nasoa_runtime.pods.training.budget import affordable_steps

CONTENDERS = 5
"""Runs whose weights are held at a time, at most: of those that started, the most promising."""
LEAST_CONTENDERS = 2
COPIES = 4
"""Of a network's weights that a waiting run takes: they, what its optimiser keeps, their average, and the best ones."""
MEMORY_SHARE = 0.5
"""Of the memory that is free when the race begins, for waiting runs."""
FALL = 0.4
"""Share of the trainable time, and of a regime's steps, that is kept for the rate to fall in."""
LEAST_STEPS = 8
"""Fewer than these show nothing."""


@dataclass(frozen=True)
class Standing:
    """How far a run has come."""

    number: int
    """Of its regime."""
    regime: Regime
    steps: int
    best: float
    """The best validation accuracy so far."""
    step_seconds: float
    """What one more step takes."""
    annealed: bool = False
    """Whether its rate has come down."""
    failed: bool = False
    """Whether it diverged, or ran out of memory. What it had shown by then may be delivered."""

    @property
    def over(self) -> bool:
        """Whether it can't go on."""
        return self.annealed or self.failed

    def steps_within(self, seconds: float) -> int:
        """How many more steps it does in so many seconds."""
        if self.over:
            return 0
        return min(self.regime.steps - self.steps, affordable_steps(seconds, 0.0, self.step_seconds))

    def promise(self, seconds: float) -> float:
        """What it is predicted to reach in so many seconds more."""
        return self.best + self.regime.predicted_gain(self.steps, self.steps + self.steps_within(seconds))

    @property
    def must_fall(self) -> bool:
        """Whether its regime has no more steps left than are kept for the rate to fall in."""
        return self.steps >= held_steps(self.regime)


def held_steps(regime: Regime) -> int:
    """How many steps of a regime may be done before the rate falls."""
    return max(1, int((1 - FALL) * regime.steps))


def contenders_within(free_bytes: float, network_bytes: int) -> int:
    """How many runs may be held, one of which is on the device."""
    waiting = int(MEMORY_SHARE * free_bytes / (COPIES * max(network_bytes, 1)))
    return min(max(waiting + 1, LEAST_CONTENDERS), CONTENDERS)


@dataclass(frozen=True)
class TimeLeft:
    """The time that there is at a moment of a race."""

    seconds: float
    """To train in; what ending takes is set aside."""
    trainable_seconds: float
    """What there was to train in when the race began."""
    building_seconds: float
    """What it takes to go on with another run than the last one."""
    last: int | None
    """The number of the run that was trained last, whose network is on the device."""
    reading_seconds: Mapping[int, float] = field(default_factory=dict)
    """By number: what it takes besides to read the images again, for models that want them of another size."""

    def of(self, standing: Standing) -> float:
        """Seconds that a run would have if it were alone from now on."""
        if standing.number == self.last:
            return self.seconds
        return self.seconds - self.building_seconds - self.reading_seconds.get(standing.number, 0.0)


@dataclass(frozen=True)
class Rung:
    """Who goes on."""

    number: int
    annealing: bool
    """Whether for all of the time that is left, over which the rate falls."""


def starting(
    overheads: Sequence[float], step_seconds: Sequence[float], trainable_seconds: float, *, most: int | None = None
) -> int:
    """How many of the best candidates have room in the first rung.

    Each must train for at least as long as it takes to be built and validated, and for a few steps.

    Args:
        overheads: Seconds to build and to validate each; of the first, which is built, to validate.
        step_seconds: Of each.
        trainable_seconds: What there is to train in.
        most: At most so many.
    """
    room = FIRST_RUNG * trainable_seconds
    for count, (overhead, step) in enumerate(zip(overheads, step_seconds, strict=True)):
        room -= least_seconds(overhead, step)
        if room < 0 or count == most:
            return count
    return len(overheads)


def least_seconds(overhead_seconds: float, step_seconds: float) -> float:
    """What it takes at least to start a candidate and learn something of it."""
    return overhead_seconds + max(overhead_seconds, LEAST_STEPS * step_seconds)


def rung_seconds(limit_seconds: float, overhead_seconds: float) -> float:
    """How long a later rung is: a share of the limit, and long enough to be worth its building and validating."""
    return max(RUNG * limit_seconds, least_seconds(overhead_seconds, 0.0))


def by_promise(standings: Mapping[int, Standing], time: TimeLeft) -> list[Standing]:
    """Runs by what each is predicted to reach, best first; of equals the one that was trained last, then in order."""
    return sorted(
        standings.values(),
        key=lambda standing: (-standing.promise(time.of(standing)), standing.number != time.last),
    )


def next_rung(standings: Mapping[int, Standing], time: TimeLeft) -> Rung | None:
    """Whose the next rung is; ``None`` if nobody can go on, or nobody will overtake a run that has ended.

    The rate falls once no other run is predicted to reach what the leader has shown already, which needs no more
    waiting; or else when the time that is left is what a fall should have.
    """
    able = [standing for standing in by_promise(standings, time) if standing.steps_within(time.of(standing)) > 0]
    if not able:
        return None
    leader, *others = able
    ended = [standing.best for standing in standings.values() if standing.annealed]
    if ended and max(ended) >= min(leader.promise(time.of(leader)), 1.0):
        return None
    rivals = any(min(other.promise(time.of(other)), 1.0) > leader.best for other in others)
    late = time.seconds <= FALL * time.trainable_seconds
    return Rung(leader.number, annealing=late or leader.must_fall or not rivals)


def out(standings: Mapping[int, Standing], time: TimeLeft, contenders: int = CONTENDERS) -> list[int]:
    """Who is out: all but the most promising; whoever has shown most stays, as its weights may be delivered."""
    if not standings:
        return []
    best = max(standings.values(), key=lambda standing: standing.best)
    rest = [standing for standing in by_promise(standings, time) if standing.number != best.number]
    useless = [standing.number for standing in rest if standing.over]
    return useless + [standing.number for standing in rest if not standing.over][contenders - 1 :]
