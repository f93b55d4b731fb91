"""What ``python -m nasoa_runtime {profile,evaluate,pretrain,probe,finetune}`` does."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from nasoa_runtime.boundary import (
    EXIT_BAD_INPUT,
    EXIT_CHECKPOINTED,
    EXIT_DIVERGED,
    EXIT_RETRY,
    AnyInput,
    AnyResult,
    FinetuneInput,
    TerminationMessage,
)
from nasoa_runtime.pods import launcher, metrics
from nasoa_runtime.pods.clock import Clock
from nasoa_runtime.pods.dataset.prefetch import Prefetch
from nasoa_runtime.pods.failures import BadInputError, DivergedError, OutOfMemoryError, StoppedError, TimedOutError
from nasoa_runtime.pods.pod import Pod, read_input, retrying, write_termination_message
from nasoa_runtime.storage.s3 import StoreError, StoreUnavailable

log = logging.getLogger("nasoa")

PROGRAMS = ("profile", "evaluate", "pretrain", "probe", "finetune")
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
    """Run ``program`` on the input in the environment and return the exit code."""
    try:
        document = read_input(program)
    except BadInputError as error:
        return _end(program, 0, EXIT_BAD_INPUT, "BadInput", str(error))
    pod = Pod.from_environment(document.store)
    try:
        return _attempt(document, pod)
    except StoppedError:
        return _end(program, pod.index, EXIT_CHECKPOINTED, "Disrupted", "Stopped on request; the next attempt goes on.")
    except Exception as error:
        for kind, code, failure in ENDS:
            if isinstance(error, kind):
                return _end(program, pod.index, code, failure, str(error))
        log.exception("The program failed.")
        return _end(program, pod.index, BUG, "Error", f"{type(error).__name__}: {error}")
    finally:
        pod.leave()


def _attempt(document: AnyInput, pod: Pod) -> int:
    signal.signal(signal.SIGTERM, pod.on_terminate)
    message = pod.found_result(document)
    if message is not None:
        log.info("An earlier attempt has written the result already.")
        write_termination_message(message)
        return 0
    if launcher.wanted(document):
        return launcher.launch(document.program, document.device.count, pod)
    clock = _clock(document, pod)
    with clock:
        metrics.serve()
        prefetch = Prefetch.start(document, pod)
        # The program brings torch, which takes seconds to import: meanwhile the data is fetched.
        module = importlib.import_module(f"nasoa_runtime.pods.programs.{document.program}")
        program: Callable[[AnyInput, Pod, Prefetch, Clock], AnyResult | None] = module.run
        result = program(document, pod, prefetch, clock)
        if result is None:
            return 0  # A worker of a multi-process run other than the first.
        pod.finish()
        message = pod.publish(document, result)
        write_termination_message(message)
        if hasattr(module, "clean_up"):
            module.clean_up(document, pod)
    # A pod told to stop never exits 0; its next attempt finds the result.
    pod.check_stop()
    return 0


def _clock(document: AnyInput, pod: Pod) -> Clock:
    if not isinstance(document, FinetuneInput):
        return Clock.of_this_process()
    limit, interval = document.time_limit_seconds, document.heartbeat_seconds
    if launcher.rank() != 0:
        return Clock(limit_seconds=limit)  # The first worker's clock decides, and sends the heartbeats.
    return retrying(lambda: Clock.over_attempts(pod.store, document.work_uri, limit, interval))


def _end(program: str, index: int, code: int, failure: str, text: str) -> int:
    log.error("%s: %s", failure, text)
    fields = {"program": program, "index": index, "failure": failure, "message": text[:1500]}
    write_termination_message(TerminationMessage.model_validate(fields))
    return code


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, run, and return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    given = sys.argv[1:] if arguments is None else arguments
    if len(given) != 1 or given[0] not in PROGRAMS:
        log.error("usage: python -m nasoa_runtime {%s}", ",".join(PROGRAMS))
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
