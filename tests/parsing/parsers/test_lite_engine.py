"""The built-in network as it is computed, against the same file in segmentation-models-pytorch: the same masks."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from parsing.parsers import packed as packing
from parsing.parsers.answers import noise
from parsing.parsers.lite_engine import LiteEngine
from parsing.parsers.lite_network import list_tensor_shapes
from parsing.parsers.packed import Convolution, pack
from parsing.parsers.sources import BUILT_IN
from parsing.parsers.street import StreetNetwork, StreetParser, load_street, save_street

SIZE = (256, 128)


def pixels(count: int) -> Tensor:
    """Images (B, 3, H, W) in [0, 255] with edges as photographs have."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand((count, 3, 16, 8), generator=generator) * 255
    return F.interpolate(coarse, SIZE, mode="nearest") * 0.8 + torch.rand((count, 3, *SIZE), generator=generator) * 51


def engine(packed: bool) -> LiteEngine:
    tensors = {k: v.float() if v.is_floating_point() else v for k, v in load_file(BUILT_IN).items()}
    made = LiteEngine(tensors, 127.5).eval()
    if packed:
        pack(made, noise(SIZE, torch.device("cpu")) - 127.5)
    return made


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("count", [1, 3])
def test_the_engine_answers_as_the_library_does(packed: bool, count: int) -> None:
    images, (network, _, _) = pixels(count), load_street(BUILT_IN)
    with torch.inference_mode():
        wanted = network.eval()((images / 255 - 0.5) / 0.5)
        found = engine(packed)((images - 127.5).contiguous(memory_format=torch.channels_last))
        found = F.interpolate(found, SIZE, mode="bilinear", align_corners=True)
    assert float(wanted.std()) > 1
    assert float((found - wanted).abs().max()) < 1e-3
    assert (found.argmax(1) == wanted.argmax(1)).float().mean() > 0.9999


def test_the_file_has_the_tensors_that_the_table_of_layers_says() -> None:
    with torch.device("meta"):
        built = StreetNetwork().build().state_dict()
    assert list_tensor_shapes(96, 8) == {name: list(tensor.shape) for name, tensor in built.items()}


def test_packed_convolutions_that_answer_otherwise_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "ALIKE", -1.0)
    assert all(m.packed is None for m in engine(packed=True).modules() if isinstance(m, Convolution))


def test_the_parser_enlarges_as_the_network_and_the_cache_did_one_after_the_other() -> None:
    parser, logits = StreetParser(), torch.randn((2, 8, 64, 32), generator=torch.Generator().manual_seed(0))
    steps = F.interpolate(logits, SIZE, mode="bilinear", align_corners=True)
    wanted = F.interpolate(steps, (288, 144), mode="bilinear", align_corners=False)
    assert torch.allclose(parser.restore(logits, [], (288, 144)), wanted, atol=1e-4)


def test_other_networks_are_computed_by_the_library(tmp_path: Path) -> None:
    config = StreetNetwork(
        "segformer", encoder="tu-resnet10t", options={"decoder_segmentation_channels": 16}, input_size=(64, 32)
    )
    network = config.build().half().float().eval()
    save_street(network, config, tmp_path / "a.safetensors")
    parser = StreetParser(tmp_path / "a.safetensors")
    batch = torch.randint(0, 256, (2, 3, 64, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted = network((batch.float() / 255 - 0.5) / 0.5)
        assert torch.allclose(parser.forward(batch), wanted, atol=1e-3)
        assert torch.allclose(parser.restore(wanted, [], (48, 24)), F.interpolate(wanted, (48, 24), mode="bilinear"))
