"""Pretrained backbones: none, torchvision's or a file of the user's; foreign files and missing networks say so."""

import os
import pickle
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor

from cscl.model import CSCL, ModelConfig
from parsing.errors import InputError, MissingError
from pipelines.pretrained import imagenet_weights


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return torchvision.models.resnet18(weights=None).state_dict()


def same(one: dict[str, Tensor] | None, other: dict[str, Tensor]) -> bool:
    return one is not None and one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_false_is_no_weights() -> None:
    assert imagenet_weights("resnet18", False) is None


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_a_file_of_either_kind_is_read_and_fits_the_backbone(
    weights: dict[str, Tensor], tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"resnet18{suffix}"
    save_file(weights, file) if suffix == ".safetensors" else torch.save(weights, file)
    found = imagenet_weights("resnet18", str(file))
    assert same(found, weights)
    model = CSCL(ModelConfig(identities=3, backbone="resnet18", part_dim=8))
    model.load_backbone(weights)
    for stem in (model.backbone.visible_stem, model.backbone.infrared_stem):
        assert torch.equal(stem.conv1.weight, weights["conv1.weight"])


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
    assert same(imagenet_weights("resnet18", True), weights)


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
        assert same(imagenet_weights("resnet18", True), weights)
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
        imagenet_weights("resnet50", True)
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
            imagenet_weights("resnet18", str(tmp_path / file))
    assert not mark.exists()


@pytest.mark.parametrize("name", ["photo.pth", "photo.safetensors", "empty.pth", "empty.safetensors"])
def test_a_foreign_file_is_named_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n" * 40 if name.startswith("photo") else b"")
    with pytest.raises(InputError, match=name) as caught:
        imagenet_weights("resnet18", str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_what_is_no_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    torch.save({"epoch": 3, "state_dict": {}}, tmp_path / "checkpoint.pth")
    for name in ("list.pth", "checkpoint.pth"):
        with pytest.raises(InputError, match=f"{name} is no state dict of a torchvision ResNet"):
            imagenet_weights("resnet18", str(tmp_path / name))


def test_a_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="there is no such file"):
        imagenet_weights("resnet18", str(tmp_path / "none.pth"))
