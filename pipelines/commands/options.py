"""Options and parameter types that several commands share, so that one name means one thing everywhere."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from data.readers import READERS
from parsing.errors import InputError, MissingError
from pipelines.devices import PRECISIONS

if TYPE_CHECKING:
    from parsing import MaskCache
    from parsing.parsers.registry import ParserSpec

Command = TypeVar("Command", bound=Callable[..., Any])
Place = click.Path(path_type=Path)
"""A file or folder that is there or is to be made."""
DATA_SETS = click.Choice(tuple(READERS))


class Existing(click.Path):
    """A file or folder that must be there; MissingError names the option, before anything heavy is imported."""

    def __init__(self, file: bool = False, folder: bool = False) -> None:
        super().__init__(path_type=Path)
        self.file, self.folder = file, folder

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if not (self.file and path.is_file()) and not (self.folder and path.is_dir()):
            kind = " or ".join(["file"] * self.file + ["folder"] * self.folder)
            raise MissingError(f"{_called(param)}{path}: there is no such {kind}")
        return path


class NewFile(click.Path):
    """A file to be written, whose name must end in `ending`."""

    def __init__(self, ending: str) -> None:
        super().__init__(path_type=Path)
        self.ending = ending

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if path.suffix.lower() != self.ending:
            raise InputError(f"{_called(param)}{path}: give a file name that ends in {self.ending}")
        return path


def _called(param: click.Parameter | None) -> str:
    """Return the option's name and a space; an argument has no name that the user knows."""
    return f"{param.opts[0]} " if isinstance(param, click.Option) else ""


class HeightWidth(click.ParamType):  # type: ignore[type-arg]  # generic in the newest versions of click only
    """HEIGHTxWIDTH, as in 288x144."""

    name = "HxW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        try:
            height, width = (int(v) for v in str(value).lower().split("x"))
        except ValueError:
            self.fail(f"{value!r} is not HEIGHTxWIDTH, as in 288x144", param, ctx)
        return height, width


class FileSize(HeightWidth):
    """HEIGHTxWIDTH, `masks` or `source`."""

    name = "HxW|masks|source"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value in ("masks", "source") else super().convert(value, param, ctx)


def decorate(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Return one decorator that adds `options`, listed in the help in this order."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


json_option = click.option(  # eager: known to an option that prints something and ends, such as `--recipe list`
    "--json", "as_json", is_flag=True, is_eager=True, help="Print the result as JSON."
)
device_option = click.option(
    "--device", default="auto", help="`cpu`, `cuda`, `cuda:1`; `auto` is CUDA if there is one."
)
precision_option = click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="auto",
    help="`16-mixed` is for GPUs without bfloat16; `auto` is `bf16-mixed` on CUDA, else `32-true`.",
)
flip_option = click.option("--flip/--no-flip", default=True, help="Average with the mirrored image.")
size_option = click.option("--size", type=HeightWidth(), default="288x144", help="Height and width of the masks.")


def _hide_bars(ctx: click.Context, param: click.Parameter, value: int | None) -> int:
    """Hide the bars of loading and validating too if the command is to be quiet; tqdm reads this at its import."""
    if value == -1:
        os.environ["TQDM_DISABLE"] = "1"
    return value or 0  # none by default: click 8.2 takes no default of 0 from an option with a flag's value


verbosity_options = decorate(
    click.option(
        "-v", "--verbose", "verbosity", flag_value=1, type=int, callback=_hide_bars,
        help="Print a line per step too.",
    ),
    click.option(
        "-q", "--quiet", "verbosity", flag_value=-1, type=int, callback=_hide_bars,
        help="Print errors and the result alone.",
    ),
)  # fmt: skip
"""How much a training prints; its train.log has all but the lines per step."""
root_option = click.option("--root", type=Place, help="The images' folder, if they have moved since they were parsed.")
out_cache_option = click.option("--out", type=Place, help="The cache's index file.  [default: data/DATASET_masks.h5]")
photos_option = click.option(
    "--photos", type=Existing(folder=True), required=True, help="Annotated photographs: photos/, parts/, meta.json."
)
pattern_option = click.option(
    "--pattern", help="folder: where paths name person and camera, as in '{identity}/{camera}/*'.  [default: by level]"
)
parser_options = decorate(
    click.option("--weights", type=Existing(file=True), help="The parser's weights, instead of its own."),
    click.option(
        "--labels", metavar="NAME", help="hf, smp, torchscript, onnx: label set of the output, or a TOML file."
    ),
    click.option("--input", "input_size", type=HeightWidth(), help="hf, smp, torchscript, onnx: size of the input."),
    click.option(
        "--mean", type=float, nargs=3, help="smp, torchscript, onnx: mean of the channels.  [default: ImageNet's]"
    ),
    click.option(
        "--std", type=float, nargs=3, help="smp, torchscript, onnx: deviation of the channels.  [default: ImageNet's]"
    ),
    click.option(
        "--channels",
        type=click.Choice(("rgb", "bgr")),
        help="smp, torchscript, onnx: order of the channels.  [default: rgb]",
    ),
    click.option("--remote-code", metavar="MODEL", help="hf: let this model run the code that comes with it."),
    click.option("--narrow", is_flag=True, help="schp: half the input's width, for crops twice as tall as wide."),
    click.option("--bf16", is_flag=True, help="schp: compute in bfloat16; `parser compare` shows the difference."),
)
"""What describes a parser beside its name; `take_parser` takes it out of the options again."""


def take_parser(name: str, device: str, options: dict[str, Any], fetching: bool = True) -> "ParserSpec":
    """Return the ParserSpec of what `parser_options` added to `options`, which it removes from them.

    Its weights are fetched from the hub, if they come from there, before torch is imported: without a network the
    command ends in seconds.
    """
    from parsing.parsers.registry import OPTIONS, ParserSpec
    from parsing.parsers.sources import fetch

    if fetching:
        fetch(name, options["weights"], options["remote_code"])
    return ParserSpec(name, device=device, **{field: options.pop(field) for field in OPTIONS})


def open_cache(file: Path, root: Path | None = None) -> "MaskCache":
    """Open a mask cache for a pipeline before that is imported, and torch with it; errors as those of MaskCache."""
    from parsing import MaskCache

    return MaskCache(file, root)


def _check_gallery_rule(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """Refuse permutations that no gallery is drawn with; `--gallery` is read before them."""
    if value is not None and ctx.params["gallery"] != "official":
        raise InputError(f"--permutations {value} draws official galleries alone; give --gallery official too")
    return value


protocol_options = decorate(
    click.option(
        "--protocol", "protocols", multiple=True, help="One protocol of the data set; may repeat.  [default: all]"
    ),
    click.option(
        "--gallery",
        type=click.Choice(("seeded", "official")),
        default="seeded",
        is_eager=True,  # `--permutations` depends on it, wherever it stands
        help="SYSU-MM01's gallery rule.",
    ),
    click.option(
        "--permutations",
        type=Existing(file=True),
        callback=_check_gallery_rule,
        help="rand_perm_cam.mat, for official galleries.  [default: in exp/]",
    ),
)
rerank_option = click.option("--rerank", is_flag=True, help="Use k-reciprocal re-ranking; the table says so.")
