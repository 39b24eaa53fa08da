import os
import signal
import threading

import pytest

from videozoom.experiments.interrupts import StopRequest


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_ctrl_c_is_a_request_and_the_second_an_interrupt() -> None:
    with StopRequest("this step") as stop:
        assert not stop.requested
        press_ctrl_c()
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            press_ctrl_c()


def test_the_user_is_told_what_is_still_finished(capsys: pytest.CaptureFixture[str]) -> None:
    with StopRequest("this iteration"):
        press_ctrl_c()
    assert "Stopping after this iteration" in capsys.readouterr().err


def test_outside_the_block_ctrl_c_is_what_it_was() -> None:
    before = signal.getsignal(signal.SIGINT)
    with StopRequest("this step"):
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_other_threads_leave_signals_alone() -> None:
    seen = []

    def work() -> None:
        with StopRequest("this step") as stop:
            seen.append(stop.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
