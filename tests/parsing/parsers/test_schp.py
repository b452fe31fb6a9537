"""SCHP: the network and the whole of pre- and post-processing against the reference's answers; loading; options."""

import zlib
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from numpy.lib.npyio import NpzFile
from safetensors.torch import save_file
from scipy import ndimage
from support.places import ORACLES
from torch import Tensor
from torch.nn import functional as F

from parsing.errors import InputError, MissingError
from parsing.labels import label_set
from parsing.parsers import packed as packing
from parsing.parsers.packed import Convolution, pack
from parsing.parsers.registry import ParserSpec, describe_parser
from parsing.parsers.schp import SCHPParser, map_into_input, map_out_of_input, scale_of
from parsing.parsers.schp_engine import SCHPEngine
from parsing.parsers.schp_network import AbsoluteNorm, SCHPNetwork
from parsing.parsers.sources import SCHP
from parsing.resize import Size

Fused = tuple[Tensor, Tensor, Tensor]


def oracle(name: str) -> NpzFile:
    found: NpzFile = np.load(ORACLES / name)
    return found


def ruled(name: str, shape: tuple[int, ...]) -> Tensor:
    """The reference's stand-in for the trained tensor `name`."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    normal = random.standard_normal(shape)
    if name.endswith("running_var"):
        value = random.uniform(0.5, 1.5, shape)
    elif name.endswith(("running_mean", "bias")):
        value = 0.1 * normal
    elif len(shape) == 4:
        value = normal * np.sqrt(2 / np.prod(shape[1:]))
    else:
        value = np.where(random.random(shape) < 0.1, -1, 1) * (0.6 + 0.1 * normal)
    return torch.from_numpy(np.asarray(value, np.float32))


@pytest.fixture(scope="module")
def tensors() -> Callable[[int], dict[str, Tensor]]:
    """`tensors(classes)`: all 603 by the rule; those that do not depend on the classes are made once."""
    made: dict[tuple[str, tuple[int, ...]], Tensor] = {}

    def make(classes: int) -> dict[str, Tensor]:
        with torch.device("meta"):
            shapes = {k: tuple(v.shape) for k, v in SCHPNetwork(classes).state_dict().items()}
        for key in shapes.items():
            if key not in made:
                made[key] = ruled(*key)
        return {key[0]: made[key] for key in shapes.items()}

    return make


def loaded(tensors: dict[str, Tensor], classes: int) -> SCHPNetwork:
    with torch.device("meta"):
        network = SCHPNetwork(classes)
    network.load_state_dict(tensors, assign=True)
    return network.eval()


@pytest.fixture(scope="module")
def lip_file(tensors: Callable[[int], dict[str, Tensor]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the author's: a checkpoint of a DataParallel model among other things."""
    file = tmp_path_factory.mktemp("schp") / "lip.pth"
    state = {f"module.{name}": tensor for name, tensor in tensors(20).items()}
    torch.save({"schedule": 149, "state_dict": state, "best": 0.5}, file)
    return file


@pytest.fixture(scope="module")
def lip(lip_file: Path) -> SCHPParser:
    return SCHPParser("schp-lip", lip_file)


@pytest.mark.parametrize("name", SCHP)
def test_the_network_answers_as_the_reference(name: str, tensors: Callable[[int], dict[str, Tensor]]) -> None:
    expected, labels = oracle("schp_network.npz"), SCHP[name].labels
    classes = len(label_set(labels))
    network = loaded(tensors(classes), classes)
    assert sorted(network.state_dict()) == sorted(expected["keys"])
    side = 118 if labels == "lip" else 128
    images = np.random.default_rng(classes).standard_normal((1, 3, side, side)).astype(np.float32)
    with torch.inference_mode():
        answers: Fused = network(torch.from_numpy(images))
    for kind, answer in zip(("fusion", "parsing", "edge"), answers, strict=True):
        reference = expected[f"{labels}_{kind}"]
        assert np.abs(answer.numpy() - reference).max() < 1e-4 * np.abs(reference).max(), kind


