"""The readers that `fuzz.py` tries, each with a small valid file: `TARGETS[name]` is (make, read)."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.io import savemat

from cscl.config import ModelConfig
from cscl.model import CSCL
from data.photographs.library import Photos
from data.readers.sysu import SYSU
from data.registry import open_data_set
from parsing import MaskCache, label_set, part_scheme
from parsing.cache.index import shard_folder
from parsing.coco import encode_mask
from parsing.errors import CsclError
from parsing.images import orientation, read_image
from parsing.importers.class_scores import read_class_scores
from parsing.importers.coco_file import read_coco
from parsing.importers.label_values import read_labels
from parsing.importers.pose_fields import read_pose_fields
from parsing.importers.shape_picture import read_shape_picture
from parsing.parsers.exported import onnx_files
from parsing.parsers.street import load_street
from parsing.parsers.weights import read_tensors
from parsing.weights import __file__ as weights
from pipelines.masks.importing import ImportConfig, import_masks
from pipelines.masks.info import info as masks_info
from pipelines.masks.verify import VerifyConfig, verify
from pipelines.parsers.recipe import read_parser_recipe
from pipelines.recipes.reading import read_recipe
from pipelines.retrieval.features import read_features
from pipelines.retrieval.significance import compare, format_result, read_baseline, read_scores
from pipelines.runs.folder import load_model, read_state, save_model
from pipelines.runs.provenance import RunInfo, read_run
from pipelines.runs.scores import PerQuery, Result

RNG = np.random.default_rng(0)
SIZE = (48, 24)


def picture(path: Path, **options: Any) -> Path:
    """An image of noise, large enough for every decoder's header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (*SIZE, 3), dtype=np.uint8)).save(path, **options)
    return path


def thermal(folder: Path) -> Path:
    path = folder / "thermal.tif"
    Image.fromarray((29315 + RNG.integers(0, 1500, SIZE)).astype(np.uint16)).save(path)
    return path


def label_png(path: Path, palette: bool) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(RNG.integers(0, 7, SIZE).astype(np.uint8), "P" if palette else "L")
    if palette:
        image.putpalette([v for n in range(7) for v in (n * 30, 255 - n * 30, n)])
    image.save(path)
    return path


def npy(shape: tuple[int, ...]) -> Callable[[Path], Path]:
    """A .npy file of random float32 in [0, 1]."""

    def make(folder: Path) -> Path:
        path = folder / "a.npy"
        np.save(path, RNG.random(shape, dtype=np.float32))
        return path

    return make


