"""`cscl benchmark train`: a training step of the whole network beside the baseline's and, with `--peer`, AGW's own."""

import statistics
import time
from pathlib import Path

import torch

from ..devices import find_device
from .measure import Row, Side, by_turns, compare_sides
from .memory import peak_memory
from .peer_steps import make_peer_loop, make_peer_step
from .steps import Setting, make_loop, make_step

LOOP = 60
"""Steps of a loop."""
MEMORY_RUNS = 3
"""Number of times that memory is measured at most: it hardly differs."""
CPU = (Setting("small", 32), Setting("cscl", 16))
"""With fewer than 16 images one thread gets other kernels for 1x1 convolutions than a real batch."""
GPU = (Setting("cscl", 64), Setting("cscl", 128))


def measure(runs: int, peer: Path | None, device: str) -> list[Row]:
    """Return rows of time and memory per setting, and with `peer`, a checkout of AGW, one beside that.

    On a GPU there is a row more for each, with the batches made meanwhile as in a training: beside the same number of
    steps on one batch it shows for how much of the time the GPU waits for data.

    Raises:
        InputError: if this machine does not have the device.
        MissingError: if the checkout lacks a module.
    """
    device = find_device(device)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        settings = CPU if device == "cpu" else GPU
        return [row for setting in settings for row in _rows(setting, runs=runs, peer=peer, device=device)]
    finally:
        torch.set_num_threads(threads)


def _rows(setting: Setting, runs: int, peer: Path | None, device: str) -> list[Row]:
    sides: dict[str, Side] = {method: make_step(setting.read(method), device) for method in ("cscl", "baseline")}
    rows = [
        _compare(
            f"training step, {setting}",
            sides=sides,
            images=setting.images,
            runs=runs,
            device=device,
            other="the baseline",
        )
    ]
    if device != "cpu":
        recipe = setting.read("cscl")
        sides = {"loop": make_loop(recipe, device, LOOP), "steps": make_step(recipe, device, LOOP)}
        what = f"training with its batches, {setting}"
        rows.append(
            _compare(
                what, sides=sides, images=LOOP * setting.images, runs=runs, device=device, other="steps on one batch"
            )
        )
    sides.clear()
    rows.append(_compare_memory(setting, min(runs, MEMORY_RUNS), device))
    if peer is None or setting.recipe != "cscl":  # whose size and network are AGW's
        return rows
    agw = setting.read("agw")
    sides = {"agw": make_step(agw, device), "peer": make_peer_step(peer, setting, device)}
    rows.append(
        _compare(
            f"step of `agw`, {setting}",
            sides=sides,
            images=setting.images,
            runs=runs,
            device=device,
            other="AGW's own code",
        )
    )
    if device != "cpu":
        sides = {
            "agw": make_loop(agw, device, LOOP),
            "peer": make_peer_loop(peer, setting=setting, device=device, steps=LOOP),
        }
        what = f"training of `agw` with its batches, {setting}"
        rows.append(
            _compare(what, sides=sides, images=LOOP * setting.images, runs=runs, device=device, other="AGW's own loop")
        )
    return rows


def _compare(what: str, sides: dict[str, Side], images: int, runs: int, device: str, other: str) -> Row:
    """Return the row of two sides."""
    ours, theirs = sides
    on_cpu = device == "cpu"
    seconds = by_turns(sides, runs, time.process_time if on_cpu else time.perf_counter)
    unit = "images per second" + (" of one core" if on_cpu else "")
    return compare_sides(what, seconds=seconds, ours=ours, theirs=theirs, count=images, unit=unit, other=other)


def _compare_memory(setting: Setting, runs: int, device: str) -> Row:
    """Return the row of the memory that each needs at its peak: weights, gradients, optimiser and activations."""
    found = {
        method: [peak_memory(torch.device(device), run_steps, setting, method, device) for _ in range(runs)]
        for method in ("cscl", "baseline")
    }
    ratios = [ours / theirs for ours, theirs in zip(found["cscl"], found["baseline"], strict=True)]
    return Row(
        what=f"training step, {setting}",
        ours=statistics.median(found["cscl"]),
        theirs=statistics.median(found["baseline"]),
        unit="MiB",
        other="the baseline's memory",
        ratio=statistics.median(ratios),
        least=min(ratios),
        most=max(ratios),
        runs=runs,
    )


def run_steps(setting: Setting, method: str, device: str) -> None:
    """Make a network and train it for two steps; the second has the optimiser's state from the beginning on."""
    torch.set_num_threads(1)
    step = make_step(setting.read(method), device)
    step()
    step()
