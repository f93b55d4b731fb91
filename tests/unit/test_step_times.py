import aiohttp
import pytest
from aiohttp import web

from nasoa_operator.step_times import StepTimes, parse, parse_answer, profiled

PAGE = """\
# HELP nasoa_profiled_step_seconds Step time.
# TYPE nasoa_profiled_step_seconds gauge
nasoa_profiled_step_seconds{architecture="0-_16_1-2-2-2"} 0.0525
# TYPE nasoa_step gauge
nasoa_step 40
# TYPE nasoa_loss gauge
nasoa_loss NaN
# TYPE python_info gauge
python_info 1
"""


def a_pod(name="search-0a1b2c3d-block-g0000-profile0-0-abcde", phase="Running"):
    return {"metadata": {"name": name, "namespace": "team"}, "status": {"phase": phase, "podIP": "127.0.0.9"}}


def an_answer(*series):
    result = [{"metric": labels, "value": [1.0, value]} for labels, value in series]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


def test_of_a_page_the_finite_samples_that_we_know_are_kept():
    assert parse(PAGE) == {profiled("0-_16_1-2-2-2"): 0.0525, "nasoa_step": 40.0}


@pytest.mark.parametrize("page", ["", "nasoa_step", "<html>", "nasoa_step{ 1"])
def test_a_broken_page_has_no_samples(page):
    assert parse(page) == {}


def test_an_answer_of_prometheus_says_the_same_as_a_page():
    answer = an_answer(
        ({"__name__": "nasoa_profiled_step_seconds", "architecture": "0-_16_1-2-2-2", "pod": "p"}, "0.0525"),
        ({"__name__": "nasoa_step", "pod": "p"}, "40"),
        ({"__name__": "nasoa_loss", "pod": "p"}, "NaN"),
    )
    assert parse_answer(answer) == parse(PAGE)


@pytest.mark.parametrize("answer", [None, {}, {"data": {"result": [{}]}}, an_answer(({"__name__": "nasoa_step"}, "x"))])
def test_a_broken_answer_has_no_samples(answer):
    assert parse_answer(answer) == {}


@pytest.fixture
async def prometheus():
    """Prometheus's query API with one answer; it keeps the queries."""
    queries = []

    async def query(request):
        queries.append(request.query["query"])
        return web.json_response(an_answer(({"__name__": "nasoa_step", "pod": "p"}, "7")))

    application = web.Application()
    application.router.add_get("/api/v1/query", query)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", queries
    await runner.cleanup()


async def test_a_configured_prometheus_is_asked_for_the_running_pods_of_the_job(prometheus):
    url, queries = prometheus
    async with aiohttp.ClientSession() as session:
        step_times = StepTimes(session, url)
        assert await step_times.observe("job", [a_pod("a-0-x"), a_pod("a-1-y", phase="Succeeded")]) == {"nasoa_step": 7}
        assert step_times.of_job("job") == {"nasoa_step": 7}
    assert queries == [r'{__name__=~"nasoa_.+",namespace="team",pod=~"a\\-0\\-x"}']


async def test_what_was_seen_once_is_remembered_when_nothing_answers_any_more(prometheus):
    url, _ = prometheus
    async with aiohttp.ClientSession() as session:
        step_times = StepTimes(session, url)
        await step_times.observe("job", [a_pod()])
        assert await step_times.observe("job", []) == {"nasoa_step": 7}
