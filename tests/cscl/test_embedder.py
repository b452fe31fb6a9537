"""`from cscl import load`: a run's weights give back the network, and images of any kind become its input."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import cscl
from cscl import Embedder, load
from cscl.config import ModelConfig
from cscl.embedder import metadata
from cscl.model import CSCL

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
CONFIG = ModelConfig(identities=3, backbone="resnet18", part_dim=8, flipped=(0, 2, 1, 3, 4))
SIZE = (48, 24)


@pytest.fixture(scope="module")
def network() -> CSCL:
    """A network in training mode whose norms have seen images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = CSCL(CONFIG)
        with torch.no_grad():
            for _ in range(2):
                model(torch.randn(8, 3, *SIZE), torch.arange(8) % 2 == 1)
    return model


@pytest.fixture(scope="module")
def run(network: CSCL, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    save_file(network.state_dict(), folder / "model.safetensors", metadata(CONFIG, size=SIZE, mean=MEAN, std=STD))
    return folder


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    rng = np.random.default_rng(3)
    sizes = ((60, 30), SIZE, (100, 50))
    return [Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes]


def test_three_lines_give_the_features_of_the_network(run: Path, network: CSCL, images: list[Image.Image]) -> None:
    model = load(run)
    features = model.embed(images, infrared=[True, False, True])
    assert features.shape == (3, model.dim)
    pixels = torch.stack([torch.tensor(np.array(i.resize((24, 48), Image.Resampling.BILINEAR))) for i in images])
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    normalised = (pixels.permute(0, 3, 1, 2) / 255 - mean) / std
    with torch.no_grad():
        expected = network.eval().embed(normalised, torch.tensor([True, False, True]))
    network.train()
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)
    assert not features.requires_grad
    torch.testing.assert_close(features.norm(dim=1), torch.ones(3))
    assert (model.network.config, model.size, model.mean, model.std) == (CONFIG, SIZE, MEAN, STD)


def test_it_is_printed_in_one_line(run: Path) -> None:
    model = load(run)
    assert repr(model) == f"Embedder(resnet18, SPAM with 4 parts, PAM, 48x24 images, {model.dim} values)"


