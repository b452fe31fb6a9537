"""`hf:`: a small model answers as the library's own; labels from its config; no code of others unless named."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from parsing.errors import InputError, MissingError
from parsing.labels import label_set
from parsing.parsers import sources
from parsing.parsers.huggingface import HuggingFaceParser, match_labels

needs_transformers = pytest.mark.skipif(find_spec("transformers") is None, reason='needs pip install "cscl[hf]"')
OWN_CODE = """
from pathlib import Path

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SemanticSegmenterOutput

Path({mark!r}).touch()


class OwnConfig(PretrainedConfig):
    model_type = "own"


class OwnModel(PreTrainedModel):
    config_class = OwnConfig

    def __init__(self, config):
        super().__init__(config)
        self.conv = nn.Conv2d(3, 5, 1)
        self.post_init()

    def forward(self, pixel_values):
        return SemanticSegmenterOutput(logits=self.conv(pixel_values))
"""
NAMES = ["Upper clothes", "Background", "Left_shoe", "Right_shoe", "Bag"]


def save(folder: Path, names: list[str], **processing: Any) -> Path:
    """A Segformer of a few thousand weights, for 64 x 32 pixels."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

    config = SegformerConfig(
        num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[8, 16], patch_sizes=[7, 3], strides=[4, 2],
        num_attention_heads=[1, 2], mlp_ratios=[2, 2], decoder_hidden_size=16,
        id2label=dict(enumerate(names)), label2id={name: i for i, name in enumerate(names)},
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        SegformerForSemanticSegmentation(config).save_pretrained(folder)
    SegformerImageProcessor(**{"size": {"height": 64, "width": 32}, **processing}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("hf") / "mine", NAMES, image_mean=[0.1, 0.2, 0.3])


def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (90, 40, 3), dtype=np.uint8)


@needs_transformers
def test_it_answers_as_the_library_does_with_the_background_first(made: Path) -> None:
    from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation

    parser = HuggingFaceParser(str(made))
    given = AutoImageProcessor.from_pretrained(made)(images=image(), return_tensors="pt")
    with torch.inference_mode():
        expected = AutoModelForSemanticSegmentation.from_pretrained(made).eval()(**given).logits
        found = parser.forward(parser.prepare(image())[None])
    torch.testing.assert_close(found, expected[:, [1, 0, 2, 3, 4]])
    assert parser.labels.classes == ("background", "upper-clothes", "left-shoe", "right-shoe", "bag")
    assert parser.labels.swaps == ((2, 3),)
    assert (parser.name, parser.input_size) == ("hf:mine", (64, 32))
    assert json.loads(json.dumps(parser.preprocessing))["image_mean"] == [0.1, 0.2, 0.3]


@needs_transformers
def test_an_answer_covers_the_image_with_probabilities(made: Path) -> None:
    parser = HuggingFaceParser(str(made))
    probs, agreement = parser.parse(parser.prepare(image())[None], [(90, 40)], (48, 24))
    assert probs.shape == (1, 5, 48, 24)
    torch.testing.assert_close(probs.sum(1), torch.ones(1, 48, 24))
    assert 0 <= float(agreement) <= 1


@needs_transformers
def test_names_as_those_of_a_known_label_set_are_that_set(tmp_path: Path) -> None:
    names = [name.capitalize() for name in label_set("atr").classes]
    assert HuggingFaceParser(str(save(tmp_path / "a", names))).labels == label_set("atr")


def test_labels_are_matched_by_name_wherever_the_names_are_known() -> None:
    order = ["background", "lower-arms", "head", "upper-legs", "torso", "lower-legs", "upper-arms"]  # as M2FP
    labels, channels = match_labels("me/parser", order, None)
    assert labels == label_set("pascal")
    assert [order[c] for c in channels] == list(labels.classes)
    assert match_labels("me/parser", order, "pascal") == (labels, channels)
    assert match_labels("me/parser", [f"LABEL_{i}" for i in range(7)], "pascal") == (labels, list(range(7)))
    with pytest.raises(InputError, match=r"answers 7 classes .*--labels lip has 20; missing: hat, hair, .*right-shoe"):
        match_labels("me/parser", order, "lip")
    lacking = r"no class called background \(wall, sky, \.\.\.\); give --labels .* a TOML file with its 2 classes"
    with pytest.raises(InputError, match=lacking):
        match_labels("me/parser", ["wall", "sky"], None)


