"""Rank of this process among those of `torchrun`, `fabric run` or `srun`, found without importing torch."""

import os
import re
from collections.abc import Mapping, MutableMapping

from parsing.errors import InputError


def is_first() -> bool:
    """Return whether this is the process that writes files, validates and shows progress."""
    by_srun = os.environ.get("SLURM_PROCID", "0") if _count_srun_tasks(os.environ) > 1 else "0"
    return os.environ.get("RANK", by_srun) == "0"


def count_processes() -> int:
    """Return the number of processes that `torchrun`, `fabric run` or `srun` started; 1 without them."""
    return max(int(os.environ.get("WORLD_SIZE", "1")), _count_srun_tasks(os.environ))


def join_srun(environment: MutableMapping[str, str] = os.environ) -> bool:
    """Set the variables of `torchrun` (RANK, WORLD_SIZE, MASTER_ADDR, ...) for a task that `srun` started.

    A job script that calls `cscl train` without `srun` has one process, whatever `--ntasks` of the job is; the SLURM
    variables of the job are ignored then.

    MASTER_ADDR and MASTER_PORT stay if they are set. The default port is computed from the numbers of job and step, so
    that two jobs on one node do not use the same.

    Args:
        environment: read and changed.

    Returns:
        Whether this process is one of several tasks of `srun`.

    Raises:
        InputError: if the nodes do not have equally many tasks; Lightning Fabric would give two of them the same rank.
    """
    count = _count_srun_tasks(environment)
    if count < 2 or "TORCHELASTIC_RUN_ID" in environment or environment.get("LT_CLI_USED") == "1":
        return False
    tasks = _read_tasks_per_node(environment["SLURM_STEP_TASKS_PER_NODE"])
    if len(set(tasks)) > 1:
        raise InputError(
            f"srun started {', '.join(map(str, tasks))} tasks on its nodes; start as many on each (--ntasks-per-node)"
        )
    environment.update(
        {
            "RANK": environment["SLURM_PROCID"],
            "LOCAL_RANK": environment["SLURM_LOCALID"],
            "NODE_RANK": environment.get("SLURM_NODEID", "0"),
            "WORLD_SIZE": str(count),
            "LOCAL_WORLD_SIZE": str(tasks[0]),
        }
    )
    number = int(environment.get("SLURM_JOB_ID", "0")) * 7 + int(environment.get("SLURM_STEP_ID", "0"))
    environment.setdefault("MASTER_ADDR", find_first_host(environment.get("SLURM_STEP_NODELIST", "localhost")))
    environment.setdefault("MASTER_PORT", str(15000 + number % 20000))
    return True


def has_own_device(visible: int, environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether SLURM has bound each of its tasks on this node to one GPU of its own.

    A task then sees one GPU although its step has at least one per task on this node.

    Args:
        visible: number of GPUs that this process sees.
        environment: that of a task, after `join_srun`.
    """
    on_node, tasks = (int(environment.get(name, "0")) for name in ("SLURM_GPUS_ON_NODE", "LOCAL_WORLD_SIZE"))
    by_srun = _count_srun_tasks(environment) > 1 and "TORCHELASTIC_RUN_ID" not in environment
    return by_srun and visible == 1 and on_node >= tasks


def _count_srun_tasks(environment: Mapping[str, str]) -> int:
    """Return the number of tasks of this process's `srun` step; 1 without `srun`."""
    return int(environment.get("SLURM_STEP_NUM_TASKS", "1"))


def _read_tasks_per_node(text: str) -> list[int]:
    """Return the number of tasks on each node: [4, 4, 1] for SLURM's `4(x2),1`."""
    counts = (re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", each) for each in text.split(","))
    return [int(found[1]) for found in counts if found for _ in range(int(found[2] or 1))]


def find_first_host(nodes: str) -> str:
    """Return the first host of a SLURM node list: `gpu[03-05,7],login` is `gpu03`."""
    found = re.match(r"([^,\[]+)(?:\[([^\],-]+))?", nodes)
    return found[1] + (found[2] or "") if found else nodes
