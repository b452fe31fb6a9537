"""`cscl parse` with every kind of parser on both simulated data sets; their caches lie side by side, never mixed."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from data.registry import open_data_set
from parsing import MaskCache
from parsing.errors import CacheError
from parsing.images import read_image
from parsing.labels import label_set
from parsing.parsers.info import CONFIDENCE
from parsing.parsers.registry import ParserSpec, find_parser
from parsing.parsers.schp_network import SCHPNetwork
from parsing.parsers.sources import SCHP
from pipelines.datasets.simulate import make_collage
from pipelines.parse.run import ParseConfig, parse

SIZE = (32, 16)
CLASSES = ["Background", "Head", "Torso", "Upper_arms", "Lower_arms", "Upper_legs", "Lower_legs"]
OWN = """
import numpy as np
import torch
from parsing.labels import label_set
from parsing.parser import NetworkParser


class Stripes(torch.nn.Module):
    def forward(self, x):
        return torch.stack([torch.sin(x.sum(1) * k + k) for k in range(7)], 1)


class Own(NetworkParser):
    labels, licence, weights_hash, input_size = label_set("pascal"), "mine", "none", (24, 12)


def build(weights, device):
    return Own(Stripes(), (0.5,) * 3, (0.1,) * 3, device)
"""


class Convolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 7, 3, padding=1)
        weights = np.random.default_rng(3).standard_normal(tuple(self.conv.weight.shape)).astype(np.float32)
        self.conv.weight.data = torch.from_numpy(weights)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.conv(x)
        return logits


def save_torchscript(folder: Path) -> dict[str, Any]:
    torch.jit.save(torch.jit.trace(Convolution().eval(), torch.zeros(1, 3, 24, 12)), str(folder / "own.pt"))
    return {"name": f"torchscript:{folder / 'own.pt'}", "labels": "pascal", "input_size": (24, 12)}


def save_onnx(folder: Path) -> dict[str, Any]:
    onnx = pytest.importorskip("onnx", reason='needs pip install "cscl[onnx]"')
    pytest.importorskip("onnxruntime", reason='needs pip install "cscl[onnx]"')
    from onnx import TensorProto, helper, numpy_helper

    stored = {name: value.detach().numpy() for name, value in Convolution().conv.named_parameters()}
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weight", "bias"], ["logits"], pads=[1, 1, 1, 1])],
        "own",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 24, 12])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 7, 24, 12])],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "own.onnx")
    given = {"labels": "pascal", "input_size": (24, 12), "mean": (128.0, 120.0, 110.0), "std": (50.0, 60.0, 70.0)}
    return {"name": f"onnx:{folder / 'own.onnx'}", **given}


def save_smp(folder: Path) -> dict[str, Any]:
    import segmentation_models_pytorch as smp

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = smp.Unet(
            "tu-resnet10t", encoder_weights=None, encoder_depth=3, classes=7, decoder_channels=(16, 8, 8)
        )
    network.eval().save_pretrained(folder / "smp")
    return {"name": f"smp:{folder / 'smp'}", "labels": "pascal", "input_size": (32, 16), "channels": "bgr"}


def save_hf(folder: Path) -> dict[str, Any]:
    pytest.importorskip("transformers", reason='needs pip install "cscl[hf]"')
    from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

    config = SegformerConfig(
        num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[8, 16], patch_sizes=[7, 3], strides=[4, 2],
        num_attention_heads=[1, 2], mlp_ratios=[2, 2], decoder_hidden_size=16,
        id2label=dict(enumerate(CLASSES)), label2id={name: i for i, name in enumerate(CLASSES)},
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        SegformerForSemanticSegmentation(config).save_pretrained(folder / "hf")
    SegformerImageProcessor(size={"height": 64, "width": 32}).save_pretrained(folder / "hf")
    return {"name": f"hf:{folder / 'hf'}"}


def save_schp(folder: Path) -> dict[str, Any]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = SCHPNetwork(7)
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"state_dict": state}, folder / "schp.pth")
    return {"name": "schp-pascal", "weights": folder / "schp.pth", "narrow": True}


def save_own(folder: Path) -> dict[str, Any]:
    (folder / "own.py").write_text(OWN, encoding="utf-8")
    return {"name": f"python:{folder / 'own.py'}"}


SAVERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "schp": save_schp, "hf": save_hf, "smp": save_smp, "torchscript": save_torchscript, "onnx": save_onnx,
    "python": save_own,
}  # fmt: skip


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """`saved(kind)`: options of a small parser of this kind, saved once; SCHP's input is reduced."""
    folder, made = tmp_path_factory.mktemp("parsers"), dict[str, dict[str, Any]]()

    def get(kind: str) -> dict[str, Any]:
        if kind not in made:
            made[kind] = SAVERS[kind](folder)
        return made[kind]

    return get


