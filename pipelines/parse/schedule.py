"""Having the shards of a cache parsed on dask: a window of tasks, retries, and images that kill their worker."""

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from typing import Any

from distributed import Future, KilledWorker
from distributed.comm.core import CommClosedError
from tqdm import tqdm

from parsing.cache.shard import StoredFile, read_stored
from parsing.errors import CsclError, first_line

from .cluster import Workers, connected
from .config import ParseConfig
from .task import ShardTask, TaskFailedError, parse_shard, progress_topic, try_rows

WINDOW = 3
"""Tasks a worker that are with the scheduler at a time."""
TRIES = 3
"""How often a shard is tried that fails in another way than by an error of ours."""
PATIENCE = 30.0
"""Seconds for which a file that a worker wrote may not be seen here yet, as on NFS."""
GONE = "the dask scheduler is gone; finished shards are kept, the same command goes on from there"


def run_shards(todo: Sequence[ShardTask], config: ParseConfig, bar: tqdm) -> dict[str, StoredFile]:
    """Parse the shards and return them by file name.

    Raises:
        CsclError: if one cannot be parsed; those that are finished are kept.
    """
    try:
        with connected(config, len(todo), todo[0].site, bar) as workers:
            workers.client.subscribe_topic(
                progress_topic(todo[0].site), lambda event: bar.update(min(event[1], bar.total - bar.n))
            )
            finished, suspects = _run_window(workers, todo)
            finished += [_isolate(workers, task, bar) for task in suspects]
            time.sleep(0.1)  # the last counts are on their way
            bar.update(bar.total - bar.n)
            return {shard.path.name: shard for shard in finished}
    except (CommClosedError, CancelledError) as error:
        raise CsclError(GONE) from error


def _run_window(workers: Workers, todo: Sequence[ShardTask]) -> tuple[list[StoredFile], list[ShardTask]]:
    """Parse the shards, a few per worker at a time; return those that are written, and those that killed workers."""
    waiting, tries = deque(todo), Counter[Path]()
    running: dict[Future[Any], ShardTask] = {}
    finished: list[StoredFile] = []
    suspects: list[ShardTask] = []
    while waiting or running:
        while waiting and len(running) < WINDOW * max(1, workers.threads()):
            task = waiting.popleft()
            running[workers.submit(parse_shard, task)] = task
        for future in workers.first_done(list(running)):
            task = running.pop(future)
            error = _error_of(future)
            if isinstance(error, KilledWorker):
                suspects.append(task)
            elif error is None:
                finished.append(_await_file(task, future))
            elif isinstance(error, CsclError):
                raise error
            else:
                tries[task.path] += 1
                if tries[task.path] == TRIES:
                    raise _failure(error) from error
                waiting.append(task)
    return finished, suspects


def _isolate(workers: Workers, task: ShardTask, bar: tqdm) -> StoredFile:
    """Write the shard without the images that kill whatever parses them, found by halving, alone on the cluster."""
    bar.set_postfix_str(f"workers die of {task.path.name}: looking for the image")
    for _ in range(len(task.records) + TRIES):
        future = _survived(workers, parse_shard, task)
        if future:
            bar.set_postfix_str("")
            return _await_file(task, future)
        rows = [row for row in range(len(task.records)) if row not in task.fatal]
        while len(rows) > 1:
            half = rows[: len(rows) // 2]
            rows = rows[len(half) :] if _survived(workers, try_rows, task, half) else half
        if rows and not _survived(workers, try_rows, task, rows):
            task = replace(task, fatal=task.fatal | {rows[0]})
    raise CsclError(
        f"workers are killed while they parse {task.path.name}, but by no single image of it; if memory is short, "
        "a smaller --batch-size or fewer --workers help; finished shards are kept"
    )


def _survived(workers: Workers, function: Callable[..., object], *args: object) -> "Future[Any] | None":
    """The finished task; None where its worker was killed. Any other error is raised."""
    workers.settle()
    (future,) = workers.first_done([workers.submit(function, *args)])
    error = _error_of(future)
    if error is None:
        return future
    if isinstance(error, KilledWorker):
        return None
    if isinstance(error, CsclError):
        raise error
    raise _failure(error) from error


def _error_of(future: "Future[Any]") -> BaseException | None:
    """What the task raised; CsclError where its scheduler is gone."""
    if future.status in ("cancelled", "lost"):
        raise CsclError(GONE)
    error = future.exception()
    return error if error is None or isinstance(error, BaseException) else CsclError(str(error))


def _failure(error: BaseException) -> CsclError:
    kind = "" if isinstance(error, TaskFailedError) else f"{type(error).__name__}: "
    return CsclError(f"a worker failed: {kind}{first_line(error)}; finished shards are kept")


def _await_file(task: ShardTask, future: "Future[Any]") -> StoredFile:
    """Wait until the shard that a worker wrote is seen here too.

    Raises:
        CsclError: if it is not, after `PATIENCE` seconds.
    """
    until, digest = time.monotonic() + PATIENCE, future.result()
    while (stored := read_stored(task.path)) is None or stored.sha256 != digest:
        if time.monotonic() > until:
            raise CsclError(f"{task.path} was written by a worker, but is not seen here; all must share its folder")
        time.sleep(0.2)
    return stored
