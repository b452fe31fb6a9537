"""How every command ends: its result as text or JSON, an error as one line, and the exit code.

0: done. 1: something failed. 2: what the user gave is wrong. 130: stopped by Ctrl-C.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import click

from parsing.errors import CsclError, InputError, first_line
from pipelines.devices import is_out_of_memory

INTERRUPTED = 130
"""The exit code of a shell for a process that Ctrl-C ended: 128 + SIGINT."""


class Result(Protocol):
    """What a pipeline returns for printing."""

    def to_json(self) -> Any: ...

    def lines(self) -> Sequence[str]: ...


class StoppedError(CsclError):
    """Ctrl-C ended the command; the message says how to continue."""


class OrderedGroup(click.Group):
    """A group that lists its commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


class CommandLine(OrderedGroup):
    """The whole command line: prints an error as one line and ends with its exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a programming error alone leaves as a traceback."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, StoppedError) as stop:
            _leave(str(stop) or "stopped", INTERRUPTED)
        except BrokenPipeError:
            raise  # click ends silently when `head` has closed the pipe
        except CsclError as error:
            _leave(str(error), 2 if isinstance(error, InputError) else 1)
        except OSError as error:  # a full disk, a read-only folder, a file that vanished
            _leave(_said_by_the_system(error), 1)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            _leave(f"the memory is full: {first_line(error)}", 1)


def _leave(message: str, code: int) -> None:
    click.echo(f"cscl: {message}", err=True)
    sys.exit(code)


def _said_by_the_system(error: OSError) -> str:
    if not error.strerror:
        return first_line(error)
    reason = error.strerror[0].lower() + error.strerror[1:]
    return reason if error.filename is None else f"{error.filename}: {reason}"


@contextmanager
def resumable(advice: str) -> Iterator[None]:
    """Turn Ctrl-C into `StoppedError` with `advice`, which says what is kept and which command continues."""
    try:
        yield
    except KeyboardInterrupt as stop:
        where = f" {stop}" if str(stop) else ""
        raise StoppedError(f"stopped{where}; {advice}") from None


def print_result(result: Result, as_json: bool) -> None:
    """Print a result that knows its own text and JSON."""
    print_values(result.to_json(), result.lines(), as_json)


def print_values(values: Any, lines: Sequence[str], as_json: bool) -> None:
    """Print `lines`, or with --json the `values`; paths become strings."""
    click.echo(json.dumps(values, indent=1, default=str) if as_json else "\n".join(lines))
