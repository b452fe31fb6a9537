"""Selection without test data: who is held out of training, and what validation ranks."""

from pathlib import Path

import pytest
import torch

from cscl.model import CSCL
from data.readers.sysu import SYSU
from data.records import Modality, Record, Trial
from parsing.errors import InputError
from pipelines.recipes.reading import Recipe, read_recipe
from pipelines.training.validation import Validation, hold_out, is_due

IMAGES = torch.randint(0, 256, (6, 3, 64, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def people(*cameras: int) -> tuple[Record, ...]:
    """Two people in each camera; 3 and 6 are infrared."""
    kinds: dict[int, Modality] = {3: "infrared", 6: "infrared"}
    return tuple(
        Record(f"cam{c}/{i}.jpg", identity=i, camera=c, modality=kinds.get(c, "visible"))
        for c in cameras
        for i in (1, 2)
    )


def test_sysu_trains_on_296_identities_and_validates_on_its_own_99(tmp_path: Path) -> None:
    root = tmp_path / "SYSU-MM01"
    lists = {"train": range(1, 297), "val": range(297, 396), "test": range(396, 492)}
    (root / "exp").mkdir(parents=True)
    for part, identities in lists.items():
        (root / f"exp/{part}_id.txt").write_text(",".join(map(str, identities)))
    for camera in range(1, 7):
        for identity in (i for part in lists.values() for i in part):
            if camera in (1, 3):
                (root / f"cam{camera}/{identity:04d}").mkdir(parents=True)
                (root / f"cam{camera}/{identity:04d}/0001.jpg").touch()
        (root / f"cam{camera}").mkdir(exist_ok=True)
    sysu = SYSU(root)
    assert len({r.identity for r in sysu.train()}) == 395
    training, validating = hold_out(sysu, sysu.train())
    assert {r.identity for r in training} == set(lists["train"])
    assert {r.identity for r in validating} == set(lists["val"])
    assert not sysu.test_identities & {r.identity for r in (*training, *validating)}


def test_validation_skips_whom_the_data_set_skips_and_leaves_the_mode_alone() -> None:
    records = people(3, 2, 1)
    validation = Validation(records, IMAGES, SYSU.skip)
    (trial,) = validation.protocol.trials
    assert trial == Trial(records[:2], records[2:])
    hidden = validation.protocol.skip(trial)
    assert hidden is not None
    assert hidden.tolist() == [[True, True, False, False]] * 2
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = CSCL(read_recipe(Path("small"), ["model.part_dim=8"]).model.config(2, 4, ()))
    for training in (True, False):
        model.train(training)
        before = {k: v.clone() for k, v in model.state_dict().items()}
        found = validation(model)
        assert model.training == training
        assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
        assert 0 <= found["rank1"] <= 1
        assert 0.5 <= found["mAP"] <= 1  # two images, one of them the right person


def test_people_of_one_modality_cannot_validate() -> None:
    with pytest.raises(InputError, match="seen in both modalities; use 'last'"):
        Validation(people(1, 2, 4), IMAGES)


def test_validation_is_due_every_so_many_epochs_and_at_the_end() -> None:
    recipe: Recipe = read_recipe(Path("small"), ["data.evaluate_every=3", "train.epochs=8"])
    assert [epoch + 1 for epoch in range(8) if is_due(epoch, recipe)] == [3, 6, 8]
