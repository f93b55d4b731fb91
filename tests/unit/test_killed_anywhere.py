"""Operators that die, hang, fail or work at once, at any place: what comes of a search or a request is always the same.

The operators are the real ones, over a cluster and an S3 in memory. That Jobs and pods really are created once is shown
in `tests/cluster`.
"""

import uuid
from collections import Counter
from dataclasses import dataclass
from itertools import chain, count, cycle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory.lines import Deaths, Line, Outages
from memory.simulated import Simulated, step_of
from memory.turns import Turns
from memory.world import World
from request_simulation import RequestSimulation
from request_simulation import run as request_program
from simulation import TINY, Simulation
from simulation import run as search_program

from nasoa_operator.obstacles import STORAGE
from nasoa_runtime.boundary import FinetuneInput, ProbeInput
from nasoa_runtime.documents.keys import PredictorKeys, RequestKeys, SearchKeys, SearchPart, ZooKeys
from nasoa_runtime.documents.steps import FINETUNE, PROBE, parse_request_step, parse_search_step
from nasoa_runtime.online.state_bytes import dump
from nasoa_runtime.storage import objects
from nasoa_runtime.storage.predictors import read_state, rebuild

TIMES = {"startTime", "completionTime", "eta", "conditions"}
SEARCH, REQUEST = "search", "request"
KINDS = [SEARCH, REQUEST]
REQUESTS = ["one", "two", "three"]


@pytest.fixture(autouse=True, scope="module")
def _writers_do_not_wait_for_each_other():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objects, "LONGEST_PAUSE_SECONDS", 0.0)
        yield


# --- What is simulated -----------------------------------------------------------------------------------------------


def program(pod_input, index):
    """What pods of both kinds come to."""
    run = request_program if isinstance(pod_input, ProbeInput | FinetuneInput) else search_program
    return run(pod_input, index)


def simulated(kind, world=None, line=None):
    """The search or request that is disturbed; in the same world it is the same one, with another operator."""
    world = world or a_world()
    return Simulation(TINY, line=line, world=world) if kind == SEARCH else RequestSimulation(line=line, world=world)


def a_world():
    """A world in which no Job is deleted whose outcome is not recorded, and no document is written anew."""
    world = World(program)
    system = f"s3://{world.bucket}/"

    def recorded(job):
        uid = job["metadata"]["ownerReferences"][0]["uid"]
        assert world.store.head(system + document_of(uid, step_of(job))), f"{job['metadata']['name']} is not recorded"

    def shared(uri):
        keys = {ZooKeys("fashion").manifest, PredictorKeys("fashion").state}
        assert uri.removeprefix(system) in keys, f"{uri} is not to be replaced"

    world.cluster.deleting, world.store.replacing = recorded, shared
    return world


def document_of(uid, step):
    """The key under which it is recorded what the Job of a step came to."""
    of_request = parse_request_step(step)
    if of_request is not None:
        return RequestKeys(uid).of({PROBE.base: "probe", FINETUNE.base: "result"}[of_request.base])
    found, keys = parse_search_step(step), SearchKeys(uid)
    if found.level is None:
        return keys.of(SearchPart({"pretrain": "pretrained", "table": "table"}[found.base]))
    if found.program == "profile":
        return keys.of(SearchPart("profile", found.level, found.generation, found.list_index))
    return keys.of(SearchPart("evaluations", found.level, found.generation))


def requests(world, line=None, **arguments):
    """Several requests to one zoo; in the same world they are the same ones, with another operator."""
    uids = {name: str(uuid.uuid5(uuid.NAMESPACE_URL, name)) for name in REQUESTS}
    return [RequestSimulation(world=world, line=line, name=name, uid=uids[name], **arguments) for name in REQUESTS]


def bring_on(simulations):
    """Look at all of several objects in turn, until there is nothing to be done for any of them."""
    for _ in range(200):
        delays = [simulation.reconcile() for simulation in simulations]
        if not simulations[0].world.finish_jobs() and not any(delay is not None for delay in delays):
            return
    raise AssertionError([simulation.status.get("message") for simulation in simulations])


# --- What must not differ --------------------------------------------------------------------------------------------


@dataclass
class Whole:
    """What nobody has disturbed."""

    simulation: Simulated
    writes: int
    course: dict[str, Any]

    @classmethod
    def of(cls, kind):
        line = Deaths()
        simulation = simulated(kind, line=line)
        simulation.end()
        return cls(simulation, line.writes, course_of(simulation))


@pytest.fixture(scope="module")
def wholes():
    return {kind: Whole.of(kind) for kind in KINDS}


def course_of(simulation):
    """All that a search or a request has decided, and what it has left, but for the times at which it did."""
    # Where S3 was away, it is said that it is there again.
    reachable = next(
        (c for c in simulation.status["conditions"] if c["type"] == STORAGE and c["status"] == "True"), None
    )
    course = {
        "status": {name: value for name, value in simulation.status.items() if name not in TIMES},
        "conditions": [
            (c["type"], c["status"], c["reason"]) for c in simulation.status["conditions"] if c != reachable
        ],
        "documents": sorted(simulation.recorded),
        "zoo": simulation.zoo,
        "runs": Counter(simulation.world.runs),
    }
    if isinstance(simulation, Simulation):
        return course | {"course": simulation.course()}
    return course | {"regimes": simulation.records.schedule.regimes, "learned": simulation.learned}


def assert_same(simulation, whole, *, once=True):
    """A disturbed course ended as the undisturbed one; ``once``: no Job was created again after it was recorded."""
    simulation.replace_operator()
    simulation.end()
    assert course_of(simulation) == whole.course
    assert simulation.jobs == {}
    assert list(dict.fromkeys(simulation.created)) == whole.simulation.created
    if once:
        assert simulation.created == whole.simulation.created


