"""The strategy ``Race`` on recorded curves: the best few share one time limit, weak ones stop early.

The predictor's best candidates start, each for an equal part of the first rung's share of the time limit. Every later
rung is a smaller share, and goes to whoever is predicted to reach most if it alone had all the time that is left, given
its curve so far: whoever is no longer promising stops, and comes back only if the others disappoint. Every run goes on
from where it stopped, is charged what it cost, and goes nowhere that it would reach past the limit. What recorded runs
have shown are prefixes of schedules that were laid over 50 epochs.

A decision sees the points that were reached, and of later ones when they come and how far they are: :func:`planned`
takes what they reached away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from nasoa_runtime.online.records import RecordedRun
from nasoa_runtime.online.replayed import Floats, Offer, Played
from nasoa_runtime.online.rungs import FIRST_RUNG, RUNG, STARTERS


@dataclass(frozen=True)
class Standing:
    """How far each run has got."""

    offer: Offer
    reached: Mapping[int, int] = field(default_factory=dict)
    """The last point that was reached, by the curve's number, in the order of starting."""
    spent: float = 0.0
    """Seconds of all runs together."""

    @property
    def left(self) -> float:
        """Seconds until the time limit."""
        return self.offer.seconds - self.spent

    def own_seconds(self, curve: int) -> float:
        """What a run has cost so far."""
        return self.offer.curves[curve][self.reached[curve]].gpu_seconds if curve in self.reached else 0.0

    def cost(self, curve: int, point: int) -> float:
        """Seconds from where a run is to a point."""
        return self.offer.curves[curve][point].gpu_seconds - self.own_seconds(curve)

    def advanced(self, curve: int, point: int) -> Standing:
        """The standing after a run has gone on to a point."""
        return replace(self, reached={**self.reached, curve: point}, spent=self.spent + self.cost(curve, point))

    def furthest(self, curve: int, seconds: float) -> int:
        """The last point that a run reaches within so many seconds more; where it is, or -1, if it reaches none."""
        here, own = self.reached.get(curve, -1), self.own_seconds(curve)
        points = self.offer.curves[curve]
        while here + 1 < len(points) and points[here + 1].gpu_seconds - own <= seconds:
            here += 1
        return here


def planned(point: RecordedRun) -> RecordedRun:
    """A point that is considered: when it comes and how far it is, without what it reached."""
    return replace(point, acc=float("nan"), best_acc=float("nan"))


def race(offer: Offer) -> Played:
    """Race the candidates of ``offer``; the best accuracy that any run has shown is delivered."""
    standing = started(offer)
    while (step := promoted(standing)) is not None:
        standing = standing.advanced(*step)
    runs = [offer.curves[curve][: point + 1] for curve, point in standing.reached.items()]
    best = max(range(len(runs)), key=lambda number: runs[number][-1].best_acc)
    return Played(runs, best, standing.spent)


def started(offer: Offer) -> Standing:
    """The first rung. Candidates start in the order of their predictions, each with an equal part of the rung.

    One whose first point takes longer than its part runs to there if the rung has room for it; the best has all of the
    time limit for that.
    """
    predicted = offer.predict([planned(curve[-1]) for curve in offer.curves])
    costs = np.array([curve[-1].gpu_seconds for curve in offer.curves])
    starters = [int(number) for number in np.lexsort((costs, -predicted))[:STARTERS]]
    rung = FIRST_RUNG * offer.seconds
    part = rung / len(starters)
    standing = Standing(offer)
    for number in starters:
        point = max(0, standing.furthest(number, part))
        room = rung - standing.spent if standing.reached else offer.seconds
        if standing.cost(number, point) <= room:
            standing = standing.advanced(number, point)
    return standing


def promoted(standing: Standing) -> tuple[int, int] | None:
    """The next rung: the run that it is for, and the point to which that goes; ``None`` if none can go further."""
    for number in by_promise(standing, list(standing.reached)):
        here, end = standing.reached[number], standing.furthest(number, standing.left)
        if end > here:
            return number, min(max(standing.furthest(number, RUNG * standing.offer.seconds), here + 1), end)
    return None


def by_promise(standing: Standing, running: Sequence[int]) -> list[int]:
    """Runs by what each would reach alone in the time that is left, best first; equals in the order of starting."""
    curves = [standing.offer.curves[number] for number in running]
    prefixes = [curve[: standing.reached[number] + 1] for number, curve in zip(running, curves, strict=True)]
    ends = [standing.furthest(number, standing.left) for number in running]
    targets = [planned(curve[end]) for curve, end in zip(curves, ends, strict=True)]
    promise: Floats = standing.offer.finals(prefixes, targets)
    return [running[place] for place in np.argsort(-promise, kind="stable")]
