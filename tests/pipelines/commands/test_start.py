"""Nothing heavy is imported before the arguments of a command have been checked."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.places import ROOT

HEAVY = ("torch", "dask", "distributed", "scipy", "matplotlib", "PIL", "h5py", "numpy", "lightning_fabric")
STORAGE = {"h5py", "numpy"}
"""What opening a mask cache needs."""
IMAGES = STORAGE | {"PIL"}
"""What opening a data set needs."""


def imported_by(*arguments: str, cwd: Path) -> tuple[set[str], str]:
    """Run the command; return which of HEAVY it imported, and what it said."""
    code = (
        "import sys\n"
        "try:\n    from cli import main; main(prog_name='cscl')\n"
        f"finally:\n    print('imported', *(m for m in {HEAVY} if m in sys.modules), file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )
    *said, last = done.stderr.splitlines()
    return set(last.split()[1:]), "\n".join(said)


@pytest.mark.parametrize(
    ("command", "allowed", "said"),
    [
        ("--help", set(), ""),
        ("parse --help", set(), ""),
        ("parse --dataset none", set(), "'none' is not one of"),
        ("train --recipe list", set(), ""),
        ("parser list", STORAGE, ""),
        ("masks info none.h5", STORAGE, "no mask cache at none.h5"),
        ("masks verify none.h5", STORAGE, "no mask cache at none.h5"),
        ("masks compare none.h5 none.h5", STORAGE, "no mask cache at none.h5"),
        ("masks report none.h5 -o out", STORAGE, "no mask cache at none.h5"),
        ("masks export none.h5 --to png -o out", STORAGE, "no mask cache at none.h5"),
        ("data check --dataset sysu --root none", IMAGES, "there is no folder none"),
        ("parse --dataset sysu --root none", IMAGES, "there is no folder none"),
        ("parse --dataset sysu --weights none", IMAGES, "--weights none: there is no such file"),
        ("train --masks none.h5", IMAGES, "no mask cache at none.h5"),
        ("evaluate none", IMAGES, "none holds no model.safetensors"),
        ("reproduce --dataset sysu --root none", IMAGES, "there is no folder none"),
        ("reproduce --dataset sysu --set train.epoch=3", IMAGES, "did you mean train.epochs?"),
        ("reproduce --dataset sysu --row all", IMAGES, "--row all: choose from agw, baseline, pam, cscl, icm"),
        ("export --run none", IMAGES, "none holds no model.safetensors"),
        ("search --run none --query none --gallery none", IMAGES, "--query none: there is no such file or folder"),
        ("parser train --photos none --out o.safetensors", IMAGES, "--photos none: there is no such folder"),
        ("parser score --photos none", IMAGES, "--photos none: there is no such folder"),
        ("data make collage --photos none --out out", IMAGES, "--photos none: there is no such folder"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_heavy(
    command: str, allowed: set[str], said: str, tmp_path: Path
) -> None:
    imported, answer = imported_by(*command.split(), cwd=tmp_path)
    assert said in answer
    assert imported <= allowed


def test_a_typo_in_a_parser_recipe_is_refused_before_torch(tmp_path: Path) -> None:
    command = ("parser", "train", "--photos", str(tmp_path), "--out", "o.safetensors", "--set", "epoch=3")
    imported, said = imported_by(*command, cwd=tmp_path)
    assert "did you mean epochs?" in said
    assert imported <= IMAGES


def test_a_typo_in_a_recipe_is_refused_before_torch(masks: Path, tmp_path: Path) -> None:
    imported, said = imported_by("train", "--masks", str(masks), "--set", "train.epoch=3", cwd=tmp_path)
    assert "did you mean train.epochs?" in said
    assert "torch" not in imported


def test_the_module_works_in_a_folder_with_packages_of_our_names(tmp_path: Path) -> None:
    for name in ("data", "pipelines", "parsing"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise RuntimeError('the foreign {name} was imported')\n")
    (tmp_path / "cli.py").write_text("raise RuntimeError('the foreign cli was imported')\n")
    done = subprocess.run(
        [sys.executable, "-m", "cscl", "data", "check", "--dataset", "sysu", "--root", "none"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("cscl: sysu: there is no folder none")
