"""The strategy ``Race``, as a pod runs it: rungs inside the time limit, decisions that are kept, and one survivor.

All that start share the first rung. Each later one goes to one run, at a learning rate that is held; a decision about
it is written down before it is acted on. The survivor's rate falls over the time that is left, from where it is.
Delivered are the best validated weights of any run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from nasoa_runtime.boundary import Regime, Run
from nasoa_runtime.documents.checkpoint import FinetuningState
from nasoa_runtime.documents.race import RaceDecision
from nasoa_runtime.online.rungs import FIRST_RUNG
from nasoa_runtime.pods import metrics
from nasoa_runtime.pods.failures import DivergedError, OutOfMemoryError, StoppedError, TimedOutError
from nasoa_runtime.pods.one_shot import failure_of, let_go, one_shot, would_fail
from nasoa_runtime.pods.racing.bench import Bench, Parked, UnusableStateError
from nasoa_runtime.pods.racing.keeping import PAUSES_SECONDS, Kept
from nasoa_runtime.pods.racing.standings import (
    Rung,
    Standing,
    TimeLeft,
    by_promise,
    held_steps,
    least_seconds,
    next_rung,
    out,
    rung_seconds,
    starting,
)
from nasoa_runtime.pods.retrying import retrying
from nasoa_runtime.pods.training.finetuning import Finetuning
from nasoa_runtime.pods.training.request import Request, Trained
from nasoa_runtime.pods.training.session import COST_SHARE
from nasoa_runtime.storage.s3 import StoreUnavailable

log = logging.getLogger(__name__)

NAME = "Race"
FIRST, ANNEALED = 0, 1.0


def race(request: Request) -> Trained:
    """Race as many of the regimes as there is room for; with room for one alone, run it as ``OneShot`` does.

    Raises:
        DivergedError: Every regime that was tried diverged.
        OutOfMemoryError: None fitted into memory.
        TimedOutError: Nothing fits into the limit.
    """
    return _Race(request).train()


class _Race:
    """A race, and how far it has come."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.kept = Kept(request)
        self.bench = Bench(request, self.kept)
        self.standings: dict[int, Standing] = {}
        """Of those that may go on or be delivered."""
        self.runs: dict[int, Run] = {}
        """What each that has started was, in that order."""
        self.trainable_seconds = 0.0
        self.rung = FIRST
        self.failure: DivergedError | OutOfMemoryError | None = None
        self._began_seconds = request.clock.used_seconds()
        self._saving_seconds = 0.0

    def train(self) -> Trained:
        """From wherever an earlier attempt has left off to the end."""
        decided = self.kept.decisions()
        starters = decided[FIRST] if decided else self._begin()
        if len(starters.racing) == 1:
            return one_shot(self.request, tuple(self.runs.values()), self.bench.handed_over())
        log.info("%d candidates race for %.1f s.", len(starters.racing), self._left().seconds)
        self.bench.keep_in_race()
        pod = self.request.pod
        pod.superseded += [self.kept.checkpoint_uri(number) for number in starters.racing]
        with pod.uninterrupted():
            if decided:
                self._take_up(decided)
            try:
                self._race(decided[-1] if decided else starters)
            except StoppedError:
                self._save_all()
                raise
        return self._trained()

    # --- Starting -----------------------------------------------------------------------------------------------

    def _begin(self) -> RaceDecision:
        """Get the best candidate that fits into memory ready, and decide by what that has cost how many start."""
        regimes, agree = self.request.document.regimes, self.request.target.agree
        numbers = list(range(len(regimes)))
        first = next(
            (number for number in numbers if not self._fails(number) and self._takes(number, alone=True)), None
        )
        if first is None:
            assert self.failure is not None
            raise self.failure
        able = [number for number in numbers[first:] if not self._fails(number)]
        left = self._left().seconds
        self.trainable_seconds = max(left, 1e-9)
        bench = self.bench
        overheads = [bench.costs.validation_seconds + (self._building(n) if n != first else 0.0) for n in able]
        steps = [regimes[number].step_seconds for number in able]
        count = max(1, int(agree(starting(overheads, steps, left))))
        if count == 1:
            log.info(
                "There is no race: starting and validating a second candidate would take too much of %.1f s.", left
            )
        decision = RaceDecision(
            racing=tuple(able[:count]), trainable_seconds=self.trainable_seconds, runs=tuple(self.runs.values())
        )
        return self.kept.decide(FIRST, decision) or decision

    def _fails(self, number: int) -> bool:
        """Whether it was tried and failed, or has what made another one fail."""
        failed = [run for run in self.runs.values() if run.failure is not None]
        regime = self.request.document.regimes[number]
        return any(run.regime == regime for run in failed) or would_fail(regime, failed)

    def _building(self, number: int) -> float:
        """What getting a candidate ready for the first time takes."""
        return self.bench.building_seconds + self.request.reading_seconds(self.request.document.regimes[number])

    def _takes(self, number: int, *, alone: bool = False) -> bool:
        """Whether a run is on the device, after it was put there; if not, it is noted why, and it is out."""
        clock = self.request.clock
        started = clock.used_seconds()
        try:
            self.bench.take(number, self._out(), checkpoint_uri=self.request.checkpoint_uri if alone else None)
        except UnusableStateError as error:
            log.warning("%s can't be used, its run is out: %s", self.kept.checkpoint_uri(number), error)
            self._forget(number)
            return False
        except OutOfMemoryError as error:
            run = self.runs.get(number) or Run(
                regime=self._regime(number), steps=0, validation_accuracy=None, seconds=clock.used_seconds() - started
            )
            self.runs[number] = run.model_copy(update={"failure": failure_of(error)})
            self.standings.pop(number, None)
            self._failed(number, error)
            return False
        return True

    # --- Running ------------------------------------------------------------------------------------------------

    def _race(self, decision: RaceDecision) -> None:
        """All rungs from the one that was decided last."""
        if self.rung == FIRST:
            self._first_rung(decision)
            self._save_within_budget()
        else:
            self._run(Rung(decision.racing[0], decision.annealing), decision)
        while True:
            self._check_stop()
            following = self._decide()
            if following is None:
                return
            self._run(Rung(following.racing[0], following.annealing), following)

    def _first_rung(self, decision: RaceDecision) -> None:
        """Every starter trains for an equal part of what is left of the rung."""
        clock, agree = self.request.clock, self.request.target.agree
        waiting = [number for number in decision.racing if number not in self.runs]
        spent = sum(run.seconds for number, run in self.runs.items() if number in decision.racing)
        ends = clock.used_seconds() + FIRST_RUNG * decision.trainable_seconds - spent
        self._report(len(decision.racing))
        for place, number in enumerate(waiting):
            self._check_stop()
            regime, room = self.request.document.regimes[number], agree(ends - clock.used_seconds())
            overhead = self.bench.costs.validation_seconds
            overhead += 0.0 if number == self.bench.number else self._building(number)
            if self.standings and agree(least_seconds(overhead, regime.step_seconds)) > room:
                log.info("The first rung has no room for the last %d of the candidates.", len(waiting) - place)
                break
            if not self._fails(number):
                self._train_for(number, room / (len(waiting) - place))
                self._drop_those_out()

    def _run(self, rung: Rung, decision: RaceDecision) -> None:
        """One later rung, or the survivor's last."""
        self._report(1 if rung.annealing else len(decision.racing))
        if rung.number not in self.standings:
            # Its checkpoint is lost. Where all are, the one that was to go on starts again.
            if self.standings or self._left().seconds <= 0:
                return
            self.runs.pop(rung.number, None)
        limit, overhead = self.request.document.time_limit_seconds, self._overhead()
        seconds = rung_seconds(limit, overhead)
        before = next((run for run in decision.runs if run.regime == self._regime(rung.number)), None)
        if before is not None and rung.number in self.runs:
            seconds -= self.runs[rung.number].seconds - before.seconds
        if rung.annealing:
            self._anneal(rung.number)
            self._drop_those_out()
            return  # What is left of the time is for testing and publishing.
        if seconds > 0:
            self._train_for(rung.number, seconds)
            self._drop_those_out()
        self._save_within_budget()

    def _train_for(self, number: int, seconds: float) -> None:
        """Have a run train for so many seconds, what it takes to get it ready included."""
        clock = self.request.clock
        ends = clock.used_seconds() + seconds
        if self._takes(number):
            agree, most = self.request.target.agree, held_steps(self._regime(number))
            self._guarded(number, lambda run: run.run_rung(agree(ends - clock.used_seconds()), most))

    def _anneal(self, number: int) -> None:
        """Have a run train for all the time that is left, while its rate falls."""
        if not self._takes(number):
            return

        def run(survivor: Finetuning) -> None:
            others = [standing.best for standing in self.standings.values() if standing.number != number]
            if any(best > self._best_of(number) for best in others):
                # Another run's weights may be what is delivered, and its network has to be built for that.
                survivor.costs = replace(
                    survivor.costs,
                    test_seconds=self.bench.costs.test_seconds,
                    upload_seconds=self.bench.costs.upload_seconds,
                    building_seconds=self.bench.building_seconds,
                )
            survivor.run()

        self._guarded(number, run, over=True)

    def _guarded(self, number: int, train: Callable[[Finetuning], None], *, over: bool = False) -> None:
        """Train the run on the device, and note what it has come to, whatever that is."""
        active = self.bench.active
        assert active is not None
        error: DivergedError | OutOfMemoryError | None = None
        try:
            train(active)
        except TimedOutError as late:
            log.warning("%s", late)
            over = True
        except (DivergedError, OutOfMemoryError) as failed:
            error = failed
        run = active.record(None if error is None else failure_of(error))
        self.runs[number] = run
        agree = self.request.target.agree
        step_seconds = agree(active.trainer.pace.expected_seconds or active.regime.step_seconds)
        if active.best is not None:
            self.standings[number] = Standing(
                number,
                active.regime,
                run.steps,
                agree(active.best.accuracy),
                step_seconds,
                annealed=error is None and (over or active.trainer.progress >= ANNEALED),
                failed=error is not None,
            )
        elif error is None:
            # Not even one step was affordable.
            self.bench.drop(number)
        del active
        if error is not None:
            self._failed(number, error)

    def _failed(self, number: int, error: DivergedError | OutOfMemoryError) -> None:
        """Let go of a run that failed, except for weights of it that may be delivered."""
        log.warning("%s failed: %s", self._regime(number).model, error)
        self.failure = self.failure or error
        if number in self.standings and self.bench.number == number:
            self.bench.park()
        elif number not in self.standings:
            self.bench.drop(number)
        let_go(error, self.request.target)

    def _drop_those_out(self) -> None:
        for number in out(self.standings, self._left()):
            log.info("%s is out.", _described(self.runs[number]))
            self._forget(number)

    def _forget(self, number: int) -> None:
        self.standings.pop(number, None)
        self.bench.drop(number)

    # --- Deciding -----------------------------------------------------------------------------------------------

    def _decide(self) -> RaceDecision | None:
        """Decide whose the next rung is, and write it down; ``None`` at the end."""
        time = self._left()
        rung = next_rung(self.standings, time)
        if rung is None:
            return None
        order = [standing.number for standing in by_promise(self.standings, time)]
        decision = RaceDecision(
            racing=(rung.number, *(number for number in order if number != rung.number)),
            annealing=rung.annealing,
            trainable_seconds=self.trainable_seconds,
            runs=tuple(self.runs.values()),
        )
        written = self.kept.decide(self.rung + 1, decision)
        agree = self.request.target.agree
        if agree(float(written is not None)):
            self.rung += 1
        followed = written or decision
        number, annealing = int(agree(followed.racing[0])), bool(agree(followed.annealing))
        log.info(
            "Rung %d is for %s%s; %.1f s are left.",
            self.rung, _described(self.runs[number]), ", whose rate now falls" if annealing else "", time.seconds,
        )  # fmt: skip
        return followed.model_copy(update={"racing": (number, *followed.racing[1:]), "annealing": annealing})

    def _left(self) -> TimeLeft:
        """The time to train in, as the first worker sees it."""
        bench, clock = self.bench, self.request.clock
        reserve = replace(bench.costs, building_seconds=bench.building_seconds).reserve_seconds(clock.limit_seconds)
        seconds = self.request.target.agree(clock.remaining_seconds() - reserve)
        return TimeLeft(seconds, self.trainable_seconds, bench.building_seconds, bench.number)

    def _overhead(self) -> float:
        return self.bench.building_seconds + self.bench.costs.validation_seconds

    def _regime(self, number: int) -> Regime:
        return self.request.document.regimes[number]

    def _best_of(self, number: int) -> float:
        return self.standings[number].best if number in self.standings else 0.0

    def _report(self, running: int) -> None:
        metrics.RACE_RUNG.set(self.rung + 1)
        metrics.RACE_RUNNING.set(running)

    # --- Being stopped, and going on ------------------------------------------------------------------------------

    def _check_stop(self) -> None:
        if self.request.target.agree(float(self.request.pod.stop_requested)):
            raise StoppedError

    def _out(self) -> list[Run]:
        """Runs that go no further."""
        return [run for number, run in self.runs.items() if number not in self.standings]

    def _unsaved(self) -> list[int]:
        """Runs whose state in S3 is older than the one here, the most promising first."""
        order = [standing.number for standing in by_promise(self.standings, self._left())]
        return [number for number in order if not self.request.target.agree(float(self.bench.saved(number)))]

    def _save_within_budget(self) -> None:
        """Save what has changed, as long as all that takes no more than its share of the time."""
        clock, agree = self.request.clock, self.request.target.agree
        for number in self._unsaved():
            passed = clock.used_seconds() - self._began_seconds
            if agree(self._saving_seconds + self.bench.costs.upload_seconds) > agree(COST_SHARE * passed):
                return
            started = clock.used_seconds()
            try:
                self.bench.save(number, self._out())
            except StoreUnavailable as error:
                log.warning("Checkpoint not written, the race goes on: %s", error)
                return
            self._saving_seconds += clock.used_seconds() - started

    def _save_all(self) -> None:
        """On the way out: save what has changed, the most promising first, as far as there is time."""
        running = self.bench.number
        unsaved = [] if running is None or running in self.standings else [running]
        for number in (*unsaved, *self._unsaved()):
            if not self.bench.saved(number):
                retrying(lambda number=number: self.bench.save(number, self._out()), PAUSES_SECONDS)  # type: ignore[misc]

    def _take_up(self, decided: list[RaceDecision]) -> None:
        """Where an earlier attempt has left off: by its last decision, and by the checkpoints of who was in it then.

        Of a later rung than the first, whoever has no checkpoint is out.
        """
        last = decided[-1]
        self.rung, self.trainable_seconds = len(decided) - 1, last.trainable_seconds
        self.runs = {self.request.document.regimes.index(run.regime): run for run in last.runs}
        for number in last.racing:
            checkpoint = self.kept.checkpoint(number)
            if checkpoint is None:
                continue
            state = checkpoint.state
            for run in state.runs:
                if run.regime in self.request.document.regimes:
                    self.runs.setdefault(self.request.document.regimes.index(run.regime), run)
            self.bench.parked[number] = Parked(checkpoint, saved=True)
            if state.best is not None and state.points:
                failed = number in self.runs and self.runs[number].failure is not None
                self.runs[number] = self.runs[number] if failed else _run_of(state)
                self.standings[number] = Standing(
                    number,
                    state.regime,
                    state.trainer.step,
                    state.best.accuracy,
                    _step_seconds(state),
                    annealed=state.trainer.progress >= ANNEALED,
                    failed=failed,
                )
        log.info("Rung %d goes on with %d of %d runs.", self.rung, len(self.bench.parked), len(last.racing))

    # --- Ending -------------------------------------------------------------------------------------------------

    def _trained(self) -> Trained:
        """All runs, and the one with the best weights, ready to be tested and published."""
        if not self.standings:
            if self.failure is not None:
                raise self.failure
            msg = f"of {self.request.clock.limit_seconds:.3g} s nothing was left to train in: allow more."
            raise TimedOutError(msg, "timeLimit")
        numbers = list(self.runs)
        best = max(self.standings.values(), key=lambda standing: (standing.best, standing.number == self.bench.number))
        number = best.number
        if number != self.bench.number:
            number = self._fetched(number)
        active = self.bench.active
        assert active is not None
        return Trained(tuple(self.runs.values()), {numbers.index(number): active}, NAME)

    def _fetched(self, number: int) -> int:
        """The number of the run on the device: the best one, or the last one if there is no time to build that."""
        bench = self.bench
        needed = bench.building_seconds + bench.costs.upload_seconds
        late = self.request.target.agree(self.request.clock.remaining_seconds()) < needed
        if late and bench.number is not None and bench.number in self.standings:
            log.warning("There is no time to build the network of the best run; the last one is delivered.")
            return bench.number
        bench.leave()
        bench.take(number, ())
        return number


def _run_of(state: FinetuningState) -> Run:
    """What a checkpoint says of its run."""
    return Run(
        regime=state.regime,
        steps=state.trainer.step,
        validation_accuracy=None if state.best is None else state.best.accuracy,
        step_seconds=_step_seconds(state),
        seconds=state.seconds,
        points=state.points,
    )


def _step_seconds(state: FinetuningState) -> float:
    """As seen by whoever wrote the checkpoint."""
    windows = sorted(step + loading for step, loading in state.trainer.windows)
    return windows[len(windows) // 2] if windows else state.regime.step_seconds


def _described(run: Run) -> str:
    reached = "no accuracy" if run.validation_accuracy is None else f"{100 * run.validation_accuracy:.1f}%"
    regime = run.regime
    return (
        f"{regime.model} at learning rate {regime.learning_rate:.3g} with {regime.frozen_stages} frozen stages "
        f"({reached} after {run.steps} steps)"
    )