@pytest.fixture(scope="module")
def collage(tiny_figures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulated shots of people cut out of drawn photographs."""
    photos = tmp_path_factory.mktemp("photos")
    for name in ("photos", "parts"):
        (photos / name).mkdir()
    rng, ids = np.random.default_rng(0), [f"{number}" for number in range(4)]
    for photo_id, file in zip(ids, sorted(tiny_figures.glob("cam1/*/*.jpg")), strict=False):
        inside = file.relative_to(tiny_figures)
        image = read_image(file)
        with Image.open((tiny_figures / "labels" / inside).with_suffix(".png")) as picture:
            labels = np.asarray(picture)
        sides = rng.integers(0, 255, (image.shape[0], 60, 3), dtype=np.uint8)
        Image.fromarray(np.hstack((sides, image, sides))).save(photos / f"photos/{photo_id}.jpg")
        Image.fromarray(np.pad(labels, ((0, 0), (60, 60)))).save(photos / f"parts/{photo_id}.png")
    meta = {"train": ids[:3], "val": ids[3:], "parts": label_set("person7").classes}
    (photos / "meta.json").write_text(json.dumps(meta))
    out = tmp_path_factory.mktemp("collage") / "SYSU-MM01"
    return make_collage(photos, out, train=2, test=2, shots=1, workers=1)


def config(root: Path, out: Path, **options: Any) -> ParseConfig:
    return ParseConfig("sysu", root=root, out=out, parser=ParserSpec(**options), size=SIZE, workers=0, limit=2)


@pytest.mark.parametrize(
    ("kind", "data_set"),
    [
        pytest.param(kind, data_set, marks=[pytest.mark.slow] if (kind, data_set) == ("schp", "collage") else [])
        for kind in SAVERS
        for data_set in ("pedestrians", "collage")
    ],
)
def test_a_cache_holds_what_the_parser_answers(
    kind: str, data_set: str, saved: Callable[[str], dict[str, Any]], tiny_figures: Path, collage: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setitem(SCHP, "schp-pascal", replace(SCHP["schp-pascal"], narrow=(97, 49)))
    root = tiny_figures if data_set == "pedestrians" else collage
    made = config(root, tmp_path / "masks.h5", **saved(kind))
    result = parse(made)
    cache, parser = MaskCache(result.path), find_parser(made.parser)
    assert (result.images, cache.labels) == (2, label_set("pascal"))
    assert (cache.made_by["parser"], cache.made_by["weights"]) == (parser.name, parser.weights_hash)
    said = parser.preprocessing | {"confidence": CONFIDENCE}
    assert cache.made_by["preprocessing"] == json.loads(json.dumps(said))
    assert cache.licence == parser.licence
    names = {record.name for record in open_data_set("sysu", root).images}
    for name in cache.names:
        assert name in names
        image = read_image(root / name)
        answer, _ = parser.parse(parser.prepare(image)[None], [image.shape[:2]], SIZE)
        assert (answer.argmax(1)[0].numpy() == cache[name]).mean() > 0.99, name


def test_caches_of_all_kinds_lie_side_by_side_and_refuse_each_other(
    saved: Callable[[str], dict[str, Any]], tiny_figures: Path, tmp_path: Path
) -> None:
    kinds = ("smp", "torchscript", "onnx", "hf", "python")
    caches = [MaskCache(parse(config(tiny_figures, tmp_path / f"{kind}.h5", **saved(kind))).path) for kind in kinds]
    assert len({cache.fingerprint for cache in caches}) == len(kinds)
    for kind, other in zip(kinds, (*kinds[1:], kinds[0]), strict=True):
        before = (tmp_path / f"{kind}.h5").read_bytes()
        with pytest.raises(CacheError, match="was made from another parser or options"):
            parse(config(tiny_figures, tmp_path / f"{kind}.h5", **saved(other)))
        assert (tmp_path / f"{kind}.h5").read_bytes() == before


def test_two_settings_of_one_parser_have_caches_of_their_own(
    saved: Callable[[str], dict[str, Any]], tiny_figures: Path, tmp_path: Path
) -> None:
    out, given = tmp_path / "masks.h5", saved("onnx")
    parse(config(tiny_figures, out, **given))
    for changed in ({"mean": (127.0, 120.0, 110.0)}, {"channels": "bgr"}):
        with pytest.raises(CacheError, match="another parser or options"):
            parse(config(tiny_figures, out, **{**given, **changed}))
