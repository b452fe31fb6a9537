"""The data code of BPBReID and KPR on files of `cscl masks export`, beside the cache that they were made of.

Their configuration, data set class (Market-1501), transforms, samplers and loaders run whole, with `albumentations`
1.3.1 and `yacs` of their requirements, under each grouping of body parts that `--to bpbreid` and `--to kpr` promise.
Images and masks are random. Passed over is what their packages import beside that: networks, loggers and pictures.
"""

from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from parsing.cache.reader import MaskCache
from parsing.cache.writer import CacheWriter
from parsing.labels import label_set
from parsing.resize import resize_maps
from parsing.schemes import PartScheme
from pipelines.benchmarks.peer import absent_module, bare_package, peer_modules
from pipelines.masks.export import ExportConfig, export

Groups = tuple[tuple[int, str], ...]
"""How many of their parts, and of which of our pieces, each a letter, these are the maximum together."""
PIECES = {"H": "head", "T": "upper", "A": "arms", "L": "lower legs", "F": "feet"}
SCHEME = PartScheme("pieces", tuple(PIECES.values()), {"person7": {p: tuple(p.split()) for p in PIECES.values()}})
FOUR: Groups = ((1, "H"), (1, "A"), (1, "T"), (1, "LF"))
EIGHT: Groups = ((1, "H"), (2, "A"), (1, "T"), (2, "L"), (2, "F"))
GROUPINGS: dict[str, Groups] = {
    "full": ((1, "HTALF"),),
    "one": ((1, "HTALF"),),
    "two_v": ((1, "HTA"), (1, "LF")),
    "three_v": ((1, "H"), (1, "TA"), (1, "LF")),
    "four": FOUR,
    "four_no": FOUR,
    "four_v": ((1, "H"), (1, "TA"), (1, "L"), (1, "F")),
    "five_v": ((1, "H"), (2, "TA"), (1, "L"), (1, "F")),
    "five": ((1, "H"), (1, "A"), (1, "T"), (1, "L"), (1, "F")),
    "six": ((1, "H"), (2, "A"), (1, "T"), (2, "LF")),
    "six_new": ((1, "H"), (1, "T"), (2, "A"), (1, "L"), (1, "F")),
    "eight": EIGHT,
    "eight_v": EIGHT,
}
HALVES = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
MASK, PEOPLE, SHOTS = (288, 144), 4, 4
SOFTMAX, THRESHOLD = 15, 0.5
"""Of their configuration: what parts and background are multiplied by, and below what a pixel is background."""


def compare_part_maps(peer: Path) -> Iterator[tuple[str, float]]:
    """Yield what was compared and the largest difference of a value of a part map."""
    kpr = (peer / "torchreid" / "models" / "kpr.py").is_file()
    name = "kpr" if kpr else "bpbreid"
    # KPR interpolates: the files' grid is its images', which it leaves alone. BPBReID takes the nearest value, and a
    # quarter of its images' size.
    height, width = (64, 32) if kpr else (256, 128)
    with TemporaryDirectory() as place:
        root = Path(place) / "Market-1501-v15.09.15"
        cache = make_market(root)
        export(ExportConfig(cache.path, name, root, size=(64, 32)))
        worst = 0.0
        found = peer_modules(peer, *_NEEDED, stand_ins=_stand_ins(peer))
        with found as (data, sets, defaults), redirect_stdout(StringIO()):
            for grouping, groups in GROUPINGS.items():
                config = defaults.get_default_config()
                own = config.model.kpr if kpr else config.model.bpbreid
                config.data.merge_from_list(
                    ["root", place, "height", height, "width", width, "transforms", [], "workers", 0]
                )
                config.train.batch_size, config.use_gpu, own.masks.preprocess = 2 * SHOTS, False, grouping
                if kpr:  # without key points, which no mask has
                    own.keypoints.enabled = config.model.promptable_trans.masks_prompting = False
                    own.spatial_feature_shape = [height, width]
                getattr(sets, "__datasets_cache").clear()
                manager = data.ImageDataManager(**defaults.imagedata_kwargs(config))
                worst = max(worst, _compare(manager, cache, root, groups))
        yield f"Market-1501: loaders of ImageDataManager on `--to {name}`, {len(GROUPINGS)} groupings, part maps", worst


