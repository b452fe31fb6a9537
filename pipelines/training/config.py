"""What `cscl train` can be asked for, checked without importing torch."""

from dataclasses import dataclass
from pathlib import Path

from parsing.errors import InputError, MissingError

from ..recipes.reading import Recipe, read_recipe


@dataclass(frozen=True)
class TrainConfig:
    """What `cscl train` was asked for. device: `auto`, `cpu`, `cuda`, `cuda:1`; precision: `auto` is bf16 on CUDA."""

    masks: Path
    run: Path
    recipe: Recipe
    root: Path | None = None
    resume: bool = False
    device: str = "auto"
    precision: str = "auto"

    def check_run(self) -> None:
        """Refuse to overwrite a run, or to continue one that is not there or has another recipe (InputError)."""
        run, recipe = self.run, self.run / "recipe.toml"
        if run.exists() and not run.is_dir():
            raise InputError(f"--run {run} is a file; give a folder")
        if not self.resume:
            if recipe.exists():
                raise InputError(f"{run} already holds a run; give --resume to go on with it, or another --run")
            return
        if not recipe.is_file():
            raise MissingError(f"--resume: {run} holds no run")
        if read_recipe(recipe) != self.recipe:
            raise InputError(f"--resume: {recipe} says something else than this command; leave --recipe and --set out")
