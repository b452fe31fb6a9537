"""`cscl benchmark parse --peer DIR` with a checkout of SCHP: ours beside its extractor, on the same random weights.

Its `simple_extractor.py` runs as it is, with its own network, transforms and loop, one image at a time; only
`.cuda()` does nothing, and its in-place batch norm, which must be compiled for a GPU, is torch's batch norm and leaky
ReLU.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from parsing.errors import CsclError, MissingError
from parsing.images import read_image
from parsing.labels import label_set
from parsing.parsers.base import Parser
from parsing.parsers.labelling import label_images
from parsing.parsers.registry import ParserSpec, find_parser
from parsing.parsers.schp_network import SCHPNetwork
from parsing.parsers.sources import SCHP

from ..parse.preload import restored_environment
from ..parse.work import parse_rows, write_shard
from .images import benchmark_images
from .measure import Row, compare_sides
from .parse import RATE, Line
from .peer import peer_modules

MOST = 4
"""Images, of which the network computes one in seconds."""
NAME, LAST = "schp-lip", "fushion.3"
SCALED_ON = (161, 161)
"""Height and width of the image that the scores are scaled on."""
AGREE = 0.995
"""Share of the pixels that must have the same label."""
CLOCKS = {RATE: time.process_time, "images per second of wall time": time.perf_counter}
Seconds = dict[str, float]
"""By unit of the rates."""


def measure(images: Path | None, count: int, runs: int, peer: Path) -> list[Row]:
    """Return rows of processor time and wall time, without and with `--narrow`, and one of the labels' agreement.

    Raises:
        MissingError: if the checkout lacks a module, or OpenCV is missing, which its transforms need.
        CsclError: if its extractor gives other masks.
    """
    if find_spec("cv2") is None:
        raise MissingError("SCHP's extractor needs OpenCV: pip install opencv-python-headless")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with benchmark_images(images, min(count, MOST)) as (root, names), TemporaryDirectory() as place:
            line, file = Line(root, names, Path(place)), Path(place) / "weights.pth"
            draw_weights(file, read_image(root / names[0]))
            sides = {
                "ours": _make_ours(line, ParserSpec(NAME, file)),
                "narrow": _make_ours(line, ParserSpec(NAME, file, narrow=True)),
                "theirs": _make_theirs(line, peer, file),
            }
            seconds = _take_turns(sides, runs)
            alike = compare_labels(line, find_parser(ParserSpec(NAME, file)))
    finally:
        torch.set_num_threads(threads)
    return [
        *_rows(seconds, len(names)),
        Row("labels of schp-lip", ours=100 * alike, unit="% as SCHP's extractor", runs=1),
    ]


def _rows(seconds: Mapping[str, list[Seconds]], count: int) -> Iterator[Row]:
    for ours, option in (("ours", ""), ("narrow", " --narrow")):
        for unit in CLOCKS:
            yield compare_sides(
                f"files to shard, {NAME}{option}",
                seconds={side: [spent[unit] for spent in seconds[side]] for side in (ours, "theirs")},
                ours=ours,
                theirs="theirs",
                count=count,
                unit=unit,
                other="SCHP's extractor",
            )


def _take_turns(sides: Mapping[str, Callable[[], Seconds]], runs: int) -> dict[str, list[Seconds]]:
    """Return what each side spent, `runs` times by turns after one to warm up."""
    spent: dict[str, list[Seconds]] = {name: [] for name in sides}
    for number in range(runs + 1):
        for name, side in sides.items():
            seconds = side()
            if number:
                spent[name].append(seconds)
    return spent


def _read_clocks() -> Seconds:
    return {unit: clock() for unit, clock in CLOCKS.items()}


def _since(began: Seconds) -> Seconds:
    return {unit: clock() - began[unit] for unit, clock in CLOCKS.items()}


def _make_ours(line: Line, spec: ParserSpec) -> Callable[[], Seconds]:
    """Return what `cscl parse` does in a worker that has loaded its network."""

    def run() -> Seconds:
        with line.task(False, spec) as task:
            parse_rows(task, ())  # loads the network
            began = _read_clocks()
            write_shard(task)
            return _since(began)

    return run


def _make_theirs(line: Line, peer: Path, file: Path) -> Callable[[], Seconds]:
    """Return their extractor's run, of which the loop counts; its masks are `line.out / "theirs" / NUMBER.png`."""
    inputs, outputs = line.out / "images", line.out / "theirs"
    inputs.mkdir()
    for number, name in enumerate(line.names):
        (inputs / f"{number:04d}.jpg").symlink_to((line.root / name).resolve())
    with peer_modules(peer, "simple_extractor", stand_ins={"modules.functions": _make_norms()}) as (extractor,):
        pass
    options = {"dataset": "lip", "model-restore": file, "input-dir": inputs, "output-dir": outputs}
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]

    def run() -> Seconds:
        spent: list[Seconds] = []

        def watch(batches: Iterable[Any]) -> Iterator[Any]:
            began = _read_clocks()
            yield from batches
            spent.append(_since(began))

        with _on_the_cpu(), mock.patch.object(extractor, "tqdm", watch), mock.patch.object(sys, "argv", ["", *words]):
            extractor.main()
        return spent[0]

    return run


