"""A race in a pod: what starts, what goes on, what is kept of it, and that its time limit holds."""

import itertools
import logging
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from image_folders import make_images
from memory.store import MemoryStore
from training import TINY, a_finetune_input

from nasoa_runtime.boundary import Regime
from nasoa_runtime.documents.base import load
from nasoa_runtime.documents.race import RaceDecision
from nasoa_runtime.pods import metrics
from nasoa_runtime.pods.clock import Clock
from nasoa_runtime.pods.dataset.reading import read_dataset
from nasoa_runtime.pods.failures import BadInputError, DivergedError, OutOfMemoryError, StoppedError, TimedOutError
from nasoa_runtime.pods.networks.building import build_model
from nasoa_runtime.pods.networks.weights import load_weights, weights_bytes
from nasoa_runtime.pods.pod import Pod
from nasoa_runtime.pods.programs.finetune import deliver
from nasoa_runtime.pods.racing import bench as benches
from nasoa_runtime.pods.racing.race import race
from nasoa_runtime.pods.stores import TENANT_KEYS, Stores
from nasoa_runtime.pods.training import finetuning as runs
from nasoa_runtime.pods.training import session
from nasoa_runtime.pods.training.device import Target
from nasoa_runtime.pods.training.evaluation import Evaluation
from nasoa_runtime.pods.training.request import Request
from nasoa_runtime.storage.s3 import StoreUnavailable

pytestmark = pytest.mark.usefixtures("one_process")
RACES = "s3://tenant/work/race/"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_images(tmp_path_factory.mktemp("images") / "data", classes=3, per_class=25)


class FakeTime:
    """Time that passes only where something is done that takes some."""

    def __init__(self, step=0.4, build=0.2, transfer=0.01) -> None:
        self.now = 0.0
        self.step, self.build, self.transfer = step, build, transfer
        self.steps = itertools.repeat(1.0)
        self.evaluations = itertools.repeat(1.0)
        """Factors of the time of each pass through a network, of a training step and of an evaluation."""
        self.events = 0
        self.killed_at: int | None = None

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.events += 1
        if self.events == self.killed_at:
            raise KilledError


class KilledError(BaseException):
    """The node is gone: nothing more is done or written."""


class FakeTarget(Target):
    """A device whose clock is ours."""

    def __init__(self, time: FakeTime) -> None:
        super().__init__(torch.device("cpu"))
        object.__setattr__(self, "time", time)

    def now(self) -> float:
        self.time.now += 1e-4
        return self.time.now


class Store(MemoryStore):
    """An S3 of which each request takes its time."""

    def __init__(self) -> None:
        super().__init__("tenant", "zoo")
        self.time = FakeTime()
        torch.manual_seed(0)
        MemoryStore.put(self, "s3://zoo/weights", weights_bytes(build_model(TINY, 4, low_resolution_stem=True)))

    def put(self, uri: str, body: bytes) -> None:
        self.time.passes(self.time.transfer)
        super().put(uri, body)

    def create(self, uri: str, body: bytes) -> bool:
        self.time.passes(self.time.transfer)
        return super().create(uri, body)

    def decisions(self) -> list[RaceDecision]:
        """Of the race, in order."""
        keys = sorted(listed.key for listed in self.list(RACES) if listed.key.endswith(".json"))
        return [load(RaceDecision, self.get(f"s3://tenant/{key}").body, key) for key in keys]


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch, store: Store) -> FakeTime:
    return fake(monkeypatch, store)


def fake(patch: pytest.MonkeyPatch, store: Store) -> FakeTime:
    """Have time pass only in what is trained, built and written."""
    build = build_model

    def built(*arguments, **named):
        time = store.time
        time.passes(time.build)
        network = build(*arguments, **named)

        def passed(*_) -> None:
            time.passes(time.step * (next(time.steps) if network.training else next(time.evaluations)))

        network.stem.register_forward_hook(passed)
        return network

    module = types.SimpleNamespace(monotonic=lambda: store.time.now)
    patch.setattr(runs, "build_model", built)
    patch.setattr(runs, "time", module)
    patch.setattr(session, "time", module)
    return store.time


def a_regime(rate=0.05, **fields) -> Regime:
    base = {"model": "tiny", "learning_rate": rate, "frozen_stages": 0, "steps": 500, "step_seconds": 0.4}
    curve = ((4, 0.3), (20, 0.6), (250, 0.9))
    return Regime.model_validate(base | {"predicted_accuracy": 0.9, "predicted_curve": curve} | fields)


