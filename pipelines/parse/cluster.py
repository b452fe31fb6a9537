"""The dask cluster that parses: one of this run's own, or one that somebody started."""

import asyncio
import concurrent.futures
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar
from uuid import uuid4

import dask
from distributed import Client, Future, LocalCluster, Nanny, Scheduler, SpecCluster
from distributed.core import Status
from tqdm import tqdm

from parsing.errors import CsclError, InputError, MissingError, first_line
from parsing.stopping import block_interrupts

from ..devices import find_device
from .config import ParseConfig
from .preload import ENVIRONMENT, ready_to_fork
from .site import Site, check_scheduler, check_writing

SETTINGS = {
    "distributed.worker.daemon": True,
    "distributed.admin.tick.limit": "1h",
    "distributed.scheduler.allowed-failures": 0,  # a shard that loses its worker is tried again alone (schedule.py)
    # dask's 15 s would end, again and again, what takes longer to start: the worker that a nanny has just replaced
    "distributed.deploy.lost-worker-timeout": "60s",
    **{f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in ENVIRONMENT.items()},
}
DASHBOARD = "127.0.0.1:0"
"""Any free port: the usual one may be that of another run."""
COMING, SETTLING = 300.0, 2.0
"""Seconds for which to wait for a worker when none is left, and then until it has started in full."""
LOOK = 2.0
"""Seconds between two looks at whether workers are missing."""
STARTS = 5
"""How often workers of the run's own are started in vain, one time after the other, while none is there."""
Found = TypeVar("Found")


class OwnWorkers:
    """Starts the `wanted` workers of this run's own cluster, and again those that are lost.

    Dask itself would end with an error where one is killed while it starts.
    """

    def __init__(self, cluster: SpecCluster, wanted: Sequence[dict[str, object]]) -> None:
        self.cluster = cluster
        # the thread of its loop starts the workers
        cluster.loop.add_callback(block_interrupts)  # type: ignore[union-attr]
        cluster.worker_spec.update(enumerate(wanted))
        self.starting: concurrent.futures.Future[None] | None = None
        self.failures = 0

    def start_missing(self, alone: bool) -> None:
        """Start them in the background; `alone`: no other is there, so CsclError where it has failed too often."""
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
    """The workers of a client that offer `resources`. Whatever waits for them fails once none is there for long.

    own: what keeps them going; None for those of another scheduler, which somebody else starts.
    """

    client: Client
    own: OwnWorkers | None
    resources: Mapping[str, int]

    def threads(self) -> int:
        """How many tasks they can run at a time."""
        return sum(self._threads())

    def arrive(self, wanted: int) -> None:
        """Wait until so many are there."""
        if self.own:
            self.own.start_missing(alone=True)
        self._until(lambda: len(self._threads()) >= wanted, wanted)

    def submit(self, function: Callable[..., object], *args: object) -> Future:
        """As `Client.submit`, under a key of its own: of equal ones a scheduler, which may be shared, would run one."""
        key = f"cscl-{uuid4().hex}"
        return self.client.submit(function, *args, key=key, pure=False, resources=dict(self.resources) or None)

    def first_done(self, futures: Sequence[Future]) -> list[Future]:
        """Wait until one of them is finished, failed or lost, and return all that are."""
        return self._until(lambda: [future for future in futures if future.status != "pending"])

    def settle(self) -> None:
        """Wait until a worker has been there for a while: dask may not replace one that dies while it starts."""
        self._until(self.threads)
        time.sleep(SETTLING)

    def _threads(self) -> list[int]:
        known = self.client.scheduler_info(n_workers=-1)["workers"].values()
        return [worker["nthreads"] for worker in known if self.resources.keys() <= worker["resources"].keys()]

    def _until(self, look: Callable[[], Found], wanted: int = 1) -> Found:
        """Wait until there is something to see; CsclError where fewer than `wanted` are there for COMING seconds."""
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
def connected(config: ParseConfig, shards: int, site: Site, bar: tqdm) -> Iterator[Workers]:
    """Enough workers that have passed the checks of `site`; a cluster of the run's own ends with it."""
    with dask.config.set(SETTINGS | _starting(config)), _workers(config, shards) as workers:
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
    """Those of another scheduler, or of a cluster of the run's own; none need be there yet."""
    if config.elsewhere:
        with _running_scheduler(config) as client:
            yield Workers(client, None, {})
    else:
        try:
            cluster, wanted = _own_cluster(config, shards)
        except (OSError, RuntimeError) as error:
            raise CsclError(f"dask could not be started: {error.__cause__ or error}") from error
        with cluster, Client(cluster) as client:
            yield Workers(client, OwnWorkers(cluster, wanted), {})


def _running_scheduler(config: ParseConfig) -> Client:
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
    """An empty cluster on this machine, and the workers that it shall have.

    They are processes: one a core, or one a GPU that sees no other; or, of 0 workers, a thread.
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
    """What CUDA_VISIBLE_DEVICES may name: numbers, or what the user's own list says."""
    import torch  # takes seconds to load; whoever parses on CPUs does without it here

    listed = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return listed or [str(i) for i in range(torch.cuda.device_count())]


def _gpu_worker(gpu: str) -> dict[str, object]:
    environment = {"CUDA_VISIBLE_DEVICES": gpu}
    options = {"nthreads": 1, "memory_limit": 0, "resources": {"GPU": 1}, "env": environment, "host": "127.0.0.1"}
    return {"cls": Nanny, "options": options}


def _check_scheduler(client: Client, site: Site) -> None:
    try:
        client.run_on_scheduler(check_scheduler, site)
    except (ImportError, AttributeError) as error:
        reason = f"the dask scheduler cannot import this version of cscl ({error})"
        raise CsclError(f"{reason}; install it there too") from error


def _check_workers(client: Client, site: Site) -> None:
    """Ask every worker that is there; those that come later are checked by their first task."""
    for worker, outcome in client.run(check_writing, site, on_error="return").items():
        if isinstance(outcome, CsclError):
            raise outcome
        if isinstance(outcome, ImportError | AttributeError):
            raise CsclError(f"worker {worker} cannot import this version of cscl ({outcome}); install it there too")
