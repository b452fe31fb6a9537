"""How sides are measured: by turns, several times, in seconds of processor time, which other work disturbs little."""

import signal
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from parsing.errors import CsclError
from parsing.stopping import interrupts_blocked

Result = TypeVar("Result")
Side = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """One line of a benchmark: ours beside another side.

    Attributes:
        what: what is measured.
        ours, theirs: medians in `unit`; `theirs` is None if there is nothing to compare with.
        unit: of both; a rate, or seconds.
        other: what the other side is.
        ratio: how many times as fast ours is or, of memory, how many times as much it needs; None without another side.
        least, most: of the ratio over the runs.
        runs: how many there were.
    """

    what: str
    ours: float
    unit: str
    runs: int
    theirs: float | None = None
    other: str = ""
    ratio: float | None = None
    least: float | None = None
    most: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def by_turns(
    sides: Mapping[str, Side], runs: int, clock: Callable[[], float] = time.process_time
) -> dict[str, list[float]]:
    """Run every side `runs` times by turns, once more before to warm up, and return the seconds of processor time.

    On a GPU that says nothing: give another clock, and sides that wait until the GPU has done its work.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(runs + 1):
        for name, side in sides.items():
            began = clock()
            side()
            if number:
                seconds[name].append(clock() - began)
    return seconds


def run_apart(work: Callable[..., Result], *arguments: Any) -> Result:
    """Return `work(*arguments)`, done in a new process; in `worker_environment` it is like a worker of `cscl parse`.

    A Ctrl-C ends that process too.

    Args:
        work: a function of a module.
        arguments: that can be pickled.

    Raises:
        CsclError: if the process is killed.
        Exception: what `work` raises.
    """
    context = get_context("spawn")  # a child that is forked would begin with the memory of this process
    answers, its = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(its, work, arguments))
    with interrupts_blocked():
        process.start()
    its.close()
    try:
        answer: Result | Exception = answers.recv()
    except EOFError:
        raise CsclError("a process that measures was killed; is there enough memory?") from None
    except KeyboardInterrupt:
        process.terminate()
        raise
    finally:
        process.join()
    if isinstance(answer, Exception):
        raise answer
    return answer


def _answer(answers: Connection, work: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that temporary files are removed
    try:
        try:
            answer = work(*arguments)
        except Exception as error:
            answer = error
        answers.send(answer)
    except KeyboardInterrupt:
        pass


def compare_sides(
    what: str, seconds: Mapping[str, list[float]], ours: str, theirs: str, count: int, unit: str, other: str
) -> Row:
    """Return the row of two sides that each did `count` things in these seconds; `unit` is things per second."""
    ratios = [b / a for a, b in zip(seconds[ours], seconds[theirs], strict=True)]
    return Row(
        what=what,
        ours=count / statistics.median(seconds[ours]),
        unit=unit,
        runs=len(ratios),
        theirs=count / statistics.median(seconds[theirs]),
        other=other,
        ratio=statistics.median(ratios),
        least=min(ratios),
        most=max(ratios),
    )