FOUR = tuple(a_regime(rate) for rate in (0.05, 0.03, 0.02, 0.01))


def a_request(store: Store, root: Path, regimes=FOUR, limit=100.0, used=0.0) -> Request:
    document = a_finetune_input(store, root, "Race", regimes, limit)
    dataset = read_dataset(document.dataset, 16, lambda: store, root.parent)
    began = store.time.now
    clock = Clock(limit_seconds=limit, used_before_seconds=used, age=lambda: store.time.now - began)
    connections = {TENANT_KEYS: store}
    pod = Pod(work_directory=root.parent, stores=Stores(environment={}, _connections=connections))
    return Request(document, pod, clock, FakeTarget(store.time), dataset)


# --- A race from its start to its end --------------------------------------------------------------------------------


def test_the_starters_share_three_tenths_and_one_survivor_has_the_rest(store, root, faked) -> None:
    request = a_request(store, root)
    trained = race(request)
    assert [run.regime for run in trained.runs] == list(FOUR)
    first, *later = store.decisions()
    assert first.racing == (0, 1, 2, 3)
    begun = later[0].runs
    assert sum(run.seconds for run in begun) == pytest.approx(0.3 * first.trainable_seconds, rel=0.15)
    assert max(run.steps for run in begun) < 1.6 * min(run.steps for run in begun)
    assert [decision.annealing for decision in later] == [False] * (len(later) - 1) + [True]
    survivor = later[-1].racing[0]
    steps = [run.steps for run in trained.runs]
    assert max(steps) == steps[survivor]
    assert 85.0 < request.clock.used_seconds() < 100.0
    assert trained.strategy == "Race"
    assert list(trained.deliverable) == [trained.chosen]


def test_only_the_survivors_rate_comes_down(store, root, faked) -> None:
    trained = race(a_request(store, root))
    survivor = store.decisions()[-1].racing[0]
    assert [run.annealed for run in trained.runs] == [number == survivor for number in range(4)]
    for run in trained.runs:
        assert run.points[-1].steps == run.steps
        assert run.points[-1].accuracy == run.validation_accuracy
        assert [point.annealed for point in run.points[:-1]] == [False] * (len(run.points) - 1)
        assert len(run.points) <= 16


def test_the_rate_rises_is_held_and_falls_from_there(store, root, faked, monkeypatch) -> None:
    rates: dict[float, list[float]] = {}
    one_step = runs.Trainer._one_step

    def watched(trainer, *batch):
        loss = one_step(trainer, *batch)
        rates.setdefault(trainer.hyperparameters.learning_rate, []).append(trainer.optimizer.learning_rate)
        return loss

    monkeypatch.setattr(runs.Trainer, "_one_step", watched)
    race(a_request(store, root))
    survivor = FOUR[store.decisions()[-1].racing[0]].learning_rate
    for peak, seen in rates.items():
        top = [place for place, rate in enumerate(seen) if rate == pytest.approx(peak)]
        assert seen[: top[0] + 1] == sorted(seen[: top[0] + 1])
        assert top == list(range(top[0], top[-1] + 1))
        fall = seen[top[-1] :]
        assert fall == sorted(fall, reverse=True)
        assert fall[-1] == pytest.approx(0.0 if peak == survivor else peak, abs=1e-3 * peak)
        assert len(rates[peak]) > 2 * top[0]


def test_the_survivor_goes_on_from_where_it_is(store, root, faked, monkeypatch) -> None:
    sums: dict[int, float] = {}
    checked = 0
    take = benches.Bench.take

    def watched(bench, number, *arguments, **named):
        nonlocal checked
        if bench.active is not None:
            sums[bench.number] = sum(float(t.double().sum()) for t in bench.active.trainer.model.state_dict().values())
        steps = bench.parked[number].checkpoint.state.trainer.step if number in bench.parked else None
        active = take(bench, number, *arguments, **named)
        if steps is not None:
            found = sum(float(t.double().sum()) for t in active.trainer.model.state_dict().values())
            assert (active.trainer.step, found) == (steps, pytest.approx(sums[number]))
            checked += 1
        return active

    monkeypatch.setattr(benches.Bench, "take", watched)
    race(a_request(store, root))
    assert checked >= 1


def test_what_is_delivered_has_the_best_accuracy_that_any_run_has_shown(store, root, faked) -> None:
    request = a_request(store, root)
    trained = race(request)
    result = deliver(request, trained)
    assert result.validation_accuracy == max(run.validation_accuracy for run in result.runs)
    assert result.strategy == "Race"
    network = build_model(TINY, 3, low_resolution_stem=True)
    load_weights(network, store.get("s3://tenant/model/model.safetensors").body)
    assert request.clock.used_seconds() <= 100.0


