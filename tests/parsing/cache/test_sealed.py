"""Files written whole: sealed against any change, and nothing but the old file where the disk fails."""

import errno
import fcntl
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from support.places import ROOT

from parsing.cache.sealed import SEAL_SIZE, create_group, is_ours, open_sealed, sealed_hash, write_whole
from parsing.errors import CacheError, CsclError
from parsing.files import file_hash, find_leftovers


def write(path: Path, count: int = 1000) -> str:
    return write_whole(path, lambda file: file.create_dataset("n", data=np.arange(count), track_times=False) and None)


def test_a_sealed_file_is_plain_hdf5_with_the_hash_of_its_content_in_front(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    written = write(path)
    with h5py.File(path, "r") as file:
        assert file["n"][:].tolist() == list(range(1000))
        assert file.userblock_size == SEAL_SIZE
    content = path.read_bytes()
    (tmp_path / "content").write_bytes(content[SEAL_SIZE:])
    assert content[:SEAL_SIZE].rstrip(b"\0") == f"cscl sha256 {file_hash(tmp_path / 'content')}\n".encode()
    assert sealed_hash(path) == written == file_hash(path)
    assert [p.name for p in tmp_path.iterdir() if p.name != "content"] == ["a.h5"]


def test_equal_content_has_equal_bytes_a_second_later_too(tmp_path: Path) -> None:
    """HDF5 1.14 stores when a group was made, in seconds, unless it is told not to."""

    def fill(file: h5py.File) -> None:
        create_group(file, "of").create_dataset("n", data=[1], track_times=False)
        file.attrs["text"] = "a" * 100

    first = write_whole(tmp_path / "a.h5", fill)
    time.sleep(1.1)
    assert write_whole(tmp_path / "b.h5", fill) == first
    with h5py.File(tmp_path / "b.h5", "r") as file:
        assert file["of/n"][:].tolist() == [1]


def test_any_changed_lost_or_added_byte_breaks_the_seal(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write(path)
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    for place in [0, 11, 12, 80, SEAL_SIZE - 1, SEAL_SIZE, len(whole) - 1, *generator.integers(0, len(whole), 50)]:
        changed = bytearray(whole)
        changed[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(changed)
        assert sealed_hash(path) is None
    for other in (whole[:-1], whole[: len(whole) // 2], whole[:SEAL_SIZE], b"", whole + b"\0"):
        path.write_bytes(other)
        assert sealed_hash(path) is None
    path.write_bytes(whole)
    assert sealed_hash(path) is not None
    path.unlink()
    assert sealed_hash(path) is None


def test_a_damaged_file_is_still_known_as_ours_by_its_beginning(tmp_path: Path) -> None:
    write(tmp_path / "a.h5")
    os.truncate(tmp_path / "a.h5", 100)
    (tmp_path / "b.h5").write_text("years of work")
    (tmp_path / "c.h5").write_bytes(b"")
    assert [is_ours(tmp_path / f"{name}.h5") for name in "abc"] == [True, False, False]


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_full_disk_is_one_line_and_leaves_the_old_file_alone(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.h5"
    write(path)
    before = file_hash(path)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    target = {"write": "builtins.open", "fsync": "os.fsync", "replace": "pathlib.Path.replace"}[step]
    with monkeypatch.context() as patch:
        patch.setattr(target, full)
        with pytest.raises(CsclError, match=r"a\.h5 could not be written: No space left on device"):
            write(path, 2000)
    assert file_hash(path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


TOO_LARGE = """
import resource, sys
from pathlib import Path
from parsing.errors import CacheError, CsclError
from parsing.cache.sealed import open_sealed, write_whole
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
import numpy as np
try:
    write_whole(Path(sys.argv[1]), lambda file: file.create_dataset("n", data=np.arange(100_000)))
except CsclError as error:
    print(error)
"""


def test_a_process_that_the_system_lets_write_no_more_ends_in_order(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", TOO_LARGE, path], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r".*a\.h5 could not be written: File too large; .*\n", done.stdout)
    assert list(tmp_path.iterdir()) == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 20_000


def test_only_the_temporary_files_of_such_names_are_leftovers(tmp_path: Path) -> None:
    ours = ["00000.h5.0123abcd.part", "00012.h5.ffffffff.part"]
    others = [
        "00000.h5",
        "00000.h5.part",
        "00000.h5.0123ABCD.part",
        "notes.h5.0123abcd.part",
        "00000.h5.0123abcd.part.txt",
    ]
    for name in ours + others:
        (tmp_path / name).touch()
    assert [p.name for p in find_leftovers(tmp_path, re.compile(r"\d{5}\.h5"))] == ours


def test_a_file_that_somebody_locks_is_read(tmp_path: Path) -> None:
    """As on a file system whose locks do not work: HDF5 would say that it is unable to lock the file."""
    path = tmp_path / "a.h5"
    write_whole(path, lambda file: file.create_dataset("x", data=[1, 2]))
    with open(path, "rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="unable to lock"):
            h5py.File(path, "r", locking=True)
        with open_sealed(path) as file:
            assert file["x"][:].tolist() == [1, 2]


@pytest.mark.parametrize("at", [600, -1])
def test_a_damaged_file_is_not_given_to_hdf5_which_could_hang(tmp_path: Path, at: int) -> None:
    path = tmp_path / "a.h5"
    write_whole(path, lambda file: file.create_dataset("x", data=[1, 2]))
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(CacheError, match="is damaged: it was changed since it was written"):
        open_sealed(path)
