"""Which of several processes this is: those of `torchrun`, `fabric run` or `srun`. Needs the standard library alone."""

import os
import re
from collections.abc import Mapping, MutableMapping


def is_first() -> bool:
    """Return whether this process is the one that writes, validates and shows progress."""
    by_srun = os.environ.get("SLURM_PROCID", "0") if _srun_tasks(os.environ) > 1 else "0"
    return os.environ.get("RANK", by_srun) == "0"


def join_srun(environment: MutableMapping[str, str] = os.environ) -> bool:
    """Say of tasks that `srun` started what `torchrun` says of its own: RANK, WORLD_SIZE, MASTER_ADDR and the like.

    Returns whether this process is one of several such tasks. A job script that calls `cscl train` without `srun`
    has one process, whatever `--ntasks` the job was given: its variables of SLURM are of no concern here.

    MASTER_ADDR and MASTER_PORT are left if they are set. The port is drawn from the job's and step's numbers, so that
    the steps of two jobs on one node do not meet.
    """
    count = _srun_tasks(environment)
    if count < 2 or "TORCHELASTIC_RUN_ID" in environment or environment.get("LT_CLI_USED") == "1":
        return False
    here = int(environment.get("SLURM_NODEID", "0"))
    environment.update(
        {
            "RANK": environment["SLURM_PROCID"],
            "LOCAL_RANK": environment["SLURM_LOCALID"],
            "NODE_RANK": str(here),
            "WORLD_SIZE": str(count),
            "LOCAL_WORLD_SIZE": str(_tasks_per_node(environment["SLURM_STEP_TASKS_PER_NODE"])[here]),
        }
    )
    number = int(environment.get("SLURM_JOB_ID", "0")) * 7 + int(environment.get("SLURM_STEP_ID", "0"))
    environment.setdefault("MASTER_ADDR", first_host(environment.get("SLURM_STEP_NODELIST", "localhost")))
    environment.setdefault("MASTER_PORT", str(15000 + number % 20000))
    return True


def _srun_tasks(environment: Mapping[str, str]) -> int:
    """Return how many tasks the step of `srun` has that this process is of; 1 without one."""
    return int(environment.get("SLURM_STEP_NUM_TASKS", "1"))


def _tasks_per_node(text: str) -> list[int]:
    """Return the tasks of each node: `4(x2),1` is [4, 4, 1]."""
    counts = (re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", each) for each in text.split(","))
    return [int(found[1]) for found in counts if found for _ in range(int(found[2] or 1))]


def first_host(nodes: str) -> str:
    """Return the first host of a SLURM node list: `gpu[03-05,7],login` is `gpu03`."""
    found = re.match(r"([^,\[]+)(?:\[([^\],-]+))?", nodes)
    return found[1] + (found[2] or "") if found else nodes
