"""Embeddings of a list of images by a trained network."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from cscl.embedder import Embedder
from data.loading.images import load_image
from data.records import Record


@torch.inference_mode()
def embed(
    embedder: Embedder,
    records: Sequence[Record],
    load: Callable[[Record], Tensor],
    batch_size: int = 64,
    flip: bool = True,
) -> Tensor:
    """Embeddings (N, D), float32 on the CPU, each of length 1; `load` gives an image (3, *size) uint8."""
    device = next(embedder.parameters()).device
    features = []
    with (
        ThreadPoolExecutor() as pool,
        tqdm(total=len(records), unit="image", desc="embed") as bar,
    ):
        for start in range(0, len(records), batch_size):
            batch = records[start : start + batch_size]
            images = torch.stack(list(pool.map(load, batch))).to(device)
            infrared = torch.tensor([r.modality == "infrared" for r in batch], device=device)
            features.append(embedder(images, infrared, flip).cpu())
            bar.update(len(batch))
    return torch.cat(features)


def from_root(root: Path, size: tuple[int, int]) -> Callable[[Record], Tensor]:
    """Return a loader for `embed` that reads image files below `root`."""
    return lambda record: load_image(root / record.name, size)
