import asyncio

import pytest

from nasoa_operator.workqueue import Key, WorkQueue

KEY = Key("NASSearch", "team", "a")
OTHER = Key("NASSearch", "team", "b")


class Worked:
    """A reconcile function that notes what it was called with, and can be held up."""

    def __init__(self):
        self.keys = []
        self.running = 0
        self.most_running_of_a_key = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.done = asyncio.Condition()
        self.delays = {}
        self.errors = {}

    async def __call__(self, key):
        self.keys.append(key)
        self.running += 1
        self.most_running_of_a_key = max(self.most_running_of_a_key, self.running)
        await self.gate.wait()
        self.running -= 1
        async with self.done:
            self.done.notify_all()
        if self.errors.get(key):
            raise self.errors[key].pop()
        return self.delays.pop(key, None)

    async def until(self, predicate):
        async with asyncio.timeout(10):
            while not predicate():
                async with self.done:
                    try:
                        await asyncio.wait_for(self.done.wait(), 0.05)
                    except TimeoutError:
                        continue


@pytest.fixture
async def queue():
    queue = WorkQueue(first_backoff_seconds=0.01, longest_backoff_seconds=0.02)
    queue.worked = Worked()
    workers = [asyncio.create_task(queue.work(queue.worked)) for _ in range(3)]
    yield queue
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)


async def test_many_hints_before_the_work_starts_are_one_piece_of_work():
    queue, worked = WorkQueue(), Worked()
    for _ in range(5):
        queue.add(KEY)
    worker = asyncio.create_task(queue.work(worked))
    await worked.until(lambda: worked.keys)
    worker.cancel()
    assert worked.keys == [KEY]


async def test_a_hint_during_the_work_leads_to_one_more_and_never_to_two_at_once(queue):
    queue.worked.gate.clear()
    queue.add(KEY)
    await queue.worked.until(lambda: queue.worked.running == 1)
    queue.add(KEY)
    queue.add(KEY)
    queue.worked.gate.set()
    await queue.worked.until(lambda: queue.worked.keys == [KEY, KEY] and queue.worked.running == 0)
    assert queue.worked.most_running_of_a_key == 1


async def test_a_failure_is_tried_again_and_does_not_end_the_worker(queue):
    queue.worked.errors[KEY] = [RuntimeError("once"), RuntimeError("twice")]
    queue.add(KEY)
    queue.add(OTHER)
    await queue.worked.until(lambda: queue.worked.keys.count(KEY) == 3)
    assert OTHER in queue.worked.keys


async def test_a_delay_brings_the_key_back_by_itself(queue):
    queue.worked.delays[KEY] = 0.01
    queue.add(KEY)
    await queue.worked.until(lambda: queue.worked.keys == [KEY, KEY])


async def test_the_earlier_of_two_delays_counts(queue):
    queue.add_later(KEY, 600)
    queue.add_later(KEY, 0.01)
    queue.add_later(KEY, 600)
    await queue.worked.until(lambda: queue.worked.keys == [KEY])