@pytest.mark.parametrize("packed", [False, True])
def test_the_engine_answers_as_the_network(tensors: Callable[[int], dict[str, Tensor]], packed: bool) -> None:
    network = loaded(tensors(20), 20)
    engine = SCHPEngine(network).eval()
    if packed:
        pack(engine, torch.randn((1, 3, 33, 33)))
    assert all((m.packed is not None) == packed for m in engine.modules() if isinstance(m, Convolution))
    for size in ((97, 97), (121, 62)):
        images = torch.randn((2, 3, *size), generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            wanted = network(images)[0]
            found = engine(images.contiguous(memory_format=torch.channels_last))
        assert float(wanted.std()) > 0.1
        assert float((found - wanted).abs().max()) < 2e-5


def test_packed_convolutions_that_answer_otherwise_are_not_used(
    tensors: Callable[[int], dict[str, Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "ALIKE", -1.0)
    engine = SCHPEngine(loaded(tensors(7), 7)).eval()
    pack(engine, torch.randn((1, 3, 33, 33)))
    assert all(m.packed is None and m.weight.numel() for m in engine.modules() if isinstance(m, Convolution))


def agrees(parser: SCHPParser, number: str) -> None:
    expected = oracle("schp_end_to_end.npz")
    image, reference = expected[f"image_{number}"], expected[f"{parser.labels.name}_{number}_logits"].astype(np.float32)
    size = (image.shape[0], image.shape[1])
    with torch.inference_mode():
        logits = parser.restore(parser.forward(parser.prepare(image)[None]), [size], size)[0]
    found = logits.permute(1, 2, 0).numpy()
    assert np.abs(found - reference).mean() < 1e-3 * np.abs(reference).mean()
    assert (found.argmax(2) == reference.argmax(2)).mean() > 0.998


@pytest.mark.parametrize("number", ["0001", "0005"], ids=["tall", "wide"])
def test_images_come_out_as_from_the_reference_with_the_authors_checkpoint(lip: SCHPParser, number: str) -> None:
    agrees(lip, number)


def test_images_come_out_as_from_the_reference_with_safetensors(
    tensors: Callable[[int], dict[str, Tensor]], tmp_path: Path
) -> None:
    save_file(tensors(7), tmp_path / "pascal.safetensors")
    agrees(SCHPParser("schp-pascal", tmp_path / "pascal.safetensors"), "0003")


def test_the_norm_scales_by_the_absolute_weight() -> None:
    random = torch.Generator().manual_seed(0)
    norm = AbsoluteNorm(4, active=True)
    norm.weight.data = torch.tensor([-1.0, 0.5, -0.25, 0.0])
    norm.running_mean, norm.running_var = torch.randn(4, generator=random), torch.rand(4, generator=random) + 0.5
    x = torch.randn(2, 4, 3, 5, generator=random)
    for channel, weight in enumerate((1.0, 0.5, 0.25, 0.0)):
        mean, variance = norm.running_mean[channel], norm.running_var[channel]
        y = (x[:, channel] - mean) / (variance + 1e-5).sqrt() * (weight + 1e-5)
        expected = torch.where(y > 0, y, 0.01 * y)
        torch.testing.assert_close(norm(x)[:, channel], expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("source", [(40, 20), (21, 50), (33, 17)])
def test_the_affine_into_the_input_is_scipys(source: Size) -> None:
    image = np.random.default_rng(0).random(source)
    rows, columns = map_into_input(source, (65, 49))
    scale = scale_of(source, (65, 49))
    offset = [(n - 1) / 2 - (m - 1) / 2 * scale for n, m in zip(source, (65, 49), strict=True)]
    expected = ndimage.affine_transform(
        image, [scale, scale], offset, output_shape=(65, 49), order=1, mode="grid-constant"
    )
    np.testing.assert_allclose(rows @ image @ columns.T, expected, atol=1e-5)


def test_the_whole_image_lies_centred_in_the_input_and_touches_two_sides() -> None:
    rows, columns = map_into_input((81, 41), (65, 65))
    assert np.min(rows.sum(1)) == pytest.approx(1)  # as tall as the input
    inside = np.flatnonzero(columns.sum(1))
    assert (inside[0] + inside[-1], len(inside)) == (64, 33)  # and half as wide, in the middle


def test_restored_at_another_size_is_restored_at_the_images_and_resized() -> None:
    logits = torch.randn(1, 3, 17, 17, generator=torch.Generator().manual_seed(0))
    rows, columns = (
        torch.from_numpy(m) for m in map_out_of_input((50, 30), input_size=(65, 65), given=(17, 17), size=(50, 30))
    )
    other_rows, other_columns = (
        torch.from_numpy(m) for m in map_out_of_input((50, 30), input_size=(65, 65), given=(17, 17), size=(24, 12))
    )
    expected = F.interpolate(rows @ logits @ columns.T, (24, 12), mode="bilinear", align_corners=False)
    torch.testing.assert_close(other_rows @ logits @ other_columns.T, expected, atol=1e-5, rtol=1e-5)


@pytest.fixture
def small(lip: SCHPParser, monkeypatch: pytest.MonkeyPatch) -> SCHPParser:
    """The same network on a small input."""
    monkeypatch.setattr(lip, "input_size", (97, 97))
    return lip


def people(count: int, size: Size = (60, 30)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def test_a_batch_of_different_sizes_answers_as_each_alone(small: SCHPParser) -> None:
    images = [people(1)[0], people(1, (45, 70))[0]]
    sizes = [(60, 30), (45, 70)]
    prepared = [small.prepare(image) for image in images]
    together, _ = small.parse(torch.stack(prepared), sizes, (48, 24), flip=False)
    for number in range(2):
        alone, _ = small.parse(prepared[number][None], sizes[number : number + 1], (48, 24), flip=False)
        torch.testing.assert_close(together[number : number + 1], alone, atol=1e-4, rtol=1e-4)


def test_with_flips_a_mirrored_image_answers_mirrored_with_left_and_right_swapped(small: SCHPParser) -> None:
    image = people(1)[0]
    prepared = torch.stack([small.prepare(image), small.prepare(image[:, ::-1])])
    probs, agreement = small.parse(prepared, [(60, 30)] * 2, (48, 24))
    swapped = list(label_set("lip").flipped)
    assert swapped[14:] == [15, 14, 17, 16, 19, 18]
    torch.testing.assert_close(probs[0], probs[1].flip(-1)[swapped], atol=1e-3, rtol=1e-3)
    assert float(agreement[0]) == pytest.approx(float(agreement[1]), abs=0.01)


def test_bfloat16_and_the_narrow_input_are_other_parsers_that_agree_with_this_one(lip_file: Path) -> None:
    fast = SCHPParser("schp-lip", lip_file, narrow=True, bf16=True)
    assert fast.input_size == (473, 241)
    assert describe_parser(ParserSpec("schp-lip", lip_file, narrow=True, bf16=True)) == fast.info
    exact_preprocessing = {**fast.preprocessing, "input": [473, 473], "precision": "float32"}
    assert [k for k, v in exact_preprocessing.items() if fast.preprocessing[k] != v] == ["input", "precision"]
    fast.input_size = (121, 61)
    batch, sizes = fast.prepare(people(1)[0])[None], [(60, 30)]
    half, _ = fast.parse(batch, sizes, (60, 30), flip=False)
    fast.bf16 = False
    full, _ = fast.parse(batch, sizes, (60, 30), flip=False)
    assert 0.8 < (half.argmax(1) == full.argmax(1)).float().mean() <= 1
    assert not torch.equal(half, full)


def test_weights_of_another_network_are_refused_by_name(lip_file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lip\.pth is no schp-atr: .*\(20, .*not \(18, "):
        SCHPParser("schp-atr", lip_file)
    with pytest.raises(InputError, match=r"lip\.pth is no schp-atr: .*\(20, .*not \(18, "):
        describe_parser(ParserSpec("schp-atr", lip_file))
    save_file({"conv1.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "part.safetensors")
    with pytest.raises(InputError, match=r"part\.safetensors is no schp-lip: it lacks bn1\.weight \(1 of 603"):
        SCHPParser("schp-lip", tmp_path / "part.safetensors")


def test_without_weights_or_network_it_says_which_file_from_where_and_which_option(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MissingError) as caught:
        SCHPParser("schp-atr")
    for told in ("exp-schp-201908301523-atr.pth", "drive.google.com", "pirocheto/schp-atr-18", "--weights"):
        assert told in str(caught.value)
    assert "\n" not in str(caught.value)
