"""A pod's life around its program: where it is, what it may reach, and being told to stop."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from nasoa_runtime.boundary import INDEX_VARIABLE, Store
from nasoa_runtime.pods.failures import StoppedError
from nasoa_runtime.pods.stores import Stores
from nasoa_runtime.storage.s3 import ObjectStore

WORK_DIRECTORY_VARIABLE = "NASOA_WORK_DIRECTORY"


@dataclass
class Pod:
    """What a program knows of its surroundings."""

    index: int = 0
    work_directory: Path = field(default_factory=Path)
    stores: Stores = field(default_factory=Stores)
    temporary: bool = False
    """Whether the work directory was made for this pod alone."""
    superseded: list[str] = field(default_factory=list)
    """``s3://`` URIs of what the published result makes useless, such as checkpoints."""
    _stop_requested: bool = False
    _deferred: bool = False

    @classmethod
    def from_environment(cls, address: Store, environment: Mapping[str, str] = os.environ) -> Pod:
        """Index from the Job controller, work directory from the pod template (a fresh one without it)."""
        named = environment.get(WORK_DIRECTORY_VARIABLE)
        directory = Path(named) if named else Path(tempfile.mkdtemp(prefix="nasoa-"))
        directory.mkdir(parents=True, exist_ok=True)
        return cls(
            index=int(environment.get(INDEX_VARIABLE) or 0),
            work_directory=directory,
            stores=Stores(address, environment),
            temporary=not named,
        )

    def leave(self) -> None:
        """Remove the work directory if it was made here; one that was given belongs to whoever gave it."""
        if self.temporary:
            shutil.rmtree(self.work_directory, ignore_errors=True)

    @property
    def store(self) -> ObjectStore:
        """The tenant's store: data, checkpoints, results."""
        return self.stores.tenant

    @property
    def zoo_store(self) -> ObjectStore:
        """The store from which the zoo is read."""
        return self.stores.zoo

    # --- Being told to stop ---------------------------------------------------------------------------------

    def on_terminate(self, _signal: int = signal.SIGTERM, _frame: FrameType | None = None) -> None:
        """SIGTERM: end now, or at the next :meth:`check_stop` where something must not be interrupted."""
        self._stop_requested = True
        if not self._deferred:
            raise StoppedError

    @property
    def stop_requested(self) -> bool:
        """Whether SIGTERM has arrived."""
        return self._stop_requested

    def check_stop(self) -> None:
        """Raise ``StoppedError`` if SIGTERM has arrived."""
        if self._stop_requested:
            raise StoppedError

    def finish(self) -> None:
        """From here on the result is so near that SIGTERM waits for it; :meth:`check_stop` comes after."""
        self._deferred = True

    @contextmanager
    def uninterrupted(self) -> Iterator[None]:
        """Within, SIGTERM only sets :attr:`stop_requested`; it takes effect at :meth:`check_stop` or at the end."""
        before = self._deferred
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = before
        if not before:
            self.check_stop()