_NEEDED = ("torchreid.data", "torchreid.data.datasets", "torchreid.scripts.default_config")
_PASSED_OVER = (
    "deepdiff",
    "omegaconf",
    "omegaconf.listconfig",
    "pandas",
    "segment_anything",
    "torchreid.data.data_augmentation",
    "torchreid.data.data_augmentation.resize",
    "torchreid.utils.visualization",
    "torchreid.utils.visualization.visualize_query_gallery_rankings",
)
"""What their data code imports for other data sets, augmentation and pictures."""


def _stand_ins(peer: Path) -> dict[str, Any]:
    found: dict[str, Any] = {name: absent_module(name) for name in _PASSED_OVER}
    for name in ("torchreid", "torchreid.utils", "torchreid.scripts"):
        found[name] = bare_package(peer, name)
    # their package joins the names of its modules, most of which need networks and loggers; these are in `tools`
    found["torchreid.utils"].__getattr__ = lambda name: getattr(import_module("torchreid.utils.tools"), name)
    return found


def make_market(root: Path) -> MaskCache:
    """Write images in the layout of Market-1501, and a cache of soft masks for them."""
    rng, labels = np.random.default_rng(0), label_set("person7")
    grid = (MASK[0] // 4, MASK[1] // 4)
    with CacheWriter(root / "masks.h5", labels=labels, size=MASK, parser="random", probs=True) as cache:
        for number, folder in enumerate(HALVES.values()):
            (root / folder).mkdir(parents=True)
            for person in range(PEOPLE):
                for shot in range(SHOTS):
                    who = 1 + person + PEOPLE * (number > 0)
                    name = f"{folder}/{who:04d}_c{1 + shot}s1_{number}{shot:05d}_00.jpg"
                    Image.fromarray(rng.integers(0, 256, (128, 64, 3), np.uint8)).save(root / name)
                    scores = np.exp(resize_maps(rng.standard_normal((len(labels), 9, 5)).astype(np.float32) * 4, grid))
                    probs = np.rint(255 * scores / scores.sum(0)).astype(np.uint8)
                    mask = probs.argmax(0).astype(np.uint8).repeat(4, 0).repeat(4, 1)
                    cache.add(name, mask, probs=probs, source_size=(128, 64))
    return MaskCache(root / "masks.h5")


def _compare(manager: Any, cache: MaskCache, root: Path, groups: Groups) -> float:
    """Return the largest difference in any image of the three loaders, which must give all of them."""
    (tests,) = manager.test_loader.values()
    worst, seen = 0.0, set()
    for loader in (manager.train_loader, tests["query"], tests["gallery"]):
        for batch in loader:
            maps = batch["mask"] if "mask" in batch else batch["target_masks"]
            for path, person, given in zip(batch["img_path"], batch["pid"].tolist(), maps, strict=True):
                name = Path(path).relative_to(root).as_posix()
                wanted = expect(torch.from_numpy(cache.parts(name, SCHEME, size=(64, 32))), groups)
                assert given.shape == (1 + sum(count for count, _ in groups), 64, 32), given.shape
                assert person == int(Path(name).name[:4]) - name.startswith(HALVES["train"]), (name, person)
                worst = max(worst, float((merge(given, groups) - wanted).abs().max()))
                seen.add(name)
    assert seen == set(cache.names), set(cache.names) - seen
    return worst


def expect(pieces: Tensor, groups: Sequence[tuple[int, str]]) -> Tensor:
    """Return background and the groups' maps, of pieces (5, H, W): their softmax, as their settings have it.

    A group of several parts of theirs (left and right, upper and lower) has one of them in each pixel; the others are
    0 there.
    """
    order = list(PIECES)
    maps = torch.stack([pieces[[order.index(letter) for letter in letters]].amax(0) for _, letters in groups])
    background = (maps.amax(0, keepdim=True) < THRESHOLD).to(maps)
    grown = (torch.cat([background, maps]) * SOFTMAX).exp()
    return grown / (grown.sum(0) + sum(count - 1 for count, _ in groups))


def merge(given: Tensor, groups: Sequence[tuple[int, str]]) -> Tensor:
    """Return background and the maximum of the parts of each group."""
    parts = given.split([1, *(count for count, _ in groups)])
    return torch.cat([part.amax(0, keepdim=True) for part in parts])
