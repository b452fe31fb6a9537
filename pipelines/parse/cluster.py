"""The dask workers that parse: those of a cluster of the run's own, or of an existing scheduler."""

import asyncio
import concurrent.futures
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from uuid import uuid4

import dask
from distributed import Client, Future, LocalCluster, Nanny, Scheduler, SpecCluster
from distributed.core import Status

from parsing.errors import CsclError, InputError, MissingError, first_line
from parsing.progress import Bar
from parsing.stopping import block_interrupts

from ..devices import MALLOC, find_device
from .config import ParseConfig
from .preload import ready_to_fork, restored_environment
from .site import Site, check_scheduler, check_writing

SETTINGS = {
    "distributed.worker.daemon": True,
    "distributed.admin.tick.limit": "1h",
    "distributed.scheduler.allowed-failures": 0,  # schedule.py retries such a shard alone
    # A worker that a nanny has just restarted may need longer than dask's 15 s to start, and would be ended each time.
    "distributed.deploy.lost-worker-timeout": "60s",
    # Keep freed memory in the process. Dask's settings return it to the system after every tensor: half the speed.
    **{f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in MALLOC.items()},
}
DASHBOARD = "127.0.0.1:0"
"""Any free port, since another run may use the default one."""
COMING, SETTLING = 300.0, 2.0
"""Seconds to wait for a worker if there is none, and then until it has started completely."""
LOOK = 2.0
"""Seconds between two checks for missing workers."""
STARTS = 5
"""Number of failed starts of the run's own workers in a row, without any worker alive, before the run gives up."""
Found = TypeVar("Found")


class OwnWorkers:
    """Start the workers of the run's own cluster, and replace those that are lost.

    Dask itself does not replace a worker that is killed while it starts: the cluster ends with an error.

    Args:
        cluster: without workers.
        wanted: specification of each worker, as dask's `SpecCluster` takes it.
    """

    def __init__(self, cluster: SpecCluster, wanted: Sequence[dict[str, object]]) -> None:
        self.cluster = cluster
        # Workers are started from the thread of this loop, and inherit that Ctrl-C is blocked in it.
        cluster.loop.add_callback(block_interrupts)  # type: ignore[union-attr]
        cluster.worker_spec.update(enumerate(wanted))
        self.starting: concurrent.futures.Future[None] | None = None
        self.failures = 0

    def start_missing(self, alone: bool) -> None:
        """Start missing workers in the background.

        Args:
            alone: whether no worker is alive.

        Raises:
            CsclError: if no worker is alive and starting has failed STARTS times in a row.
        """
        if self.starting is not None:
            if not self.starting.done():
                return
            error = self.starting.exception()
            self.failures = self.failures + 1 if error else 0
            if error and alone and self.failures >= STARTS:
                raise CsclError(f"dask's workers could not be started: {error.__cause__ or error}") from error
        loop = self.cluster.loop.asyncio_loop  # type: ignore[union-attr]  # a running one of asyncio
        self.starting = asyncio.run_coroutine_threadsafe(self._start(), loop)

    async def _start(self) -> None:
        for name, worker in list(self.cluster.workers.items()):
            if worker.status == Status.failed:
                del self.cluster.workers[name]
        await self.cluster


@dataclass(frozen=True)
class Workers:
    """The workers of a client that have the given resources; waiting fails after COMING seconds without one.

    Attributes:
        client: connected to the scheduler.
        own: starts and replaces the workers; None for an existing scheduler.
        resources: dask resources that a worker must have, such as a GPU.
    """

    client: Client
    own: OwnWorkers | None
    resources: Mapping[str, int]

    def threads(self) -> int:
        """Return the number of tasks that they can run at once."""
        return sum(self._threads())

    def arrive(self, wanted: int) -> None:
        """Wait until there are so many workers.

        Raises:
            CsclError: if there are fewer for COMING seconds.
        """
        if self.own:
            self.own.start_missing(alone=True)
        self._until(lambda: len(self._threads()) >= wanted, wanted)

    def submit(self, function: Callable[..., object], *args: object) -> "Future[Any]":
        """Submit a task with a random key, since a scheduler runs only one of several tasks with equal keys."""
        key = f"cscl-{uuid4().hex}"
        return self.client.submit(function, *args, key=key, pure=False, resources=dict(self.resources) or None)

    def first_done(self, futures: "Sequence[Future[Any]]") -> "list[Future[Any]]":
        """Wait until at least one of the tasks has ended, and return all that have: finished, failed or lost."""
        return self._until(lambda: [future for future in futures if future.status != "pending"])

    def settle(self) -> None:
        """Wait until a worker has started completely: dask may not replace one that is killed while it starts."""
        self._until(self.threads)
        time.sleep(SETTLING)

    def _threads(self) -> list[int]:
        known = self.client.scheduler_info(n_workers=-1)["workers"].values()
        return [worker["nthreads"] for worker in known if self.resources.keys() <= worker["resources"].keys()]

    def _until(self, look: Callable[[], Found], wanted: int = 1) -> Found:
        """Call `look` until its result is true, and return it; meanwhile replace lost workers.

        Raises:
            CsclError: if there are fewer than `wanted` workers for COMING seconds.
        """
        seen = looked = time.monotonic()
        while not (found := look()):
            time.sleep(0.02)
            now = time.monotonic()
            if now - looked > LOOK:
                there = len(self._threads())
                looked, seen = now, now if there >= wanted else seen
                if self.own:
                    self.own.start_missing(alone=not there)
            if now - seen > COMING:
                missing = "no worker was" if wanted == 1 else f"fewer than the {wanted} workers of --workers were"
                raise CsclError(
                    f"{missing} there for {COMING:.0f} s; finished shards are kept, the same command goes on from there"
                )
        return found


