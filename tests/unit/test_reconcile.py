"""Which objects a resync looks at. How they are reconciled is tested on a real API server."""

import asyncio
from datetime import UTC, datetime

import pytest

from nasoa_operator.plan import Plan, Publish
from nasoa_operator.reconcile import Reconciler
from nasoa_operator.workqueue import Key
from nasoa_runtime.api.base import GROUP, VERSION

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LOOKS_OF_EIGHT_RESYNCS = range(8)


class One:
    """A cluster and a controller of one object that always gets the same plan."""

    def __init__(self, planned: Plan, phase: str = "Pending", uid: str = "a-uid") -> None:
        self.planned, self.phase, self.uid, self.generation = planned, phase, uid, 1
        self.jobs = {}

    async def get_object(self, kind, namespace, name):
        metadata = {"uid": self.uid, "generation": self.generation, "namespace": namespace, "name": name}
        status = {"phase": self.phase}
        return {"apiVersion": f"{GROUP}/{VERSION}", "kind": kind, "metadata": metadata, "status": status}

    async def observe(self, manifest, owner, now):
        return self

    def plan(self, observed):
        return self.planned

    def carry_out(self, action, owner):
        return None


def reconciler(one):
    return Reconciler(one, None, one, {"FineTuneRequest": one}, lambda: NOW)


def look(looked, name="request"):
    asyncio.run(looked.reconcile(Key("FineTuneRequest", "team", name)))


@pytest.mark.parametrize(
    ("planned", "phase", "looks"),
    [
        pytest.param(Plan(requeue_seconds=3.0), "Training", 8, id="one that pods work on, each time"),
        pytest.param(Plan(), "Planned", 2, id="one that waits for somebody, every fourth time"),
        pytest.param(Plan(), "Succeeded", 0, id="one that has ended, never"),
    ],
)
def test_a_resync_looks_at(planned, phase, looks):
    looked = reconciler(One(planned, phase))
    assert looked.due("a-uid", 1, 0)
    look(looked)
    assert sum(looked.due("a-uid", 1, resync) for resync in LOOKS_OF_EIGHT_RESYNCS) == looks
    assert all(looked.due("a-uid", 2, resync) for resync in LOOKS_OF_EIGHT_RESYNCS)


def test_resting_objects_take_turns():
    one = One(Plan())
    looked = reconciler(one)
    for number in range(200):
        one.uid = f"uid-{number}"
        look(looked)
    shares = [sum(looked.due(f"uid-{number}", 1, resync) for number in range(200)) for resync in range(4)]
    assert sum(shares) == 200
    assert max(shares) <= 70


def test_a_publication_wakes_those_that_may_wait_for_it():
    one = One(Plan())
    looked = reconciler(one)
    look(looked)
    one.uid, one.planned = "the search", Plan(actions=(Publish("zoo", "search", (), None, {}, "published.json"),))
    look(looked, "search")
    assert all(looked.due("a-uid", 1, resync) for resync in LOOKS_OF_EIGHT_RESYNCS)


def test_objects_that_are_gone_are_forgotten():
    looked = reconciler(One(Plan()))
    look(looked)
    looked.forget_all_but({"another"})
    assert all(looked.due("a-uid", 1, resync) for resync in LOOKS_OF_EIGHT_RESYNCS)
