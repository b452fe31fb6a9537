"""A stop that waits for the end of what must stay whole: Ctrl-C, or the signal with which a cluster ends a job."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """While it is entered, a signal sets `asked`; with `impatient` a second one is a KeyboardInterrupt at once.

    Signals reach the main thread alone; in any other this does nothing. A signal that the process ignores, as a
    shell's background job does Ctrl-C, stays ignored, and one that is not Python's to handle is left alone.
    """

    def __init__(self, impatient: bool = True) -> None:
        self.asked = False
        self.impatient = impatient
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            heard = [number for number in SIGNALS if signal.getsignal(number) not in (signal.SIG_IGN, None)]
            self._before = {number: signal.signal(number, self._ask) for number in heard}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for number, handler in reversed(self._before.items()):  # Ctrl-C last: it may raise as soon as it is back
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked and self.impatient:
            raise KeyboardInterrupt
        self.asked = True


def ignore_signals(_: int) -> None:
    """For a loader's processes, which a Ctrl-C in a terminal reaches too: the training ends them itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def block_interrupts() -> None:
    """Keep Ctrl-C from this thread, from those it starts, and from every process that they start.

    A process inherits the signals that its starter blocks. A terminal sends Ctrl-C to all processes of a command, and
    one that is still importing would print a traceback; the command ends its processes itself.
    """
    resource_tracker.ensure_running()  # the first spawned process starts it, which unblocks the signal again
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """`block_interrupts` for the processes started in the block; a Ctrl-C during it is raised by its end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    block_interrupts()
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
