"""`cscl parser compare`: agreement counted over all pixels as a loop does; what cannot be compared is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from click.testing import CliRunner

from cli import main
from parsing.errors import InputError, MissingError
from parsing.images import read_image
from parsing.parsers.registry import ParserSpec, find_parser
from parsing.parsers.street import save_street
from parsing.parsers.street_network import StreetNetwork
from pipelines.parsers.compare import Setting, compare_parsers

SIZE = (32, 16)


@pytest.fixture(scope="module")
def images(tiny_figures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five images at two depths, and one that cannot be read."""
    folder = tmp_path_factory.mktemp("images")
    found = sorted(tiny_figures.glob("cam*/*/*.jpg"))[::5]
    (folder / "deep").mkdir()
    for number, file in enumerate(found):
        shutil.copy(file, folder / ("deep" if number % 2 else ".") / f"{number}.jpg")
    (folder / "bad.jpg").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def other_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = StreetNetwork(input_size=(64, 32))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = config.build()
    file = tmp_path_factory.mktemp("other") / "other.safetensors"
    save_street(network, config, file)
    return file


def setting(weights: Path, flip: bool = True) -> Setting:
    return Setting("street", ParserSpec(weights=weights), flip)


def test_a_parser_agrees_with_itself(images: Path, tiny_weights: Path) -> None:
    found = compare_parsers(images, setting(tiny_weights), setting(tiny_weights), size=SIZE)
    assert (found.images, found.unreadable, found.pixels, found.mean) == (5, 1, 1, 1)
    assert {value for _, value in found.worst} == {1.0}
    assert found.first == found.first.__class__(
        **{**found.second.__dict__, "images_per_second": found.first.images_per_second}
    )


def test_two_parsers_are_counted_as_a_loop_counts_them(images: Path, tiny_weights: Path, other_weights: Path) -> None:
    settings = setting(tiny_weights), setting(other_weights, flip=False)
    found = compare_parsers(images, *settings, size=SIZE, batch_size=2, worst=2)
    answers: list[list[np.ndarray]] = [[], []]
    for name in ("0.jpg", "2.jpg", "4.jpg", "deep/1.jpg", "deep/3.jpg"):
        image = read_image(images / name)
        for number, chosen in enumerate(settings):
            parser = find_parser(chosen.spec)
            probabilities, _ = parser.parse(parser.prepare(image)[None], [image.shape[:2]], SIZE, chosen.flip)
            answers[number].append(probabilities.argmax(1)[0].numpy())
    one, other = np.stack(answers[0]), np.stack(answers[1])
    assert 0 < found.pixels < 1
    assert found.pixels == pytest.approx((one == other).mean(), abs=1e-3)
    person = (one > 0) | (other > 0)
    assert found.person == pytest.approx((one == other)[person].mean(), abs=1e-3)
    for number, value in enumerate(found.iou):
        either = ((one == number) | (other == number)).sum()
        wanted = ((one == number) & (other == number)).sum() / either if either else np.nan
        assert value == pytest.approx(wanted, abs=0.01, nan_ok=True)
    assert len(found.worst) == 2
    assert found.worst[0][1] <= found.worst[1][1]
    assert (found.first.flip, found.second.flip) == (True, False)


def test_parsers_of_two_label_sets_are_compared_in_a_part_scheme(
    images: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    network = smp.Unet("tu-resnet10t", encoder_weights=None, encoder_depth=3, classes=7, decoder_channels=(16, 8, 8))
    network.eval().save_pretrained(tmp_path / "saved")
    other = Setting("smp", ParserSpec(f"smp:{tmp_path / 'saved'}", labels="pascal", input_size=SIZE))
    with pytest.raises(InputError, match=r"street holds person7 classes, smp pascal ones: give a part scheme"):
        compare_parsers(images, setting(tiny_weights), other, size=SIZE)
    found = compare_parsers(images, first=setting(tiny_weights), second=other, scheme="body", size=SIZE, limit=2)
    assert (found.classes, found.scheme) == (("background", "foreground"), "body")
    assert found.images + found.unreadable == 2


def test_folders_without_images_are_refused(tiny_weights: Path, tmp_path: Path) -> None:
    both = setting(tiny_weights), setting(tiny_weights)
    with pytest.raises(MissingError, match="none: there is no such folder"):
        compare_parsers(tmp_path / "none", *both)
    with pytest.raises(InputError, match="there is no image in this folder"):
        compare_parsers(tmp_path, *both)
    (tmp_path / "bad.jpg").write_bytes(b"")
    with pytest.raises(InputError, match="none of 1 images can be read"):
        compare_parsers(tmp_path, *both)


def test_the_command_takes_each_parser_with_its_options(images: Path, tiny_weights: Path) -> None:
    words = f"street --weights '{tiny_weights}'"
    given = ["parser", "compare", words, f"{words} --no-flip", "--images", str(images), "--size", "32x16"]
    shown = CliRunner().invoke(main, [*given, "--device", "cpu"])
    assert shown.exit_code == 0, shown.output
    assert "5 images at 32x16 in person7 classes: alike are " in shown.stdout
    assert "note: 1 images cannot be read" in shown.stdout
    read = json.loads(CliRunner().invoke(main, [*given, "--json"]).stdout)
    assert (read["first"]["flip"], read["second"]["flip"]) == (True, False)
    assert set(read["iou"]) == set(read["classes"])


@pytest.mark.parametrize("words", ["street --wide", "street 'x", "", "street street"])
def test_words_that_are_no_parser_are_refused(images: Path, words: str) -> None:
    ended = CliRunner().invoke(main, ["parser", "compare", "street", words, "--images", str(images)])
    assert ended.exit_code == 2
    assert ended.stderr.startswith(f"cscl: {words!r} is no parser with its options: ")
