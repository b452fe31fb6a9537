"""Several processes: how a batch is dealt out, and what is refused. What they compute is in test_step.py."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from data.loading.sampler import IdentitySampler
from data.records import Record
from parsing.errors import InputError
from pipelines.recipes.reading import Recipe
from pipelines.training import processes as module
from pipelines.training.batches import Batches
from pipelines.training.launch import has_own_device, join_srun
from pipelines.training.processes import find_sharing, make_fabric

FABRIC_RUN = {"LT_CLI_USED": "1", "LT_DEVICES": "1"}
OTHERS = ("17-true", "64-true", "bf16-true", "16-true", "transformer-engine", "bf16")
"""Precisions, of Lightning Fabric but for the first, in which the losses cannot be computed, and a name for two."""
RECORDS = tuple(
    Record(f"{modality}/{person}/{n}.jpg", identity=person, camera=1, modality=modality)
    for person in range(12)
    for modality in ("visible", "infrared")
    for n in range(3)
)


def dealt(recipe: Recipe, process: tuple[int, int]) -> Batches:
    """Batches over images that are all their row number."""
    images = torch.arange(len(RECORDS), dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 64, 32).contiguous()
    sampler = IdentitySampler(RECORDS, identities=recipe.train.identities, images=recipe.train.images, seed=recipe.seed)
    return Batches(
        RECORDS,
        images=images,
        part_labels=images[:, 0],
        confidence=torch.ones(len(RECORDS)),
        sampler=sampler,
        steps=5,
        recipe=recipe,
        flipped=(0, 1, 2, 3, 4),
        process=process,
    )


@pytest.mark.parametrize(("processes", "pieces"), [(1, 1), (2, 1), (1, 2), (2, 2), (4, 1)])
def test_processes_and_pieces_share_the_same_batch_in_whole_people(
    tiny_recipe: Callable[..., Recipe], processes: int, pieces: int
) -> None:
    recipe = tiny_recipe("train.identities=4", f"train.accumulate={pieces}")
    whole, names = dealt(tiny_recipe("train.identities=4"), (0, 1)).whole(7)
    ranks = [dealt(recipe, (number, processes))[7] for number in range(processes)]
    people: list[set[int]] = []
    for rank in ranks:
        for piece in range(pieces):
            ids, infrared = (rank[name].chunk(pieces)[piece] for name in ("identities", "infrared"))
            people.append(set(ids.tolist()))
            for person in people[-1]:
                assert sorted(infrared[ids == person].tolist()) == [False] * 2 + [True] * 2
    assert sum(map(len, people)) == len(set.union(*people)) == 4
    joined = {name: torch.cat([rank[name] for rank in ranks]) for name in whole}
    keys = [tuple(image.flatten().tolist()) for image in whole["images"]]  # augmented alike, wherever it goes
    assert sorted(keys) == sorted(tuple(image.flatten().tolist()) for image in joined["images"])
    assert names == [f"{'infrared' if r else 'visible'}/{i}/{n.split('/')[-1]}" for i, r, n in
                     zip(whole["identities"].tolist(), whole["infrared"].tolist(), names, strict=True)]  # fmt: skip


@pytest.mark.parametrize(("processes", "pieces"), [(3, 1), (1, 3), (2, 4)])
def test_people_that_cannot_be_dealt_evenly_are_refused(
    tiny_recipe: Callable[..., Recipe], processes: int, pieces: int
) -> None:
    recipe = tiny_recipe("train.identities=4", f"train.accumulate={pieces}")
    with pytest.raises(InputError, match=f"train.identities = 4 cannot be divided .* multiple of {processes * pieces}"):
        dealt(recipe, (0, processes))


@pytest.mark.parametrize(
    ("device", "precision", "environment", "said"),
    [
        *(("cpu", p, {}, f"--precision {p}: choose one of auto, 32-true, bf16-mixed, 16-mixed") for p in OTHERS),
        ("cpu", "auto", {**FABRIC_RUN, "LT_PRECISION": "64-true"}, "--precision 64-true: choose one of"),
        ("cpu", "16-mixed", {}, "--precision 16-mixed needs CUDA; on cpu give 32-true or bf16-mixed"),
        ("abacus", "auto", {}, "--device abacus cannot be used"),
        ("cpu:0", "auto", {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}, "one device, but 2 processes were started"),
        ("cpu", "bf16-mixed", {**FABRIC_RUN, "LT_PRECISION": "32-true"}, "conflicts with"),
    ],
)
def test_what_does_not_fit_the_launcher_or_the_machine_is_refused(
    device: str, precision: str, environment: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=said):
        make_fabric(device, precision)


@pytest.mark.parametrize(("on_node", "backend"), [("2", "nccl"), ("1", "gloo"), (None, "gloo")])
def test_tasks_of_srun_with_one_visible_gpu_each_use_nccl_unless_they_share_it(
    on_node: str | None, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = {
        "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_TASKS_PER_NODE": "2", "SLURM_STEP_NODELIST": "gpu1",
        "SLURM_PROCID": "1", "SLURM_NODEID": "0", "SLURM_LOCALID": "1",
    }  # fmt: skip
    if on_node is not None:
        task["SLURM_GPUS_ON_NODE"] = on_node
    environment = os.environ | task
    monkeypatch.setattr(os, "environ", environment)
    join_srun(environment)
    monkeypatch.setattr(module, "join_srun", lambda: True)
    monkeypatch.setattr(module, "has_own_device", partial(has_own_device, environment=environment))
    monkeypatch.setattr(module, "find_device", lambda device: "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    made: list[dict[str, Any]] = []

    class Noted:
        def __init__(self, **options: Any) -> None:
            made.append(options)
            self.strategy, self.device = options["strategy"], torch.device("cuda", 0)

        def launch(self) -> None:
            pass

    monkeypatch.setattr(module, "Fabric", Noted)
    note = find_sharing(make_fabric("auto", "auto"))
    (options,) = made
    assert options["strategy"].process_group_backend == backend
    assert options["strategy"].parallel_devices == [torch.device("cuda", 0)] * 2
    if backend == "nccl":
        assert note is None
    else:
        assert note is not None
        assert note.startswith("2 processes of this machine share 1 visible GPUs")


def test_one_process_shares_nothing() -> None:
    assert find_sharing(make_fabric("cpu", "auto")) is None
