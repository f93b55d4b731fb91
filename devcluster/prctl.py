"""What a process asks of the kernel about its family: who it dies with, and whose orphans it takes in."""

import ctypes
import os

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int, signal_number: int) -> None:
    """Has the kernel send this process a signal when its parent, which it expects to be ``parent``, ends.

    The kernel counts the end of the thread that started this process as the parent's end.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, signal_number)
    # The parent may have ended before the request reached the kernel.
    if os.getppid() != parent:
        os._exit(128 + signal_number)


def become_subreaper() -> None:
    """Makes orphans among this process's descendants its own children, so that none gets away."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