def level_and_rising(monkeypatch) -> tuple[Regime, ...]:
    """Of two regimes the first reaches 0.7 and stays there; the second is thought to overtake it, and reaches 0.5."""
    level = a_regime(0.05, predicted_curve=((4, 0.7), (500, 0.7)))
    rising = a_regime(0.03, predicted_curve=((4, 0.1), (100, 0.1), (500, 0.9)))

    def validation(finetuning):
        right = 70 if finetuning.regime == level else 50
        return Evaluation(np.array([[right, 100 - right], [0, 0]]), 0.1)

    monkeypatch.setattr(runs.Finetuning, "_validation", validation)
    return level, rising


def test_the_best_weights_are_delivered_though_another_run_survived(store, root, faked, monkeypatch) -> None:
    best = {}
    keep = runs.Finetuning._keep_if_best

    def kept(finetuning, *, averaged):
        keep(finetuning, averaged=averaged)
        best[finetuning.regime.learning_rate] = finetuning.best.weights

    monkeypatch.setattr(runs.Finetuning, "_keep_if_best", kept)
    request = a_request(store, root, level_and_rising(monkeypatch))
    trained = race(request)
    assert [run.annealed for run in trained.runs] == [False, True]
    assert trained.chosen == 0
    delivered = build_model(TINY, 3, low_resolution_stem=True)
    load_weights(delivered, trained.deliverable[0].weights())
    assert all(torch.equal(tensor, best[0.05][name]) for name, tensor in delivered.state_dict().items())
    assert deliver(request, trained).validation_accuracy == 0.7
    assert request.clock.used_seconds() <= 100.0


def test_one_that_stopped_comes_back_if_the_other_disappoints(store, root, faked, monkeypatch) -> None:
    level, rising = level_and_rising(monkeypatch)
    soon = rising.model_copy(update={"predicted_curve": ((4, 0.1), (500, 0.9))})
    trained = race(a_request(store, root, (level, soon)))
    assert [decision.racing[0] for decision in store.decisions()][1] == 1
    assert store.decisions()[-1].racing[0] == 0
    assert [run.annealed for run in trained.runs] == [True, False]


def test_if_there_is_no_time_to_build_the_best_network_the_last_one_is_delivered(
    store, root, faked, monkeypatch
) -> None:
    run = runs.Finetuning.run

    def slow(finetuning):
        run(finetuning)
        faked.now = 99.9

    monkeypatch.setattr(runs.Finetuning, "run", slow)
    request = a_request(store, root, level_and_rising(monkeypatch))
    began = faked.now
    request.clock.age = lambda: faked.now - began
    trained = race(request)
    assert (trained.chosen, trained.runs[1].validation_accuracy) == (1, 0.5)


def test_weights_are_fetched_once(store, root, faked, tmp_path, monkeypatch) -> None:
    asked = []
    get = store.get
    monkeypatch.setattr(store, "get", lambda uri: (asked.append(uri), get(uri))[1])
    request = a_request(store, root)
    request.pod.work_directory = tmp_path
    asked.clear()
    race(request)
    assert asked.count("s3://zoo/weights") == 1


def test_the_metrics_tell_the_rung_and_how_many_are_in(store, root, faked, monkeypatch) -> None:
    told = []
    rung_set = metrics.RACE_RUNNING.set
    monkeypatch.setattr(metrics.RACE_RUNNING, "set", lambda value: (told.append(value), rung_set(value)))
    race(a_request(store, root))
    assert (told[0], told[-1]) == (4, 1)
    assert metrics.RACE_RUNG._value.get() == len(store.decisions())


# --- Too short, and failures -----------------------------------------------------------------------------------------


def test_without_time_for_a_second_candidate_the_best_is_run_once(store, root, faked, caplog) -> None:
    faked.build = 6.0
    caplog.set_level(logging.INFO)
    trained = race(a_request(store, root, limit=30.0))
    assert ([run.regime for run in trained.runs], trained.strategy) == ([FOUR[0]], "OneShot")
    assert trained.runs[0].annealed
    assert "There is no race" in caplog.text
    assert [decision.racing for decision in store.decisions()] == [(0,)]