def test_a_folder_its_file_and_a_lone_copy_of_it_load_alike(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "handed_over.safetensors"
    copy.write_bytes((run / "model.safetensors").read_bytes())
    first = load(str(run)).state_dict()
    for path in (run / "model.safetensors", copy):
        other = load(path).state_dict()
        assert all(torch.equal(first[key], other[key]) for key in first)


def test_one_image_arrays_and_tensors_are_the_same_images(run: Path, images: list[Image.Image]) -> None:
    model = load(run)
    whole = model.embed(images, infrared=True)
    as_arrays = model.embed((np.array(i) for i in images), infrared=torch.ones(3, dtype=torch.bool), batch_size=2)
    as_tensor = model.embed(torch.stack([model.pixels(i) for i in images]), infrared=True)
    for other in (as_arrays, as_tensor, torch.cat([model.embed(i, infrared=True) for i in images])):
        torch.testing.assert_close(other, whole, rtol=1e-4, atol=1e-5)
    assert model.embed([], infrared=False).shape == (0, model.dim)


def test_modality_and_flip_are_heard(run: Path, images: list[Image.Image]) -> None:
    model = load(run)
    model.network.get_parameter("backbone.infrared_stem.conv1.weight").data.neg_()
    visible = model.embed(images, infrared=False)
    assert not torch.allclose(model.embed(images, infrared=True), visible, atol=1e-3)
    assert not torch.allclose(model.embed(images, infrared=False, flip=False), visible, atol=1e-5)
    mirrored = [i.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for i in images[1:2]]
    torch.testing.assert_close(model.embed(mirrored, infrared=False), visible[1:2], rtol=1e-4, atol=1e-5)


def test_grey_transparent_and_turned_images_are_read_as_a_viewer_shows_them(run: Path) -> None:
    model = load(run)
    grey = Image.fromarray(np.arange(48 * 24, dtype=np.uint32).reshape(48, 24).astype(np.uint8))
    assert torch.equal(model.pixels(grey), torch.tensor(np.array(grey)).expand(3, -1, -1))
    assert torch.equal(model.pixels(grey.convert("RGBA")), model.pixels(grey))
    turned = grey.rotate(90, expand=True)
    turned.getexif()[274] = 6  # shown after a quarter turn clockwise
    assert torch.equal(model.pixels(turned), model.pixels(grey))


def test_attention_is_what_spam_sees_of_each_image(run: Path, images: list[Image.Image]) -> None:
    model = load(run)
    found = model.attention(images, infrared=[True, False, True], batch_size=2)
    assert found is not None
    with torch.no_grad():
        for image, infrared, one in zip(images, [True, False, True], found, strict=True):
            pixels = (model.pixels(image) / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
            expected = model.network(pixels[None], torch.tensor([infrared])).parts.attention[0]
            torch.testing.assert_close(one, expected, rtol=1e-3, atol=1e-5)
    nothing = model.attention([], infrared=True)
    assert nothing is not None
    assert nothing.shape[:2] == (0, 5)
    torch.testing.assert_close(found.sum(1), torch.ones(3, 3, 2))
    baseline = Embedder(CSCL(ModelConfig(identities=3, backbone="resnet18", spam=False)), size=SIZE, mean=MEAN, std=STD)
    assert baseline.attention(images, infrared=True) is None


def test_an_embedder_stays_in_eval_mode(run: Path) -> None:
    model = load(run)
    assert not model.train().training
    assert not any(m.training for m in model.modules())


@pytest.mark.parametrize(
    ("images", "infrared", "message"),
    [
        (torch.zeros(2, 3, 48, 24), True, r"float32 of shape \(2, 3, 48, 24\); give uint8, \(N, 3, 48, 24\)"),
        (torch.zeros(2, 3, 24, 48, dtype=torch.uint8), True, r"\(2, 3, 24, 48\)"),
        ([np.zeros((48, 24), np.uint8)], True, r"an image is uint8 \(48, 24\)"),
        (
            [Image.fromarray(np.full((48, 24), 30000, np.uint16))],
            True,
            r"more than 8 bits \(Pillow mode I;16\); read it",
        ),
        ([Image.new("F", (24, 48), 36.5)], True, r"more than 8 bits \(Pillow mode F\); read it as training does"),
        (["query.jpg"], True, "an image is str; give a Pillow image"),
        (torch.zeros(2, 3, 48, 24, dtype=torch.uint8), [True], "give one bool, or 2"),
        (torch.zeros(2, 3, 48, 24, dtype=torch.uint8), [1, 0], "infrared is torch.int64"),
        (torch.zeros(2, 3, 48, 24, dtype=torch.uint8), ["infrared"] * 2, "infrared is .'infrared', .*give one bool"),
        (torch.zeros(2, 3, 48, 24, dtype=torch.uint8), None, "infrared is None; give one bool, or 2"),
    ],
)
def test_what_are_no_images_is_refused(run: Path, images: object, infrared: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(run).embed(images, infrared)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("images", "infrared", "message"),
    [
        (torch.rand(2, 3, *SIZE), torch.tensor([True, False]), "images are torch.float32 of shape"),
        (torch.zeros(2, 3, 96, 48, dtype=torch.uint8), torch.tensor([True, False]), r"give uint8, \(N, 3, 48, 24\)"),
        (torch.zeros(2, 3, *SIZE, dtype=torch.uint8), True, "infrared is True; give a tensor"),
        (torch.zeros(2, 3, *SIZE, dtype=torch.uint8), torch.tensor([1, 0]), "infrared is torch.int64"),
    ],
)
def test_a_call_refuses_what_it_would_scale_or_choose_wrongly(
    run: Path, images: torch.Tensor, infrared: torch.Tensor, message: str
) -> None:
    model = load(run)
    for call in (model, model.parts):
        with pytest.raises(ValueError, match=message):
            call(images, infrared)


def test_what_is_no_run_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no model\.safetensors; give the folder of a finished"):
        load(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes((run / "model.safetensors").read_bytes()[:-9])
    with pytest.raises(ValueError, match="is no whole safetensors file"):
        load(tmp_path)
    for header in (None, {"cscl": "{"}, {"cscl": json.dumps({"format": 1})}):
        save_file({"a": torch.zeros(2)}, file, header)
        with pytest.raises(ValueError, match="was not written by `cscl train` of this version"):
            load(tmp_path)


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("model", "zzz", 1),
        ("model", "identities", "x"),
        ("model", "identities", True),
        ("model", "identities", 3.0),
        ("model", "identities", 4),  # not the number of the classifier's outputs
        ("model", "identities", 10**12),
        ("model", "identities", 10**30),
        ("model", "identities", None),
        ("model", "parts", 10**9),
        ("model", "parts", 0),
        ("model", "pam", "no"),
        ("model", "backbone", "resnet34"),
        ("model", "backbone", ["resnet18"]),
        ("model", "backbone", "vgg"),
        ("model", "tau", "small"),
        ("model", "flipped", None),
        ("model", "flipped", [0, 1]),
        ("model", "flipped", ["0", 2, 1, 3, 4]),
        ("input", "size", [3]),
        ("input", "size", ["a", "b"]),
        ("input", "size", [48.5, 24]),
        ("input", "size", [0, 24]),
        ("input", "size", None),
        ("input", "mean", [0.1, 0.2]),
        ("input", "mean", "abc"),
        ("input", "mean", [0.1, 0.2, float("nan")]),
        ("input", "std", [0.1, 0.2, 0]),
        ("input", "std", {"a": 1}),
        ("input", "zzz", 1),
        ("input", "modalities", ["infrared", "visible"]),
    ],
)
def test_a_header_that_is_not_as_written_is_refused_in_one_line(
    network: CSCL, tmp_path: Path, section: str, name: str, value: object
) -> None:
    header = json.loads(metadata(CONFIG, size=SIZE, mean=MEAN, std=STD)["cscl"])
    header[section][name] = value
    save_file(network.state_dict(), tmp_path / "model.safetensors", {"cscl": json.dumps(header)})
    with pytest.raises(ValueError, match=r"^.*model\.safetensors is damaged: .*; copy it again, or train again$"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("[]", "was not written by `cscl train` of this version"),
        ("3", "was not written by"),
        ("[" * 100_000, "was not written by"),
        ('{"format": 3}', "it lacks 'model'"),
        ('{"format": 3, "model": [], "input": {}}', r"its header has model = \[\]"),
        ('{"format": 3, "model": {}, "input": {}}', "it lacks 'flipped'"),
        ('{"format": 3, "model": {"flipped": []}, "input": {}}', "identities"),
        ('{"format": 3, "model": {"flipped": [], "identities": 3}, "input": []}', "is damaged"),
    ],
)
def test_a_header_of_another_form_is_refused_in_one_line(network: CSCL, tmp_path: Path, header: str, said: str) -> None:
    save_file(network.state_dict(), tmp_path / "model.safetensors", {"cscl": header})
    with pytest.raises(ValueError, match=rf"^.*{said}.*$"):
        load(tmp_path)


