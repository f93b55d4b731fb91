"""One object of ours in a world of its own or of several, and the operators that bring it on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from memory.lines import Killed, Line
from memory.pods import input_of
from memory.world import World, run
from nasoa_operator.cluster import ClusterError
from nasoa_operator.jobs import OWNER_UID_LABEL, STEP_LABEL
from nasoa_operator.plan import Manifest
from nasoa_operator.workqueue import Key
from nasoa_runtime.storage.errors import StoreUnavailable

RETRY_SECONDS = 1.0
LOOKS_AT_MOST = 2000


class Simulated:
    """An object, and everything that is recorded of it.

    An operator that dies is followed by one that has seen nothing yet; what fails for a while is tried again.
    """

    KIND: ClassVar[str]

    def __init__(
        self,
        manifest: Callable[..., Manifest],
        name: str,
        uid: str,
        spec: Mapping[str, Any],
        world: World,
        line: Line,
        namespace: str = "team",
    ) -> None:
        self._manifest = manifest
        self.name = name
        self.uid = uid
        self.namespace = namespace
        self.world = world
        self.line = line
        self.operator = world.operator(line)
        self.deaths = 0
        self.spec = spec

    # --- The object --------------------------------------------------------------------------------------------------

    @property
    def spec(self) -> Mapping[str, Any]:
        """What its spec says beyond the least that it must say; setting it edits the object."""
        return self._spec

    @spec.setter
    def spec(self, spec: Mapping[str, Any]) -> None:
        self._spec = spec
        self.world.cluster.apply(self._manifest(self.name, self.namespace, **spec), self.uid)

    @property
    def key(self) -> Key:
        """By which operators know it."""
        return Key(self.KIND, self.namespace, self.name)

    @property
    def status(self) -> dict[str, Any]:
        """Its status."""
        found = run(self.world.cluster.get_object(self.KIND, self.namespace, self.name)) or {}
        status: dict[str, Any] = found.get("status", {})
        return status

    @property
    def messages(self) -> list[str]:
        """The message of each status that it has had."""
        written = self.world.cluster.statuses
        return [manifest["status"]["message"] for manifest in written if manifest["metadata"]["uid"] == self.uid]

    @property
    def events(self) -> list[str]:
        """The reasons of its Events, in order."""
        return [e["reason"] for e in self.world.cluster.events() if e["involvedObject"]["uid"] == self.uid]

    # --- Its Jobs ----------------------------------------------------------------------------------------------------

    @property
    def created(self) -> list[str]:
        """The steps of the Jobs that were created for it, in order."""
        return [step_of(job) for job in self.world.cluster.created if self._owns(job)]

    @property
    def deleted(self) -> list[str]:
        """The steps of its Jobs that an operator has deleted, in order."""
        return [step_of(job) for job in self.world.cluster.deleted if self._owns(job)]

    @property
    def jobs(self) -> dict[str, Manifest]:
        """Its Jobs by their steps."""
        return {step_of(job): job for job in self.world.cluster.jobs() if self._owns(job)}

    @property
    def inputs(self) -> dict[str, Any]:
        """What the pods of each of its Jobs were told, by the Job's step."""
        return {step_of(job): input_of(job) for job in self.world.cluster.created if self._owns(job)}

    def _owns(self, job: Manifest) -> bool:
        return bool(job["metadata"]["labels"][OWNER_UID_LABEL] == self.uid)

    # --- Its documents -----------------------------------------------------------------------------------------------

    @property
    def prefix(self) -> str:
        """The key below which its documents are."""
        raise NotImplementedError

    @property
    def recorded(self) -> Mapping[str, bytes]:
        """Its documents as they are stored, by their keys behind :attr:`prefix`."""
        return self.world.store.contents(f"s3://{self.world.bucket}/{self.prefix}")

    # --- Bringing it on ----------------------------------------------------------------------------------------------

    def reconcile(self) -> float | None:
        """One look of the operator at it; the seconds after which it looks again, if any."""
        try:
            return run(self.operator.reconcile(self.key))
        except Killed:
            self.deaths += 1
            self.replace_operator()
            return 0.0
        except (StoreUnavailable, ClusterError):
            return RETRY_SECONDS

    def replace_operator(self) -> None:
        """Another operator goes on, which knows only what is recorded."""
        self.operator = self.world.operator(self.line)

    def step(self) -> float | None:
        """One look, after which all Jobs that run come to an end."""
        delay = self.reconcile()
        self.world.finish_jobs()
        return delay

    def end(self, looks: int = 1) -> dict[str, Any]:
        """Look until it has ended, or waits for somebody to change something; its status.

        Args:
            looks: how often the operator looks before all Jobs that run come to an end.
        """
        for _ in range(LOOKS_AT_MOST):
            delay = [self.reconcile() for _ in range(looks)][-1]
            if not self.world.finish_jobs() and delay is None:
                return self.status
        msg = f"not ended after {LOOKS_AT_MOST} looks: {self.status.get('message')}"
        raise AssertionError(msg)


def step_of(job: Manifest) -> str:
    """The step that a Job is for."""
    return str(job["metadata"]["labels"][STEP_LABEL])
