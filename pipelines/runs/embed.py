"""Embed a list of images with a trained network."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from cscl.embedder import Embedder
from data.loading.images import load_image
from data.records import Record
from parsing.errors import CsclError
from parsing.progress import Bar


@torch.inference_mode()
def embed(
    embedder: Embedder,
    records: Sequence[Record],
    load: Callable[[Record], Tensor],
    batch_size: int = 64,
    flip: bool = True,
) -> Tensor:
    """Return embeddings (N, D), float32 on the CPU, of length 1.

    Args:
        embedder: the network.
        records: N images.
        load: reads an image as (3, *size) uint8; called in threads.
        batch_size: number of images per batch.
        flip: whether to average the embeddings of an image and its mirror image.

    Raises:
        CsclError: if an embedding is not finite.
    """
    device = next(embedder.parameters()).device
    features = []
    with (
        ThreadPoolExecutor() as pool,
        Bar(total=len(records), unit="image", desc="embed") as bar,
    ):
        for start in range(0, len(records), batch_size):
            batch = records[start : start + batch_size]
            images = torch.stack(list(pool.map(load, batch))).to(device)
            infrared = torch.tensor([r.modality == "infrared" for r in batch], device=device)
            features.append(embedder(images, infrared, flip).cpu())
            if wrong := [r.name for r, fine in zip(batch, features[-1].isfinite().all(1), strict=True) if not fine]:
                raise CsclError(
                    f"the network's answer for {wrong[0]} is not finite: its training has diverged, or its weights are "
                    "damaged; train again"
                )
            bar.update(len(batch))
    return torch.cat(features)


def make_loader(root: Path, size: tuple[int, int]) -> Callable[[Record], Tensor]:
    """Return a function for `load` of `embed` that reads image files below `root`, resized to (height, width)."""
    return lambda record: load_image(root / record.name, size)