def test_other_tensors_than_the_networks_are_refused_in_one_line(network: CSCL, tmp_path: Path) -> None:
    state, header = network.state_dict(), metadata(CONFIG, size=SIZE, mean=MEAN, std=STD)
    lacking = {name: tensor for name, tensor in state.items() if name != "neck.classifier.weight"}
    for changed, said in (
        (lacking, r"it lacks the tensor neck\.classifier\.weight; copy"),
        ({"x": torch.zeros(1)}, r"it lacks the tensor \S+ and \d+ others; copy"),
        (state | {"x": torch.zeros(1)}, "no tensor of this network is called x; copy"),
        (state | {"neck.classifier.weight": torch.zeros(2, 2)}, r"has the shape \(2, 2\), not \(3, 512\)"),
    ):
        save_file(changed, tmp_path / "model.safetensors", header)
        with pytest.raises(ValueError, match=said):
            load(tmp_path)


def test_the_package_itself_is_light_and_names_what_it_lacks() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys, cscl; print('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"
    assert isinstance(cscl.embedder.Embedder, type)  # the module, once imported, hides neither name
    assert (cscl.load, cscl.Embedder) == (cscl.embedder.load, cscl.embedder.Embedder)
    with pytest.raises(ImportError, match="cannot import name 'save'"):
        from cscl import save  # noqa: F401
