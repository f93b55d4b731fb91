import asyncio

import pytest
from aiohttp import web

from devcluster.node import probes


@pytest.fixture
async def port():
    """A server that answers /ok with 200 and everything else with 503."""

    async def answer(request):
        return web.Response(status=200 if request.path == "/ok" else 503, text=request.headers.get("X-Probe", ""))

    runner = web.AppRunner(application := web.Application())
    application.add_routes([web.get("/{any:.*}", answer)])
    await runner.setup()
    await web.TCPSite(runner, "127.9.9.9", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        pytest.param({"httpGet": {"path": "/ok", "port": "web"}}, True, id="a good answer from a named port"),
        pytest.param({"httpGet": {"path": "/bad", "port": "web"}}, False, id="a bad answer"),
        pytest.param({"httpGet": {"path": "/ok", "port": "web", "host": "127.0.0.1"}}, False, id="another host"),
        pytest.param({"httpGet": {"path": "/ok", "port": "none"}}, False, id="an unknown port"),
        pytest.param({"tcpSocket": {"port": "web"}}, True, id="a connection"),
        pytest.param({"tcpSocket": {"port": 1}}, False, id="no connection"),
    ],
)
async def test_a_probe_asks_the_pods_address(port, action, expected):
    container = {"ports": [{"name": "web", "containerPort": port}]}
    assert await probes.succeeds(action, container, "127.9.9.9") is expected


@pytest.mark.parametrize(
    ("probe", "expected"),
    [
        pytest.param({"httpGet": {}}, True, id="http"),
        pytest.param({"tcpSocket": {}}, True, id="tcp"),
        pytest.param({"exec": {"command": ["true"]}}, False, id="exec"),
        pytest.param(None, False, id="none"),
    ],
)
def test_exec_probes_are_not_run(probe, expected):
    assert probes.supported(probe) is expected


async def test_a_result_counts_after_as_many_repetitions_as_its_threshold(port):
    results = asyncio.Queue()
    probe = {"httpGet": {"path": "/bad", "port": port}, "failureThreshold": 2, "periodSeconds": 0.01}
    observing = asyncio.create_task(probes.observe(probe, {}, "127.9.9.9", results.put_nowait))
    assert await asyncio.wait_for(results.get(), 20) is False
    observing.cancel()


async def test_a_startup_probe_gives_up_at_its_threshold(port):
    never = {"httpGet": {"path": "/bad", "port": port}, "failureThreshold": 2, "periodSeconds": 0.01}
    assert not await probes.until_started(never, {}, "127.9.9.9")
    assert await probes.until_started({"tcpSocket": {"port": port}}, {}, "127.9.9.9")
