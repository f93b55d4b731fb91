"""Each measurement in a process of its own, with a time limit: what crashes, hangs or leaks there ends there.

The process is forked from one that has imported torch but never run an operation, so that it starts at once. Until the
last measurement the parent must therefore not compute with torch: threads and CUDA contexts don't survive a fork.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

from nasoa_runtime.boundary import Failure, StepFactors, StepTime
from nasoa_runtime.pods.failures import OutOfMemoryError
from nasoa_runtime.pods.training.profiling import MeasureFunction, Task, measure

log = logging.getLogger(__name__)

FORK = multiprocessing.get_context("fork")
GRACE_SECONDS = 5.0


@dataclass(frozen=True)
class Measured:
    """What a measuring process gave: its rows, and why there are no more if it failed."""

    rows: tuple[StepTime, ...] = ()
    failure: Failure | None = None
    message: str = ""
    factors: StepFactors | None = None
    """How much options slow its steps, if that was measured."""


def measured(
    task: Task,
    limit_seconds: float,
    *,
    on_row: Callable[[StepTime], None] = lambda _row: None,
    function: MeasureFunction = measure,
) -> Measured:
    """Measure ``task`` in a process of its own; rows that came before a failure are kept."""
    receiver, sender = FORK.Pipe(duplex=False)
    process = FORK.Process(target=_child, args=(sender, task, function), daemon=True)
    process.start()
    sender.close()
    rows: list[StepTime] = []
    factors: StepFactors | None = None
    try:
        deadline = time.monotonic() + limit_seconds
        while receiver.poll(max(deadline - time.monotonic(), 0)):
            try:
                kind, body = receiver.recv_bytes().decode().split(":", 1)
            except EOFError:
                return _died(process, rows)
            if kind == "row":
                rows.append(StepTime.model_validate_json(body))
                on_row(rows[-1])
            elif kind == "factors":
                factors = StepFactors.model_validate_json(body)
            elif kind == "done":
                return Measured(tuple(rows), factors=factors)
            else:
                return Measured(tuple(rows), "OutOfMemory" if kind == "memory" else "Error", body[:300])
        return Measured(tuple(rows), "TimedOut", f"No result within {limit_seconds:.3g} s.")
    finally:
        receiver.close()
        process.join(0.05)
        if process.is_alive():
            process.kill()
        process.join(GRACE_SECONDS)


def _died(process: object, rows: list[StepTime]) -> Measured:
    assert isinstance(process, FORK.Process)
    process.join(GRACE_SECONDS)
    code = process.exitcode
    # Nobody but the kernel ends this process with SIGKILL: it had run out of memory.
    failure: Failure = "OutOfMemory" if code == -signal.SIGKILL else "Error"
    return Measured(tuple(rows), failure, f"The measuring process ended with code {code}.")


def _child(sender: Connection, task: Task, function: MeasureFunction) -> None:
    # The parent's handler would make a checkpoint; a measurement has none.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        for found in function(task):
            kind = "row" if isinstance(found, StepTime) else "factors"
            sender.send_bytes(f"{kind}:{found.model_dump_json()}".encode())
        sender.send_bytes(b"done:")
    except OutOfMemoryError as error:
        sender.send_bytes(f"memory:{error}".encode())
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this network's failure, recorded as such
        sender.send_bytes(f"error:{type(error).__name__}: {error}".encode())
    finally:
        sender.close()
        # Destructors of a forked parent's state are none of this process's business.
        os._exit(0)
