"""Hashes of trials and images: equal wherever these lie, others for anything that changes figures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from data.loading.images import load_image
from data.records import DataSet, Protocol
from data.registry import open_data_set
from pipelines.runs.digests import ImageHashes, hash_trials
from pipelines.runs.scores import Result, average_results, list_needed_records, score


def plant(root: Path, people: str = "abc") -> DataSet:
    """Images of `people`, two per modality, of whom a and b are tested."""
    rng = np.random.default_rng(0)
    for modality in ("visible", "infrared"):
        for person in people:
            for shot in range(2):
                path = root / modality / person / f"{shot}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 255, (8, 4, 3), dtype=np.uint8)).save(path)
    (root / "test_id.txt").write_text("a\nb\n")
    return open_data_set("folder", root)


def first(data_set: DataSet) -> Protocol:
    return data_set.protocols()[0]


def test_the_same_images_and_people_have_the_same_hashes_in_any_folder(tmp_path: Path) -> None:
    one, other = plant(tmp_path / "1"), plant(tmp_path / "2")
    assert hash_trials(first(one), one) == hash_trials(first(other), other)
    assert ImageHashes(one.root).hash(first(one)) == ImageHashes(other.root).hash(first(other))
    more = plant(tmp_path / "3", "Aabc")  # somebody to train on, who moves the numbers of those who are tested
    assert first(more).trials[0].query[0].identity != first(one).trials[0].query[0].identity
    assert hash_trials(first(more), more) == hash_trials(first(one), one)


def test_other_images_people_order_and_content_have_other_hashes(tmp_path: Path) -> None:
    data_set = plant(tmp_path / "1")
    protocol = first(data_set)
    query, gallery = protocol.trials[0].query, protocol.trials[0].gallery
    trial = protocol.trials[0]
    others = [
        (trial, trial),
        (replace(trial, gallery=gallery[1:]),),
        (replace(trial, gallery=gallery[::-1]),),
        (replace(trial, query=query[1:]),),
        (replace(trial, gallery=(replace(gallery[0], identity=gallery[-1].identity), *gallery[1:])),),
    ]
    found = {hash_trials(replace(protocol, trials=trials), data_set) for trials in [protocol.trials, *others]}
    assert len(found) == 6
    before = ImageHashes(data_set.root).hash(protocol)
    file = data_set.root / gallery[0].name
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # of the same size
    assert ImageHashes(data_set.root).hash(protocol) != before


def test_images_that_were_loaded_are_not_read_again(tmp_path: Path) -> None:
    data_set = plant(tmp_path / "1")
    wanted = ImageHashes(data_set.root).hash(first(data_set))
    images = ImageHashes(data_set.root)
    load = images.make_loader((8, 4))
    for record in list_needed_records([first(data_set)]).values():
        assert torch.equal(load(record), load_image(data_set.root / record.name, (8, 4)))
        (data_set.root / record.name).unlink()
    assert images.hash(first(data_set)) == wanted


def test_a_mean_has_the_hash_of_its_runs_or_one_of_the_different_ones(tmp_path: Path) -> None:
    data_set = plant(tmp_path)
    names = [image.name for image in data_set.images]
    one = score(first(data_set), dict(zip(names, np.eye(len(names)), strict=True)))
    a, b, unknown = (replace(one, trials_hash=text, images_hash=text) for text in ("a", "b", ""))

    def hash_of(*results: Result) -> str:
        mean = average_results(results)
        assert mean.trials_hash == mean.images_hash
        return mean.trials_hash

    assert hash_of(a, a) == "a"
    assert hash_of(a, b) not in ("a", "b", "")
    assert hash_of(b, a, a) == hash_of(a, b)
    assert hash_of(a, unknown) == ""
