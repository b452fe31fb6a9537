"""Checkouts of other people's code: their modules are imported as theirs, ours stay ours."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import data.records
from cli import main
from parsing.errors import CsclError, MissingError
from parsing.parsers import sources
from pipelines.benchmarks import extractor
from pipelines.benchmarks.peer import bare_package, peer_modules

EXTRACTOR = """
import argparse, os
from pathlib import Path
import numpy as np
import torch
from PIL import Image
from tqdm import tqdm
import modules
from parsing.images import read_image
from parsing.parsers.labelling import label_images
from parsing.parsers.schp import SCHPParser

def main():
    parser = argparse.ArgumentParser()
    for name in ("dataset", "model-restore", "input-dir", "output-dir", "gpu"):
        parser.add_argument(f"--{name}")
    args = parser.parse_args()
    os.makedirs(args.output_dir, exist_ok=True)
    schp = SCHPParser(f"schp-{args.dataset}", Path(args.model_restore))
    schp.network.cuda()
    print("loaded")
    for file in tqdm(sorted(os.listdir(args.input_dir))):
        image = read_image(Path(args.input_dir) / file)
        size = image.shape[:2]
        batch = schp.prepare(image)[None].cuda()
        labels = label_images(schp, batch, [size], size, flip=False).labels[0]
        Image.fromarray((labels + WRONG).astype(np.uint8)).save(Path(args.output_dir) / (file[:-4] + ".png"))
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Modules that are called as ours are, and a package that needs what is not installed."""
    for name, text in {
        "data/__init__.py": "import absent\n",
        "data/records.py": "WHOSE = 'theirs'\n",
        "top.py": "from data.records import WHOSE\nimport absent.part\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_modules_of_a_checkout_hide_ours_in_the_block_alone(checkout: Path) -> None:
    path, absent = list(sys.path), ModuleType("absent")
    stand_ins = {"absent": absent, "absent.part": absent, "data": bare_package(checkout, "data")}
    with peer_modules(checkout, "top", "data.records", stand_ins=stand_ins) as (top, records):
        assert (top.WHOSE, records.WHOSE) == ("theirs", "theirs")
        assert sys.modules["data.records"] is records
    assert sys.modules["data.records"] is data.records
    assert not {"top", "absent", "absent.part"} & sys.modules.keys()
    assert sys.path == path


def test_a_checkout_that_fails_leaves_nothing_behind_and_one_without_the_module_is_refused(checkout: Path) -> None:
    before = dict(sys.modules)
    with pytest.raises(ModuleNotFoundError, match="absent"), peer_modules(checkout, "top"):
        pass
    assert sys.modules["data"] is before["data"]
    assert "top" not in sys.modules
    with pytest.raises(MissingError, match=r"no data/missing\.py there"), peer_modules(checkout, "data.missing"):
        pass


def test_a_checkout_that_no_part_runs_is_refused(checkout: Path) -> None:
    done = CliRunner().invoke(main, ["benchmark", "parse", "--peer", str(checkout)])
    assert done.exit_code == 2
    assert "`parse` runs a checkout of SCHP" in done.stderr
    (checkout / "simple_extractor.py").touch()
    done = CliRunner().invoke(main, ["benchmark", "read", "evaluate", "--peer", str(checkout)])
    assert done.exit_code == 2


def test_the_extractor_of_a_peer_runs_beside_ours_and_must_give_the_same_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(sources.SCHP["schp-lip"], input_size=(65, 65), narrow=(65, 33))
    monkeypatch.setitem(sources.SCHP, "schp-lip", small)
    images, peer = tmp_path / "images", tmp_path / "peer"
    for folder in (images, peer, peer / "modules"):
        folder.mkdir()
    (peer / "modules" / "__init__.py").write_text("from .functions import ACT_LEAKY_RELU, inplace_abn_sync\n")
    for number in range(2):
        noise = np.random.default_rng(number).integers(0, 256, (60 + number, 30, 3), np.uint8)
        Image.fromarray(noise).save(images / f"{number}.jpg")
    (peer / "simple_extractor.py").write_text(EXTRACTOR.replace("WRONG", "0"))
    threads = torch.get_num_threads()
    rows = extractor.measure(images, 9, 1, peer)
    assert torch.get_num_threads() == threads
    assert [row.what for row in rows] == [
        *["files to shard, schp-lip"] * 2, *["files to shard, schp-lip --narrow"] * 2, "labels of schp-lip"
    ]  # fmt: skip
    assert all(row.ratio and row.ratio > 0 for row in rows[:4])
    assert rows[4].ours == 100
    assert json.dumps([row.to_json() for row in rows])
    (peer / "simple_extractor.py").write_text(EXTRACTOR.replace("WRONG", "1"))
    with pytest.raises(CsclError, match=r"gives other masks: 0\.00% of the labels are ours"):
        extractor.measure(images, 9, 1, peer)
