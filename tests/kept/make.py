"""Make the folder of one release that later versions must read: `python tests/kept/make.py tests/kept/0.1.0`.

Run it once, before a release, in a checkout with the environment of `make test`; never change a folder afterwards.
The folder gets a cache and a run of the public commands on a few drawn people, and `answers.npz`: what this version
reads from them.
"""

import gzip
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save

from cscl import load
from parsing import MaskCache

LEVELS = 7  # of each sign: weights of few values make a small archive
RECIPE = ("data.size=[64,32]", "train.epochs=1", "train.steps=2", "train.identities=2", "train.images=2",
          "train.warmup=0", "model.part_dim=16")  # fmt: skip


def cscl(*arguments: object, cwd: Path) -> None:
    """Run the command of this checkout."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    subprocess.run([sys.executable, "-m", "cli", *map(str, arguments)], cwd=cwd, env=environment, check=True)


def coarsen(file: Path) -> None:
    """Round every tensor of a safetensors file to a few values; its names, shapes, types and header stay."""
    with safe_open(file, "pt") as stored:
        header, state = stored.metadata(), {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    for key, tensor in state.items():
        if tensor.is_floating_point() and tensor.numel() > 1000:
            step = tensor.abs().max() / LEVELS
            state[key] = (tensor / step).round() * step
    file.write_bytes(save(state, header))


def main(out: Path) -> None:
    """Make the cache, the run and the answers in the new folder `out`."""
    out.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        cscl(
            "data", "make", "pedestrians", "--out", "data/SYSU-MM01", "--train", 2, "--test", 2, "--shots", 1, cwd=work
        )
        cscl("parse", "--dataset", "sysu", "--size", "64x32", "--probs", "--workers", 0, cwd=work)
        settings = [part for change in RECIPE for part in ("--set", change)]
        given = ("--masks", "data/sysu_masks.h5", "--run", "run", "--recipe", "small", "--device", "cpu")
        cscl("train", *given, *settings, cwd=work)
        coarsen(work / "run" / "model.safetensors")
        shutil.copy(work / "data" / "sysu_masks.h5", out)
        shutil.copytree(work / "data" / "sysu_masks.shards", out / "sysu_masks.shards")
        (out / "run").mkdir()
        for name in ("recipe.toml", "run.json", "metrics.jsonl"):
            shutil.copy(work / "run" / name, out / "run")
        weights = (work / "run" / "model.safetensors").read_bytes()
        (out / "run" / "model.safetensors.gz").write_bytes(gzip.compress(weights, mtime=0))

        cache, model = MaskCache(out / "sysu_masks.h5"), load(work / "run")
        names = [str(name) for name in cache.names]
        infrared = np.array(cache.modality) == 1
        pictures = [Image.open(work / "data" / "SYSU-MM01" / name) for name in names]
        pixels = torch.stack([model.pixels(picture) for picture in pictures])
        np.savez_compressed(
            out / "answers.npz",
            names=np.array(names),
            labels=np.stack([cache[name] for name in names]),
            parts=cache.parts(names, "reid4").astype(np.float16),
            confidence=cache.confidence,
            identity=cache.identity,
            camera=cache.camera,
            infrared=infrared,
            images=pixels.numpy(),
            embeddings=model.embed(pixels, torch.from_numpy(infrared)).numpy(),
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
