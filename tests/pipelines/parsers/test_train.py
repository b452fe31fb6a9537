"""Training the built-in parser: the same bytes from the same recipe, a file that parses, refusals by name."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from support.limits import NEVER_WRITTEN
from torch import nn

from data.photographs.library import Photos
from parsing.errors import CsclError, InputError, MissingError
from parsing.labels import label_set
from parsing.parsers.street import StreetParser, load_street
from parsing.parsers.street_network import StreetNetwork
from pipelines.parsers.recipe import ParserRecipe, read_parser_recipe
from pipelines.parsers.train import ParsingCriterion, train_parser

SMALL = StreetNetwork(
    "unet", encoder="tu-resnet10t", options={"decoder_channels": [16, 16, 8, 8, 8]}, input_size=(64, 32)
)
RECIPE = ParserRecipe(network=SMALL, encoder_weights="none", epochs=2, self_epochs=1, batch_size=2)


def draw_photos(root: Path, people: int = 4) -> Path:
    """Photographs of striped people before noise, one stripe a person7 class; the last one is for validation."""
    rng = np.random.default_rng(0)
    for name in ("photos", "parts", "unlabelled"):
        (root / name).mkdir(parents=True)
    ids = [f"p{n}" for n in range(people + 1)]
    for photo_id in [*ids, "u0", "u1", "u2"]:
        labels = np.zeros((96, 64), np.uint8)
        for part, rows in enumerate(np.array_split(np.arange(8, 90), 7), start=1):
            labels[rows, 20:44] = part
        colours = rng.integers(0, 256, (8, 3))
        image = colours[labels] + rng.normal(0, 12, (96, 64, 3))
        folder = root / ("photos" if photo_id in ids else "unlabelled")
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / f"{photo_id}.jpg")
        if photo_id in ids:
            Image.fromarray(labels).save(root / "parts" / f"{photo_id}.png")
    meta = {"parts": list(label_set("person7").classes), "train": ids[:-1], "val": ids[-1:]}
    (root / "meta.json").write_text(json.dumps(meta))
    return root


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_photos(tmp_path_factory.mktemp("photos") / "own")


@pytest.fixture(scope="module")
def trained(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "new" / "street.safetensors"
    return train_parser(photos, out, RECIPE, device="cpu", workers=0)


def test_the_same_recipe_gives_the_same_bytes(photos: Path, trained: Path, tmp_path: Path) -> None:
    torch.rand(3)  # the global generator is elsewhere by now
    again = train_parser(photos, tmp_path / "again.safetensors", RECIPE, device="cpu", workers=1)
    assert again.read_bytes() == trained.read_bytes()
    other = train_parser(photos, tmp_path / "other.safetensors", replace(RECIPE, seed=1), device="cpu", workers=0)
    assert other.read_bytes() != trained.read_bytes()


def test_training_leaves_the_global_generator_alone(photos: Path, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    train_parser(photos, tmp_path / "a.safetensors", replace(RECIPE, epochs=1), device="cpu", workers=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_file_is_a_parser_and_the_log_beside_it_tells_how(trained: Path, photos: Path) -> None:
    parser = StreetParser(trained)
    assert parser.input_size == (64, 32)
    batch = parser.prepare(Photos(photos).photo("p0"))[None]
    probabilities, _ = parser.parse(batch, [(96, 64)], (32, 16))
    assert probabilities.shape == (1, 8, 32, 16)
    assert torch.isfinite(probabilities).all()
    told = json.loads(trained.with_suffix(".json").read_text())
    assert told["photos"] == 4
    assert [entry["epoch"] for entry in told["log"]] == [0, 1, 2]
    assert [entry["crops"] for entry in told["log"]] == [4, 4, 4 + told["pseudo_labelled"]]
    assert all(0 < entry["loss"] < 10 for entry in told["log"])
    assert told["recipe"]["network"]["input_size"] == [64, 32]
    assert {p.name for p in trained.parent.iterdir()} == {"street.safetensors", "street.json"}


def test_crops_may_be_smaller_than_the_input_and_not_larger(photos: Path, tmp_path: Path) -> None:
    def start(*size: int) -> Path:
        recipe = replace(RECIPE, network=replace(SMALL, input_size=(96, 64)), crop_size=size)
        return train_parser(photos, tmp_path / "a.safetensors", recipe, device="cpu", workers=0)

    small, equal = (load_street(start(*size)) for size in ((64, 32), (96, 64)))
    assert small[1] == equal[1] == replace(SMALL, input_size=(96, 64))
    assert small[2] != equal[2]
    assert load_street(start())[2] == equal[2]  # without a crop size they are of the input's
    with pytest.raises(InputError, match=r"crop_size = \[128, 64\] is larger than the network's input, \[96, 64\]"):
        start(128, 64)
    with pytest.raises(InputError, match=r"crop_size = \[64\]; give \[height, width\]"):
        start(64)


def test_without_unlabelled_photographs_or_self_epochs_only_the_annotated_ones_train(
    photos: Path, tmp_path: Path
) -> None:
    root = draw_photos(tmp_path / "own")
    for file in (root / "unlabelled").iterdir():
        file.unlink()
    for given, recipe in ((root, RECIPE), (photos, replace(RECIPE, self_epochs=0))):
        out = train_parser(given, tmp_path / "a.safetensors", recipe, device="cpu", workers=0)
        told = json.loads(out.with_suffix(".json").read_text())
        assert told["pseudo_labelled"] == 0
        assert len(told["log"]) == 2


def test_the_shipped_recipe_is_the_default_and_entries_can_be_changed(tmp_path: Path) -> None:
    assert read_parser_recipe() == ParserRecipe(crop_size=(192, 96))
    changed = read_parser_recipe(None, ["epochs=3", "network.input_size=[64, 32]", "network.encoder=resnet18"])
    assert (changed.epochs, changed.network.input_size, changed.network.encoder) == (3, (64, 32), "resnet18")
    (tmp_path / "own.toml").write_text("epoch = 3\n")
    with pytest.raises(InputError, match="there is no epoch"):
        read_parser_recipe(tmp_path / "own.toml")
    with pytest.raises(MissingError, match=r"no recipe none\.toml"):
        read_parser_recipe(Path("none.toml"))


def test_training_starts_from_the_weights_it_is_given(photos: Path, trained: Path, tmp_path: Path) -> None:
    still = replace(RECIPE, epochs=1, self_epochs=0, learning_rate=1e-12, network=StreetNetwork(), seed=5)
    tuned = train_parser(photos, out=tmp_path / "t.safetensors", recipe=still, init=trained, device="cpu", workers=0)
    before, config, _ = load_street(trained)
    after, found, _ = load_street(tuned)
    assert found == config == SMALL  # the architecture is that of the weights
    for name, value in before.named_parameters():
        assert torch.allclose(dict(after.named_parameters())[name], value, atol=1e-4), name


@pytest.mark.parametrize("epochs", [1, 2, 10])
def test_short_runs_of_any_length_end(photos: Path, tmp_path: Path, epochs: int) -> None:
    tiny = replace(RECIPE, epochs=epochs, self_epochs=0, batch_size=16, network=replace(SMALL, input_size=(32, 32)))
    out = train_parser(photos, tmp_path / "a.safetensors", tiny, device="cpu", workers=0)
    assert len(json.loads(out.with_suffix(".json").read_text())["log"]) == epochs


def test_the_loss_is_cross_entropy_plus_dice_and_least_for_the_truth() -> None:
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, 8, (2, 12, 6)))
    right = nn.functional.one_hot(labels, 8).permute(0, 3, 1, 2).float() * 20
    wrong = right.roll(1, 1)
    both, plain = ParsingCriterion(1.0), ParsingCriterion(0.0)
    assert float(both(right, labels)) == pytest.approx(0, abs=1e-4)
    assert float(plain(wrong, labels)) == pytest.approx(float(nn.functional.cross_entropy(wrong, labels)))
    assert float(both(wrong, labels)) == pytest.approx(float(plain(wrong, labels)) + 1, abs=1e-3)


def test_a_loss_that_is_not_finite_stops_the_run(photos: Path, tmp_path: Path) -> None:
    wild = replace(RECIPE, epochs=3, learning_rate=1e30)
    with pytest.raises(CsclError, match=r"not finite in epoch .*learning rate"):
        train_parser(photos, tmp_path / "a.safetensors", wild, device="cpu", workers=0)


def test_what_cannot_be_used_is_refused_by_name(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.safetensors"

    def start(**changed: object) -> None:
        options = {"photos": photos, "out": out, "recipe": RECIPE, "device": "cpu", "workers": 0} | changed
        train_parser(**options)  # type: ignore[arg-type]

    with pytest.raises(MissingError, match="no photos in"):
        start(photos=tmp_path)
    with pytest.raises(MissingError, match=r"none\.safetensors"):
        start(init=tmp_path / "none.safetensors")
    save_file({"a": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(InputError, match=r"foreign\.safetensors was not written"):
        start(init=tmp_path / "foreign.safetensors")
    with pytest.raises(InputError, match="is a folder"):
        start(out=tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        start(out=tmp_path / "file" / "a.safetensors")
    if NEVER_WRITTEN.is_dir():
        with pytest.raises(InputError, match=r"cannot be written to /proc/a\.safetensors"):
            start(out=NEVER_WRITTEN / "a.safetensors")
    with pytest.raises(InputError, match="--device warp"):
        start(device="warp")
    with pytest.raises(InputError, match="cannot build"):
        start(recipe=replace(RECIPE, network=replace(SMALL, encoder="resnet1")))
    with pytest.raises(InputError, match="cannot build"):
        start(recipe=replace(RECIPE, network=replace(SMALL, options={"depth_of_field": 3})))
    with pytest.raises(InputError, match="epochs, batch_size"):
        ParserRecipe(epochs=0)
    with pytest.raises(InputError, match="keep = 0"):
        ParserRecipe(keep=0)
    assert not out.exists()


def test_photographs_without_people_are_refused(tmp_path: Path) -> None:
    root = draw_photos(tmp_path / "own", people=2)
    for file in (root / "parts").iterdir():
        Image.new("L", (64, 96)).save(file)
    with pytest.raises(InputError, match="none of the 2 training photographs shows a person"):
        train_parser(root, tmp_path / "a.safetensors", RECIPE, device="cpu", workers=0)


def test_a_log_that_cannot_be_written_leaves_the_weights(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.safetensors"
    out.with_suffix(".json").mkdir()
    short = replace(RECIPE, epochs=1, self_epochs=0)
    with pytest.raises(CsclError, match=r"a\.safetensors: trained, but .*a\.json could not be written"):
        train_parser(photos, out, short, device="cpu", workers=0)
    load_street(out)
