"""Started by torchrun or fabric run in test_processes.py: one step and a short run, as one of several processes."""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from cscl.model import CSCL
from cscl.total_loss import TotalLoss
from pipelines.recipes.reading import read_recipe
from pipelines.training import processes
from pipelines.training.batch_norm import share_batch_norm
from pipelines.training.config import TrainConfig
from pipelines.training.processes import broadcast, gather, make_fabric
from pipelines.training.step import take_gradients
from pipelines.training.train import train

folder, masks = Path(sys.argv[1]), Path(sys.argv[2])
device = sys.argv[3]
vars(processes)["PRECISIONS"] = ("auto", "64-true")  # the comparison is in float64, which no training is
fabric = make_fabric(device, "64-true")
rank, world = fabric.global_rank, fabric.world_size
assert gather(fabric, torch.tensor([rank == 1])).tolist() == [False, True]
assert broadcast(fabric, {"rank1": 0.5} if rank == 0 else None) == {"rank1": 0.5}
recipe = read_recipe(folder / "recipe.toml")
single, torch.Tensor.float = torch.Tensor.float, torch.Tensor.double  # type: ignore[method-assign]
for pieces, training in ((1, True), (2, False)):
    model = CSCL(recipe.model.config(4, 4, ())).double()
    model.load_state_dict(load_file(folder / "model.safetensors"))
    share_batch_norm(model.train(training), fabric.device)
    whole = load_file(folder / "batch.safetensors")
    slots = torch.arange(16).view(2, world * pieces, -1).transpose(0, 1).flatten(1)
    own = slots[rank * pieces : (rank + 1) * pieces].flatten()
    chosen = replace(recipe, train=replace(recipe.train, accumulate=pieces))
    network = fabric.setup_module(model)
    terms, _ = take_gradients(
        network,
        criterion=TotalLoss(recipe.loss),
        batch={k: v[own] for k, v in whole.items()},
        alpha=0.4,
        recipe=chosen,
        fabric=fabric,
    )
    found = {f"gradient.{n}": p.grad for n, p in model.named_parameters() if p.grad is not None}
    found |= {f"buffer.{n}": b for n, b in model.named_buffers()} | {f"term.{n}": t for n, t in terms.items()}
    save_file({k: v.contiguous() for k, v in found.items()}, folder / f"{rank}-{pieces}.safetensors")
torch.Tensor.float = single  # type: ignore[method-assign]
train(TrainConfig(masks, folder / "run", recipe, device=device))
