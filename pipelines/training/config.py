"""The arguments of a training, validated without importing torch."""

from dataclasses import dataclass
from pathlib import Path

from parsing.errors import InputError, MissingError

from ..recipes.reading import Recipe
from ..runs.provenance import read_own_recipe
from .lengthen import check_changes


@dataclass(frozen=True)
class TrainConfig:
    """The arguments of a training.

    Attributes:
        masks: index file of the mask cache.
        run: folder of the run.
        recipe: everything else that decides the weights.
        root: folder of the images, if it is not the one that the cache names.
        resume: whether to continue the run in `run`.
        device: `auto`, `cpu`, `cuda` or `cuda:1`.
        precision: one of `pipelines.devices.PRECISIONS`.
        init: another run, from whose weights this one starts.
        loggers: loggers beside TensorBoard, see `pipelines.runs.loggers.find_logger`.
        verbosity: what is printed, see `pipelines.training.progress.Progress`.
    """

    masks: Path
    run: Path
    recipe: Recipe
    root: Path | None = None
    resume: bool = False
    device: str = "auto"
    precision: str = "auto"
    init: Path | None = None
    loggers: tuple[str, ...] = ()
    verbosity: int = 0

    def check_run(self) -> None:
        """Check that this training does not overwrite a run, and that a run to resume exists and fits this recipe.

        Raises:
            InputError: if not.
        """
        run, recipe = self.run, self.run / "recipe.toml"
        if run.exists() and not run.is_dir():
            raise InputError(f"--run {run} is a file; give a folder")
        if not self.resume:
            if recipe.exists():
                raise InputError(f"{run} already holds a run; give --resume to go on with it, or another --run")
            return
        if not recipe.is_file():
            raise MissingError(f"--resume: {run} holds no run")
        if self.init is not None:
            raise InputError("--init: a resumed run goes on from its own weights; give a new --run")
        check_changes(read_own_recipe(run), self.recipe, recipe)