def coco(folder: Path) -> Path:
    """A COCO file with run lengths, compressed and not, and a polygon."""
    height, width = SIZE
    mask = np.zeros(SIZE, bool)
    mask[9:30, 5:9] = True
    segmentations: list[Any] = [
        encode_mask(mask)["segmentation"],
        {"size": list(SIZE), "counts": [100, 50, height * width - 150]},
        [[1, 1, 20, 2.5, 8, 40.5], [3, 3, 9, 3, 9, 9]],
    ]
    rows = [
        {"id": n, "image_id": 1, "category_id": 1 + n, "segmentation": one, "iscrowd": n // 2}
        for n, one in enumerate(segmentations)
    ]
    image = {"id": 1, "file_name": "d/a.jpg", "height": height, "width": width}
    names = [{"id": n, "name": name} for n, name in enumerate(label_set("person7").classes)]
    return text("a.json", json.dumps({"images": [image], "annotations": rows, "categories": names}))(folder)


def features(folder: Path) -> Path:
    path = folder / "a.npz"
    np.savez(path, names=["a.jpg", "b.jpg"], features=RNG.random((2, 5)))
    return path


def read_coco_masks(file: Path) -> None:
    for mask in read_coco(file, label_set("person7")).values():
        mask.read()


def cache(folder: Path) -> Path:
    """The index of a cache of four imported masks."""
    for number in range(4):
        label_png(folder / "masks" / f"{number}.png", palette=False)
    done = import_masks(ImportConfig(folder / "masks", "lip", out=folder / "masks.h5", size=SIZE))
    return done.path


def read_cache(index: Path) -> None:
    """Everything that a user does with a cache."""
    found = MaskCache(index)
    for name in found.names:
        found.parts(name, "reid4")
    found.preload(found.names)
    masks_info(MaskCache(index)).lines()


def shard(folder: Path) -> Path:
    return shard_folder(cache(folder)) / "00000.h5"


def read_shard(file: Path) -> None:
    index = file.parent.with_name("masks.h5")
    verify(VerifyConfig(index)).lines()
    read_cache(index)


def text(name: str, content: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        return path

    return make


def run(folder: Path) -> RunInfo:
    """A run's folder without its training: weights of a small baseline, recipe, run.json."""
    info = RunInfo(
        "sysu",
        root="../SYSU-MM01",
        masks="../masks.h5",
        fingerprint="0" * 64,
        label_set="pascal",
        identities=3,
        selection="last",
    )
    config = ModelConfig(identities=3, backbone="efficientnet_lite0", pam=False, spam=False)
    save_model(folder, model=CSCL(config), size=SIZE, info=info)
    (folder / "recipe.toml").write_text(read_recipe(Path("small")).to_toml())
    return info


RESULT = Result(
    "all", "seeded", trials=2, queries=3, gallery=4, cmc={1: 0.5}, mAP=0.5, mINP=0.5, deviations={}, chance_rank1=0.1,
    chance_map=0.1, reranked=False,
    per_query=PerQuery(("a", "b", "c"), np.array([1, 1, 2]), values=np.full((3, 3), 0.5), weights=np.ones(3)),
)  # fmt: skip


def evaluation(folder: Path) -> Path:
    about = {"about": {"seed": 0, "method": "cscl"}, "results": [RESULT.to_json()]}
    return text("evaluation.json", format_result(about, [RESULT]))(folder)


def compare_with_result(file: Path) -> None:
    with suppress(CsclError):
        read_scores(file)
    compare([RESULT], {"seed": 0}, read_baseline(file)).lines()


def state(folder: Path) -> Path:
    path = folder / "state-00000002.pt"
    torch.save({"model": {"w": torch.ones(3)}, "optimiser": {}, "step": 2, "best": 0.5, "masks": "0"}, path)
    return path


def checkpoint(folder: Path) -> Path:
    path = folder / "weights.pt"
    torch.save({"conv.weight": torch.ones(3), "conv.bias": torch.zeros(1)}, path)
    return path


def within_run(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        run(folder)
        return folder / name

    return make


def data_set(name: str, changed: str) -> Callable[[Path], Path]:
    """A data set of six people in the layout of a real one; its list `changed` is what is changed."""

    def make(folder: Path) -> Path:
        from pipelines.datasets.simulate import make_pedestrians

        root = make_pedestrians(folder / name, layout=name, train=3, test=3, shots=1, workers=1)
        return root / changed

    return make


def read_data_set(name: str, up: int) -> Callable[[Path], None]:
    def read(file: Path) -> None:
        found = open_data_set(name, file.parents[up])
        found.findings()
        found.train(1)
        found.protocols(split=1)
        found.counts()

    return read


def video(kind: str, changed: str) -> Callable[[Path], Path]:
    """A data set of video with one training person, and a test person in both modalities; its list is changed."""

    def make(folder: Path) -> Path:
        root = folder / kind
        words = [f"0503M{m}D1T1F{n}.jpg" for m in (1, 2) for n in range(12)]
        files = [f"0503/{'ir' if m == 1 else 'rgb'}/D1/{n}.jpg" for m in (1, 2) for n in range(12)]
        lists = {
            "hitsz": {
                "train_name.txt": "0001M2D1T1F1.jpg", "test_name.txt": "\n".join(words),
                "track_test_info.txt": "1 1 12 503 1\n2 13 24 503 2\n", "query_IDX.txt": "1",
            },
            "buptcampus": {
                "train.txt": "1 RGB/IR CQ1 1\n", "train_auxiliary.txt": "2 RGB/IR CQ1 1\n",
                "query.txt": "30 RGB CQ1 1\n30 IR CQ1 1\n", "gallery.txt": "30 IR TSG2 1\n",
            },
        }[kind]  # fmt: skip
        if kind == "buptcampus":
            places = [(p, k, c) for p in (1, 2, 30) for k in ("RGB", "IR") for c in ("CQ1", "TSG2")]
            files = [f"DATA/{p}/{k}/{c}/{p}_{k}_{c}_1_7.jpg" for p, k, c in places]
        for file in (*files, "0001/rgb/D1/1.jpg"):
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).touch()
        for name, content in lists.items():
            (root / name).write_text(content)
        return root / changed

    return make


def folder_set(folder: Path) -> Path:
    for modality in ("visible", "infrared"):
        for person in ("1", "2", "3"):
            picture(folder / "set" / modality / person / "c1" / "a.jpg")
    return text("set/test_id.txt", "2,3\n")(folder)


def permutations(folder: Path) -> Path:
    data_set("sysu", "exp/test_id.txt")(folder)
    cells = np.empty((6, 1), object)
    for camera in range(6):
        people = np.empty((533, 1), object)
        for person in range(533):
            people[person, 0] = np.ones((10, 1), np.uint8)
        cells[camera, 0] = people
    path = folder / "sysu" / "exp" / "rand_perm_cam.mat"
    savemat(path, {"rand_perm_cam": cells})
    return path


def photos(folder: Path) -> Path:
    picture(folder / "photos" / "0001.jpg")
    label_png(folder / "parts" / "0001.png", palette=False)
    meta = {"parts": label_set("person7").classes, "train": ["0001"], "val": [], "test": []}
    return text("meta.json", json.dumps(meta))(folder)


def read_photos(file: Path) -> None:
    found = Photos(file.parent)
    for photo_id in found.train:
        found.photo(photo_id)
        found.parts(photo_id)


def own_weights(folder: Path) -> Path:
    path = folder / "street.safetensors"
    path.write_bytes((Path(weights).parent / "street.safetensors").read_bytes())
    return path


def onnx_graph(folder: Path) -> Path:
    """A graph of one node, whose tensor lies in a file of its own."""
    import onnx

    weight = onnx.numpy_helper.from_array(np.ones((7, 3, 1, 1), np.float32), "w")
    kinds = [
        onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, c, *SIZE]) for n, c in (("x", 3), ("y", 7))
    ]
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"])
    graph = onnx.helper.make_graph([node], "one", kinds[:1], kinds[1:], [weight])
    path = folder / "one.onnx"
    onnx.save(
        onnx.helper.make_model(graph), path, save_as_external_data=True, location="one.data", size_threshold=0,
    )  # fmt: skip
    return path