def test_that_there_is_no_race_is_not_decided_again(store, root, faked) -> None:
    faked.build = 6.0
    race(a_request(store, root, limit=30.0))
    faked.build = 0.1
    trained = race(a_request(store, root, limit=60.0, used=30.0))
    assert (len(trained.runs), trained.strategy) == (1, "OneShot")


def test_a_limit_that_leaves_nothing_says_so(store, root, faked) -> None:
    with pytest.raises(TimedOutError, match="allow at least"):
        race(a_request(store, root, limit=1.0))


def test_one_that_diverges_is_out_and_those_like_it_do_not_start(store, root, faked) -> None:
    regimes = (a_regime(0.05), a_regime(1e30), a_regime(2e30), a_regime(0.02))
    trained = race(a_request(store, root, regimes))
    assert [(run.regime.learning_rate, run.failure) for run in trained.runs] == [
        (0.05, None), (1e30, "Diverged"), (0.02, None),
    ]  # fmt: skip


def test_if_all_diverge_the_request_has_diverged(store, root, faked) -> None:
    with pytest.raises(DivergedError):
        race(a_request(store, root, (a_regime(1e30), a_regime(1e30, optimizer="adamw"))))


def test_one_that_does_not_fit_into_memory_is_out(store, root, faked, monkeypatch) -> None:
    begin = Request.finetuning

    def limited(request, regime, *arguments):
        if regime.frozen_stages < 2:
            message = "Loading the network ran out of memory"
            raise OutOfMemoryError(message)
        return begin(request, regime, *arguments)

    monkeypatch.setattr(Request, "finetuning", limited)
    regimes = (a_regime(), a_regime(frozen_stages=2), a_regime(0.02), a_regime(0.02, frozen_stages=3))
    trained = race(a_request(store, root, regimes))
    assert [(run.regime.frozen_stages, run.failure) for run in trained.runs] == [
        (0, "OutOfMemory"), (2, None), (3, None),
    ]  # fmt: skip
    assert trained.chosen in {1, 2}
    with pytest.raises(OutOfMemoryError):
        race(a_request(Store(), root, (a_regime(), a_regime(0.02))))


def test_a_survivor_that_diverges_leaves_the_time_to_the_next(store, root, faked, monkeypatch) -> None:
    run = runs.Finetuning.run

    def failing(finetuning):
        if finetuning.regime == FOUR[store.decisions()[-1].racing[0]] and not failed:
            failed.append(finetuning.regime)
            message = "The loss became nan"
            raise DivergedError(message)
        run(finetuning)

    failed: list[Regime] = []
    monkeypatch.setattr(runs.Finetuning, "run", failing)
    trained = race(a_request(store, root))
    assert [run.regime for run in trained.runs if run.failure] == failed
    last = store.decisions()[-1]
    assert last.annealing
    assert FOUR[last.racing[0]] not in failed


def test_a_regime_that_can_not_use_all_the_time_leaves_it_to_others(store, root, faked) -> None:
    short = a_regime(0.05, steps=20)
    trained = race(a_request(store, root, (short, a_regime(0.03)), limit=60.0))
    assert trained.runs[0].steps <= 20
    assert trained.runs[1].steps > 20


def test_a_linear_probe_may_race(store, root, faked) -> None:
    regimes = (a_regime(linear_probe=True, frozen_stages=5, steps=300), a_regime(0.03), a_regime(0.01))
    request = a_request(store, root, regimes)
    result = deliver(request, race(request))
    assert len(result.runs) == 3
    assert request.clock.used_seconds() <= 100.0


# --- The time limit --------------------------------------------------------------------------------------------------


@settings(max_examples=12, deadline=None)
@given(
    limit=st.floats(15, 40),
    factors=st.lists(st.floats(0.25, 2), min_size=1, max_size=40),
    evaluations=st.lists(st.floats(0.8, 1.15), min_size=1, max_size=10),
    step=st.floats(0.1, 0.6),
    build=st.floats(0.01, 3),
    transfer=st.floats(0.001, 0.2),
    planned=st.floats(0.05, 2.0),
)
def test_the_time_limit_holds_whatever_steps_take(
    root, limit, factors, evaluations, step, build, transfer, planned
) -> None:
    """As long as one step takes no longer than the margin, and evaluations no more than half as long again as measured.

    That is what is set aside; how fast steps are on the whole, and how slow they were thought to be, is free.
    """
    store = Store()
    time = store.time = FakeTime(step, build, transfer)
    time.steps, time.evaluations = itertools.cycle(factors), itertools.cycle(evaluations)
    regimes = tuple(a_regime(rate, step_seconds=planned) for rate in (0.05, 0.03, 0.02, 0.01))
    with pytest.MonkeyPatch.context() as patch:
        fake(patch, store)
        request = a_request(store, root, regimes, limit)
        try:
            result = deliver(request, race(request))
        except TimedOutError:
            return
    assert request.clock.used_seconds() <= limit
    assert result.seconds <= limit


