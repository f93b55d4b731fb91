"""Tasks in the background go on whatever befalls them, and are counted when they had to be started again."""

import asyncio
import contextlib

import pytest
from api_server import an_answer, an_api_server
from prometheus_client import REGISTRY

from nasoa_operator import supervision
from nasoa_operator.operator import Operator
from nasoa_operator.settings import Settings
from nasoa_operator.supervision import LONGEST_BACKOFF_SECONDS, supervised


class Clock:
    """Seconds that pass only when somebody waits, or when a task says that it has worked for a while."""

    def __init__(self):
        self.seconds = 0.0
        self.waits = []

    def __call__(self):
        return self.seconds

    async def sleep(self, seconds):
        self.waits.append(seconds)
        self.seconds += seconds


class Task:
    """A task that ends as it is told each time that it is started, and then works on until it is cancelled."""

    def __init__(self, *ends, clock=None):
        self.ends = list(ends)
        self.clock = clock
        self.starts = 0
        self.at_work = asyncio.Event()

    async def __call__(self):
        self.starts += 1
        if not self.ends:
            self.at_work.set()
            await asyncio.Event().wait()
        end = self.ends.pop(0)
        if isinstance(end, float):
            self.clock.seconds += end
        else:
            raise end


def restarts(name):
    return REGISTRY.get_sample_value("nasoa_background_task_restarts_total", {"task": name}) or 0.0


@contextlib.asynccontextmanager
async def watched(name, task, clock):
    """The task under supervision, once it has nothing left but to work on."""
    running = asyncio.create_task(supervised(name, task, clock, clock.sleep))
    async with asyncio.timeout(10):
        await task.at_work.wait()
    yield running
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


# --- One task --------------------------------------------------------------------------------------------------------


async def test_a_task_that_raises_is_told_of_counted_and_started_again(caplog):
    clock = Clock()
    async with watched("raises", Task(RuntimeError("boom"), KeyError("uid")), clock) as running:
        assert not running.done()
        assert restarts("raises") == 2
    told = [record.getMessage() for record in caplog.records if record.exc_info]
    assert told == ["task raises: boom; again in 1 s", "task raises: 'uid'; again in 2 s"]


async def test_a_task_that_just_returns_is_started_again_too():
    clock = Clock()
    async with watched("returns", Task(0.0, clock=clock), clock):
        assert restarts("returns") == 1


async def test_the_wait_doubles_up_to_a_bound():
    clock = Clock()
    async with watched("unlucky", Task(*(OSError("away") for _ in range(8))), clock):
        assert clock.waits == [1, 2, 4, 8, 16, 30, 30, 30]


async def test_a_task_that_has_worked_for_a_while_waits_no_longer_than_the_first_time():
    clock = Clock()
    long = LONGEST_BACKOFF_SECONDS + 1.0
    ends = (OSError("away"), OSError("away"), long, OSError("away"))
    async with watched("lasting", Task(*ends, clock=clock), clock):
        assert clock.waits == [1, 2, 1, 2]


async def test_a_task_that_never_failed_is_shown_with_no_restart():
    async with watched("healthy", Task(), Clock()):
        assert REGISTRY.get_sample_value("nasoa_background_task_restarts_total", {"task": "healthy"}) == 0


async def test_cancelling_ends_a_task_and_starts_none():
    task = Task()
    async with watched("cancelled", task, Clock()) as running:
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert (task.starts, restarts("cancelled")) == (1, 0)


# --- The operator's --------------------------------------------------------------------------------------------------

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: here
contexts: [{{name: here, context: {{cluster: here, user: operator}}}}]
clusters: [{{name: here, cluster: {{server: "{address}"}}}}]
users: [{{name: operator, user: {{token: a-token}}}}]
"""


@contextlib.asynccontextmanager
async def an_operator(server, folder):
    """An operator that looks at everything without a pause."""
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(KUBECONFIG.format(address=server.address))
    settings = Settings(
        kubeconfig=kubeconfig,
        s3_endpoint="http://127.0.0.1:1",
        health_host="127.0.0.1",
        health_port=0,
        resync_seconds=0.001,
        workers=1,
    )
    operator = await Operator.start(settings, {"AWS_ACCESS_KEY_ID": "a-key", "AWS_SECRET_ACCESS_KEY": "a-secret"})
    yield operator
    await operator.stop()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="hangs up"),
        pytest.param(an_answer("200 OK", b"{", 4096), id="hangs up in the middle"),
        pytest.param(an_answer("502 Bad Gateway", b"<html></html>"), id="is answered for by a proxy"),
    ],
)
async def test_an_api_server_that_misbehaves_makes_the_operator_unready_and_ends_no_task(answer, tmp_path):
    before = restarts("resync"), restarts("heartbeat")
    async with an_api_server(answer) as server, an_operator(server, tmp_path) as operator:
        await server.until_asked(10)
        assert [task.get_name() for task in operator.tasks if task.done()] == []
        assert (operator.health.problem(), operator.health.reads_succeed) == (None, False)
    assert (restarts("resync"), restarts("heartbeat")) == before


async def test_an_object_that_nobody_thought_of_does_not_end_the_resync(tmp_path, monkeypatch):
    monkeypatch.setattr(supervision, "FIRST_BACKOFF_SECONDS", 0.001)
    monkeypatch.setattr(supervision, "LONGEST_BACKOFF_SECONDS", 0.001)
    before = restarts("resync")
    async with (
        an_api_server(an_answer("200 OK", b'{"items": [{}]}')) as server,
        an_operator(server, tmp_path) as operator,
    ):
        await server.until_asked(10)
        assert [task.get_name() for task in operator.tasks if task.done()] == []
    assert restarts("resync") > before + 5
