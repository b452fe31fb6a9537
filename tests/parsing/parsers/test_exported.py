"""`torchscript:` and `onnx:`: exported networks answer as the network they were exported from."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from parsing.errors import InputError, MissingError
from parsing.parsers.described import Description
from parsing.parsers.exported import ExportedParser

SIZE = (24, 12)
KINDS = ("torchscript", "onnx")


class Halving(nn.Module):
    """Logits of 7 classes at half the size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 7, 3, stride=2, padding=1)
        weights = np.random.default_rng(0).standard_normal(tuple(self.conv.weight.shape)).astype(np.float32)
        self.conv.weight.data = torch.from_numpy(weights)
        self.conv.bias.data = torch.arange(7.0)  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


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
        numpy_helper.from_array(network.conv.bias.detach().numpy(), "b"),  # type: ignore[union-attr]
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
        return Halving().eval()(x)


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_answers_as_the_network_it_was_exported_from(tmp_path: Path, kind: str, channels: str) -> None:
    file = exported(kind, tmp_path)
    parser = ExportedParser(kind, file, Description("pascal", SIZE, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7), channels))
    with torch.inference_mode():
        found = parser.forward(torch.stack([parser.prepare(image) for image in images(2)]))
    torch.testing.assert_close(found, expected(channels), atol=1e-4, rtol=1e-4)
    assert parser.name == f"{kind}:{file.name}"
    assert parser.preprocessing["channels"] == channels


def test_an_onnx_file_for_one_image_takes_a_batch_one_by_one(tmp_path: Path) -> None:
    file = exported("onnx", tmp_path, batches=False)
    parser = ExportedParser("onnx", file, Description("pascal", SIZE, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)))
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
        match=rf"{kind}:{file.name} answers \(1, 7, 12, 6\), but --labels atr needs \(1, 18.*for dress, belt",
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