def assert_all_learned(taught):
    """Each of several requests ended well, and taught the predictor once."""
    for request in taught:
        request.replace_operator()
    bring_on(taught)
    world = taught[0].world
    assert [request.status["phase"] for request in taught] == ["Succeeded"] * len(taught)
    assert [list(dict.fromkeys(request.created)) for request in taught] == [["probe", "finetune"]] * len(taught)
    assert set(Counter(world.runs).values()) == {1}
    assert world.cluster.jobs() == []
    assert sorted(uid for uid, _ in taught[0].learned) == sorted(request.uid for request in taught)
    assert {request.status["predictor"]["produced"] for request in taught} == {1, 2, 3}
    assert read_state(world.store, world.bucket, "fashion").version == len(taught)


# --- One operator after another --------------------------------------------------------------------------------------


def test_the_undisturbed_courses_end_well(wholes):
    for whole in wholes.values():
        assert whole.course["status"]["phase"] == "Succeeded"
        assert set(whole.course["runs"].values()) == {1}
        assert whole.simulation.jobs == {}
    assert wholes[REQUEST].course["status"]["predictor"] == {"plannedWith": 0, "produced": 1}


@pytest.mark.parametrize("kind", KINDS)
def test_an_operator_that_dies_after_any_write_is_followed_by_one_that_goes_on(kind, wholes):
    # One that dies before a write leaves what one leaves that has died after the write before it.
    for write in range(1, wholes[kind].writes + 1):
        simulation = simulated(kind, line=Deaths(after={write}))
        # For the next operator, its Jobs have ended meanwhile, or still run.
        simulation.end(looks=1 + write % 2)
        assert simulation.deaths == 1
        assert_same(simulation, wholes[kind])


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    before=st.sets(st.integers(1, 120), max_size=40),
    after=st.sets(st.integers(1, 120), max_size=40),
    looks=st.integers(1, 3),
)
def test_operators_that_die_again_and_again_change_nothing(kind, wholes, before, after, looks):
    simulation = simulated(kind, line=Deaths(before, after))
    simulation.end(looks)
    assert_same(simulation, wholes[kind])


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    before=st.dictionaries(st.integers(1, 400), st.sampled_from([500, 503, 409, 429, 0]), max_size=60),
    after=st.sets(st.integers(1, 400), max_size=60),
    looks=st.integers(1, 3),
)
def test_calls_that_fail_or_whose_answers_get_lost_are_made_again(kind, wholes, before, after, looks):
    simulation = simulated(kind, line=Outages(before, after))
    simulation.end(looks)
    simulation.line = Line()
    assert_same(simulation, wholes[kind])


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    hints=st.lists(
        st.tuples(st.sampled_from(["look", "look", "look", "end", "end", "replace"]), st.integers(0, 11)), max_size=80
    ),
    after=st.sets(st.integers(1, 160), max_size=10),
)
def test_hints_that_are_repeated_reordered_or_lost_change_nothing(wholes, hints, after):
    world, line = a_world(), Deaths(after=after)
    search, waiting = simulated(SEARCH, world, line), requests(world, line, zoo=None)
    everything, operators = [search, *waiting], [world.operator(line), world.operator(line)]
    for what, number in hints:
        if what == "look":
            hinted, operator = everything[number % 4], number % 2
            hinted.operator = operators[operator]
            hinted.reconcile()
            operators[operator] = hinted.operator
        elif what == "replace":
            operators[number % 2] = world.operator(line)
        elif running := world.cluster.running():
            world.finish(running[number % len(running)])
    bring_on(everything)
    assert search.course() == wholes[SEARCH].simulation.course()
    assert search.zoo == wholes[SEARCH].simulation.zoo
    assert search.created == wholes[SEARCH].simulation.created
    assert_all_learned(waiting)


# --- Two operators at once -------------------------------------------------------------------------------------------


ORDERS = st.lists(st.tuples(st.integers(0, 1), st.integers(1, 12)), max_size=60)
"""Which of two operators has its turn, and for how many calls."""


def take_turns(operators, order):
    """Let operators work in this order, and then in turn, until both have ended."""
    chosen = chain((operators[number] for number, calls in order for _ in range(calls)), cycle(operators))
    while not all(operator.ended for operator in operators):
        operator = next(chosen)
        if not operator.ended:
            operator.take()


@pytest.mark.parametrize("kind", KINDS)
def test_an_operator_that_wakes_up_when_another_has_done_everything_does_no_harm(kind, wholes):
    for write in count(1):
        world = a_world()
        sleeper = Turns(lambda line, world=world: simulated(kind, world, line).end())
        if not sleeper.take_until_write(write):
            break
        simulation = simulated(kind, world)
        simulation.end()
        sleeper.take_all()
        assert_same(simulation, wholes[kind], once=False)
    assert write == wholes[kind].writes + 1


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(order=ORDERS)
def test_two_operators_whose_calls_come_in_any_order_do_everything_once(kind, wholes, order):
    world = a_world()
    take_turns([Turns(lambda line: simulated(kind, world, line).end()) for _ in range(2)], order)
    assert_same(simulated(kind, world), wholes[kind], once=False)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(order=ORDERS)
def test_requests_that_two_operators_bring_on_at_once_teach_the_predictor_as_one_after_another(order):
    world = a_world()
    # Each begins at another end, so that both learn at once, and from different requests.
    take_turns([Turns(lambda line, way=way: bring_on(requests(world, line)[::way])) for way in (1, -1)], order)
    assert_all_learned(requests(world))
    where = (world.store, world.bucket, "fashion")
    learned = read_state(*where)
    assert dump(rebuild(*where)) == dump(learned)
