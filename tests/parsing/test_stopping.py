"""A stop waits for what must not be cut in two, once; what the process ignores stays ignored."""

import os
import signal
import subprocess
import sys

import pytest

from parsing.stopping import StopRequest, interrupts_blocked

pytestmark = pytest.mark.usefixtures("ctrl_c")


def test_a_second_signal_does_not_wait() -> None:
    before = signal.getsignal(signal.SIGTERM)

    def twice() -> None:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.asked
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        twice()
    with StopRequest(impatient=False) as patient:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        assert patient.asked
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_ignored_signal_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert not stop.asked
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.asked
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_processes_started_meanwhile_never_see_an_interrupt() -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGINT); print('alive')"
    with interrupts_blocked():
        child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (child.returncode, child.stdout, child.stderr) == (0, "alive\n", "")
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


def test_an_interrupt_that_comes_meanwhile_is_not_lost() -> None:
    with pytest.raises(KeyboardInterrupt), interrupts_blocked():
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
