"""A pod's life around its program: input, result, termination message, exit code, and the order to stop.

The order at the end matters: the result is in S3 before the termination message names it, and the message is
written before the process exits. A restarted pod that finds its index's result repeats the message and does nothing
else, so nothing is ever computed twice.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from pydantic import ValidationError

from nasoa_runtime.boundary import (
    INDEX_VARIABLE,
    INPUT_VARIABLE,
    INPUTS,
    RESULTS,
    TERMINATION_MESSAGE_LIMIT_BYTES,
    TERMINATION_MESSAGE_VARIABLE,
    AnyInput,
    AnyResult,
    Store,
    TerminationMessage,
    digest,
)
from nasoa_runtime.pods.failures import BadInputError, StoppedError
from nasoa_runtime.storage.s3 import ObjectStore, StoreDenied, StoreError, StoreUnavailable, connect

log = logging.getLogger(__name__)
T = TypeVar("T")

WORK_DIRECTORY_VARIABLE = "NASOA_WORK_DIRECTORY"
ATTEMPTS_PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0)
"""Pauses between attempts on a store that does not answer, beyond the store client's own retries."""


def read_input(program: str, environment: Mapping[str, str] = os.environ) -> AnyInput:
    """Read and validate the input document.

    Raises:
        BadInputError: The variable is missing, or the document is not valid; the message names each wrong field.
    """
    text = environment.get(INPUT_VARIABLE)
    if not text:
        msg = f"The environment variable {INPUT_VARIABLE} is missing: set it to the input's JSON document."
        raise BadInputError(msg)
    try:
        document = INPUTS.validate_json(text)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'document'}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False)[:5]
        )
        msg = f"{INPUT_VARIABLE} is not a valid input: {problems}."
        raise BadInputError(msg) from error
    if document.program != program:
        msg = f"program: the input is for {document.program!r} but {program!r} was started; start that one."
        raise BadInputError(msg)
    return document


def write_termination_message(message: TerminationMessage) -> None:
    """Write ``message`` where the kubelet looks, without the inlined result if that is what makes it too long."""
    path = Path(os.environ.get(TERMINATION_MESSAGE_VARIABLE) or "/dev/termination-log")
    body = message.to_json()
    if len(body) > TERMINATION_MESSAGE_LIMIT_BYTES:
        body = message.model_copy(update={"result": None}).to_json()
    if len(body) > TERMINATION_MESSAGE_LIMIT_BYTES:
        # Characters outside ASCII take six bytes in JSON; 300 of the longest still fit.
        body = message.model_copy(update={"result": None, "message": message.message[:300]}).to_json()
    try:
        path.write_bytes(body)
    except OSError as error:
        log.warning("The termination message can't be written to %s: %s", path, error)


def retrying(action: Callable[[], T], pauses_seconds: tuple[float, ...] = ATTEMPTS_PAUSES_SECONDS) -> T:
    """Do ``action``; while the store is unavailable, again after each pause, then give up with its error."""
    for pause in pauses_seconds:
        try:
            return action()
        except StoreUnavailable as error:
            log.warning("%s; trying again in %.1f s.", error, pause)
            time.sleep(pause)
    return action()


@contextmanager
def blaming(field_name: str) -> Iterator[None]:
    """Within, what S3 refuses for good is the fault of a field of the spec, which the error then names.

    Raises:
        BadInputError: in place of a :class:`StoreError` that another attempt would meet again.
    """
    try:
        yield
    except StoreUnavailable:
        raise
    except StoreError as error:
        denied = isinstance(error, StoreDenied)
        keys = "; a pod's keys come from the Secret that storage.secretName names" if denied else ""
        msg = f"{field_name}: {error}{keys}."
        raise BadInputError(msg) from error


@dataclass
class Pod:
    """What a program knows of its surroundings."""

    index: int = 0
    work_directory: Path = field(default_factory=Path)
    store_settings: Store = field(default_factory=Store)
    temporary: bool = False
    """Whether the work directory was made for this pod alone."""
    _stop_requested: bool = False
    _deferred: bool = False
    _stores: dict[str, ObjectStore] = field(default_factory=dict)

    @classmethod
    def from_environment(cls, settings: Store, environment: Mapping[str, str] = os.environ) -> Pod:
        """Index from the Job controller, work directory from the pod template (a fresh one without it)."""
        named = environment.get(WORK_DIRECTORY_VARIABLE)
        directory = Path(named) if named else Path(tempfile.mkdtemp(prefix="nasoa-"))
        directory.mkdir(parents=True, exist_ok=True)
        return cls(
            index=int(environment.get(INDEX_VARIABLE) or 0),
            work_directory=directory,
            store_settings=settings,
            temporary=not named,
        )

    def leave(self) -> None:
        """Remove the work directory if it was made here; one that was given belongs to whoever gave it."""
        if self.temporary:
            shutil.rmtree(self.work_directory, ignore_errors=True)

    # --- Stores ---------------------------------------------------------------------------------------------

    @property
    def store(self) -> ObjectStore:
        """The store with the tenant's identity: data, checkpoints, results."""
        return self._store("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")

    @property
    def zoo_store(self) -> ObjectStore:
        """The store with the zoo reader's identity; the tenant's where none was given."""
        if os.environ.get("NASOA_ZOO_ACCESS_KEY_ID"):
            return self._store("NASOA_ZOO_ACCESS_KEY_ID", "NASOA_ZOO_SECRET_ACCESS_KEY")
        return self.store

    def _store(self, key_variable: str, secret_variable: str) -> ObjectStore:
        if key_variable not in self._stores:
            self._stores[key_variable] = connect(
                self.store_settings.endpoint,
                self.store_settings.region,
                os.environ.get(key_variable),
                os.environ.get(secret_variable),
            )
        return self._stores[key_variable]

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

    # --- Results --------------------------------------------------------------------------------------------

    def result_uri(self, prefix: str) -> str:
        """Where this index's result goes."""
        return f"{prefix.rstrip('/')}/{self.index}.json"

    def found_result(self, document: AnyInput) -> TerminationMessage | None:
        """The termination message of a result that an earlier attempt of this index wrote, if there is one."""
        uri = self.result_uri(document.result_uri)
        with blaming("outputURI"):
            found = retrying(lambda: self.store.get(uri))
        return None if found is None else self._message(document.program, uri, found.body)

    def publish(self, document: AnyInput, result: AnyResult) -> TerminationMessage:
        """Write the result create-only and return the message that names what counts, ours or an earlier one."""
        uri = self.result_uri(document.result_uri)
        with blaming("outputURI"):
            body = retrying(lambda: self.store.create_or_read(uri, result.to_json()))
        return self._message(document.program, uri, body)

    def _message(self, program: Any, uri: str, body: bytes) -> TerminationMessage:
        try:
            RESULTS.validate_json(body)
            inlined = json.loads(body)
        except (ValidationError, ValueError):
            log.warning("%s is not a valid result; the operator will refuse it.", uri)
            inlined = None
        return TerminationMessage(
            program=program, index=self.index, result_key=uri, result_digest=digest(body), result=inlined
        )
