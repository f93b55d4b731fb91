"""Runs one command for an owner: ``python -m devcluster.guard OWNER_PID -- COMMAND...``.

When the owner ends, in whatever way, or the guard is asked to end, the command and everything that it started is
killed. The guard exits as the command does.
"""

import os
import select
import signal
import subprocess
import sys

from .descendants import kill_descendants
from .prctl import become_subreaper

_NICENESS = 5


def main() -> int:
    """The program's entry point."""
    owner, separator, *command = sys.argv[1:]
    if separator != "--" or not command:
        raise SystemExit("usage: python -m devcluster.guard OWNER_PID -- COMMAND...")
    become_subreaper()
    # A long build must leave the machine usable.
    os.nice(_NICENESS)
    wake_reader, wake_writer = os.pipe()
    os.set_blocking(wake_writer, False)
    signal.set_wakeup_fd(wake_writer)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    try:
        # An owner that ended before this line is no longer the parent.
        watched = os.pidfd_open(int(owner))
    except ProcessLookupError:
        return 1
    if os.getppid() != int(owner):
        return 1
    process = subprocess.Popen(command, start_new_session=True)
    ended = os.pidfd_open(process.pid)
    ready = select.select([watched, ended, wake_reader], [], [])[0]
    code = process.wait() if ended in ready else 128 + signal.SIGTERM
    kill_descendants()
    return code


if __name__ == "__main__":
    sys.exit(main())
