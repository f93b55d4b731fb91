"""What the operator makes of an API server, or of a proxy before it, that misbehaves."""

import contextlib

import pytest
from api_server import an_answer, an_api_server
from kubernetes.aio import client

from nasoa_operator.cluster import Cluster, ClusterError

PATH = "/apis/nasoa.io/v1alpha1/nassearches"
HTML = b"<html><body>Bad Gateway</body></html>"


@contextlib.asynccontextmanager
async def a_cluster(answer: bytes | None):
    """A client of a server that answers so; ``None`` keeps it waiting."""
    patience = 0.05 if answer is None else 30.0
    async with an_api_server(answer) as server:
        cluster = Cluster(client.ApiClient(client.Configuration(host=server.address)), timeout_seconds=patience)
        yield cluster
        await cluster.close()


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        pytest.param(b"", 0, "ServerDisconnectedError", id="hangs up"),
        pytest.param(an_answer("200 OK", b'{"items": [', 4096), 0, "ClientPayloadError", id="hangs up in the middle"),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", 0, "Bad status line", id="no HTTP"),
        pytest.param(None, 0, "TimeoutError", id="never answers"),
        pytest.param(an_answer("502 Bad Gateway", HTML), 502, "Bad Gateway", id="a proxy's page of an error"),
        pytest.param(an_answer("503 Unavailable", b'["no object"]'), 503, "Unavailable", id="an error of another form"),
        pytest.param(an_answer("504 Gateway Timeout", b""), 504, "Gateway Timeout", id="an error without a body"),
        pytest.param(an_answer("200 OK", HTML), 0, "not a JSON object: <html>", id="a page for an answer"),
        pytest.param(an_answer("200 OK", b"[1]"), 0, r"not a JSON object: \[1\]", id="a list for an answer"),
        pytest.param(an_answer("200 OK", b'"\xff"'), 0, "not a JSON object", id="no text"),
    ],
)
async def test_whatever_goes_wrong_on_the_way_may_succeed_later(answer, status, words):
    async with a_cluster(answer) as cluster:
        with pytest.raises(ClusterError, match=words) as caught:
            await cluster.request("GET", PATH)
    assert caught.value.status == status
    assert caught.value.temporary


async def test_a_server_that_is_not_there_may_come_back():
    away = Cluster(client.ApiClient(client.Configuration(host="http://127.0.0.1:1")))
    with pytest.raises(ClusterError, match="can't be reached") as caught:
        await away.request("GET", PATH)
    await away.close()
    assert caught.value.temporary


async def test_a_refusal_keeps_the_servers_words_and_is_final():
    body = b'{"kind": "Status", "message": "jobs.batch is forbidden"}'
    async with a_cluster(an_answer("403 Forbidden", body)) as cluster:
        with pytest.raises(ClusterError, match=r"403: jobs\.batch is forbidden") as caught:
            await cluster.request("GET", PATH)
    assert not caught.value.temporary


async def test_an_api_that_is_not_served_is_an_absence_whatever_its_body():
    async with a_cluster(an_answer("404 Not Found", b"404 page not found\n")) as cluster:
        assert await cluster.get_object("NASSearch", "team", "a") is None
        assert await cluster.list_objects("NASSearch", ("team",)) == []


async def test_an_answer_without_a_body_is_an_empty_one():
    async with a_cluster(an_answer("200 OK", b"")) as cluster:
        assert await cluster.request("GET", PATH) == {}
