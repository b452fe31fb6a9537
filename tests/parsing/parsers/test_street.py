"""The built-in parser's file: the same bytes for the same weights, and any other file refused by name."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from parsing.errors import InputError, MissingError
from parsing.labels import label_set
from parsing.parsers.registry import ParserSpec, describe_parser, find_parser
from parsing.parsers.sources import BUILT_IN
from parsing.parsers.street import FORMAT, StreetParser, load_street, save_street
from parsing.parsers.street_network import StreetNetwork

DESCRIBED = asdict(
    StreetNetwork("unet", encoder="tu-resnet10t", options={"decoder_channels": [8] * 5}, input_size=(64, 32))
)


def test_saving_again_gives_the_same_bytes(tmp_path: Path) -> None:
    network, written = nn.Conv2d(3, 5, 3), set()
    for _ in range(12):  # safetensors orders its metadata by chance
        save_street(network, StreetNetwork(), tmp_path / "a.safetensors")
        written.add((tmp_path / "a.safetensors").read_bytes())
    assert len(written) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_loaded_network_answers_as_the_one_that_was_saved(tmp_path: Path) -> None:
    config = StreetNetwork("unet", "tu-resnet10t", {"decoder_channels": [16, 16, 8, 8, 8]}, input_size=(64, 32))
    network = config.build().half().float().eval()
    save_street(network, config, tmp_path / "a.safetensors")
    loaded, found, _ = load_street(tmp_path / "a.safetensors")
    images = torch.rand((2, 3, 64, 32), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert found == config
        assert torch.equal(loaded.eval()(images), network(images))


def test_the_built_in_weights_load_and_answer_with_the_classes() -> None:
    parser = find_parser(ParserSpec())
    assert isinstance(parser, StreetParser)
    assert (parser.name, parser.labels) == ("street", label_set("person7"))
    batch = torch.stack([parser.prepare(np.zeros((40, 17, 3), np.uint8))])
    probabilities, agreement = parser.parse(batch, [(40, 17)], (48, 24))
    assert probabilities.shape == (1, 8, 48, 24)
    assert torch.allclose(probabilities.sum(1), torch.ones(1, 48, 24), atol=1e-5)
    assert 0 <= float(agreement) <= 1
    assert len(parser.weights_hash) == 64
    assert BUILT_IN.is_file()


def test_the_weights_hash_is_that_of_the_file_and_tells_files_apart(tiny_weights: Path) -> None:
    assert StreetParser(tiny_weights).weights_hash != StreetParser().weights_hash
    assert StreetParser(tiny_weights).input_size == (64, 32)


def test_what_a_cache_records_is_read_without_the_weights(tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = [ParserSpec(), ParserSpec(weights=tiny_weights)]
    loaded = [find_parser(spec).info for spec in specs]
    monkeypatch.setattr("parsing.parsers.street.load_file", None)
    assert [describe_parser(spec) for spec in specs] == loaded


def test_files_that_are_no_weights_are_refused_by_name(tmp_path: Path, tiny_weights: Path) -> None:
    with pytest.raises(MissingError, match=r"none\.safetensors.*cscl parser train"):
        load_street(tmp_path / "none.safetensors")
    whole = tiny_weights.read_bytes()
    for name, content in {"text": b"weights, honestly", "empty": b"", "cut": whole[: len(whole) // 2]}.items():
        (tmp_path / f"{name}.safetensors").write_bytes(content)
        with pytest.raises(InputError, match=rf"{name}\.safetensors"):
            load_street(tmp_path / f"{name}.safetensors")
    save_file({"a": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(InputError, match=r"foreign\.safetensors was not written"):
        load_street(tmp_path / "foreign.safetensors")


@pytest.mark.parametrize(
    "described",
    [
        "no JSON",
        "[]",
        "{}",
        json.dumps({**DESCRIBED, "input_size": [1]}),
        json.dumps({**DESCRIBED, "encoder": "no"}),
        json.dumps({**DESCRIBED, "options": {"decoder_channels": [8]}}),
        json.dumps({**DESCRIBED, "mean": None}),
        json.dumps(DESCRIBED),  # the weights are others
    ],
)
def test_a_file_whose_description_does_not_fit_is_refused_in_one_line(tmp_path: Path, described: str) -> None:
    file = tmp_path / "odd.safetensors"
    save_file({"a": torch.zeros(2)}, file, {"format": FORMAT, "network": described})
    for read in (load_street, lambda file: describe_parser(ParserSpec(weights=file))):
        with pytest.raises(InputError, match=r"odd\.safetensors") as caught:
            read(file)
        assert "\n" not in str(caught.value)


def test_an_unknown_parser_lists_what_there_is() -> None:
    with pytest.raises(InputError, match=r"'magic'.*street"):
        find_parser(ParserSpec("magic"))
