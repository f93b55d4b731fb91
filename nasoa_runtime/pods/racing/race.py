"""The strategy ``Race``, as a pod runs it: rungs inside the time limit, decisions that are kept, and one survivor.

All that start share the first rung. Each later one goes to one run, at a learning rate that is held; a decision about
it is written down before it is acted on. The survivor's rate falls over the time that is left, from where it is.
Delivered are the best validated weights of any run.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from nasoa_runtime.documents.race import RaceDecision
from nasoa_runtime.online.rungs import FIRST_RUNG
from nasoa_runtime.pods import metrics
from nasoa_runtime.pods.failures import StoppedError, TimedOutError
from nasoa_runtime.pods.one_shot import one_shot
from nasoa_runtime.pods.racing.bench import Bench
from nasoa_runtime.pods.racing.field import Field, described
from nasoa_runtime.pods.racing.keeping import Kept
from nasoa_runtime.pods.racing.standings import by_promise, held_steps, least_seconds, next_rung, rung_seconds, starting
from nasoa_runtime.pods.racing.taking_up import taken_up
from nasoa_runtime.pods.training.finetuning import Finetuning
from nasoa_runtime.pods.training.request import Request, Trained

log = logging.getLogger(__name__)

NAME = "Race"
FIRST = 0


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
        self.field = Field(request, self.bench)
        self.rung = FIRST

    def train(self) -> Trained:
        """From wherever an earlier attempt has left off to the end."""
        decided = self.kept.decisions()
        starters = decided[FIRST] if decided else self._begin()
        if len(starters.racing) == 1:
            return one_shot(self.request, tuple(self.field.runs.values()), self.bench.handed_over())
        self.bench.keep_in_race()
        pod = self.request.pod
        pod.superseded += [self.kept.checkpoint_uri(number) for number in starters.racing]
        with pod.uninterrupted():
            if decided:
                self.rung = len(decided) - 1
                taken_up(self.field, self.kept, decided[-1])
            try:
                self._race(decided[-1] if decided else starters)
            except StoppedError:
                self.field.save_all()
                raise
        return self._trained()

    # --- Starting -----------------------------------------------------------------------------------------------

    def _begin(self) -> RaceDecision:
        """Get the best candidate that fits into memory ready, and decide by what that has cost how many start."""
        field, numbers = self.field, range(len(self.request.document.regimes))
        uri = self.request.checkpoint_uri
        first = next((n for n in numbers if not field.fails(n) and field.takes(n, checkpoint_uri=uri)), None)
        if first is None:
            assert field.failure is not None
            raise field.failure
        able = [number for number in numbers[first:] if not field.fails(number)]
        left = field.left().seconds
        overheads = [field.overhead_seconds(number) for number in able]
        steps = [field.regime(number).step_seconds for number in able]
        count = max(1, int(field.agree(starting(overheads, steps, left))))
        if count == 1:
            log.info("There is no race: to start and to validate a second candidate takes too much of %.1f s.", left)
        else:
            log.info("%d of %d candidates race for %.1f s.", count, len(numbers), left)
        field.trainable_seconds = max(left, 1e-9)
        decision = RaceDecision(
            racing=tuple(able[:count]), trainable_seconds=field.trainable_seconds, runs=tuple(field.runs.values())
        )
        return self.kept.decide(FIRST, decision) or decision

    def _first_rung(self, decision: RaceDecision) -> None:
        """Every starter trains for an equal part of what is left of the rung."""
        field, clock = self.field, self.request.clock
        spent = sum(run.seconds for number, run in field.runs.items() if number in decision.racing)
        ends = clock.used_seconds() + FIRST_RUNG * decision.trainable_seconds - spent
        waiting = [number for number in decision.racing if number not in field.runs]
        self._report(len(decision.racing))
        for place, number in enumerate(waiting):
            self._check_stop()
            # Attempts that vanished may have left less than the rung.
            room = min(field.agree(ends - clock.used_seconds()), field.left().seconds)
            needed = least_seconds(field.overhead_seconds(number), field.regime(number).step_seconds)
            if field.standings and field.agree(needed) > room:
                log.info("The first rung has no room for the last %d of the candidates.", len(waiting) - place)
                return
            if not field.fails(number):
                self._train_for(number, room / (len(waiting) - place))
                field.drop_those_out()

    # --- Running ------------------------------------------------------------------------------------------------

    def _race(self, decision: RaceDecision) -> None:
        """All rungs from the one that was decided last."""
        if self.rung == FIRST:
            self._first_rung(decision)
            self.field.save_within_budget()
        else:
            self._run(decision)
        while True:
            self._check_stop()
            following = self._decide()
            if following is None:
                return
            self._run(following)

    def _run(self, decision: RaceDecision) -> None:
        """One later rung, or the survivor's last."""
        field, number = self.field, decision.racing[0]
        self._report(1 if decision.annealing else len(decision.racing))
        if number not in field.standings:
            # Its checkpoint is lost. Where all are, the one that was to go on starts again.
            if field.standings or field.left().seconds <= 0:
                return
            field.runs.pop(number, None)
        if decision.annealing:
            self._anneal(number)
            return  # What is left of the time is for testing and publishing.
        overhead = field.building_seconds(number) + self.bench.costs.validation_seconds
        seconds = rung_seconds(self.request.document.time_limit_seconds, overhead)
        before = next((run for run in decision.runs if run.regime == field.regime(number)), None)
        if before is not None and number in field.runs:
            # An earlier attempt may have done a part of it.
            seconds -= field.runs[number].seconds - before.seconds
        if field.agree(seconds) > 0:
            self._train_for(number, seconds)
            field.drop_those_out()
        field.save_within_budget()

    def _train_for(self, number: int, seconds: float) -> None:
        """Have a run train for so many seconds, what it takes to get it ready included."""
        field, clock = self.field, self.request.clock
        ends, most = clock.used_seconds() + seconds, held_steps(field.regime(number))
        if field.takes(number):
            field.train(number, lambda run: run.run_rung(field.agree(ends - clock.used_seconds()), most))

    def _anneal(self, number: int) -> None:
        """Have a run train for all the time that is left, while its rate falls."""
        field, bench = self.field, self.bench
        if not field.takes(number):
            return

        def to_its_end(survivor: Finetuning) -> None:
            best = field.leader()
            if best is not None and best.number != number:
                # Another run's weights may be what is delivered, and its network has to be built for that.
                survivor.costs = replace(
                    survivor.costs,
                    test_seconds=bench.costs.test_seconds,
                    upload_seconds=bench.costs.upload_seconds,
                    building_seconds=field.building_seconds(best.number),
                )
            survivor.run()

        field.train(number, to_its_end, to_its_end=True)

    def _decide(self) -> RaceDecision | None:
        """Decide whose the next rung is, and write it down; ``None`` at the end."""
        field = self.field
        time = field.left()
        rung = next_rung(field.standings, time)
        if rung is None:
            return None
        order = [standing.number for standing in by_promise(field.standings, time)]
        decision = RaceDecision(
            racing=(rung.number, *(number for number in order if number != rung.number)),
            annealing=rung.annealing,
            trainable_seconds=field.trainable_seconds,
            runs=tuple(field.runs.values()),
        )
        written = self.kept.decide(self.rung + 1, decision)
        self.rung += int(field.agree(float(written is not None)))
        followed = written or decision
        number, annealing = int(field.agree(followed.racing[0])), bool(field.agree(followed.annealing))
        log.info(
            "Rung %d is for %s%s; %.1f s are left.",
            self.rung, described(field.runs[number]), ", whose rate now falls" if annealing else "", time.seconds,
        )  # fmt: skip
        return followed.model_copy(update={"racing": (number, *followed.racing[1:]), "annealing": annealing})

    def _check_stop(self) -> None:
        if self.field.agree(float(self.request.pod.stop_requested)):
            raise StoppedError

    def _report(self, running: int) -> None:
        metrics.RACE_RUNG.set(self.rung + 1)
        metrics.RACE_RUNNING.set(running)

    # --- Ending -------------------------------------------------------------------------------------------------

    def _trained(self) -> Trained:
        """All runs, and the one with the best weights, ready to be tested and published."""
        field, best = self.field, self.field.leader()
        if best is None:
            if field.failure is not None:
                raise field.failure
            msg = f"of {self.request.clock.limit_seconds:.3g} s nothing was left to train in: allow more."
            raise TimedOutError(msg, "timeLimit")
        number = best.number if best.number == self.bench.number else self._built(best.number)
        active = self.bench.active
        assert active is not None
        return Trained(tuple(field.runs.values()), {list(field.runs).index(number): active}, NAME)

    def _built(self, number: int) -> int:
        """The number of the run on the device: the best one, or the last one if there is no time to build that."""
        bench, field = self.bench, self.field
        needed = field.building_seconds(number) + bench.costs.upload_seconds
        late = field.agree(self.request.clock.remaining_seconds() - needed) < 0
        if late and bench.number is not None and bench.number in field.standings:
            log.warning("There is no time to build the network of the best run; the last one is delivered.")
            return bench.number
        bench.leave()
        bench.take(number, ())
        return number
