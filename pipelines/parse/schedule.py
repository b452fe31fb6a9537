"""Parse the shards of a cache on dask: limit the tasks at once, retry, and find images that kill their worker."""

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from typing import Any

from distributed import Future, KilledWorker
from distributed.comm.core import CommClosedError

from parsing.cache.shard import StoredFile, read_stored
from parsing.errors import CsclError, first_line
from parsing.progress import Bar

from .cluster import Workers, connect_workers
from .config import ParseConfig
from .task import ShardTask, TaskFailedError, name_progress_topic, parse_shard, try_rows

WINDOW = 3
"""Number of tasks per worker thread that are submitted at once: a short queue, so that few tasks wait in memory."""
TRIES = 3
"""Number of attempts for a shard whose task fails with an unexpected exception."""
PATIENCE = 30.0
"""Seconds to wait until a file that a worker has written is visible here, which takes time on NFS."""
GONE = "the dask scheduler is gone; finished shards are kept, the same command goes on from there"


def run_shards(
    todo: Sequence[ShardTask], config: ParseConfig, bar: Bar, prepare: Callable[[], None]
) -> dict[str, StoredFile]:
    """Parse shards, and return the written files by name.

    First all shards are parsed in parallel. Shards whose workers were killed, by a lack of memory or a crash in an
    image decoder, are then searched for the images that kill workers, one shard at a time; these images are recorded
    without a mask.

    Args:
        todo: at least one task.
        config: of the run.
        bar: counts images.
        prepare: called once the workers are there, before anything is written.

    Raises:
        CsclError: if a shard cannot be parsed; finished shards stay.
    """
    try:
        with connect_workers(config, shards=len(todo), site=todo[0].site, bar=bar) as workers:
            prepare()
            workers.client.subscribe_topic(
                name_progress_topic(todo[0].site), lambda event: bar.update(min(event[1], bar.total - bar.n))
            )
            finished, suspects = _run_window(workers, todo)
            finished += [_isolate(workers, task, bar) for task in suspects]
            time.sleep(0.1)  # let the last messages for the bar arrive
            bar.update(bar.total - bar.n)
            return {shard.path.name: shard for shard in finished}
    except (CommClosedError, CancelledError) as error:
        raise CsclError(GONE) from error


def _run_window(workers: Workers, todo: Sequence[ShardTask]) -> tuple[list[StoredFile], list[ShardTask]]:
    """Parse the shards in parallel; return the written files, and the tasks whose worker was killed."""
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
            error = _get_error(future)
            if isinstance(error, KilledWorker):
                suspects.append(task)
            elif error is None:
                finished.append(_await_file(task, future))
            elif isinstance(error, CsclError):
                raise error
            else:
                tries[task.path] += 1
                if tries[task.path] == TRIES:
                    raise _make_error(error) from error
                waiting.append(task)
    return finished, suspects


def _isolate(workers: Workers, task: ShardTask, bar: Bar) -> StoredFile:
    """Write a shard without the images that kill the worker that parses them.

    Such an image is found by bisection: parse one half of the images; if the worker survives, search the other half. It
    is then marked in the task, and the shard is tried again, since there may be more than one. No other task runs
    meanwhile, so that a worker that dies was killed by this shard.

    Raises:
        CsclError: if no single image kills a worker, which points to a lack of memory.
    """
    bar.set_postfix_str(f"workers die of {task.path.name}: looking for the image")
    for _ in range(len(task.records) + TRIES):
        future = _try_task(workers, parse_shard, task)
        if future:
            bar.set_postfix_str("")
            return _await_file(task, future)
        rows = [row for row in range(len(task.records)) if row not in task.fatal]
        while len(rows) > 1:
            half = rows[: len(rows) // 2]
            rows = rows[len(half) :] if _try_task(workers, try_rows, task, half) else half
        if rows and not _try_task(workers, try_rows, task, rows):
            task = replace(task, fatal=task.fatal | {rows[0]})
    raise CsclError(
        f"workers are killed while they parse {task.path.name}, but by no single image of it; if memory is short, "
        "use a smaller --batch-size or fewer --workers; finished shards are kept"
    )


def _try_task(workers: Workers, function: Callable[..., object], *args: object) -> "Future[Any] | None":
    """Run a function on a worker, and return the finished task; None if the worker was killed.

    Raises:
        CsclError: if the function fails in another way.
    """
    workers.settle()
    (future,) = workers.first_done([workers.submit(function, *args)])
    error = _get_error(future)
    if error is None:
        return future
    if isinstance(error, KilledWorker):
        return None
    if isinstance(error, CsclError):
        raise error
    raise _make_error(error) from error


def _get_error(future: "Future[Any]") -> BaseException | None:
    """Return the exception of a finished task, or None.

    Raises:
        CsclError: if the scheduler is gone.
    """
    if future.status in ("cancelled", "lost"):
        raise CsclError(GONE)
    error = future.exception()
    return error if error is None or isinstance(error, BaseException) else CsclError(str(error))


def _make_error(error: BaseException) -> CsclError:
    """Return an error for the user, of one line, for an exception of a worker."""
    kind = "" if isinstance(error, TaskFailedError) else f"{type(error).__name__}: "
    return CsclError(f"a worker failed: {kind}{first_line(error)}; finished shards are kept")


def _await_file(task: ShardTask, future: "Future[Any]") -> StoredFile:
    """Wait until the shard that a worker has written is visible here, and return it.

    Raises:
        CsclError: if it is not visible after PATIENCE seconds.
    """
    until, digest = time.monotonic() + PATIENCE, future.result()
    while (stored := read_stored(task.path)) is None or stored.sha256 != digest:
        if time.monotonic() > until:
            raise CsclError(f"{task.path} was written by a worker, but is not visible here; all must share its folder")
        time.sleep(0.2)
    return stored
