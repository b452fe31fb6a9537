"""Processes that SLURM started: several of `srun` train together; a job without `srun` is one process."""

import os
import subprocess
import sys

import pytest
from support.places import ROOT

from parsing.errors import InputError
from pipelines.training.launch import find_first_host, has_own_device, join_srun

TASK = {
    "SLURM_JOB_ID": "4711", "SLURM_STEP_ID": "2", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
    "SLURM_STEP_NODELIST": "gpu[07,09]", "SLURM_NODEID": "1", "SLURM_PROCID": "2", "SLURM_LOCALID": "0",
    "SLURM_NTASKS": "4",
}  # fmt: skip
SUM = """
import torch
from pipelines.training.processes import gather, make_fabric
fabric = make_fabric("cpu", "auto")
print(fabric.world_size, gather(fabric, torch.tensor([fabric.global_rank])).tolist())
"""


def test_a_task_of_srun_gets_the_variables_of_torchrun() -> None:
    environment = dict(TASK)
    assert join_srun(environment)
    assert {name: environment[name] for name in environment if name not in TASK} == {
        "RANK": "2", "LOCAL_RANK": "0", "NODE_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "gpu07", "MASTER_PORT": str(15000 + (4711 * 7 + 2) % 20000),
    }  # fmt: skip


@pytest.mark.parametrize(("tasks", "each"), [("2,1", "2, 1"), ("4(x2),1", "4, 4, 1")])
def test_unequally_many_tasks_per_node_are_refused(tasks: str, each: str) -> None:
    """Fabric computes the rank of a task from the number of tasks on its own node."""
    environment = TASK | {"SLURM_STEP_TASKS_PER_NODE": tasks}
    with pytest.raises(InputError, match=f"srun started {each} tasks on its nodes; start as many on each"):
        join_srun(environment)
    assert "RANK" not in environment


@pytest.mark.parametrize(
    ("visible", "environment", "own"),
    [
        (1, {"SLURM_GPUS_ON_NODE": "2"}, True),
        (1, {"SLURM_GPUS_ON_NODE": "1"}, False),  # two tasks share one GPU
        (2, {"SLURM_GPUS_ON_NODE": "4"}, False),
        (1, {}, False),
        (1, {"SLURM_GPUS_ON_NODE": "2", "SLURM_STEP_NUM_TASKS": "1"}, False),  # torchrun in a job
        (1, {"SLURM_GPUS_ON_NODE": "2", "TORCHELASTIC_RUN_ID": "none"}, False),  # srun torchrun ...
    ],
)
def test_a_task_that_sees_one_of_the_gpus_of_its_node_has_its_own(
    visible: int, environment: dict[str, str], own: bool
) -> None:
    assert has_own_device(visible, TASK | {"LOCAL_WORLD_SIZE": "2"} | environment) == own


def test_an_address_that_is_set_is_kept() -> None:
    environment = TASK | {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}
    assert join_srun(environment)
    assert (environment["MASTER_ADDR"], environment["MASTER_PORT"]) == ("10.0.0.1", "29500")


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"},  # in a batch script, without srun
        TASK | {"SLURM_STEP_NUM_TASKS": "1"},
        TASK | {"TORCHELASTIC_RUN_ID": "none"},  # srun torchrun ...: torchrun has said it already
        TASK | {"LT_CLI_USED": "1"},
    ],
)
def test_what_is_no_task_among_several_of_srun_is_left_alone(environment: dict[str, str]) -> None:
    given = dict(environment)
    assert not join_srun(environment)
    assert environment == given


@pytest.mark.parametrize(
    ("nodes", "host"),
    [("gpu3", "gpu3"), ("gpu[3-5]", "gpu3"), ("n[003,7],login", "n003"), ("a,b", "a"), ("rack-1-n[2]", "rack-1-n2")],
)
def test_the_first_host_of_a_node_list(nodes: str, host: str) -> None:
    assert find_first_host(nodes) == host


def start(environment: dict[str, str]) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "MASTER_"))}
    return subprocess.Popen(
        [sys.executable, "-c", SUM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=clean | environment | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.mark.slow
def test_two_tasks_of_srun_train_together_and_a_bare_job_is_one_process() -> None:
    node = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_TASKS_PER_NODE": "2", "SLURM_STEP_NODELIST": "localhost"}
    port = {"SLURM_JOB_ID": str(os.getpid())}
    tasks = [start(TASK | node | port | {"SLURM_NODEID": "0", "SLURM_PROCID": n, "SLURM_LOCALID": n}) for n in "01"]
    bare = start({"SLURM_JOB_ID": "1", "SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"})
    for process, said in ((tasks[0], "2 [0, 1]\n"), (tasks[1], "2 [0, 1]\n"), (bare, "1 [0]\n")):
        out, error = process.communicate(timeout=300)
        assert process.returncode == 0, error
        assert out == said
