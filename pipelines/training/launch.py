"""Rank of this process among those of `torchrun`, `fabric run` or `srun`, found without importing torch."""

import os
import re
from collections.abc import Mapping, MutableMapping


def is_first() -> bool:
    """Return whether this is the process that writes files, validates and shows progress."""
    by_srun = os.environ.get("SLURM_PROCID", "0") if _count_srun_tasks(os.environ) > 1 else "0"
    return os.environ.get("RANK", by_srun) == "0"


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
    """
    count = _count_srun_tasks(environment)
    if count < 2 or "TORCHELASTIC_RUN_ID" in environment or environment.get("LT_CLI_USED") == "1":
        return False
    here = int(environment.get("SLURM_NODEID", "0"))
    environment.update(
        {
            "RANK": environment["SLURM_PROCID"],
            "LOCAL_RANK": environment["SLURM_LOCALID"],
            "NODE_RANK": str(here),
            "WORLD_SIZE": str(count),
            "LOCAL_WORLD_SIZE": str(_read_tasks_per_node(environment["SLURM_STEP_TASKS_PER_NODE"])[here]),
        }
    )
    number = int(environment.get("SLURM_JOB_ID", "0")) * 7 + int(environment.get("SLURM_STEP_ID", "0"))
    environment.setdefault("MASTER_ADDR", find_first_host(environment.get("SLURM_STEP_NODELIST", "localhost")))
    environment.setdefault("MASTER_PORT", str(15000 + number % 20000))
    return True


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
