"""How commands end: one line for every error, 130 for Ctrl-C, and helps that are whole."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from support.places import ROOT

from cli import main
from parsing.errors import CsclError, InputError
from pipelines.commands.ending import CommandLine, resumable


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (CsclError("it broke"), 1, "cscl: it broke"),
        (InputError("--size 0: give 1"), 2, "cscl: --size 0: give 1"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/full/a.png"),
            1,
            "cscl: /full/a.png: no space left on device",
        ),
        (OSError(errno.EFBIG, "File too large"), 1, "cscl: file too large"),
        (OSError("HDF5 says\nmuch more"), 1, "cscl: HDF5 says"),
        (KeyboardInterrupt(), 130, "cscl: stopped"),
    ],
)
def test_an_error_is_one_line_and_a_code(error: BaseException, code: int, said: str) -> None:
    @click.group(cls=CommandLine)
    def line() -> None: ...

    @line.command()
    def fail() -> None:
        raise error

    result = CliRunner().invoke(line, ["fail"])
    assert (result.exit_code, result.stderr) == (code, said + "\n")


def test_a_programming_error_keeps_its_traceback() -> None:
    @click.group(cls=CommandLine)
    def line() -> None: ...

    @line.command()
    def fail() -> None:
        raise ZeroDivisionError

    assert isinstance(CliRunner().invoke(line, ["fail"]).exception, ZeroDivisionError)


def test_an_interruption_says_what_continues() -> None:
    with (
        pytest.raises(CsclError, match=r"^stopped after step 3; `cscl train --resume` continues$"),
        resumable("`cscl train --resume` continues"),
    ):
        raise KeyboardInterrupt("after step 3")


def groups(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(command, click.Group):
        yield path
        for name, one in command.commands.items():
            yield from groups(one, (*path, name))


@pytest.mark.parametrize("width", [80, 110])
@pytest.mark.parametrize("path", list(groups(main)))
def test_short_helps_are_whole_and_in_the_order_of_the_work(path: tuple[str, ...], width: int) -> None:
    shown = CliRunner().invoke(main, [*path, "-h"], terminal_width=width)
    assert shown.exit_code == 0
    lines = shown.stdout.partition("Commands:\n")[2].splitlines()
    group: click.Command = main
    for name in path:
        assert isinstance(group, click.Group)
        group = group.commands[name]
    assert isinstance(group, click.Group)
    assert [line.split()[0] for line in lines] == list(group.commands)
    assert all(line.endswith(".") and not line.endswith("...") for line in lines)


def leaves(command: click.Command, path: str = "cscl") -> Iterator[tuple[str, click.Command]]:
    """Every command that is no group, with its full name."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name, one in command.commands.items():
        yield from leaves(one, f"{path} {name}")


@pytest.mark.parametrize(("path", "command"), list(leaves(main)), ids=lambda value: str(value)[:30])
def test_every_command_prints_json_and_explains_its_options(path: str, command: click.Command) -> None:
    options = [param for param in command.params if isinstance(param, click.Option)]
    assert "--json" in [name for option in options for name in option.opts]
    assert [option.name for option in options if not option.help and option.name != "dataset"] == []


def started_by(group: int) -> bool:
    """Whether a process of this process group is a worker, or the one from which workers are forked."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes() if os.getpgid(int(folder.name)) == group else b""
            if b"spawn_main" in command or b"forkserver" in command:
                return True
        except (OSError, ValueError):
            continue
    return False


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for the workers in /proc")
@pytest.mark.parametrize(
    "command",
    [("data", "make", "pedestrians"), ("parse",)],
    ids=["make", "parse"],
)
def test_ctrl_c_while_workers_start_is_one_line(command: tuple[str, ...], tiny_figures: Path, tmp_path: Path) -> None:
    options = ["--out", str(tmp_path / "out.h5")]
    if command == ("parse",):
        options += ["--dataset", "sysu", "--root", str(tiny_figures), "--workers", "2", "--limit", "2"]
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "  # a background job ignores it
        "from cli import main; main(prog_name='cscl')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, *command, *options],
        cwd=ROOT,
        env={**os.environ, "TQDM_DISABLE": "1"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        until = time.monotonic() + 300
        while not started_by(process.pid) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.5)  # the worker imports now
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=300)
    assert process.returncode == 130, said
    assert [line.split(";")[0] for line in said.splitlines()] == ["cscl: stopped"]
