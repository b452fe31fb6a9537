"""The dask cluster that parses: one of this run's own, or one that somebody started."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import dask
import torch
from distributed import Client, LocalCluster, Nanny, Scheduler, SpecCluster
from tqdm import tqdm

from parsing.errors import CsclError, InputError, MissingError

from .devices import find_device
from .parse_config import ParseConfig
from .parse_site import Site, check_writing

SETTINGS = {
    "distributed.worker.daemon": True,
    "distributed.admin.tick.limit": "1h",
    "distributed.scheduler.allowed-failures": 0,  # a shard that loses its worker is tried again alone (parse_run)
}
DASHBOARD = "127.0.0.1:0"
"""Any free port: the usual one may be that of another run."""


@contextmanager
def connected(config: ParseConfig, shards: int, site: Site, bar: tqdm) -> Iterator[Client]:
    """A client of enough workers that have passed the checks of `site`; its own cluster ends with it."""
    with dask.config.set(SETTINGS), _client(config, shards, bar) as client:
        _check_workers(client, site)
        yield client


@contextmanager
def _client(config: ParseConfig, shards: int, bar: tqdm) -> Iterator[Client]:
    if config.elsewhere:
        with _running_scheduler(config) as client:
            wanted = config.workers or 1
            if len(client.nthreads()) < wanted:
                bar.set_postfix_str(f"waiting for {wanted} workers")
                client.wait_for_workers(wanted)
                bar.set_postfix_str("")
            yield client
    else:
        try:
            cluster = _own_cluster(config, shards)
        except OSError as error:
            raise CsclError(f"dask's workers could not be started: {error.strerror or error}") from error
        with cluster, Client(cluster) as client:
            yield client


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
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{given}: no dask scheduler answers there ({reason})") from error


def _own_cluster(config: ParseConfig, shards: int) -> SpecCluster:
    """Processes of this machine: one a core, or one a GPU that sees no other; or, of 0 workers, a thread."""
    device = find_device(config.device)
    if device == "cuda" and config.workers != 0:
        gpus = _visible_gpus()
        workers = min(config.workers or len(gpus), shards)
        return SpecCluster(
            workers={i: _gpu_worker(gpus[i % len(gpus)]) for i in range(workers)},
            scheduler={
                "cls": Scheduler,
                "options": {"dashboard_address": DASHBOARD, "host": "127.0.0.1", "port": 0},
            },
            silence_logs=logging.CRITICAL,
        )
    most = config.workers if config.workers is not None else (os.cpu_count() or 1 if device == "cpu" else 1)
    return LocalCluster(
        n_workers=max(1, min(most, shards)),
        threads_per_worker=1,
        processes=most > 0,
        dashboard_address=DASHBOARD,
        memory_limit=0,
        silence_logs=logging.CRITICAL,
    )


def _visible_gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES may name: numbers, or what the user's own list says."""
    listed = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return listed or [str(i) for i in range(torch.cuda.device_count())]


def _gpu_worker(gpu: str) -> dict[str, object]:
    environment = {"CUDA_VISIBLE_DEVICES": gpu}
    options = {"nthreads": 1, "memory_limit": 0, "resources": {"GPU": 1}, "env": environment, "host": "127.0.0.1"}
    return {"cls": Nanny, "options": options}


def _check_workers(client: Client, site: Site) -> None:
    """Ask every worker that is there; those that come later are checked by their first task."""
    for worker, outcome in client.run(check_writing, site, on_error="return").items():
        if isinstance(outcome, CsclError):
            raise outcome
        if isinstance(outcome, ImportError | AttributeError):
            raise CsclError(f"worker {worker} cannot import this version of cscl ({outcome}); install it there too")
