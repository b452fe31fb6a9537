"""Having the shards of a cache parsed on dask: a window of tasks, retries, and images that kill their worker."""

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from distributed import Client, Future, KilledWorker, as_completed
from tqdm import tqdm

from parsing.errors import CsclError
from parsing.whole import file_hash

from .parse_cluster import connected
from .parse_config import ParseConfig
from .parse_shard import ShardTask, TaskFailedError, parse_shard, progress_topic, try_rows

WINDOW = 3
"""Tasks a worker that are with the scheduler at a time."""
TRIES = 3
"""How often a shard is tried that fails in another way than by an error of ours."""
COMING, SETTLING = 600.0, 2.0
"""Seconds for which to wait for a worker when none is left, and then until it has started in full."""
PATIENCE = 30.0
"""Seconds for which a file that a worker wrote may not be seen here yet, as on NFS."""


def run_shards(todo: Sequence[ShardTask], config: ParseConfig, bar: tqdm) -> None:
    """Parse the shards; CsclError where one cannot be, with all that are finished kept."""
    with connected(config, len(todo), todo[0].site, bar) as client:
        client.subscribe_topic(progress_topic(todo[0].site), lambda event: bar.update(min(event[1], bar.total - bar.n)))
        resources = {"GPU": 1} if config.device != "cpu" and _offers_gpus(client) else None
        for task in _run_window(client, todo, resources):
            _isolate(client, task, resources, bar)
        time.sleep(0.1)  # the last counts are on their way
        bar.update(bar.total - bar.n)


def _offers_gpus(client: Client) -> bool:
    return any("GPU" in worker["resources"] for worker in client.scheduler_info(n_workers=-1)["workers"].values())


def _run_window(client: Client, todo: Sequence[ShardTask], resources: dict[str, int] | None) -> list[ShardTask]:
    """Parse the shards, a few a worker at a time; returns those whose workers were killed again and again."""
    waiting, running, tries = deque(todo), dict[str, ShardTask](), Counter[Path]()
    suspects: list[ShardTask] = []
    finished = as_completed()

    def fill() -> None:
        while waiting and len(running) < WINDOW * max(1, len(client.nthreads())):
            task = waiting.popleft()
            future = _submit(client, resources, parse_shard, task)
            running[str(future.key)] = task
            finished.add(future)

    fill()
    for future in finished:
        task = running.pop(str(future.key))
        error = _error_of(future)
        if isinstance(error, KilledWorker):
            suspects.append(task)
        elif error is None:
            _written(task, future)
        elif isinstance(error, CsclError):
            raise error
        else:
            tries[task.path] += 1
            if tries[task.path] == TRIES:
                raise _failure(error) from error
            waiting.append(task)
        fill()
    return suspects


def _isolate(client: Client, task: ShardTask, resources: dict[str, int] | None, bar: tqdm) -> None:
    """Write the shard without the images that kill whatever parses them, found by halving, alone on the cluster."""
    bar.set_postfix_str(f"workers die of {task.path.name}: looking for the image")
    for _ in range(len(task.records) + TRIES):
        future = _submit_alone(client, resources, parse_shard, task)
        if not _killed(future):
            _written(task, future)
            bar.set_postfix_str("")
            return
        rows = [row for row in range(len(task.records)) if row not in task.fatal]
        while len(rows) > 1:
            half = rows[: len(rows) // 2]
            rows = half if _killed(_submit_alone(client, resources, try_rows, task, half)) else rows[len(half) :]
        if rows and _killed(_submit_alone(client, resources, try_rows, task, rows)):
            task = replace(task, fatal=task.fatal | {rows[0]})
    raise CsclError(
        f"workers are killed while they parse {task.path.name}, but by no single image of it; if memory is short, "
        "a smaller --batch-size or fewer --workers help; finished shards are kept"
    )


def _submit_alone(
    client: Client, resources: dict[str, int] | None, function: Callable[..., object], *args: object
) -> Future:
    """Submit to workers that have been there for a while: dask does not replace one that dies while it starts."""
    try:
        client.wait_for_workers(1, timeout=COMING)
    except TimeoutError as error:
        raise CsclError("no worker is left; finished shards are kept, the same command goes on from there") from error
    time.sleep(SETTLING)
    return _submit(client, resources, function, *args)


def _submit(client: Client, resources: dict[str, int] | None, function: Callable[..., object], *args: object) -> Future:
    # a key of its own: of equal keys a scheduler, which other runs may use too, would run one
    return client.submit(function, *args, key=f"cscl-{uuid4().hex}", pure=False, resources=resources)


def _error_of(future: Future) -> BaseException | None:
    """What the task raised; CsclError where its scheduler is gone."""
    if future.status in ("cancelled", "lost"):
        raise CsclError("the dask scheduler is gone; finished shards are kept, the same command goes on from there")
    error = future.exception()
    return error if error is None or isinstance(error, BaseException) else CsclError(str(error))


def _killed(future: Future) -> bool:
    """Whether the task's workers were killed; any other error is raised."""
    error = _error_of(future)
    if error is None or isinstance(error, KilledWorker):
        return error is not None
    if isinstance(error, CsclError):
        raise error
    raise _failure(error) from error


def _failure(error: BaseException) -> CsclError:
    text = str(error) if isinstance(error, TaskFailedError) else f"{type(error).__name__}: {error}"
    return CsclError(f"a worker failed: {text.splitlines()[0]}; finished shards are kept")


def _written(task: ShardTask, future: Future) -> None:
    """Wait until the shard that a worker wrote is here too; CsclError where it does not come."""
    until, digest = time.monotonic() + PATIENCE, future.result()
    while not task.path.is_file() or file_hash(task.path) != digest:
        if time.monotonic() > until:
            raise CsclError(f"{task.path} was written by a worker, but is not seen here; all must share its folder")
        time.sleep(0.2)
