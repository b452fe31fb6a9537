"""Show the content and provenance of a cache, and the files that it lacks (`cscl masks info`)."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from parsing.cache.index import read_shard_table, shard_folder
from parsing.cache.reader import MaskCache
from parsing.cache.shard import Status
from parsing.modality import MODALITIES
from parsing.words import list_briefly, quote_path


@dataclass(frozen=True)
class CacheInfo:
    """Content of a cache: images by modality and status, confidence, size on disk and provenance.

    Attributes:
        other_folders: folders, not the cache's own, in which plain h5py looks for the masks since it was renamed.
        missing_shards: files that the index names and that do not exist; `missing_masks` is the number of their masks.
        lost_folder: what to do if the whole folder of the shards is missing; empty if it is there.
        images_there: whether the images are in the folder that the cache names.
    """

    path: Path
    images: int
    by_modality: dict[str, int]
    by_status: dict[str, int]
    confidence: dict[str, float]
    bytes: int
    data_set: str
    root: Path
    pattern: str | None
    licence: str
    fingerprint: str
    made_by: dict[str, Any]
    other_folders: tuple[str, ...]
    missing_shards: tuple[str, ...]
    missing_masks: int
    lost_folder: str
    images_there: bool

    def to_json(self) -> dict[str, Any]:
        """Return all values for `cscl masks info --json`."""
        return {**self.__dict__, "path": str(self.path), "root": str(self.root)}

    def lines(self) -> list[str]:
        """Return the text that `cscl masks info` prints, as lines."""
        made, labels = self.made_by, self.made_by["labels"]
        each = self.bytes / max(self.images, 1) / 2**10
        size = f"{self.bytes / 2**20:.1f} MiB" if self.bytes >= 2**20 else f"{self.bytes / 2**10:.1f} KiB"
        gone = "" if self.images_there else " (not there; commands that read them need --root)"
        shards = list_briefly([f"{shard_folder(self.path).name}/{name}" for name in self.missing_shards], 3)
        why = self.lost_folder or f"no {shards}; copy the folder beside the index"
        lost = [f"{self.missing_masks} masks are missing: {why}"]
        renamed = [
            f"it was renamed: plain h5py reads in it what lies in {list_briefly(self.other_folders)}, if "
            f"anything does; `cscl masks verify {quote_path(self.path)} --repair` mends that"
        ]
        return [
            *(lost if self.missing_shards else ()),
            *(renamed if self.other_folders and not self.lost_folder else ()),
            f"{self.path}: {self.images} masks of {self.data_set}, {made['size'][0]}x{made['size'][1]}",
            f"  images       {self.root}" + gone + (f", people by --pattern {self.pattern}" if self.pattern else ""),
            f"  modality     {_list_counts(self.by_modality)}",
            f"  status       {_list_counts(self.by_status)}",
            "  confidence   " + ", ".join(f"{m} {v:.3f}" for m, v in self.confidence.items()) + " (mean of parsed)",
            f"  label set    {labels['name']}: {', '.join(labels['classes'])}",
            f"  parser       {made['parser']} {made['weights'][:12]}, flip {made['flip']}, probs {made['probs']}",
            f"  licence      {self.licence}",
            f"  fingerprint  {self.fingerprint}",
            f"  on disk      {size} ({each:.1f} KiB per image)",
        ]


def info(cache: MaskCache) -> CacheInfo:
    """Sum up what the index of a cache says."""
    path = cache.path
    parsed = cache.status == Status.OK
    modality = np.array([MODALITIES[m] for m in cache.modality])
    counted = Counter(modality.tolist())
    confidence = {
        m: float(cache.confidence[parsed & (modality == m)].mean()) for m in counted if (parsed & (modality == m)).any()
    }
    files = [path, *shard_folder(path).glob("*.h5")]
    table = read_shard_table(path, len(cache))
    held = dict(zip(table.names, table.counts.tolist(), strict=True))
    missing = [name for name in held if not (shard_folder(path) / name).is_file()]
    return CacheInfo(
        path,
        images=len(cache),
        by_modality=dict(counted),
        by_status={s.name.lower(): int((cache.status == s).sum()) for s in Status},
        confidence=confidence,
        bytes=sum(os.path.getsize(f) for f in files),
        data_set=cache.data_set,
        root=cache.root,
        pattern=cache.pattern,
        licence=cache.licence,
        fingerprint=cache.fingerprint,
        made_by=cache.made_by,
        other_folders=tuple(sorted(table.folders - {shard_folder(path).name})),
        missing_shards=tuple(missing),
        missing_masks=int(sum(held[name] for name in missing)),
        lost_folder="" if shard_folder(path).is_dir() else table.describe_lost_folder(path),
        images_there=cache.root.is_dir(),
    )


def _list_counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count)
