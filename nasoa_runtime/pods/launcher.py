"""Several GPUs in one pod: the same program once for each, started by torchrun and watched here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

from nasoa_runtime.boundary import EXIT_RETRY, Device, Program
from nasoa_runtime.pods.pod import WORK_DIRECTORY_VARIABLE, Pod
from nasoa_runtime.pods.process_time import STARTED_VARIABLE, process_started

EXIT_CODE_VARIABLE = "NASOA_EXIT_CODE_FILE"
"""File in which the first worker leaves its exit code, which torchrun does not pass on."""


def rank() -> int:
    """Number of this worker; 0 for the only one."""
    return int(os.environ.get("RANK", "0"))


def wanted(program: Program, device: Device) -> bool:
    """Whether this process is to launch workers rather than to be one."""
    several = device.type == "cuda" and device.count > 1
    return several and program.trains and "WORLD_SIZE" not in os.environ


def launch(program: str, workers: int, pod: Pod) -> int:
    """Run ``workers`` copies of ``program`` with torchrun and return the first one's exit code."""
    code_file = pod.work_directory / f"exit-code-{os.getpid()}"
    environment = os.environ | {
        EXIT_CODE_VARIABLE: str(code_file),
        STARTED_VARIABLE: repr(process_started()),
        WORK_DIRECTORY_VARIABLE: str(pod.work_directory),
    }
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={workers}"]
    with subprocess.Popen([*command, "-m", "nasoa_runtime", program], env=environment) as process:

        def forward(number: int, _frame: FrameType | None) -> None:
            process.send_signal(number)

        signal.signal(signal.SIGTERM, forward)
        process.wait()
    return int(code_file.read_text()) if code_file.exists() else EXIT_RETRY


def report_exit_code(code: int) -> None:
    """Leave the exit code for :func:`launch`, if this is its first worker."""
    path = os.environ.get(EXIT_CODE_VARIABLE)
    if path and rank() == 0:
        Path(path).write_text(str(code))
