"""What lies between an operator and the world: each call passes a line, which may end the operator, fail it or wait."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from nasoa_operator.cluster import ClusterError
from nasoa_operator.ports import ClusterPort
from nasoa_runtime.storage.errors import StoreUnavailable
from nasoa_runtime.storage.objects import Head, Listed, Object, ObjectStore

T = TypeVar("T")
WRITES = {
    "write_status",
    "create_job",
    "delete_job",
    "suspend_job",
    "activate_workload",
    "create_event",
    "put",
    "put_file",
    "create",
    "replace",
    "copy",
    "delete",
}


@dataclass(frozen=True)
class Call:
    """One call to the cluster or to the store."""

    name: str
    target: str
    """The address in S3; empty for calls to the cluster."""
    port: str
    """``cluster`` or ``store``."""

    @property
    def writes(self) -> bool:
        """Whether it changes something."""
        return self.name in WRITES


class Line:
    """Lets every call pass."""

    def begin(self, call: Call) -> None:
        """Before the call is carried out."""

    def end(self, call: Call) -> None:
        """After it was carried out, before its answer arrives."""


class Killed(BaseException):
    """The operator's process is gone. Not an Exception, so that nobody handles it."""


@dataclass
class Deaths(Line):
    """Operators that die at writes, which are counted from 1 over all of them."""

    before: Collection[int] = ()
    """Writes that are not carried out any more."""
    after: Collection[int] = ()
    """Writes that are carried out, while nobody hears the answer."""
    writes: int = 0

    def begin(self, call: Call) -> None:
        self.writes += call.writes
        if call.writes and self.writes in self.before:
            raise Killed

    def end(self, call: Call) -> None:
        if call.writes and self.writes in self.after:
            raise Killed


@dataclass
class DeathBehind(Line):
    """An operator that dies as soon as it has written the object whose key ends like this."""

    key: str

    def end(self, call: Call) -> None:
        if call.writes and call.target.endswith(self.key):
            raise Killed


@dataclass
class Outages(Line):
    """Calls that fail, counted from 1: S3 does not answer, or the API server refuses for a while."""

    before: Mapping[int, int] = field(default_factory=dict)
    """Calls that are not carried out, and the status with which the API server refuses them."""
    after: Collection[int] = ()
    """Calls that are carried out, while the answer gets lost."""
    calls: int = 0

    def begin(self, call: Call) -> None:
        self.calls += 1
        if self.calls in self.before:
            self._fail(call, self.before[self.calls])

    def end(self, call: Call) -> None:
        if self.calls in self.after:
            self._fail(call, 0)

    def _fail(self, call: Call, status: int) -> None:
        if call.port == "store":
            msg = f"{call.target}: S3 does not answer"
            raise StoreUnavailable(msg)
        raise ClusterError(status, "the API server can't be reached" if status == 0 else "try again later")


class LinedStore(ObjectStore):
    """A store behind a line. What is composed of several calls passes it with each of them."""

    def __init__(self, store: ObjectStore, line: Line) -> None:
        self._store = store
        self._line = line

    def get(self, uri: str) -> Object | None:
        return self._carried_out("get", uri, lambda: self._store.get(uri))

    def get_range(self, uri: str, start: int, length: int) -> Object | None:
        return self._carried_out("get_range", uri, lambda: self._store.get_range(uri, start, length))

    def head(self, uri: str) -> Head | None:
        return self._carried_out("head", uri, lambda: self._store.head(uri))

    def list(self, uri: str) -> Iterator[Listed]:
        return iter(self._carried_out("list", uri, lambda: [*self._store.list(uri)]))

    def put(self, uri: str, body: bytes) -> None:
        self._carried_out("put", uri, lambda: self._store.put(uri, body))

    def put_file(self, uri: str, path: Path) -> None:
        self._carried_out("put_file", uri, lambda: self._store.put_file(uri, path))

    def create(self, uri: str, body: bytes) -> bool:
        return self._carried_out("create", uri, lambda: self._store.create(uri, body))

    def replace(self, uri: str, body: bytes, etag: str) -> bool:
        return self._carried_out("replace", uri, lambda: self._store.replace(uri, body, etag))

    def copy(self, source: str, target: str) -> None:
        self._carried_out("copy", target, lambda: self._store.copy(source, target))

    def delete(self, uri: str) -> None:
        self._carried_out("delete", uri, lambda: self._store.delete(uri))

    def _carried_out(self, name: str, uri: str, carry_out: Callable[[], T]) -> T:
        call = Call(name, uri, "store")
        self._line.begin(call)
        answer = carry_out()
        self._line.end(call)
        return answer


class LinedCluster:
    """A cluster behind a line."""

    def __init__(self, cluster: ClusterPort, line: Line) -> None:
        self._cluster = cluster
        self._line = line

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._cluster, name)

        async def carried_out(*arguments: Any, **named: Any) -> Any:
            call = Call(name, "", "cluster")
            try:
                self._line.begin(call)
                answer = await method(*arguments, **named)
                self._line.end(call)
            except ClusterError as error:
                return self._answer(name, error)
            return answer

        return carried_out

    @staticmethod
    def _answer(name: str, error: ClusterError) -> None:
        """What the real client makes of an error: of a conflict an absence, and of a lost Event nothing."""
        if name == "create_event" or (error.status == 409 and name in {"write_status", "delete_job"}):
            return
        raise error