def test_names_of_a_label_set_of_ones_own_are_matched_however_they_are_spelt(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('name = "own"\nclasses = ["background", "Hat", "Left arm", "Right arm"]\n')
    order = ["background", "right_arm", "hat", "left arm"]
    assert match_labels("me/parser", order, str(own))[1] == [0, 2, 3, 1]
    with pytest.raises(InputError, match=r"has hat as class 2, --labels .*own\.toml as 1, and other names differ"):
        match_labels("me/parser", ["background", "arm", "hat", "coat"], str(own))


def test_a_model_named_as_a_label_set_of_other_classes_is_not_taken_for_it() -> None:
    assert match_labels("models/lip", ["background", "hat"], None)[0].name == "lip-model"


@needs_transformers
def test_a_processor_that_keeps_the_aspect_or_crops_needs_an_input_size(tmp_path: Path) -> None:
    folder = save(tmp_path / "a", NAMES, size={"shortest_edge": 48}, default_to_square=False)
    with pytest.raises(InputError, match=r"give --input HxW"):
        HuggingFaceParser(str(folder))
    parser = HuggingFaceParser(str(folder), input_size=(64, 32))
    assert parser.prepare(image()).shape == (3, 64, 32)
    assert parser.preprocessing["size"] == {"height": 64, "width": 32}


@needs_transformers
def test_files_that_are_missing_cut_short_or_do_not_fit_are_refused_by_name(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    shutil.copytree(made, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "decoder_hidden_size": 24}))
    with pytest.raises(InputError, match=f"hf:{folder}"):
        HuggingFaceParser(str(folder))
    (folder / "config.json").write_text(json.dumps({**config, "depths": [1, 2]}))
    with pytest.raises(InputError, match=r"the weights do not fit its config \(missing_keys"):
        HuggingFaceParser(str(folder))
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:500])
    with pytest.raises(InputError, match=f"hf:{folder} cannot be loaded"):
        HuggingFaceParser(str(folder))
    (folder / "model.safetensors").unlink()
    with pytest.raises(MissingError, match=r"holds no model\.safetensors"):
        HuggingFaceParser(str(folder))
    with pytest.raises(MissingError, match="no such folder, and no ORG/NAME"):
        HuggingFaceParser("parsers/of/mine")


@needs_transformers
def test_code_that_comes_with_a_model_runs_only_when_the_model_is_named(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    shutil.copytree(made, folder)
    mark = tmp_path / "ran"
    (folder / "own_code.py").write_text(OWN_CODE.format(mark=str(mark)))
    weights = {"conv.weight": torch.ones(5, 3, 1, 1), "conv.bias": torch.zeros(5)}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    names = json.loads((folder / "config.json").read_text())["id2label"]
    auto = {"AutoConfig": "own_code.OwnConfig", "AutoModelForSemanticSegmentation": "own_code.OwnModel"}
    (folder / "config.json").write_text(json.dumps({"model_type": "own", "id2label": names, "auto_map": auto}))
    for named in (None, "someone/else"):
        with pytest.raises(InputError, match="--remote-code"):
            HuggingFaceParser(str(folder), remote_code=named)
    assert not mark.exists()
    assert HuggingFaceParser(str(folder), remote_code=str(folder)).labels.name == "own"
    assert mark.exists()


def test_without_network_it_says_which_files_from_where_and_which_option(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sources, "find_spec", lambda _: True)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MissingError) as caught:
        HuggingFaceParser("fashn-ai/fashn-human-parser")
    for told in ("model.safetensors", "https://huggingface.co/fashn-ai/fashn-human-parser", "--parser hf:DIR"):
        assert told in str(caught.value)


def test_without_transformers_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r'pip install "cscl\[hf\]"'):
        HuggingFaceParser("fashn-ai/fashn-human-parser")
