"""Pretrained backbones: none, torchvision's, the built-in parser's, a file; foreign files, missing networks say so."""

import os
import pickle
from pathlib import Path
from urllib.error import URLError

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor

from cscl.backbone import Backbone
from cscl.config import ModelConfig
from cscl.model import CSCL
from data.loading.transforms import MEAN, STD
from parsing.errors import InputError, MissingError
from parsing.parsers.sources import BUILT_IN
from parsing.parsers.street import load_street, save_street
from parsing.parsers.street_network import StreetNetwork
from pipelines.training.pretrained import load_backbone_weights


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        state: dict[str, Tensor] = torchvision.models.resnet18(weights=None).state_dict()
        return state


def same(one: dict[str, Tensor] | None, other: dict[str, Tensor]) -> bool:
    return one is not None and one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_false_is_no_weights() -> None:
    assert load_backbone_weights("resnet18", False) is None


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_a_file_of_either_kind_is_read_and_fits_the_backbone(
    weights: dict[str, Tensor], tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"resnet18{suffix}"
    if suffix == ".safetensors":
        save_file(weights, file)
    else:
        torch.save(weights, file)
    found = load_backbone_weights("resnet18", str(file))
    assert same(found, weights)
    model = CSCL(ModelConfig(identities=3, backbone="resnet18", part_dim=8))
    model.load_backbone(weights)
    for stem in (model.backbone.visible_stem, model.backbone.infrared_stem):
        assert torch.equal(stem.get_parameter("conv1.weight"), weights["conv1.weight"])


def test_true_takes_torchs_cache_and_fetches_nothing_that_is_there(
    weights: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise AssertionError("fetched")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    name = Path(torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url).name
    (tmp_path / "checkpoints").mkdir()
    torch.save(weights, tmp_path / "checkpoints" / name)
    assert same(load_backbone_weights("resnet18", True), weights)


def test_true_fetches_once_and_checks_the_hash(
    weights: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fetch(url: str, file: str, hash_prefix: str) -> None:
        asked.append((url, hash_prefix))
        torch.save(weights, file)

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    for _ in range(2):
        assert same(load_backbone_weights("resnet18", True), weights)
    url = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url
    assert asked == [(url, url.removesuffix(".pth").split("-")[-1])]


@pytest.mark.parametrize("error", [URLError("no route to host"), TimeoutError("timed out"), RuntimeError("bad hash")])
def test_without_network_one_line_names_the_url_and_the_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(MissingError) as caught:
        load_backbone_weights("resnet50", True)
    said = str(caught.value)
    assert torchvision.models.ResNet50_Weights.IMAGENET1K_V1.url in said
    assert "--set model.pretrained=FILE" in said
    assert "--set model.pretrained=false" in said
    assert "\n" not in said


class Payload:
    """Unpickled carelessly, it makes a folder."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    torch.save({"conv1.weight": Payload(mark)}, tmp_path / "zip.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"conv1.weight": Payload(mark)}))
    for file in ("zip.pth", "plain.pth"):
        with pytest.raises(InputError, match=file):
            load_backbone_weights("resnet18", str(tmp_path / file))
    assert not mark.exists()


@pytest.mark.parametrize("name", ["photo.pth", "photo.safetensors", "empty.pth", "empty.safetensors"])
def test_a_foreign_file_is_named_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n" * 40 if name.startswith("photo") else b"")
    with pytest.raises(InputError, match=name) as caught:
        load_backbone_weights("resnet18", str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_what_is_no_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    with pytest.raises(InputError, match=r"list\.pth holds no state dict of tensors"):
        load_backbone_weights("resnet18", str(tmp_path / "list.pth"))


def test_a_checkpoint_is_taken_out_of_its_wrapping(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "state_dict": {"module.conv1.weight": torch.ones(2)}}, tmp_path / "checkpoint.pth")
    found = load_backbone_weights("resnet18", str(tmp_path / "checkpoint.pth"))
    assert found is not None
    assert list(found) == ["conv1.weight"]


def test_a_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="there is no such file"):
        load_backbone_weights("resnet18", str(tmp_path / "none.pth"))


@pytest.mark.parametrize("given", ["street", "a user's"])
def test_the_parsers_encoder_gives_its_features_for_images_normalised_as_ours(given: str, tmp_path: Path) -> None:
    file, pretrained = BUILT_IN, "street"
    if given != "street":
        file, pretrained = tmp_path / "mine.safetensors", str(tmp_path / "mine.safetensors")
        config = StreetNetwork(input_size=(64, 32), mean=0.4, std=0.3)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            save_street(config.build(), config, file)
    network, config, _ = load_street(file)
    backbone = Backbone("efficientnet_lite0").eval()
    backbone.load(load_backbone_weights("efficientnet_lite0", pretrained) or {})
    pixels = torch.rand(2, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    with torch.no_grad():
        *_, expected, _ = network.eval().get_submodule("encoder")((pixels - config.mean) / config.std)
        found = backbone.stem((pixels - mean) / std, torch.tensor([True, False]))
        for stage in (1, 2, 3):
            found = backbone.stage(stage, found)
    # the border differs: 0 is another grey in each normalisation
    inside = (slice(None), slice(None), slice(0, 3), slice(0, 2))
    error = (found - expected)[inside].norm() / expected[inside].norm()
    assert found.shape == expected.shape
    assert error < 0.05, error


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_the_parsers_encoder_is_for_its_own_network_alone(backbone: str) -> None:
    with pytest.raises(InputError, match=f"is no {backbone}; give --set model.backbone=efficientnet_lite0"):
        load_backbone_weights(backbone, "street")


def test_a_parser_with_another_encoder_is_named(tmp_path: Path) -> None:
    file = tmp_path / "resnet.safetensors"
    config = StreetNetwork(architecture="unet", encoder="resnet18", options={}, input_size=(64, 32))
    save_street(config.build(), config, file)
    with pytest.raises(InputError, match="its encoder is resnet18, not tu-tf_efficientnet_lite0"):
        load_backbone_weights("efficientnet_lite0", str(file))


def test_a_lite0_file_is_read_in_timms_order(tmp_path: Path) -> None:
    state = timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict()
    torch.save(state, tmp_path / "lite0.pth")
    found = load_backbone_weights("efficientnet_lite0", str(tmp_path / "lite0.pth"))
    assert found is not None
    assert torch.equal(found["blocks.6.0.conv_dw.weight"], state["blocks.6.0.conv_dw.weight"])
    assert not torch.equal(found["conv_stem.weight"], state["conv_stem.weight"])
    with pytest.raises(MissingError, match="there is no such file"):
        load_backbone_weights("efficientnet_lite0", str(tmp_path / "none.pth"))