@contextmanager
def connect_workers(config: ParseConfig, shards: int, site: Site, bar: Bar) -> Iterator[Workers]:
    """Yield workers that have passed the checks of `site`; a cluster of the run's own is closed at the end.

    Args:
        config: of the run.
        shards: number of shards to parse; there are not more workers than this.
        site: of the run.
        bar: shows that the run waits for workers.

    Raises:
        MissingError, InputError: if the scheduler is not found.
        CsclError: if no cluster can be started, a worker does not pass the checks, or too few workers arrive.
    """
    with restored_environment(), dask.config.set(SETTINGS | _starting(config)), _workers(config, shards) as workers:
        if config.elsewhere:
            _check_scheduler(workers.client, site)
        wanted = config.workers or 1 if config.elsewhere else 1
        bar.set_postfix_str("waiting for workers")
        workers.arrive(wanted)
        bar.set_postfix_str("")
        _check_workers(workers.client, site)
        on_gpus = replace(workers, resources={"GPU": 1})
        yield on_gpus if config.parser.device != "cpu" and on_gpus.threads() else workers


def _starting(config: ParseConfig) -> dict[str, str]:
    """How workers of this run's own start: on CPUs forked from a process that has imported torch."""
    on_cpus = not config.elsewhere and find_device(config.parser.device) == "cpu"
    # those of GPUs start anew: which GPU they see is in the environment before anything is imported
    return {"distributed.worker.multiprocessing-method": "forkserver" if on_cpus and ready_to_fork() else "spawn"}


@contextmanager
def _workers(config: ParseConfig, shards: int) -> Iterator[Workers]:
    """Yield the workers of an existing scheduler, or of a cluster of the run's own; they may still have to start."""
    if config.elsewhere:
        with _connect_scheduler(config) as client:
            yield Workers(client, None, {})
    else:
        try:
            cluster, wanted = _own_cluster(config, shards)
        except (OSError, RuntimeError) as error:
            raise CsclError(f"dask could not be started: {error.__cause__ or error}") from error
        with cluster, Client(cluster) as client:
            yield Workers(client, OwnWorkers(cluster, wanted), {})


def _connect_scheduler(config: ParseConfig) -> Client:
    """Return a client of the existing scheduler that `config` names."""
    if config.scheduler_file is not None and not config.scheduler_file.is_file():
        raise MissingError(
            f"--scheduler-file {config.scheduler_file}: no such file; "
            f"`dask scheduler --scheduler-file {config.scheduler_file}` writes it"
        )
    given = f"--scheduler {config.scheduler}" if config.scheduler else f"--scheduler-file {config.scheduler_file}"
    try:
        if config.scheduler_file is None:
            return Client(config.scheduler, timeout=10)
        return Client(json.loads(config.scheduler_file.read_text(encoding="utf-8"))["address"], timeout=10)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{given}: no dask scheduler answers there ({first_line(error)})") from error


def _own_cluster(config: ParseConfig, shards: int) -> tuple[SpecCluster, list[dict[str, object]]]:
    """Return a cluster on this machine without workers, and the specifications of the workers to start.

    Workers are processes, one per core, or one per GPU that sees only this GPU; with `workers` = 0 a single thread.
    """
    device = find_device(config.parser.device)
    if device == "cuda" and config.workers != 0:
        gpus = _visible_gpus()
        scheduler = {"dashboard_address": DASHBOARD, "host": "127.0.0.1", "port": 0}
        cluster = SpecCluster(scheduler={"cls": Scheduler, "options": scheduler}, silence_logs=logging.CRITICAL)
        return cluster, [_gpu_worker(gpus[i % len(gpus)]) for i in range(min(config.workers or len(gpus), shards))]
    most = config.workers if config.workers is not None else (os.cpu_count() or 1 if device == "cpu" else 1)
    cluster = LocalCluster(
        n_workers=0,
        threads_per_worker=1,
        processes=most > 0,
        dashboard_address=DASHBOARD,
        memory_limit=0,
        silence_logs=logging.CRITICAL,
    )
    return cluster, [cluster.new_spec] * max(1, min(most, shards))


def _visible_gpus() -> list[str]:
    """Return the names of GPUs for CUDA_VISIBLE_DEVICES: those that the variable lists already, or else all numbers."""
    import torch  # takes seconds to load; a run on CPUs does without it in this process

    listed = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return listed or [str(i) for i in range(torch.cuda.device_count())]


def _gpu_worker(gpu: str) -> dict[str, object]:
    """Return the specification of a worker that sees one GPU."""
    environment = {"CUDA_VISIBLE_DEVICES": gpu}
    options = {"nthreads": 1, "memory_limit": 0, "resources": {"GPU": 1}, "env": environment, "host": "127.0.0.1"}
    return {"cls": Nanny, "options": options}


def _check_scheduler(client: Client, site: Site) -> None:
    """Raise CsclError if an existing scheduler has other versions than the run."""
    try:
        client.run_on_scheduler(check_scheduler, site)
    except (ImportError, AttributeError) as error:
        reason = f"the dask scheduler cannot import this version of cscl ({error})"
        raise CsclError(f"{reason}; install it there too") from error


def _check_workers(client: Client, site: Site) -> None:
    """Raise CsclError if a worker does not pass the checks; later workers are checked by their first task."""
    for worker, outcome in client.run(check_writing, site, on_error="return").items():
        if isinstance(outcome, CsclError):
            raise outcome
        if isinstance(outcome, ImportError | AttributeError):
            raise CsclError(f"worker {worker} cannot import this version of cscl ({outcome}); install it there too")
