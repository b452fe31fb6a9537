"""Import torch once, in a process from which the workers on CPUs are forked, while the run is still being planned.

Otherwise each worker would import torch, which takes seconds of a core. Only third-party packages are imported there:
ours must be those of the run, wherever it found them.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver, get_context

from parsing.stopping import interrupts_blocked

from ..devices import MALLOC

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
SAFE = {"PYTHONSAFEPATH": "1"}
"""The folder in which the user stands is not searched: it may have a package of any name."""
PRELOADED = ("torch", "h5py", "PIL.Image", "PIL.JpegImagePlugin", "safetensors.torch", "distributed.nanny")
_started = False


@contextmanager
def worker_environment() -> Iterator[None]:
    """Give processes that are started meanwhile what a worker on a CPU has in its environment.

    The user's own settings of memory and threads stay.
    """
    with restored_environment():
        os.environ.update({**MALLOC, **ONE_THREAD, **os.environ, **SAFE})
        yield


@contextmanager
def restored_environment() -> Iterator[None]:
    """Undo what happens to this process's environment: dask puts that of its workers there."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def preload_workers() -> None:
    """Start the process if none runs; it imports in the background and ends with this one."""
    global _started
    if _started:
        return
    get_context("forkserver").set_forkserver_preload(list(PRELOADED))
    with worker_environment(), interrupts_blocked():  # a Ctrl-C while it imports would be a traceback of its own
        forkserver.ensure_running()
    _started = True


def ready_to_fork() -> bool:
    """Return whether `preload_workers` has started the process."""
    return _started
