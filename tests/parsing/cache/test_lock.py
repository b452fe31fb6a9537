"""The cache's lock: one holder, named to others; gone with its process however that ended."""

import errno
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.places import ROOT

from parsing.cache.lock import LockedError, hold_lock
from parsing.errors import CsclError, InputError

HOLD = """
import sys
from pathlib import Path
from parsing.cache.lock import hold_lock
with hold_lock(Path(sys.argv[1]), "cscl parse"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=[True, False], ids=["flock", "without flock"])
def flock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether this process finds flock to work."""
    if not request.param:

        def refuse(*_: object) -> None:
            raise OSError(errno.ENOSYS, "Function not implemented")

        monkeypatch.setattr("fcntl.flock", refuse)
    return bool(request.param)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_the_lock_makes_the_folders_and_leaves_no_file(flock: bool, tmp_path: Path) -> None:
    index = tmp_path / "new" / "masks.h5"
    with hold_lock(index, "cscl parse") as lock:
        assert lock.seen()
        assert names(index.parent) == sorted([lock.path.name, "masks.shards"])
    assert not lock.seen()
    assert names(index.parent) == ["masks.shards"]
    assert names(index.parent / "masks.shards") == []


def test_a_second_run_is_told_who_holds_it_and_the_first_goes_on(flock: bool, tmp_path: Path) -> None:
    index = tmp_path / "masks.h5"
    with hold_lock(index, "cscl parse") as lock:
        with pytest.raises(LockedError) as caught, hold_lock(index, "cscl masks verify"):
            pass
        assert f"is being written to by cscl parse, process {os.getpid()} on {socket.gethostname()}" in str(
            caught.value
        )
        assert "\n" not in str(caught.value)
        assert not isinstance(caught.value, InputError)
        assert lock.seen()
    with hold_lock(index, "cscl parse") as again:
        assert again.line != lock.line
        assert not lock.seen()


def test_an_error_inside_gives_the_lock_back(flock: bool, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), hold_lock(tmp_path / "masks.h5", "cscl parse"):
        raise KeyboardInterrupt
    with hold_lock(tmp_path / "masks.h5", "cscl parse"):
        pass


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("function", ["open", "ftruncate", "pwrite"])
def test_ctrl_c_while_it_is_taken_leaves_no_file(
    function: str, flock: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = getattr(os, function)

    def signalled(*arguments: object) -> object:
        result = real(*arguments)
        if list(tmp_path.glob("masks.h5.*")):
            os.kill(os.getpid(), signal.SIGINT)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(os, function, signalled)
        with pytest.raises(KeyboardInterrupt), hold_lock(tmp_path / "masks.h5", "cscl parse"):
            pytest.fail("a stopped run has begun")
    assert names(tmp_path) == ["masks.shards"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with hold_lock(tmp_path / "masks.h5", "cscl parse"):
        pass


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    index = tmp_path / "masks.h5"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, index], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match=rf"process {holder.pid} on "), hold_lock(index, "cscl parse"):
            pass
        holder.send_signal(signal.SIGKILL)
    assert "masks.h5.lock" in names(tmp_path)
    with hold_lock(index, "cscl parse") as lock:
        assert lock.seen()
    assert names(tmp_path) == ["masks.shards"]


def test_without_flock_a_dead_process_of_this_machine_is_known_and_others_are_left_to_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    ended = subprocess.Popen(["true"])
    ended.wait()
    held = tmp_path / "masks.h5.held"
    held.write_text(f"cscl parse, process {ended.pid} on {socket.gethostname()}, since then, 00ff\n")
    with hold_lock(tmp_path / "masks.h5", "cscl parse"):
        pass
    held.write_text(f"cscl parse, process {ended.pid} on another-machine, since then, 00ff\n")
    theirs = pytest.raises(LockedError, match=r"on another-machine, since then; .*delete .*masks\.h5\.held")
    with theirs, hold_lock(tmp_path / "masks.h5", "cscl parse"):
        pass
    assert held.exists()


def test_a_place_that_cannot_be_written_and_a_full_disk_are_one_line(
    flock: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    no_folder = pytest.raises(InputError, match=r"file/masks\.h5: .*file cannot be written to \(Not a directory\)")
    with no_folder, hold_lock(tmp_path / "file" / "masks.h5", "cscl parse"):
        pass

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    full_disk = pytest.raises(CsclError, match="No space left on device")
    with full_disk as caught, hold_lock(tmp_path / "masks.h5", "cscl parse"):
        pass
    assert not isinstance(caught.value, InputError)
    assert names(tmp_path) == ["file", "masks.shards"]
