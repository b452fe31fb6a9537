"""Shards on dask: a window, retries, images that kill their worker, foreign schedulers; the same bytes throughout."""

import itertools
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask
import pytest
from distributed import Client, LocalCluster, Scheduler, SpecCluster, Worker
from distributed.core import error_message
from distributed.protocol import pickle
from support.parses import parse_config
from support.places import ROOT

from data.records import Record
from parsing import MaskCache
from parsing.cache.index import shard_folder
from parsing.cache.lock import Lock, hold_lock
from parsing.cache.shard import Status, write_shard
from parsing.errors import CsclError, InputError, MissingError
from parsing.files import file_hash
from parsing.parsers.registry import ParserSpec
from pipelines.parse.cluster import STARTS, OwnWorkers, Workers, _workers
from pipelines.parse.run import ParseConfig, parse
from pipelines.parse.schedule import _isolate
from pipelines.parse.site import Site, check_writing, list_versions
from pipelines.parse.task import ShardTask, make_errors_plain

DEADLY = """
import os
import parsing.images
import pipelines.parse.work as shard
def read_image(path):
    if path.as_posix().endswith({name!r}):
        os._exit(9)
    return parsing.images.read_image(path)
shard.read_image = read_image
"""
"""A worker's preload under which one image kills the process that reads it."""


@pytest.fixture(autouse=True, scope="module")
def small_shards() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("parsing.cache.builder.MOST_IN_A_SHARD", 4)
        yield


@pytest.fixture
def config(tiny_figures: Path, tiny_weights: Path, tmp_path: Path) -> ParseConfig:
    """24 images in six shards."""
    return parse_config(tiny_figures, tiny_weights, tmp_path / "local" / "masks.h5")


def hashes(index: Path) -> dict[str, str]:
    return {p.name: file_hash(p) for p in (*index.parent.iterdir(), *shard_folder(index).iterdir()) if p.is_file()}


