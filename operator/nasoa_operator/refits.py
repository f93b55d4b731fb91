"""Refits of predictors' trees, each in a process of its own: they take seconds of CPU, which the operator's is not for.

What is fitted and adopted is settled in S3 (:mod:`nasoa_runtime.storage.refits`), so a refit may end at any line, and
any number of operators may run one at once. One that was lost is due again when the predictor learns next.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

from nasoa_operator import metrics

logger = logging.getLogger(__name__)

STOP_SECONDS = 5.0


def refit_command(zoo: str) -> list[str]:
    """The command that refits a zoo's predictor where that is due; it finds S3 in the environment, as the operator."""
    return [sys.executable, "-m", "nasoa_runtime.cli", "predictor", "refit", zoo, "--json"]


class Refits:
    """The processes that run, at most one for each zoo. Its methods may be called from any thread."""

    def __init__(self, command: Callable[[str], Sequence[str]] = refit_command) -> None:
        self._command = command
        self._lock = threading.Lock()
        self._running: dict[str, tuple[subprocess.Popen[str], threading.Thread]] = {}
        self._stopped = False

    def start(self, zoo: str) -> None:
        """Start a refit, unless one runs for this zoo; returns at once."""
        with self._lock:
            if zoo in self._running or self._stopped:
                return
            process = subprocess.Popen(
                list(self._command(zoo)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            watcher = threading.Thread(target=self._watch, args=(zoo, process), name=f"refit-{zoo}", daemon=True)
            self._running[zoo] = process, watcher
            watcher.start()
        logger.info("zoo %s: its predictor's trees are fitted anew by process %d", zoo, process.pid)

    def _watch(self, zoo: str, process: subprocess.Popen[str]) -> None:
        output, _ = process.communicate()
        with self._lock:
            del self._running[zoo]
            ended_by_us = self._stopped
        if process.returncode == 0:
            metrics.REFITS.labels("ok").inc()
            logger.info("zoo %s: refit done: %s", zoo, " ".join(output.split()))
        elif not ended_by_us:
            metrics.REFITS.labels("error").inc()
            logger.warning("zoo %s: refit failed (exit code %d): %s", zoo, process.returncode, output[-2000:])

    def wait(self, zoo: str) -> None:
        """Until no refit runs for this zoo."""
        with self._lock:
            running = self._running.get(zoo)
        if running is not None:
            running[1].join()

    def stop(self) -> None:
        """End all that run, and start none any more."""
        with self._lock:
            self._stopped = True
            running = list(self._running.values())
        for process, _ in running:
            process.terminate()
        for process, watcher in running:
            watcher.join(STOP_SECONDS)
            if watcher.is_alive():
                process.kill()
                watcher.join()
