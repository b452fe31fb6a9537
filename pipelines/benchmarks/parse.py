"""`cscl benchmark parse`: files to a finished shard, beside the network alone and beside one image at a time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from data.records import Record
from parsing.cache.lock import hold_lock
from parsing.cache.provenance import Provenance, cache_attributes
from parsing.images import read_image
from parsing.parsers.labelling import stack_images
from parsing.parsers.registry import ParserSpec, describe_parser
from parsing.parsers.sources import BUILT_IN
from parsing.parsers.street import StreetParser, load_street

from ..parse.site import Site, list_versions
from ..parse.task import ShardTask
from ..parse.work import choose_batch_size, write_shard
from .images import benchmark_images
from .measure import Row, by_turns, compare_sides

SIZE = (288, 144)
RATE = "images per second of one core"


@dataclass(frozen=True)
class Line:
    """The images of a benchmark and where its sides write."""

    root: Path
    names: list[str]
    out: Path

    def whole(self, flip: bool) -> Callable[[], object]:
        """Return what `cscl parse` does in a worker: files to a shard."""

        def run() -> None:
            with self.task(flip, ParserSpec()) as task:
                write_shard(task)

        return run

    @contextmanager
    def task(self, flip: bool, spec: ParserSpec) -> Iterator[ShardTask]:
        """Hold the lock of a cache of these images, and yield the task of its only shard."""
        parser, name = describe_parser(spec), f"masks{flip:d}{spec.narrow:d}"
        provenance = Provenance(
            parser.name,
            weights=parser.weights_hash,
            labels=parser.labels,
            size=SIZE,
            preprocessing=parser.preprocessing,
            flip=flip,
            probs=False,
        )
        index = self.out / f"{name}.h5"
        with hold_lock(index, "cscl benchmark") as lock:
            yield ShardTask(
                path=self.out / f"{name}.shard.h5",
                records=[Record(n, identity=-1, camera=0, modality="visible") for n in self.names],
                attributes=cache_attributes(
                    index, provenance, data_set="images", root=self.root, licence="", pattern=None
                ),
                parser=spec,
                site=Site(lock, root=self.root, sample=self.names[0], shards=self.out, versions=list_versions()),
                size=SIZE,
                batch_size=None,
                flip=flip,
                probs=False,
            )

    def network(self, flip: bool) -> Callable[[], object]:
        """Return the network alone, on as many images in batches as `whole` makes."""
        parser = StreetParser()
        batch = stack_images([parser.prepare(read_image(self.root / self.names[0]))] * choose_batch_size(parser))
        inputs = batch.to(torch.float32, memory_format=torch.channels_last)

        @torch.inference_mode()
        def run() -> None:
            for start in range(0, len(self.names), len(inputs)):
                piece = inputs[: min(len(inputs), len(self.names) - start)]
                for _ in range(1 + flip):
                    parser.network(piece)

        return run

    def one_at_a_time(self, flip: bool) -> Callable[[], object]:
        """Return a loop as published extractors have it: one image, the library's network, a PNG."""
        network, config, _ = load_street(BUILT_IN)
        network.eval()
        height, width = config.input_size

        @torch.inference_mode()
        def run() -> None:
            for number, name in enumerate(self.names):
                image = Image.open(self.root / name).convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
                tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
                tensor = (tensor - config.mean) / config.std
                logits = network(tensor)
                if flip:
                    logits = (logits + network(tensor.flip(-1)).flip(-1)) / 2
                answer = F.interpolate(logits, SIZE, mode="bilinear").softmax(1).argmax(1)[0]
                Image.fromarray(answer.to(torch.uint8).numpy()).save(self.out / f"{number}.png")

        return run


def measure(images: Path | None, count: int, runs: int) -> list[Row]:
    """Return two rows without flip averaging and two with it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with benchmark_images(images, count) as (root, names), TemporaryDirectory() as out:
            line = Line(root, names, Path(out))
            return [row for flip in (False, True) for row in _rows(line, flip, runs)]
    finally:
        torch.set_num_threads(threads)


def _rows(line: Line, flip: bool, runs: int) -> list[Row]:
    sides = {"ours": line.whole(flip), "network": line.network(flip), "plain": line.one_at_a_time(flip)}
    seconds, count = by_turns(sides, runs), len(line.names)
    averaged = "flip averaged" if flip else "no flip"
    return [
        compare_sides(
            f"files to shard, {averaged}",
            seconds=seconds,
            ours="ours",
            theirs="network",
            count=count,
            unit=RATE,
            other="the network alone",
        ),
        compare_sides(
            f"files to shard, {averaged}",
            seconds=seconds,
            ours="ours",
            theirs="plain",
            count=count,
            unit=RATE,
            other="one image at a time to PNG",
        ),
    ]
