"""Caches and runs of released versions are read by this one, to the same values.

`make.py` beside this file made each folder, from the command line of the version that the folder is named after.
"""

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.lib.npyio import NpzFile

from cli import main
from cscl import load
from parsing import MaskCache
from parsing.errors import InputError
from parsing.labels import label_set
from pipelines.runs.provenance import read_run

VERSIONS = sorted(folder for folder in Path(__file__).parent.iterdir() if (folder / "answers.npz").is_file())


@pytest.fixture(params=VERSIONS, ids=lambda folder: folder.name)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of a version's folder, its weights unpacked."""
    folder: Path = shutil.copytree(request.param, tmp_path / request.param.name)
    packed = folder / "run" / "model.safetensors.gz"
    packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    return folder


@pytest.fixture
def answers(kept: Path) -> NpzFile:
    found: NpzFile = np.load(kept / "answers.npz")
    return found


def test_there_is_a_kept_version() -> None:
    assert VERSIONS


def test_a_kept_cache_gives_the_masks_and_columns_that_it_gave(kept: Path, answers: NpzFile) -> None:
    cache = MaskCache(kept / "sysu_masks.h5")
    assert cache.labels == label_set("person7")  # `street` in the file of 0.1.0
    names = list(cache.names)
    assert names == answers["names"].tolist()
    np.testing.assert_array_equal(cache[names], answers["labels"])
    np.testing.assert_allclose(cache.parts(names, "reid4"), answers["parts"], atol=1e-3)
    np.testing.assert_array_equal(cache.modality == 1, answers["infrared"])
    for column in ("confidence", "identity", "camera"):
        np.testing.assert_array_equal(getattr(cache, column), answers[column])


def test_a_kept_cache_is_whole(kept: Path) -> None:
    result = CliRunner().invoke(main, ["masks", "verify", str(kept / "sysu_masks.h5")])
    assert result.exit_code == 0, result.output


def test_a_kept_run_gives_the_embeddings_that_it_gave(kept: Path, answers: NpzFile) -> None:
    found = load(kept / "run").embed(torch.from_numpy(answers["images"]), torch.from_numpy(answers["infrared"]))
    expected = answers["embeddings"]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)
    apart = np.linalg.norm(expected[:, None] - expected[None], axis=2)
    assert np.quantile(apart, 0.5) > 0.01, "embeddings of different images differ by more than the tolerance"


def test_a_run_from_before_the_first_version_is_read(kept: Path) -> None:
    """Its recipe has `train.guided` in epochs, a whole number; a share is written with a point, also 1.0."""
    recipe = kept / "run" / "recipe.toml"
    text = recipe.read_text(encoding="utf-8").replace("epochs = 1\n", "epochs = 6\n")
    assert "guided = 0.5\n" in text
    for said, expected in (("3", 0.5), ("6", 1.0), ("1.0", 1.0), ("0", 0.0)):
        recipe.write_text(text.replace("guided = 0.5\n", f"guided = {said}\n"), encoding="utf-8")
        assert read_run(kept / "run")[0].train.guided == expected
    for said in ("7", "true"):
        recipe.write_text(text.replace("guided = 0.5\n", f"guided = {said}\n"), encoding="utf-8")
        with pytest.raises(InputError, match=r"train\.guided"):
            read_run(kept / "run")


def test_a_kept_runs_recipe_and_provenance_are_read(kept: Path) -> None:
    recipe, info = read_run(kept / "run")
    assert (recipe.method, tuple(recipe.data.size), recipe.data.scheme) == ("cscl", (64, 32), "reid4")
    assert info.fingerprint == MaskCache(kept / "sysu_masks.h5").fingerprint