def images(file: Path) -> None:
    read_image(file)
    orientation(file)


LABELS = (
    'name = "mine"\nclasses = ["background", "left arm", "right arm", "hat"]\nswaps = [["left arm", "right arm"]]\n'
)
SCHEME = 'name = "two"\nparts = ["top", "bottom"]\n[pascal]\ntop = ["head", "torso"]\nbottom = ["upper-legs"]\n'
PARSER_RECIPE = "epochs = 3\nlearning_rate = 1e-3\ncrop_size = [96, 48]\n[network]\ninput_size = [96, 48]\n"

TARGETS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], Any]]] = {
    "index": (cache, read_cache),
    "shard": (shard, read_shard),
    "png": (lambda d: picture(d / "a.png"), images),
    "jpeg": (lambda d: picture(d / "a.jpg", exif=Image.Exif()), images),
    "tiff16": (thermal, images),
    "webp": (lambda d: picture(d / "a.webp"), images),
    "gif": (lambda d: picture(d / "a.gif"), images),
    "jpeg2000": (lambda d: picture(d / "a.jp2"), images),
    "tga": (lambda d: picture(d / "a.tga"), images),
    "ppm": (lambda d: picture(d / "a.ppm"), images),
    "bmp": (lambda d: picture(d / "a.bmp"), images),
    "label-png": (lambda d: label_png(d / "a.png", palette=False), lambda f: read_labels(f, label_set("pascal"))),
    "palette-png": (lambda d: label_png(d / "a.png", palette=True), lambda f: read_labels(f, label_set("pascal"))),
    "class-scores": (npy((9, 5, 7)), lambda f: read_class_scores(f, label_set("pascal"))),
    "pose-fields": (npy((36, 9, 5)), lambda f: read_pose_fields(f, label_set("person7"))),
    "shape-picture": (
        lambda d: label_png(d / "a.png", palette=False),
        lambda f: read_shape_picture(f, label_set("person")),
    ),
    "coco": (coco, read_coco_masks),
    "features": (features, lambda f: read_features([f])),
    "label-set": (text("own.toml", LABELS), lambda f: label_set(str(f))),
    "part-scheme": (text("own.toml", SCHEME), lambda f: part_scheme(str(f)).table(label_set("pascal"))),
    "recipe": (lambda d: text("r.toml", read_recipe(Path("agw")).to_toml())(d), read_recipe),
    "parser-recipe": (text("p.toml", PARSER_RECIPE), read_parser_recipe),
    "run-json": (within_run("run.json"), lambda f: read_run(f.parent)),
    "run-recipe": (within_run("recipe.toml"), lambda f: read_run(f.parent)),
    "model": (within_run("model.safetensors"), lambda f: load_model(f.parent)),
    "state": (state, lambda f: read_state(f.parent)),
    "street-weights": (own_weights, load_street),
    "tensors": (checkpoint, read_tensors),
    "onnx": (onnx_graph, onnx_files),
    "result": (evaluation, compare_with_result),
    "sysu-list": (data_set("sysu", "exp/test_id.txt"), read_data_set("sysu", 1)),
    "regdb-list": (data_set("regdb", "idx/train_visible_1.txt"), read_data_set("regdb", 1)),
    "llcm-list": (data_set("llcm", "idx/train_vis.txt"), read_data_set("llcm", 1)),
    "folder-list": (folder_set, read_data_set("folder", 0)),
    "hitsz-list": (video("hitsz", "track_test_info.txt"), read_data_set("hitsz", 0)),
    "buptcampus-list": (video("buptcampus", "query.txt"), read_data_set("buptcampus", 0)),
    "permutations": (permutations, lambda f: SYSU(f.parents[1], f).protocols("official")),
    "photos": (photos, read_photos),
}

CRASHES = {"permutations": "scipy's reader of .mat files"}
"""Targets on which a library crashes the process; nothing of ours can catch that."""
