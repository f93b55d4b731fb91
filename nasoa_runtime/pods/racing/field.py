"""Who is in a race and who was: their standings, what each run has come to, and the time that there is for them.

Whatever depends on time is agreed with the other workers, so that all of them take the same way through a race.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from nasoa_runtime.boundary import Regime, Run
from nasoa_runtime.pods.failures import DivergedError, OutOfMemoryError, TimedOutError
from nasoa_runtime.pods.memory import free_bytes
from nasoa_runtime.pods.one_shot import failure_of, let_go, would_fail
from nasoa_runtime.pods.racing.bench import Bench, UnusableStateError
from nasoa_runtime.pods.racing.keeping import PAUSES_SECONDS
from nasoa_runtime.pods.racing.standings import CONTENDERS, Standing, TimeLeft, by_promise, contenders_within, out
from nasoa_runtime.pods.retrying import retrying
from nasoa_runtime.pods.training.finetuning import Finetuning
from nasoa_runtime.pods.training.request import Request
from nasoa_runtime.pods.training.session import COST_SHARE
from nasoa_runtime.storage.s3 import StoreUnavailable

log = logging.getLogger(__name__)

ANNEALED = 1.0
"""The progress of a rate that has come down."""


@dataclass
class Field:
    """The runs of a race."""

    request: Request
    bench: Bench
    standings: dict[int, Standing] = field(default_factory=dict)
    """Of those that may go on or be delivered, by the numbers of their regimes."""
    runs: dict[int, Run] = field(default_factory=dict)
    """What each that has started was, in that order."""
    trainable_seconds: float = 0.0
    """What there was to train in when the race began."""
    failure: DivergedError | OutOfMemoryError | None = None
    """The first one."""
    _contenders: int = CONTENDERS
    _saving_seconds: float = 0.0

    def __post_init__(self) -> None:
        self._began_seconds = self.request.clock.used_seconds()

    # --- What is known --------------------------------------------------------------------------------------------

    def agree(self, value: float) -> float:
        """The first worker's value."""
        return self.request.target.agree(value)

    def regime(self, number: int) -> Regime:
        """The regime of this number."""
        return self.request.document.regimes[number]

    def left(self) -> TimeLeft:
        """The time to train in; what ending takes is set aside, another network's building included."""
        bench, clock = self.bench, self.request.clock
        reserve = replace(bench.costs, building_seconds=bench.building_seconds).reserve_seconds(clock.limit_seconds)
        seconds = self.agree(clock.remaining_seconds() - reserve)
        reading = {number: self.agree(self.request.reading_seconds(self.regime(number))) for number in self.standings}
        return TimeLeft(seconds, self.trainable_seconds, bench.building_seconds, bench.number, reading)

    def overhead_seconds(self, number: int) -> float:
        """What it takes to get a run ready, unless it is on the device, and to validate it."""
        building = 0.0 if number == self.bench.number else self.building_seconds(number)
        return building + self.bench.costs.validation_seconds

    def building_seconds(self, number: int) -> float:
        """What it takes to get a run ready that is not on the device."""
        return self.bench.building_seconds + self.request.reading_seconds(self.regime(number))

    def leader(self) -> Standing | None:
        """Whoever has shown most; of equals the one on the device."""
        return max(
            self.standings.values(),
            key=lambda standing: (standing.best, standing.number == self.bench.number),
            default=None,
        )

    def ended(self) -> list[Run]:
        """Runs that go no further."""
        return [run for number, run in self.runs.items() if number not in self.standings]

    def fails(self, number: int) -> bool:
        """Whether a run has failed, or has what made another one fail."""
        failed = [run for run in self.runs.values() if run.failure is not None]
        return any(run.regime == self.regime(number) for run in failed) or would_fail(self.regime(number), failed)

    # --- Training ---------------------------------------------------------------------------------------------------

    def takes(self, number: int, *, checkpoint_uri: str | None = None) -> bool:
        """Whether a run is on the device, after it was put there; if not, it is noted why, and it is out."""
        clock, first = self.request.clock, self.bench.upload is None
        started = clock.used_seconds()
        try:
            size = self.bench.take(number, self.ended(), checkpoint_uri=checkpoint_uri).network_bytes
        except UnusableStateError as error:
            log.warning("What is kept of %s can't be used, its run is out: %s", self.regime(number).model, error)
            self.forget(number)
            return False
        except OutOfMemoryError as error:
            seconds = clock.used_seconds() - started
            run = self.runs.get(number) or Run(
                regime=self.regime(number), steps=0, validation_accuracy=None, seconds=seconds
            )
            self.runs[number] = run.model_copy(update={"failure": failure_of(error)})
            self.standings.pop(number, None)
            self._let_go(number, error)
            return False
        if first:
            workers = self.request.target.world
            self._contenders = int(self.agree(contenders_within(free_bytes() / workers, size)))
        return True

    def train(self, number: int, train: Callable[[Finetuning], None], *, to_its_end: bool = False) -> None:
        """Train the run on the device, and note what it has come to, whatever that is."""
        active = self.bench.active
        assert active is not None
        error: DivergedError | OutOfMemoryError | None = None
        try:
            train(active)
        except TimedOutError as late:
            log.warning("%s", late)
            to_its_end = True
        except (DivergedError, OutOfMemoryError) as failed:
            error = failed
        self.runs[number] = run = active.record(None if error is None else failure_of(error))
        step_seconds = self.agree(active.trainer.pace.expected_seconds or active.regime.step_seconds)
        if active.best is not None:
            self.standings[number] = Standing(
                number,
                active.regime,
                run.steps,
                self.agree(active.best.accuracy),
                step_seconds,
                annealed=error is None and (to_its_end or active.trainer.progress >= ANNEALED),
                failed=error is not None,
            )
        elif error is None:
            # Not even one step was affordable.
            self.bench.drop(number)
        del active
        if error is not None:
            self._let_go(number, error)

    def _let_go(self, number: int, error: DivergedError | OutOfMemoryError) -> None:
        """Let go of a run that failed, except for weights of it that may be delivered."""
        log.warning("%s failed: %s", self.regime(number).model, error)
        self.failure = self.failure or error
        if number in self.standings:
            self.bench.park()
        else:
            self.bench.drop(number)
        let_go(error, self.request.target)

    def drop_those_out(self) -> None:
        """Forget the weights of all but the most promising."""
        for number in out(self.standings, self.left(), self._contenders):
            log.info("%s is out.", described(self.runs[number]))
            self.forget(number)

    def forget(self, number: int) -> None:
        """A run is out; what it was stays known."""
        self.standings.pop(number, None)
        self.bench.drop(number)

    # --- Saving -----------------------------------------------------------------------------------------------------

    def _unsaved(self) -> list[int]:
        """Runs whose state in S3 is older than the one here, the most promising first."""
        order = [standing.number for standing in by_promise(self.standings, self.left())]
        return [number for number in order if not self.agree(float(self.bench.saved(number)))]

    def save_within_budget(self) -> None:
        """Save what has changed, as long as all that takes no more than its share of the time."""
        clock = self.request.clock
        for number in self._unsaved():
            allowed = COST_SHARE * (clock.used_seconds() - self._began_seconds)
            if self.agree(allowed - self._saving_seconds - self.bench.costs.upload_seconds) < 0:
                return
            started = clock.used_seconds()
            away = 0.0
            try:
                self.bench.save(number, self.ended())
            except StoreUnavailable as error:
                log.warning("Checkpoint not written, the race goes on: %s", error)
                away = 1.0
            self._saving_seconds += clock.used_seconds() - started
            if self.agree(away):
                return

    def save_all(self) -> None:
        """On the way out: save what has changed, the most promising first, as far as there is time.

        Raises:
            StoreUnavailable: The store did not answer.
        """
        running = self.bench.number
        beginning = [] if running is None or running in self.standings or self.bench.saved(running) else [running]
        for number in (*beginning, *self._unsaved()):
            self._save(number)

    def _save(self, number: int) -> None:
        retrying(lambda: self.bench.save(number, self.ended()), PAUSES_SECONDS)


def described(run: Run) -> str:
    """A run in a few words."""
    reached = "no accuracy" if run.validation_accuracy is None else f"{100 * run.validation_accuracy:.1f}%"
    regime = run.regime
    return (
        f"{regime.model} at learning rate {regime.learning_rate:.3g} with {regime.frozen_stages} frozen stages "
        f"({reached} after {run.steps} steps)"
    )