@pytest.fixture
def dask_command(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """`dask_command("worker", ...)` starts what a user would start in a shell; all end with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: object) -> subprocess.Popen[bytes]:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "dask", *map(str, arguments)]
        log = open(tmp_path / f"{arguments[0]}-{len(started)}.log", "wb")  # noqa: SIM115
        started.append(subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=log, stderr=log))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def wait_for(what: Callable[[], bool], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.02)


def test_workers_of_another_scheduler_write_the_same_bytes_though_one_is_killed(
    config: ParseConfig, tmp_path: Path, dask_command: Callable[..., subprocess.Popen[bytes]]
) -> None:
    parse(config)
    contact, out = tmp_path / "scheduler.json", tmp_path / "remote" / "masks.h5"
    local = ("--host", "127.0.0.1", "--no-dashboard")
    dask_command("scheduler", "--port", 0, "--scheduler-file", contact, *local)
    workers = [
        dask_command("worker", "--scheduler-file", contact, "--nthreads", n, "--no-nanny", *local) for n in (1, 2)
    ]
    wait_for(contact.is_file)

    def kill_one() -> None:
        wait_for(lambda: (shard_folder(out) / "00000.h5").is_file())
        workers[0].send_signal(signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    anywhere = replace(config.parser, device="auto")
    remote = replace(config, out=out, workers=2, scheduler_file=contact, parser=anywhere)
    result = parse(remote)
    killer.join()
    assert workers[0].wait() == -signal.SIGKILL
    assert workers[1].poll() is None
    assert result.parsed == 24
    assert config.out is not None
    assert hashes(out) == hashes(config.out)


def test_a_scheduler_that_is_killed_ends_the_run_with_one_line_and_the_command_goes_on(
    config: ParseConfig, tmp_path: Path, dask_command: Callable[..., subprocess.Popen[bytes]]
) -> None:
    contact, out = tmp_path / "scheduler.json", tmp_path / "remote" / "masks.h5"
    local = ("--host", "127.0.0.1", "--no-dashboard")
    scheduler = dask_command("scheduler", "--port", 0, "--scheduler-file", contact, *local)
    dask_command("worker", "--scheduler-file", contact, "--nthreads", 1, "--no-nanny", *local)
    wait_for(contact.is_file)

    def kill_it() -> None:
        wait_for(lambda: (shard_folder(out) / "00000.h5").is_file())
        scheduler.kill()

    killer = threading.Thread(target=kill_it)
    killer.start()
    with pytest.raises(CsclError, match=r"^the dask scheduler is gone; finished shards are kept"):
        parse(replace(config, out=out, workers=1, scheduler_file=contact))
    killer.join()
    assert parse(replace(config, out=out)).parsed < 24
    parse(config)
    assert config.out is not None
    assert hashes(out) == hashes(config.out)


def test_a_scheduler_that_is_unlike_the_run_is_said_before_anything_is_waited_for(
    config: ParseConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dask_command: Callable[..., object]
) -> None:
    contact, without = tmp_path / "scheduler.json", tmp_path / "without.py"
    without.write_text("import sys\nsys.modules['pipelines'] = None\n")
    local = ("--host", "127.0.0.1", "--no-dashboard", "--preload", without)
    dask_command("scheduler", "--port", 0, "--scheduler-file", contact, *local)
    wait_for(contact.is_file)
    with pytest.raises(CsclError, match=r"^the dask scheduler cannot import this version of cscl \(.*pipelines.*\)"):
        parse(replace(config, workers=1, scheduler_file=contact))
    monkeypatch.setattr("pipelines.parse.plan.list_versions", lambda: (("torch", "1.0"),))
    said = r"^the dask scheduler on .*torch [\d.]+ \(the run's is 1\.0\).*same versions"
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        pytest.raises(CsclError, match=said),
    ):
        parse(replace(config, workers=1, scheduler=cluster.scheduler_address))


def test_a_scheduler_that_is_not_there_is_refused_by_what_was_given(config: ParseConfig, tmp_path: Path) -> None:
    contact = tmp_path / "scheduler.json"
    with pytest.raises(MissingError, match=rf"--scheduler-file {contact}: no such file; `dask scheduler "):
        parse(replace(config, workers=None, scheduler_file=contact))
    contact.write_text("{}")
    with pytest.raises(InputError, match=r"--scheduler-file .*: no dask scheduler answers there"):
        parse(replace(config, workers=None, scheduler_file=contact))
    with pytest.raises(InputError, match=r"--scheduler tcp://a:1 --scheduler-file .*: give one of them"):
        replace(config, workers=None, scheduler="tcp://a:1", scheduler_file=contact)
    with pytest.raises(InputError, match="--workers 0: with a scheduler"):
        replace(config, scheduler_file=contact)


class Pretended:
    """Stands for dask: what is tried is killed where one of `deadly` is among its rows."""

    def __init__(self, deadly: set[int], chance: int = 0) -> None:
        self.deadly, self.chance, self.trials = deadly, chance, 0

    def survived(self, workers: Any, function: Callable[..., object], task: Any, rows: Any = None) -> bool:
        self.trials += 1
        if self.chance:
            self.chance -= 1
            return False
        return not (set(rows if rows is not None else range(len(task.records))) - task.fatal) & self.deadly


def task_of(count: int) -> ShardTask:
    records = tuple(Record(f"{n}.jpg", identity=-1, camera=0, modality="visible") for n in range(count))
    here = Path("none")
    site = Site(Lock(here, ""), root=here, sample="", shards=here, versions=())
    return ShardTask(
        here,
        records=records,
        attributes={},
        parser=ParserSpec(),
        site=site,
        size=(32, 16),
        batch_size=4,
        flip=True,
        probs=False,
    )


@pytest.mark.parametrize(
    ("count", "deadly", "chance", "most"),
    [
        (1, {0}, 0, 4),
        (64, {17}, 0, 10),
        (64, {0, 1, 63}, 0, 30),
        (64, set(), 1, 9),
        (64, {5}, 3, 25),
        (1024, {900}, 0, 14),
    ],
)
def test_the_images_that_kill_their_worker_are_found_by_halving(
    count: int, deadly: set[int], chance: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dask_of_tests, seen = Pretended(deadly, chance), []
    monkeypatch.setattr("pipelines.parse.schedule._try_task", dask_of_tests.survived)
    monkeypatch.setattr("pipelines.parse.schedule._await_file", lambda task, future: seen.append(task))
    _isolate(SimpleNamespace(), task_of(count), SimpleNamespace(set_postfix_str=lambda text: None))  # type: ignore[arg-type]
    (task,) = seen
    assert task.fatal == deadly
    assert dask_of_tests.trials <= most


def test_too_few_workers_for_long_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.parse.cluster.LOOK", 0.0)
    monkeypatch.setattr("pipelines.parse.cluster.COMING", 0.2)
    known = {"a": {"nthreads": 8, "resources": {}}}
    few: Any = SimpleNamespace(scheduler_info=lambda n_workers: {"workers": known})
    none: Any = SimpleNamespace(scheduler_info=lambda n_workers: {"workers": {}})
    with pytest.raises(CsclError, match=r"^no worker was there for 0 s; finished shards are kept, the same command"):
        Workers(none, None, {}).first_done([SimpleNamespace(status="pending")])  # type: ignore[list-item]
    with pytest.raises(CsclError, match=r"^fewer than the 2 workers of --workers were there for 0 s; finished"):
        Workers(few, None, {}).arrive(2)
    Workers(few, None, {}).arrive(1)


def test_a_scheduler_without_enough_workers_is_waited_for_and_then_said(
    config: ParseConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.parse.cluster.LOOK", 0.1)
    monkeypatch.setattr("pipelines.parse.cluster.COMING", 0.5)
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as cluster:
        foreign = replace(config, workers=2, scheduler=cluster.scheduler_address)
        with pytest.raises(CsclError, match=r"^fewer than the 2 workers of --workers were there"):
            parse(foreign)
        assert parse(replace(foreign, workers=1)).parsed == 24


@pytest.mark.parametrize("dying", [2, 10**9])
def test_workers_that_die_while_they_start_are_started_again_a_few_times(
    dying: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.parse.cluster.LOOK", 0.0)
    starts = itertools.count()

    class Killed(Worker):
        async def start_unsafe(self) -> Worker:
            if next(starts) < dying:
                raise OSError("out of luck")
            started: Worker = await super().start_unsafe()  # type: ignore[no-untyped-call]  # dask has no type here
            return started

    scheduler = {"cls": Scheduler, "options": {"dashboard_address": "127.0.0.1:0", "protocol": "inproc://"}}
    with SpecCluster(scheduler=scheduler, silence_logs=logging.CRITICAL) as cluster, Client(cluster) as client:
        workers = Workers(client, OwnWorkers(cluster, [{"cls": Killed, "options": {"nthreads": 1}}] * 2), {})
        if dying > 2:
            with pytest.raises(CsclError, match=r"^dask's workers could not be started: out of luck$"):
                workers.arrive(2)
            assert next(starts) == 2 * STARTS
        else:
            workers.arrive(2)
            assert workers.threads() == 2


def test_only_workers_that_offer_what_is_asked_for_count() -> None:
    known = {"a": {"nthreads": 2, "resources": {}}, "b": {"nthreads": 1, "resources": {"GPU": 1}}}
    client: Any = SimpleNamespace(scheduler_info=lambda n_workers: {"workers": known})
    assert (Workers(client, None, {}).threads(), Workers(client, None, {"GPU": 1}).threads()) == (3, 1)


def test_each_gpu_has_a_process_that_sees_no_other(config: ParseConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.parse.cluster.find_device", lambda device: "cuda")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, 7")
    with _workers(replace(config, parser=ParserSpec(device="cuda"), workers=None), 100) as workers:
        workers.arrive(2)
        seen = workers.client.run(lambda: (os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"]))
        assert sorted(gpu for _, gpu in seen.values()) == ["5", "7"]
        assert len({process for process, _ in seen.values()}) == 2
        assert replace(workers, resources={"GPU": 1}).threads() == 2


def test_an_image_that_kills_its_worker_each_time_is_recorded_and_the_rest_is_parsed(
    config: ParseConfig, tiny_figures: Path, tmp_path: Path
) -> None:
    whole = MaskCache(parse(config).path)
    name = whole.names[10]
    (tmp_path / "deadly.py").write_text(DEADLY.format(name=name))
    out = tmp_path / "deadly" / "masks.h5"
    with dask.config.set({"distributed.worker.preload": [str(tmp_path / "deadly.py")]}):
        result = parse(replace(config, out=out, workers=1))
    assert (result.images, result.parsed, result.fatal, result.unreadable) == (24, 24, (name,), ())
    cache = MaskCache(out)
    assert [n for n, s in zip(cache.names, cache.status, strict=True) if s == Status.FATAL] == [name]
    assert not cache[name].any()
    others = {p.name for p in shard_folder(out).iterdir()} - {"00002.h5"}
    assert config.out is not None
    before, after = hashes(config.out), hashes(out)
    assert {n: after[n] for n in others} == {n: before[n] for n in others}
    again = parse(replace(config, out=out))
    assert (again.parsed, again.fatal) == (0, (name,))
    assert hashes(out) == after


def test_what_fails_by_chance_is_tried_again_and_what_always_fails_is_one_line(
    config: ParseConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = write_shard
    calls: list[Path] = []

    def flaky(path: Path, *rest: Any) -> str:
        calls.append(path)
        if len(calls) in (2, 4):
            raise RuntimeError("the network share went away\nand came back")
        return real(path, *rest)

    monkeypatch.setattr("parsing.cache.builder.write_shard", flaky)
    assert parse(config).parsed == 24
    assert len(calls) == 8

    def broken(*_: Any) -> None:
        raise RuntimeError("no hope\nat all")

    monkeypatch.setattr("parsing.cache.builder.write_shard", broken)
    with pytest.raises(CsclError, match=r"^a worker failed: RuntimeError: no hope; finished shards are kept$"):
        parse(replace(config, overwrite=True))


def test_a_data_set_that_the_workers_do_not_see_is_said(
    config: ParseConfig, tiny_figures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = tmp_path / "SYSU-MM01"
    shutil.copytree(tiny_figures, moved)
    real = Path.is_file
    once: list[Path] = []

    def here_alone(path: Path) -> bool:
        if path.suffix == ".jpg" and once:
            return False
        once.extend([path] if path.suffix == ".jpg" else [])
        return real(path)

    monkeypatch.setattr(Path, "is_file", here_alone)
    with pytest.raises(CsclError, match=r"worker on .*does not see the image .*SYSU-MM01.*share"):
        parse(replace(config, root=moved))


def test_a_folder_that_the_worker_does_not_share_is_said(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").touch()
    with hold_lock(tmp_path / "masks.h5", "test") as lock:
        site = Site(lock, root=tmp_path, sample="1.jpg", shards=tmp_path / "masks.shards", versions=list_versions())
        check_writing(site)
        assert list(site.shards.iterdir()) == []
        with pytest.raises(CsclError, match=r"worker on .*masks\.shards/none cannot be written to"):
            check_writing(replace(site, shards=site.shards / "none"))
        with pytest.raises(CsclError, match=r"worker on .*does not see the run's lock .*share"):
            check_writing(replace(site, lock=replace(lock, line="that of another run")))
    with pytest.raises(CsclError, match=r"does not see the run's lock .*or the run has ended"):
        check_writing(site)


def test_other_versions_on_a_worker_are_said(config: ParseConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.parse.plan.list_versions", lambda: (("python", "3.11"), ("torch", "1.0")))
    with pytest.raises(CsclError, match=r"worker on .*torch [\d.]+ \(the run's is 1\.0\).*same versions"):
        parse(config)


def test_memory_that_runs_out_halves_the_batch(config: ParseConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from parsing.parsers.street import StreetParser

    real, sizes = StreetParser.average, []

    def small(self: StreetParser, batch: torch.Tensor, *rest: Any) -> Any:
        sizes.append(len(batch))
        if len(batch) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, batch, *rest)

    monkeypatch.setattr(StreetParser, "average", small)
    assert parse(config).parsed == 24
    assert sizes == [4, 2, 1, 1, 1, 1] * 6

    def none(self: StreetParser, *_: Any) -> Any:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    monkeypatch.setattr(StreetParser, "average", none)
    with pytest.raises(CsclError, match="no memory to parse even one image"):
        parse(replace(config, overwrite=True))


def test_a_file_that_a_worker_lacks_is_named_in_its_own_words() -> None:
    @make_errors_plain
    def load() -> None:
        raise MissingError("no weights file own.pth")

    with pytest.raises(InputError) as raised:
        load()
    sent = pickle.loads(error_message(raised.value)["exception"].data)
    assert (type(sent), str(sent)) == (InputError, "no weights file own.pth")