@contextmanager
def _on_the_cpu() -> Iterator[None]:
    """Have `.cuda()` do nothing, and nothing printed; they set an environment variable too."""
    with (
        mock.patch.object(nn.Module, "cuda", lambda self: self),
        mock.patch.object(Tensor, "cuda", lambda self: self),
        restored_environment(),
        redirect_stdout(StringIO()),
    ):
        yield


def _make_norms() -> ModuleType:
    """Return a module in place of their compiled one, for evaluation."""
    norms = ModuleType("modules.functions")

    def normalise(x: Tensor, weight: Tensor, bias: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
        mean, variance, training, momentum, eps, activation, slope = rest
        y = F.batch_norm(x, mean, variance, weight.abs() + eps, bias, training, momentum, eps)
        return F.leaky_relu_(y, slope) if activation == "leaky_relu" else y, mean, variance

    activations = {f"ACT_{name.upper()}": name for name in ("relu", "leaky_relu", "elu", "none")}
    vars(norms).update(activations, inplace_abn=normalise, inplace_abn_sync=normalise)
    return norms


@torch.inference_mode()
def draw_weights(file: Path, image: NDArray[np.uint8]) -> None:
    """Write random weights in the form of their checkpoints, such that the labels vary.

    The last layer is scaled so that the scores of each class have mean 0 and standard deviation 1 over `image`.
    """
    with torch.device("meta"):
        network = SCHPNetwork(len(label_set(SCHP[NAME].labels)))
    generator = torch.Generator().manual_seed(0)
    drawn = {name: _draw(name, tensor.shape, generator) for name, tensor in network.state_dict().items()}
    network.load_state_dict(drawn, assign=True)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    scores = network.eval()((F.interpolate(pixels, SCALED_ON) - 0.5) * 4)[0]
    mean, deviation = scores.mean((0, 2, 3)), scores.std((0, 2, 3))
    drawn[f"{LAST}.weight"] /= deviation[:, None, None, None]
    drawn[f"{LAST}.bias"] = (drawn[f"{LAST}.bias"] - mean) / deviation
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in drawn.items()}}, file)


def _draw(name: str, shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Return a random tensor of a kind that lets activations neither grow nor vanish."""
    normal = torch.randn(shape, generator=generator)
    if name.endswith("running_var"):
        return 0.5 + torch.rand(shape, generator=generator)
    if name.endswith(("running_mean", "bias")):
        return 0.1 * normal
    return normal * (2 / normal[0].numel()) ** 0.5 if len(shape) == 4 else 0.6 + 0.1 * normal


def compare_labels(line: Line, parser: Parser) -> float:
    """Return the share of pixels that have our label in their masks; CsclError below `AGREE`."""
    alike = total = 0
    for number, name in enumerate(line.names):
        with Image.open(line.out / "theirs" / f"{number:04d}.png") as opened:
            theirs = np.asarray(opened)
        image, size = read_image(line.root / name), (theirs.shape[0], theirs.shape[1])
        ours = label_images(parser, parser.prepare(image)[None], [size], size, flip=False).labels[0]
        alike, total = alike + int((ours == theirs).sum()), total + theirs.size
    if alike < AGREE * total:
        raise CsclError(f"SCHP's extractor gives other masks: {alike / total:.2%} of the labels are ours")
    return alike / total
