"""Which objects a resync looks at."""

import uuid

import pytest
from memory.world import World
from request_simulation import RequestSimulation
from request_simulation import run as end
from simulation import TINY, Simulation
from simulation import run as measured

LOOKS_OF_EIGHT_RESYNCS = range(8)


def looks(simulation, generation=1):
    """In which of eight resyncs the operator looks at an object."""
    return [n for n in LOOKS_OF_EIGHT_RESYNCS if simulation.operator.due(simulation.uid, generation, n)]


def of_one_operator(count, **arguments):
    """Requests of one world, at each of which one operator has looked."""
    world = World(end)
    operator = world.operator()
    requests = []
    for number in range(count):
        uid = str(uuid.uuid5(uuid.NAMESPACE_URL, str(number)))
        requests.append(RequestSimulation(world=world, name=f"request-{number}", uid=uid, **arguments))
        requests[-1].operator = operator
        requests[-1].reconcile()
    return requests


@pytest.mark.parametrize(
    ("spec", "ends", "phase", "count"),
    [
        pytest.param({}, False, "Probing", 8, id="one that pods work on, each time"),
        pytest.param({"suspend": True}, True, "Planned", 2, id="one that waits for somebody, every fourth time"),
        pytest.param({}, True, "Succeeded", 0, id="one that has ended, never"),
    ],
)
def test_a_resync_looks_at(spec, ends, phase, count):
    simulation = RequestSimulation(spec)
    assert simulation.operator.due(simulation.uid, 1, 0)
    if ends:
        simulation.end()
    else:
        simulation.reconcile()
    assert simulation.status["phase"] == phase
    assert len(looks(simulation)) == count
    assert len(looks(simulation, generation=2)) == 8


def test_resting_objects_take_turns():
    requests = of_one_operator(200, zoo=None)
    shares = [sum(request.operator.due(request.uid, 1, resync) for request in requests) for resync in range(4)]
    assert sum(shares) == 200
    assert max(shares) <= 70


def test_a_publication_wakes_those_that_may_wait_for_it():
    waiting = RequestSimulation(world=World(measured), zoo=None)
    assert waiting.step() is None
    assert len(looks(waiting)) == 2
    search = Simulation(TINY, world=waiting.world)
    search.operator = waiting.operator
    search.end()
    assert len(looks(waiting)) == 8


def test_objects_that_are_gone_are_forgotten():
    (request,) = of_one_operator(1, zoo=None)
    assert len(looks(request)) == 2
    request.operator.forget_all_but({"another"})
    assert len(looks(request)) == 8