# --- Being stopped and killed ----------------------------------------------------------------------------------------


def test_a_race_that_is_told_to_stop_goes_on_elsewhere(store, root, faked) -> None:
    stopped_at = []
    for seconds in (10.0, 30.0, 50.0, 75.0):
        store.time = FakeTime()
        for listed in list(store.list("s3://tenant/work/")):
            store.delete(f"s3://tenant/{listed.key}")
        first = a_request(store, root)
        ask_to_stop_after(first, seconds)
        with pytest.raises(StoppedError):
            race(first)
        used = first.clock.used_seconds()
        stopped_at.append(used)
        before = store.decisions()
        kept = {listed.key for listed in store.list(RACES) if listed.key.endswith(".safetensors")}
        assert 1 <= len(kept) <= 5
        second = a_request(store, root, used=used)
        trained = race(second)
        assert store.decisions()[: len(before)] == before
        assert len(trained.runs) == 4
        assert second.clock.used_seconds() <= 100.0
        # Nobody's work is lost: the steps of both attempts are in the runs.
        assert sum(run.steps for run in trained.runs) * 0.4 > 0.5 * (second.clock.used_seconds() - 10)
        survivor = store.decisions()[-1].racing[0]
        assert trained.runs[survivor].annealed
    assert stopped_at == sorted(stopped_at)


def ask_to_stop_after(request: Request, seconds: float) -> None:
    """SIGTERM arrives then."""
    clock = request.clock
    age = clock.age

    def watched() -> float:
        if age() >= seconds:
            request.pod._stop_requested = True
        return age()

    clock.age = watched


