"""An S3 for unit tests. It says nothing about atomicity: `tests/cluster` has a real one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from moto.server import ThreadedMotoServer

from nasoa_runtime.storage.s3 import S3Store, connect


@contextmanager
def a_server() -> Iterator[str]:
    """A server of its own on loopback; its address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def an_empty_store(endpoint: str, *buckets: str) -> S3Store:
    """The store with ``buckets``, of which nothing is left from an earlier test."""
    store = connect(endpoint, access_key="a-key", secret_key="a-secret")
    for bucket in buckets:
        store.create_bucket(bucket)
        for listed in list(store.list(f"s3://{bucket}/")):
            store.delete(f"s3://{bucket}/{listed.key}")
    return store
