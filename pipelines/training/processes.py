"""Device and processes of a training: one process, or those that `torchrun`, `fabric run` or `srun` started."""

import os
from collections.abc import Mapping
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor

from parsing.errors import InputError

from ..devices import PRECISIONS, find_device
from .launch import has_own_device, join_srun


def make_fabric(device: str, precision: str) -> Fabric:
    """Return Lightning Fabric, connected to the other processes of `torchrun`, `fabric run` or `srun` if there are any.

    Args:
        device: `auto`, `cpu`, `cuda` or `cuda:1`. `auto` is the accelerator given to `fabric run`, or else CUDA if
            there is a device.
        precision: one of PRECISIONS. `auto` is the one given to `fabric run`, or else bf16 on CUDA.

    Raises:
        InputError: if the device does not exist, or does not fit the number of processes, or the precision is no other.
    """
    join_srun()
    given = {name: os.environ.get(f"LT_{name}") for name in ("ACCELERATOR", "PRECISION")}
    by_fabric = os.environ.get("LT_CLI_USED") == "1"
    here, everywhere = (int(os.environ.get(name, "1")) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    if device == "auto" and by_fabric and given["ACCELERATOR"]:
        device = {"gpu": "cuda"}.get(given["ACCELERATOR"], given["ACCELERATOR"])
    found = torch.device(find_device(device))
    options: dict[str, Any] = {"accelerator": found.type}
    if not by_fabric and "TORCHELASTIC_RUN_ID" not in os.environ:
        options["plugins"] = LightningEnvironment()  # keep Fabric from reading the SLURM variables
    if by_fabric:
        options["accelerator"] = "auto" if given["ACCELERATOR"] in ("auto", "gpu") else found.type
    elif here > 1 or everywhere > 1:
        options |= {"devices": here, "num_nodes": everywhere // here, "strategy": "ddp"}
        if found.type == "cuda" and here > (gpus := torch.cuda.device_count()):
            options |= {"devices": gpus, "strategy": _place(here, gpus)}
    else:
        options["devices"] = 1 if found.index is None else [found.index]
    if (by_fabric or everywhere > 1) and found.index is not None:
        raise InputError(
            f"--device {device} is one device, but {everywhere} processes were started; leave its number out"
        )
    _check_precision((by_fabric and precision == "auto" and given["PRECISION"]) or precision, found.type)
    if precision != "auto":
        options["precision"] = precision
    elif not (by_fabric and given["PRECISION"]):
        options["precision"] = "bf16-mixed" if found.type == "cuda" else "32-true"
    try:
        fabric = Fabric(**options)
        if not by_fabric:  # `fabric run` has connected them already
            fabric.launch()
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"--device {device} --precision {precision}: {error}") from error
    return fabric


def _check_precision(precision: str, device: str) -> None:
    """Raise InputError unless this is a precision in which the device trains."""
    if precision not in PRECISIONS:
        raise InputError(f"--precision {precision}: choose one of {', '.join(PRECISIONS)}")
    if precision == "16-mixed" and device != "cuda":
        raise InputError(f"--precision {precision} needs CUDA; on {device} give 32-true or bf16-mixed")


def _place(processes: int, devices: int) -> DDPStrategy:
    """Return DDP for more processes on this machine than GPUs that each of them sees.

    Either SLURM has bound each to a GPU of its own, which each sees as the first, or they share GPUs, as in a test on a
    machine with one. Those that share use gloo, since NCCL requires one GPU per process.
    """
    places = [torch.device("cuda", number % devices) for number in range(processes)]
    return DDPStrategy(parallel_devices=places, process_group_backend="nccl" if has_own_device(devices) else "gloo")


def find_sharing(fabric: Fabric) -> str | None:
    """Return a note if the processes of a machine share GPUs, which is slow, or None."""
    strategy = fabric.strategy
    if not isinstance(strategy, DDPStrategy) or fabric.device.type != "cuda":
        return None
    if strategy.process_group_backend != "gloo":
        return None
    places = strategy.parallel_devices or []
    return (
        f"{len(places)} processes of this machine share {len(set(places))} visible GPUs and exchange data through the "
        "CPU; start one per GPU, with all GPUs visible to each"
    )


def gather(fabric: Fabric, values: Tensor) -> Tensor:
    """Return the tensors (B, ...) of all processes, concatenated to (processes * B, ...) in the order of their ranks.

    Gradients pass to this process's own values only.
    """
    if fabric.world_size == 1:
        return values
    narrow = values.to(torch.uint8) if values.dtype == torch.bool else values  # gloo has no bool
    gathered = cast(Tensor, fabric.all_gather(narrow.detach().contiguous()))
    pieces = list(gathered.to(values.dtype).unbind(0))
    pieces[fabric.global_rank] = values
    return torch.cat(pieces)


def any_process(fabric: Fabric, here: bool) -> bool:
    """Return whether `here` is true in any process; all processes must call this."""
    if fabric.world_size == 1:
        return here
    total = fabric.all_reduce(torch.tensor(float(here), device=fabric.device), reduce_op="sum")
    return bool(total)


def broadcast(fabric: Fabric, values: Mapping[str, float] | None) -> dict[str, float]:
    """Return the values of the first process, in every process."""
    return dict(fabric.broadcast(dict(values or {})) if fabric.world_size > 1 else values or {})