def test_a_race_that_is_killed_anywhere_ends_with_a_model_and_follows_what_was_decided(store, root, faked) -> None:
    whole = Store()
    whole.time = faked
    store.time.events = 0
    race(a_request(store, root, limit=40.0))
    events = store.time.events
    for killed_at in range(3, events, max(1, events // 12)):
        again = Store()
        again.time.killed_at = killed_at
        with pytest.MonkeyPatch.context() as patch:
            fake(patch, again)
            first = a_request(again, root, limit=40.0)
            with pytest.raises(KilledError):
                race(first)
            before = again.decisions()
            second = a_request(again, root, limit=40.0, used=again.time.now)
            try:
                result = deliver(second, race(second))
            except TimedOutError:
                assert again.time.now > 30.0
                continue
        assert again.decisions()[: len(before)] == before
        assert second.clock.used_seconds() <= 40.0
        assert len({run.regime for run in result.runs}) == len(result.runs) <= 4


@pytest.mark.parametrize("used", [80.0, 88.0, 94.0])
def test_the_first_rung_starts_nobody_for_whom_no_time_is_left(store, root, faked, used) -> None:
    """As after an attempt that vanished, and is charged for all that it may have used."""
    faked.build = 3.0
    first = a_request(store, root)
    ask_to_stop_after(first, 15.0)
    with pytest.raises(StoppedError):
        race(first)
    assert len(store.decisions()) == 1
    second = a_request(store, root, used=used)
    result = deliver(second, race(second))
    assert result.seconds <= 100.0


def test_a_run_whose_checkpoint_is_missing_is_out(store, root, faked) -> None:
    first = a_request(store, root)
    ask_to_stop_after(first, 40.0)
    with pytest.raises(StoppedError):
        race(first)
    before = store.decisions()
    last = before[-1]
    lost = last.racing[0]
    store.delete(f"{RACES}{lost:02d}.safetensors")
    trained = race(a_request(store, root, used=40.0))
    record = next(run for run in last.runs if run.regime == FOUR[lost])
    assert trained.runs[lost] == record
    later = store.decisions()[len(before) :]
    assert later
    assert all(lost not in decision.racing for decision in later)


def test_where_all_checkpoints_are_missing_the_leader_starts_again(store, root, faked) -> None:
    first = a_request(store, root)
    ask_to_stop_after(first, 40.0)
    with pytest.raises(StoppedError):
        race(first)
    for number in range(4):
        store.delete(f"{RACES}{number:02d}.safetensors")
    trained = race(a_request(store, root, used=40.0))
    assert trained.runs[trained.chosen].regime == FOUR[store.decisions()[-1].racing[0]]
    assert trained.runs[trained.chosen].annealed


def test_a_checkpoint_of_another_network_is_not_used(store, root, faked) -> None:
    first = a_request(store, root)
    ask_to_stop_after(first, 40.0)
    with pytest.raises(StoppedError):
        race(first)
    kept = [listed.key for listed in store.list(RACES) if listed.key.endswith(".safetensors")]
    store.put(f"s3://tenant/{kept[0]}", b"something else")
    trained = race(a_request(store, root, used=40.0))
    assert trained.deliverable


def test_a_damaged_decision_is_left_alone_and_named(store, root, faked) -> None:
    store.put(f"{RACES}0000.json", b"{}")
    with pytest.raises(BadInputError, match=r"race/0000\.json can't be read") as error:
        race(a_request(store, root))
    assert error.value.field == "outputURI"
    assert store.get(f"{RACES}0000.json").body == b"{}"


def test_a_decision_about_other_regimes_is_refused(store, root, faked) -> None:
    race(a_request(store, root))
    with pytest.raises(BadInputError, match="other regimes"):
        race(a_request(store, root, FOUR[:2]))


def test_a_store_that_is_away_for_a_while_does_not_end_a_race(store, root, faked, monkeypatch) -> None:
    monkeypatch.setattr("nasoa_runtime.pods.racing.keeping.PAUSES_SECONDS", ())
    create, put = store.create, store.put

    def away(action):
        def tried(uri, body):
            if 20.0 < faked.now < 50.0:
                message = "no answer"
                raise StoreUnavailable(message)
            return action(uri, body)

        return tried

    monkeypatch.setattr(store, "create", away(create))
    monkeypatch.setattr(store, "put", away(put))
    trained = race(a_request(store, root))
    assert len(trained.runs) == 4
    keys = [listed.key for listed in store.list(RACES) if listed.key.endswith(".json")]
    assert sorted(keys) == [f"work/race/{rung:04d}.json" for rung in range(len(keys))]


def test_a_decision_that_is_there_is_followed(store, root, faked) -> None:
    """Another attempt may have written it meanwhile."""
    race(a_request(store, root))
    other = Store()
    with pytest.MonkeyPatch.context() as patch:
        fake(patch, other)
        decided = store.decisions()[1]
        changed = decided.model_copy(update={"racing": tuple(reversed(decided.racing)), "annealing": True})
        from nasoa_runtime.documents.base import dump

        MemoryStore.put(other, f"{RACES}0001.json", dump(changed))
        trained = race(a_request(other, root))
    assert other.decisions()[1] == changed
    assert trained.runs[changed.racing[0]].annealed


def test_checkpoints_take_a_tenth_of_the_time_at_most(store, root, faked, monkeypatch) -> None:
    """A twentieth at the ends of rungs, and one while there is training."""
    faked.transfer = 1.5
    written = []
    put = store.put
    monkeypatch.setattr(store, "put", lambda uri, body: (written.append(uri), put(uri, body))[1])
    race(a_request(store, root))
    checkpoints = [uri for uri in written if uri.startswith(RACES)]
    assert 1 <= len(checkpoints) <= 0.1 * 100.0 / 1.5


# --- Several workers -------------------------------------------------------------------------------------------------


class FirstWorker(FakeTarget):
    """Remembers what it has told the others."""

    def agree(self, value: float) -> float:
        self.time.told.append(value)
        return value


class OtherWorker(FakeTarget):
    """Takes the first one's word for everything that depends on time."""

    def agree(self, value: float) -> float:
        return self.time.told.pop(0)


def test_workers_whose_clocks_differ_decide_alike(store, root, faked) -> None:
    faked.told = []
    first = a_request(store, root, limit=50.0)
    first.target = FirstWorker(faked)
    wanted = race(first)
    other = Store()
    other.time = FakeTime(step=0.7, build=0.5)
    other.time.told = list(faked.told)
    with pytest.MonkeyPatch.context() as patch:
        fake(patch, other)
        second = a_request(other, root, limit=50.0)
        second.target = OtherWorker(other.time)
        object.__setattr__(second.target, "rank", 1)
        found = race(second)
    assert other.time.told == []
    assert [(run.regime, run.steps) for run in found.runs] == [(run.regime, run.steps) for run in wanted.runs]
    assert list(found.deliverable) == list(wanted.deliverable)
    assert list(other.list("s3://tenant/work/")) == []
