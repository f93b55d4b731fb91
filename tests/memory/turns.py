"""Operators at once: each in a thread, of which one at a time makes a single call, by an order that a test chooses."""

from __future__ import annotations

import threading
from collections.abc import Callable

from memory.lines import Call, Line


class Turns(Line):
    """An operator's line that waits for its turn before each call.

    Its work runs in a thread from the first turn on. Where a test ends early, so does the thread, with the process.
    """

    def __init__(self, work: Callable[[Line], object]) -> None:
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._error: BaseException | None = None
        self._work = work
        self.next: Call | None = None
        """The call that it makes with its next turn; ``None`` before the first one, and once it has ended."""
        self.ended = False
        threading.Thread(target=self._run, daemon=True).start()

    def take(self) -> None:
        """Let it make its next call, and think up to the one after that.

        Raises:
            BaseException: what its work raised.
        """
        self._go.release()
        self._back.acquire()
        if self._error is not None:
            raise self._error

    def take_until_write(self, number: int) -> bool:
        """Let it work up to its write ``number``, from 1, which is not made yet; ``False`` if it ended before."""
        writes = 0
        while not self.ended:
            self.take()
            writes += self.next is not None and self.next.writes
            if writes == number:
                return True
        return False

    def take_all(self) -> None:
        """Let it work to its end."""
        while not self.ended:
            self.take()

    def begin(self, call: Call) -> None:
        self.next = call
        self._back.release()
        self._go.acquire()
        self.next = None

    def _run(self) -> None:
        self._go.acquire()
        try:
            self._work(self)
        except BaseException as error:  # noqa: BLE001 - raised again in the test's thread
            self._error = error
        self.ended = True
        self._back.release()
