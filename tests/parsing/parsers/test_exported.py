"""`torchscript:` and `onnx:`: exported networks answer as the network they were exported from."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from parsing.errors import InputError, MissingError
from parsing.parsers.described import Description
from parsing.parsers.exported import ExportedParser, onnx_files

SIZE = (24, 12)
KINDS = ("torchscript", "onnx")


class Halving(nn.Module):
    """Logits of 7 classes at half the size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 7, 3, stride=2, padding=1)
        weights = np.random.default_rng(0).standard_normal(tuple(self.conv.weight.shape)).astype(np.float32)
        self.conv.weight.data = torch.from_numpy(weights)
        self.get_parameter("conv.bias").data = torch.arange(7.0)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.conv(x)
        return logits


def exported(kind: str, folder: Path, batches: bool = True) -> Path:
    """A file of `Halving`; the ONNX graph is written node by node, which needs no exporter."""
    network = Halving().eval()
    if kind == "torchscript":
        file = folder / "halving.pt"
        torch.jit.save(torch.jit.trace(network, torch.zeros(1, 3, *SIZE)), str(file))
        return file
    onnx = pytest.importorskip("onnx", reason='needs pip install "cscl[onnx]"')
    pytest.importorskip("onnxruntime", reason='needs pip install "cscl[onnx]"')
    from onnx import TensorProto, helper, numpy_helper

    weights = [
        numpy_helper.from_array(network.conv.weight.detach().numpy(), "w"),
        numpy_helper.from_array(network.get_parameter("conv.bias").detach().numpy(), "b"),
    ]
    node = helper.make_node("Conv", ["image", "w", "b"], ["logits"], strides=[2, 2], pads=[1, 1, 1, 1])
    first: str | int = "n" if batches else 1
    given = helper.make_tensor_value_info("image", TensorProto.FLOAT, [first, 3, *SIZE])
    answer = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [first, 7, SIZE[0] // 2, SIZE[1] // 2])
    graph = helper.make_graph([node], "halving", [given], [answer], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    file = folder / "halving.onnx"
    onnx.save(model, file)
    return file


def images(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, *SIZE, 3), dtype=np.uint8)


def expected(channels: str = "rgb") -> Tensor:
    """What the library answers to two images, normalised by (0.1, 0.2, 0.3) and (0.5, 0.6, 0.7)."""
    x = torch.from_numpy(images(2)).permute(0, 3, 1, 2) / 255
    x = x.flip(1) if channels == "bgr" else x
    x = (x - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / torch.tensor([0.5, 0.6, 0.7]).view(3, 1, 1)
    with torch.inference_mode():
        logits: Tensor = Halving().eval()(x)
        return logits


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_answers_as_the_network_it_was_exported_from(tmp_path: Path, kind: str, channels: str) -> None:
    file = exported(kind, tmp_path)
    parser = ExportedParser(
        kind, file, Description("pascal", input_size=SIZE, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), channels=channels)
    )
    with torch.inference_mode():
        found = parser.forward(torch.stack([parser.prepare(image) for image in images(2)]))
    torch.testing.assert_close(found, expected(channels), atol=1e-4, rtol=1e-4)
    assert parser.name == f"{kind}:{file.name}"
    assert parser.preprocessing["channels"] == channels


def test_an_onnx_file_for_one_image_takes_a_batch_one_by_one(tmp_path: Path) -> None:
    file = exported("onnx", tmp_path, batches=False)
    parser = ExportedParser(
        "onnx", file, Description("pascal", input_size=SIZE, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    )
    with torch.inference_mode():
        found = parser.forward(torch.stack([parser.prepare(image) for image in images(2)]))
    torch.testing.assert_close(found, expected(), atol=1e-4, rtol=1e-4)


def test_the_hash_sees_onnx_weights_in_a_file_beside_it_which_may_not_be_missing(tmp_path: Path) -> None:
    file = exported("onnx", tmp_path)
    import onnx

    model = onnx.load(file)
    onnx.save(model, file, save_as_external_data=True, location="halving.data", size_threshold=0)
    before = ExportedParser("onnx", file, Description("pascal", SIZE)).weights_hash
    data = bytearray((tmp_path / "halving.data").read_bytes())
    data[2] ^= 1
    (tmp_path / "halving.data").write_bytes(data)
    assert ExportedParser("onnx", file, Description("pascal", SIZE)).weights_hash != before
    (tmp_path / "halving.data").unlink()
    with pytest.raises(InputError, match=r"halving\.data"):
        ExportedParser("onnx", file, Description("pascal", SIZE))


@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_fit_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    file = exported(kind, tmp_path)
    with pytest.raises(
        InputError,
        match=rf"{kind}:{file.name} answers \(1, 7, 12, 6\), but --labels atr needs .* \(1, 18.*for dress, belt",
    ):
        ExportedParser(kind, file, Description("atr", SIZE))
    with pytest.raises(InputError, match="no label set 'clothes'"):
        ExportedParser(kind, file, Description("clothes", SIZE))
    with pytest.raises(MissingError, match=f"{kind}:.*none"):
        ExportedParser(kind, tmp_path / "none", Description("pascal", SIZE))
    whole = file.read_bytes()
    for content in (whole[: len(whole) // 2], b"an article, not a network"):
        file.write_bytes(content)
        with pytest.raises(InputError, match=file.name):
            ExportedParser(kind, file, Description("pascal", SIZE))


def test_an_onnx_file_of_another_input_size_is_refused_with_the_option(tmp_path: Path) -> None:
    file = exported("onnx", tmp_path)
    with pytest.raises(InputError, match=r"does not take an image of --input 32x16"):
        ExportedParser("onnx", file, Description("pascal", (32, 16)))


def test_without_onnxruntime_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = exported("onnx", tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r'needs onnxruntime: pip install "cscl\[onnx\]"'):
        ExportedParser("onnx", file, Description("pascal", SIZE))


class Variant(nn.Module):
    """`Halving` as other people export it: with a softmax, channels last, among other outputs, and the like."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.halving, self.what = Halving(), what

    def forward(self, x: Tensor):  # type: ignore[no-untyped-def]
        logits = self.halving(x)
        if self.what == "softmax":
            return logits.softmax(1)
        if self.what == "sigmoid":
            return logits.sigmoid()
        if self.what == "argmax":
            return logits.argmax(1)
        if self.what == "channels last":
            return logits.permute(0, 2, 3, 1)
        return {"edges": logits[:, :2], "out": logits, "aux": logits * 2}


def variant(what: str, folder: Path) -> ExportedParser:
    file = folder / "variant.pt"
    network = torch.jit.trace(Variant(what).eval(), torch.zeros(1, 3, *SIZE), strict=False)
    torch.jit.save(network, str(file))
    return ExportedParser(
        "torchscript", file, Description("pascal", input_size=SIZE, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    )


@pytest.mark.parametrize(
    ("what", "stated"),
    [
        ("softmax", {"probabilities": True}),
        ("channels last", {"channels_last": True}),
        ("several outputs", {"output": "out"}),
    ],
)
def test_a_network_that_answers_otherwise_gives_the_same_probabilities(
    tmp_path: Path, what: str, stated: dict[str, object]
) -> None:
    parser = variant(what, tmp_path)
    batch = torch.stack([parser.prepare(image) for image in images(2)])
    found, _ = parser.parse(batch, [SIZE, SIZE], SIZE, flip=False)
    wanted = nn.functional.interpolate(expected(), SIZE, mode="bilinear").softmax(1)
    torch.testing.assert_close(parser.forward(batch).softmax(1), expected().softmax(1), atol=1e-5, rtol=1e-4)
    if what != "softmax":  # enlarged as logarithms of probabilities: the same up to a constant a pixel, not at edges
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
    assert parser.preprocessing["answer"] == stated


def test_plain_logits_keep_the_fingerprint_that_they_had(tmp_path: Path) -> None:
    parser = ExportedParser("torchscript", exported("torchscript", tmp_path), Description("pascal", SIZE))
    assert "answer" not in parser.preprocessing


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("sigmoid", r"in \[0, 1\] that do not add up to 1 .* without the sigmoid"),
        ("argmax", r"answers \(1, 12, 6\), class numbers; .* needs scores of shape \(1, 7, h, w\): .* argmax"),
    ],
)
def test_an_answer_without_scores_is_refused(tmp_path: Path, what: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        variant(what, tmp_path)


def onnx_variant(
    folder: Path, half: bool = False, batch: int | str = "n", last: bool = False, number_beside: bool = False
) -> Path:
    """`Halving` in ONNX with another type, batch or layout of its input, and a second output before the logits.

    number_beside: and with a third one that is a single number for the whole batch.
    """
    onnx = pytest.importorskip("onnx", reason='needs pip install "cscl[onnx]"')
    pytest.importorskip("onnxruntime", reason='needs pip install "cscl[onnx]"')
    from onnx import TensorProto, helper, numpy_helper

    network, kind = Halving().eval(), np.float16 if half else np.float32
    tensors = {"w": network.conv.weight, "b": network.get_parameter("conv.bias")}
    weights = [numpy_helper.from_array(t.detach().numpy().astype(kind), name) for name, t in tensors.items()]
    nodes = [
        *([helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2])] if last else []),
        helper.make_node("Conv", ["planes" if last else "image", "w", "b"], ["logits"], strides=[2, 2], pads=[1] * 4),
        helper.make_node("ReduceMax", ["logits"], ["best"], axes=[1], keepdims=1),
        *([helper.make_node("ReduceMean", ["logits"], ["loss"], keepdims=0)] if number_beside else []),
    ]
    number = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    shape = [batch, *SIZE, 3] if last else [batch, 3, *SIZE]
    answers = [
        helper.make_tensor_value_info(name, number, [batch, channels, SIZE[0] // 2, SIZE[1] // 2])
        for name, channels in (("best", 1), ("logits", 7))
    ]
    if number_beside:
        answers.append(helper.make_tensor_value_info("loss", number, []))
    given = helper.make_tensor_value_info("image", number, shape)
    graph = helper.make_graph(nodes, "halving", [given], answers, weights)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "variant.onnx"
    )
    return folder / "variant.onnx"


@pytest.mark.parametrize(
    "form", [{"half": True}, {"batch": 4}, {"last": True}, {"half": True, "batch": 1}, {"number_beside": True}]
)
def test_an_onnx_file_is_given_what_it_declares(tmp_path: Path, form: dict[str, Any]) -> None:
    file = onnx_variant(tmp_path, **form)
    parser = ExportedParser(
        "onnx", file, Description("pascal", input_size=SIZE, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    )
    with torch.inference_mode():
        found = parser.forward(torch.stack([parser.prepare(image) for image in images(2)]))
    torch.testing.assert_close(found, expected(), atol=3e-2 if form.get("half") else 1e-4, rtol=1e-3)
    assert parser.preprocessing["answer"] == {"output": 1}


def test_an_onnx_file_with_a_place_of_its_weights_that_is_no_number_is_refused(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason='needs pip install "cscl[onnx]"')
    model = onnx.load(exported("onnx", tmp_path))
    weights = model.graph.initializer[0]
    weights.data_location = onnx.TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="w.data")
    weights.external_data.add(key="offset", value="far")
    file = tmp_path / "odd.onnx"
    file.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=r"odd\.onnx is no ONNX file: invalid literal"):
        onnx_files(file)


@pytest.mark.parametrize(
    "place",
    [b"\xff.data7890", b"n" * 300, b"../../w.data", b"", b"aaaaaaaaaa\0b"],
    ids=["bytes", "long", "up", "none", "nul"],
)
def test_an_onnx_file_whose_weights_lie_nowhere_is_refused(tmp_path: Path, place: bytes) -> None:
    onnx = pytest.importorskip("onnx", reason='needs pip install "cscl[onnx]"')
    model = onnx.load(exported("onnx", tmp_path))
    weights = model.graph.initializer[0]
    weights.data_location = onnx.TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="x" * len(place))
    file = tmp_path / "odd.onnx"
    stored = model.SerializeToString()
    file.write_bytes(stored.replace(b"x" * len(place), place) if place else stored)  # as no text, where it is none
    with pytest.raises(MissingError, match=r"odd\.onnx keeps its weights in .*, which must lie beside it"):
        onnx_files(file)
