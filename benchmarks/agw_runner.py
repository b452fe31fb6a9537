"""Runs one script of the published AGW code as it is, in a process of its own, on a machine without CUDA.

    python benchmarks/agw_runner.py SCRIPT SETTINGS.json [the script's own options ...]

The working folder is where the script shall find `../Datasets`. What is given it in place of what it would have:
`.cuda()` that stays where it is; Pillow's old name ANTIALIAS; a tensorboardX that writes nothing; one process for
loading; `torch.load` onto the CPU; the file `weights` for the download of ImageNet's;
`constants`, values for its hard-coded paths and sizes, by the name that they are assigned to; `epochs` for the 81 of
its loop. After train.py the last weights are saved as `last`.
"""

import ast
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from PIL import Image
from torch import Tensor


class Constants(ast.NodeTransformer):
    """Other values for the constants that a script assigns to these names."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def visit_Assign(self, node: ast.Assign) -> ast.Assign:
        target = node.targets[0]
        if isinstance(target, ast.Name) and target.id in self.values and isinstance(node.value, ast.Constant):
            node.value = ast.copy_location(ast.Constant(self.values[target.id]), node.value)
        return node


class NoWriter:
    """tensorboardX's SummaryWriter, silent."""

    def __init__(self, *_: Any) -> None: ...

    def add_scalar(self, *_: Any) -> None: ...


class OneProcess(torch.utils.data.DataLoader[Any]):
    """A DataLoader without worker processes."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{**options, "num_workers": 0})


def adapt(weights: str) -> None:
    """Put in place what the script cannot have here."""
    load = torch.load
    replaced: Any = {
        (Tensor, "cuda"): lambda tensor, *_, **__: tensor,
        (torch, "load"): lambda file, *_, **__: load(file, map_location="cpu", weights_only=True),
        (torch.utils.data, "DataLoader"): OneProcess,
        (torch.utils.model_zoo, "load_url"): lambda *_, **__: load(weights, weights_only=True),
        (Image, "ANTIALIAS"): Image.Resampling.LANCZOS,
    }
    for (owner, name), value in replaced.items():
        setattr(owner, name, value)
    sys.modules["tensorboardX"] = SimpleNamespace(SummaryWriter=NoWriter)  # type: ignore[assignment]


def run(script: Path, settings: dict[str, Any], options: list[str]) -> None:
    """Execute `script` with these options; see the top of this file for `settings`."""
    import torch.utils.model_zoo

    adapt(settings["weights"])
    tree = Constants(settings.get("constants", {})).visit(ast.parse(script.read_text(encoding="utf-8")))
    epochs = settings.get("epochs", 81)
    space: dict[str, Any] = {
        "__name__": "__main__",
        "best_epoch": -1,  # train.py reads it before it has one, as long as Rank-1 is 0
        "range": lambda *bounds: range(0, epochs) if bounds == (0, 81) else range(*bounds),
    }
    sys.path.insert(0, str(script.parent))
    sys.argv = [str(script), *options]
    exec(compile(tree, str(script), "exec"), space)
    if "last" in settings:
        torch.save({"net": space["net"].state_dict(), "epoch": epochs}, settings["last"])


if __name__ == "__main__":
    run(Path(sys.argv[1]).resolve(), json.loads(Path(sys.argv[2]).read_text()), sys.argv[3:])
