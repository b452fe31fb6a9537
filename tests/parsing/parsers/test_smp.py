"""`smp:DIR`: a saved model answers as the library's own, and what does not fit is refused by name."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from safetensors.torch import load_file, save_file

from parsing.errors import InputError, MissingError
from parsing.parsers.described import Description
from parsing.parsers.registry import ParserSpec, describe_parser, find_parser
from parsing.parsers.smp import SmpParser


def save_tiny_unet(folder: Path, **options: object) -> None:
    """Save a network of random weights as segmentation-models-pytorch does."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = smp.Unet("tu-resnet10t", encoder_weights=None, encoder_depth=3, classes=7,
                           decoder_channels=(16, 8, 8), **options)  # fmt: skip
    network.eval().save_pretrained(folder)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("smp") / "tiny"
    save_tiny_unet(folder)
    return folder


def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (32, 16, 3), dtype=np.uint8)


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_it_answers_as_the_library_does(saved: Path, channels: str) -> None:
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    parser = SmpParser(saved, Description("pascal", input_size=(32, 16), mean=mean, std=std, channels=channels))
    given = torch.from_numpy(image()).permute(2, 0, 1)[None] / 255
    given = given.flip(1) if channels == "bgr" else given
    normalised = (given - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    with torch.inference_mode():
        expected = smp.from_pretrained(str(saved)).eval()(normalised)
        found = parser.forward(parser.prepare(image())[None])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert (parser.name, parser.labels.name, found.shape) == ("smp:tiny", "pascal", (1, 7, 32, 16))


def test_its_hash_follows_weights_and_configuration(saved: Path, tmp_path: Path) -> None:
    hashes = {SmpParser(saved, Description("pascal", (32, 16))).weights_hash}
    changed = tmp_path / "changed"
    shutil.copytree(saved, changed)
    weights = load_file(changed / "model.safetensors")
    save_file({name: tensor.clone() for name, tensor in weights.items()}, changed / "model.safetensors")
    config = json.loads((changed / "config.json").read_text())
    (changed / "config.json").write_text(json.dumps({**config, "decoder_interpolation": "bilinear"}))
    hashes.add(SmpParser(changed, Description("pascal", (32, 16))).weights_hash)
    assert len(hashes) == 2


def test_what_a_cache_records_is_read_without_the_weights(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ParserSpec(f"smp:{saved}", labels="pascal", input_size=(32, 16), channels="bgr")
    loaded = find_parser(spec).info
    monkeypatch.setattr("parsing.parsers.smp.read_tensors", None)
    assert describe_parser(spec) == loaded


def test_what_a_second_output_is_for_is_found_without_the_weights(tmp_path: Path) -> None:
    save_tiny_unet(tmp_path / "two", aux_params={"classes": 2})
    spec = ParserSpec(f"smp:{tmp_path / 'two'}", labels="pascal", input_size=(32, 16))
    assert describe_parser(spec) == find_parser(spec).info
    assert describe_parser(spec).preprocessing["answer"] == {"output": 0}


def test_weights_of_a_wrapped_network_are_described_as_loaded(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "wrapped"
    shutil.copytree(saved, folder)
    weights = load_file(folder / "model.safetensors")
    save_file({f"module.{name}": tensor for name, tensor in weights.items()}, folder / "model.safetensors")
    spec = ParserSpec(f"smp:{folder}", labels="pascal", input_size=(32, 16))
    assert describe_parser(spec) == find_parser(spec).info


def test_weights_that_do_not_fit_are_refused_without_loading_them(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "less"
    shutil.copytree(saved, folder)
    weights = load_file(folder / "model.safetensors")
    del weights["segmentation_head.0.bias"]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(InputError, match=r"is no saved Unet: it lacks segmentation_head\.0\.bias"):
        describe_parser(ParserSpec(f"smp:{folder}", labels="pascal", input_size=(32, 16)))


def test_a_label_set_or_input_that_does_not_fit_is_refused(saved: Path) -> None:
    with pytest.raises(InputError, match=r"smp:tiny answers \(1, 7, 32, 16\), but --labels lip needs .* \(1, 20,"):
        SmpParser(saved, Description("lip", (32, 16)))
    with pytest.raises(InputError, match="--channels gray"):
        SmpParser(saved, Description("pascal", (32, 16), channels="gray"))
    with pytest.raises(InputError, match="--std above 0"):
        SmpParser(saved, Description("pascal", (32, 16), std=(1.0, 0.0, 1.0)))


def test_folders_that_are_no_saved_model_are_refused_by_name(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"none: there is no config\.json"):
        SmpParser(tmp_path / "none", Description("pascal", (32, 16)))
    broken = tmp_path / "broken"
    shutil.copytree(saved, broken)
    whole = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(whole[:1000])
    with pytest.raises(InputError, match=r"model\.safetensors cannot be read as weights"):
        SmpParser(broken, Description("pascal", (32, 16)))
    (broken / "config.json").write_text('{"_model_class": "Transformer"}')
    with pytest.raises(InputError, match=r"config\.json is no configuration of segmentation-models"):
        SmpParser(broken, Description("pascal", (32, 16)))
    save_tiny_unet(tmp_path / "soft", activation="softmax2d")
    with pytest.raises(InputError, match="a parser answers logits"):
        SmpParser(tmp_path / "soft", Description("pascal", (32, 16)))
