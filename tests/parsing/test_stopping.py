"""A stop waits for what must not be cut in two, once; what the process ignores stays ignored."""

import os
import signal

import pytest

from parsing.stopping import StopRequest

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
