"""What benchmarks/street_ablation.py trains: a row per method, control or part, and the results so far."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.simulators.collage.levels import DIFFICULTIES

PROTOCOL = "all-single"
TRAIN, TEST, SEED = 300, 80, 0
LEVELS = tuple(DIFFICULTIES)
HARDEST = LEVELS[-1]
BEFORE = "the recipe before, with random erasing, parts of the last stage alone and a parsing loss of 0.35"
OTHERS = (BEFORE, f"{BEFORE}; images of 192x96, 6 epochs", f"{BEFORE}; images of 192x96, 10 epochs")
"""What was trained otherwise than the recipe of today, in words: `trained` of a line of RUNS."""
RUNS = Path(__file__).resolve().with_name("street_ablation.jsonl")


@dataclass(frozen=True)
class Row:
    """One line of the table: a method, what is changed in the recipe, and the masks that it is trained on.

    against: the row that it is compared with. masks: `built-in` or `true`.
    """

    method: str
    changes: tuple[str, ...] = ()
    against: str = ""
    masks: str = "built-in"


PAM = ("model.spam=false", "loss.division=0")
UNMASKED = ("model.pam=false", "model.whole_weight=1", "loss.parsing=0", "loss.shown=0", "loss.division=0")
ROWS = {
    "baseline": Row("baseline"),
    "AGW": Row("agw", against="baseline"),
    "six global heads": Row("cscl", ("model.part_pooling=global", *UNMASKED), "baseline"),
    "stripes": Row("cscl", ("model.part_pooling=stripes", *UNMASKED), "baseline"),
    "+ PAM": Row("cscl", PAM, "baseline"),
    "+ SPAM": Row("cscl", ("loss.division=0",), "+ PAM"),
    "recipe": Row("cscl", (), "stripes"),
    "+ ICM": Row("cscl", ("loss.icm=0.5",), "recipe"),
    "recipe without PAM": Row("cscl", ("model.pam=false",), "recipe"),
    "recipe, true masks": Row("cscl", changes=(), against="recipe", masks="true"),
    "recipe, another image's masks": Row("cscl", ("data.masks=other",), "recipe"),
    "recipe, no masks": Row(
        "cscl", ("loss.parsing=0", "loss.shown=0", "train.guided=0", "model.pulled=true"), "recipe"
    ),
    "recipe, random erasing": Row("cscl", ("augment.erase=0.5",), "recipe"),
    "recipe, parts of the last stage": Row("cscl", ("model.part_stages=1",), "recipe"),
    "PAM, se gate": Row("cscl", (*PAM, "model.pam_gate=se"), "+ PAM"),
    "PAM, mam gate": Row("cscl", (*PAM, "model.pam_gate=mam"), "+ PAM"),
    "+ ICM, weight 0.1": Row("cscl", ("loss.icm=0.1",), "recipe"),
    "HC for ICM": Row("cscl", ("loss.icm=0.12", "loss.icm_form=hc"), "+ ICM"),
    "HcTri for ICM": Row("cscl", ("loss.icm=1.2", "loss.icm_form=hctri"), "+ ICM"),
}
"""`+` rows add to the one before; `recipe` is the shipped one as it is, which adds the division loss to `+ SPAM`.
The weights of HC and HcTri give their gradients the norm of ICM's at 0.5 (benchmarks/icm_gradients.py)."""
FORMER = dict.fromkeys(("recipe, parsing loss 2", "recipe, parsing loss 2, reid5", "recipe, reid6"), "recipe")
"""Rows of OTHERS alone, and what they are compared with."""
SHORT = ("baseline", "six global heads", "stripes", "recipe", "recipe, another image's masks")
"""Rows that the README shows."""


def read_runs(trained: str = "") -> dict[tuple[str, int], dict[str, Any]]:
    """Finished trainings by row and seed: those of today's recipe, or of one of OTHERS."""
    return {(one["row"], one["seed"]): one for one in read_lines(RUNS) if one.get("trained", "") == trained}


def read_lines(file: Path) -> list[dict[str, Any]]:
    """Return the values of a file of one JSON object per line; none if it is not there."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []


def read_seeds(text: str) -> range:
    """Return the seeds of `FIRST-LAST`, or of a single number."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)
