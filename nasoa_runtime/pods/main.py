"""What ``python -m nasoa_runtime PROGRAM`` does, for each program of the table."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn, cast

from nasoa_runtime.boundary import (
    EXIT_BAD_INPUT,
    EXIT_CHECKPOINTED,
    EXIT_DIVERGED,
    EXIT_RETRY,
    MESSAGE_CHARACTERS,
    PROGRAMS_BY_NAME,
    PodInput,
    PodResult,
    Program,
    TerminationMessage,
    program_of,
)
from nasoa_runtime.pods import launcher, metrics
from nasoa_runtime.pods.clock import Clock
from nasoa_runtime.pods.dataset.prefetch import Prefetch
from nasoa_runtime.pods.exchange import (
    found_result,
    publish,
    read_input,
    remove_superseded,
    write_termination_message,
)
from nasoa_runtime.pods.failures import (
    BadInputError,
    BlamingError,
    DivergedError,
    OutOfMemoryError,
    StoppedError,
    TimedOutError,
)
from nasoa_runtime.pods.pod import Pod
from nasoa_runtime.pods.retrying import retrying
from nasoa_runtime.storage.s3 import StoreError, StoreUnavailable

log = logging.getLogger("nasoa")

Function = Callable[[PodInput, Pod, Prefetch, Clock], PodResult | None]
"""What a program of the table is: from its input to its result, ``None`` in workers other than the first."""
ENDS: tuple[tuple[type[Exception], int, str], ...] = (
    (StoreUnavailable, EXIT_RETRY, "Error"),
    (BadInputError, EXIT_BAD_INPUT, "BadInput"),
    (StoreError, EXIT_BAD_INPUT, "BadInput"),
    (DivergedError, EXIT_DIVERGED, "Diverged"),
    (OutOfMemoryError, EXIT_DIVERGED, "OutOfMemory"),
    (TimedOutError, EXIT_DIVERGED, "TimedOut"),
)
"""Exit code and failure of each foreseen error; the first that fits counts."""
BUG = 1
"""Exit code of an error nobody foresaw: counted, and tried again."""


def run(program: str) -> int:
    """Run the program of this name on the input in the environment and return the exit code."""
    try:
        document = read_input(program)
    except BadInputError as error:
        return _end(program, 0, EXIT_BAD_INPUT, "BadInput", error)
    pod = Pod.from_environment(document.store)
    try:
        return _attempt(document, pod)
    except StoppedError:
        return _end(program, pod.index, EXIT_CHECKPOINTED, "Disrupted", "Stopped on request; the next attempt goes on.")
    except Exception as error:
        for kind, code, failure in ENDS:
            if isinstance(error, kind):
                return _end(program, pod.index, code, failure, error)
        log.exception("The program failed.")
        return _end(program, pod.index, BUG, "Error", f"{type(error).__name__}: {error}")
    finally:
        pod.leave()


def _attempt(document: PodInput, pod: Pod) -> int:
    signal.signal(signal.SIGTERM, pod.on_terminate)
    message = found_result(document, pod)
    if message is not None:
        log.info("An earlier attempt has written the result already.")
        write_termination_message(message)
        return 0
    program = program_of(document)
    if launcher.wanted(program, document.device):
        return launcher.launch(program.name, document.device.count, pod)
    with _clock(document, pod) as clock:
        metrics.serve()
        prefetch = Prefetch.start(document, pod)
        # The function brings torch, which takes seconds to import: meanwhile the data is fetched.
        result = function_of(program)(document, pod, prefetch, clock)
        if result is None:
            return 0  # A worker of a multi-process run other than the first.
        pod.finish()
        message = publish(document, result, pod)
        write_termination_message(message)
        remove_superseded(pod)
    # A pod told to stop never exits 0; its next attempt finds the result.
    pod.check_stop()
    return 0


def function_of(program: Program) -> Function:
    """Import what ``program`` runs."""
    module, _, name = program.function.partition(":")
    return cast("Function", getattr(importlib.import_module(module), name))


def _clock(document: PodInput, pod: Pod) -> Clock:
    limit = document.shared_limit
    if limit is None:
        return Clock.of_this_process()
    if launcher.rank() != 0:
        return Clock(limit_seconds=limit.seconds)  # The first worker's clock decides, and sends the heartbeats.
    return retrying(lambda: Clock.over_attempts(pod.store, limit))


def _end(program: str, index: int, code: int, failure: str, error: Exception | str) -> int:
    log.error("%s: %s", failure, error)
    field, text = (error.field, error.message) if isinstance(error, BlamingError) else (None, str(error))
    fields = {
        "program": program,
        "index": index,
        "failure": failure,
        "field": field,
        "message": text[:MESSAGE_CHARACTERS],
    }
    write_termination_message(TerminationMessage.model_validate(fields))
    return code


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, run, and return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    given = sys.argv[1:] if arguments is None else arguments
    if len(given) != 1 or given[0] not in PROGRAMS_BY_NAME:
        log.error("usage: python -m nasoa_runtime {%s}", ",".join(PROGRAMS_BY_NAME))
        return EXIT_BAD_INPUT
    code = run(given[0])
    launcher.report_exit_code(code)
    return code


def run_and_leave() -> NoReturn:
    """Run what the command line names, and end the process with its exit code."""
    exit_code = main()
    logging.shutdown()
    # Daemon threads may still be reading; nothing is left that would have to be waited for.
    os._exit(exit_code)
