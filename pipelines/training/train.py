"""`cscl train`: stage 2, CSCL or a baseline on the cached masks of a data set."""

import os
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from tqdm import tqdm

from cscl.model import CSCL
from data.loading.images import load_images
from data.loading.sampler import IdentitySampler
from data.records import Record
from data.registry import DATA_SETS, open_data_set
from parsing.cache.lock import writing_to
from parsing.cache.reader import MaskCache
from parsing.errors import InputError
from parsing.schemes import part_scheme

from ..images import find_images
from ..recipes.reading import Recipe
from ..runs.folder import read_state
from ..runs.provenance import RunInfo, write_file
from .batches import Batches, confidences, of_others, read_part_labels, with_masks
from .config import TrainConfig
from .loop import fit
from .pretrained import backbone_weights
from .processes import make_fabric
from .usable_masks import check_usable
from .validation import Validation, held_out


def train(config: TrainConfig, cache: MaskCache | None = None) -> Path:
    """Train and write the run's folder; see pipelines/runs/folder.py for what lies there.

    The data set and its root come from the cache. Raises InputError if an image has no mask in it, or
    no mask shows a part. Nothing is written before the first step can be taken. LockedError if another process trains
    into the same folder.
    cache: that of `config.masks`, if it is open.
    """
    fabric = make_fabric(config.device, config.precision)
    run = config.run
    with writing_to(run, "cscl train", folder=run.parent) if fabric.is_global_zero else nullcontext():
        _train(config, fabric, cache)
    return run


def _train(config: TrainConfig, fabric: Fabric, cache: MaskCache | None) -> None:
    recipe, run = config.recipe, config.run
    done = _checked_run(config, fabric.is_global_zero)
    cache = MaskCache(config.masks) if cache is None else cache
    if done is not None and done["masks"] != cache.fingerprint:
        raise InputError(f"--resume: {run} was trained on other masks than those of {config.masks}; give the same")
    if cache.data_set not in DATA_SETS:
        raise InputError(
            f"{config.masks} was imported without a data set, so nobody in it has an identity; import it again with "
            f"--dataset, one of {', '.join(DATA_SETS)}"
        )
    data_set = open_data_set(cache.data_set, find_images(config.masks, cache.root, config.root), pattern=cache.pattern)
    records = with_masks(data_set.train(recipe.data.split), cache)
    chosen_on: tuple[Record, ...] = ()
    if recipe.data.select == "val":
        records, chosen_on = held_out(data_set, records)
    if (untested := data_set.untested()) and fabric.is_global_zero:
        tqdm.write(f"note: {untested}", file=sys.stderr)
    sampler = IdentitySampler(records, recipe.train.identities, recipe.train.images, recipe.seed)
    scheme = part_scheme(recipe.data.scheme)
    flipped = scheme.flipped(cache.labels)
    identities = len({r.identity for r in records})
    model = _model(recipe, identities, len(scheme), flipped, fresh=done is None)

    def load(wanted: tuple[Record, ...]) -> torch.Tensor:
        return load_images(data_set.root, [r.name for r in wanted], recipe.data.size)

    masked = records
    if recipe.data.masks == "other":
        masked = tuple(records[n] for n in of_others(records, recipe.seed))
    part_labels = read_part_labels(cache, masked, scheme.table(cache.labels), recipe.data.size)
    trust = confidences(cache, masked, recipe.data.min_confidence)
    if recipe.loss.parsing or recipe.loss.shown:  # a baseline learns nothing from masks
        notes = check_usable(cache, masked, part_labels, trust, scheme.name)
        for note in notes if fabric.is_global_zero else ():
            tqdm.write(f"note: {note}", file=sys.stderr)
    validation = Validation(chosen_on, load(chosen_on), data_set.skip) if recipe.data.select == "val" else None
    batches = Batches(
        records,
        images=load(records),
        part_labels=part_labels,
        confidence=trust,
        sampler=sampler,
        steps=recipe.train.steps or sampler.steps,
        recipe=recipe,
        flipped=flipped,
        process=(fabric.global_rank, fabric.world_size),
    )
    fabric.barrier()  # all have looked at the folder
    if fabric.is_global_zero:
        run.mkdir(parents=True, exist_ok=True)
        write_file(run / "recipe.toml", recipe.to_toml().encode())
    info = RunInfo(
        data_set=cache.data_set,
        root=os.path.relpath(data_set.root.resolve(), run.resolve()),
        masks=os.path.relpath(config.masks.resolve(), run.resolve()),
        fingerprint=cache.fingerprint,
        label_set=cache.labels.name,
        identities=identities,
        selection=recipe.data.select,
        pattern=cache.pattern,
        people=tuple(data_set.person(identity) for identity in sorted({r.identity for r in (*records, *chosen_on)})),
    )
    fit(run, recipe=recipe, fabric=fabric, model=model, batches=batches, info=info, validation=validation, done=done)


def _model(recipe: Recipe, identities: int, parts: int, flipped: tuple[int, ...], fresh: bool) -> CSCL:
    """Return the network at its start; not `fresh`, it waits for the weights of the run that goes on."""
    with torch.random.fork_rng(devices=[]):  # networks are drawn before weights are put into them
        torch.default_generator.manual_seed(recipe.seed)
        model = CSCL(recipe.model.config(identities, parts, flipped))
        weights = backbone_weights(recipe.model.backbone, recipe.model.pretrained) if fresh else None
    if weights is not None:
        try:
            model.load_backbone(weights)
        except ValueError as error:
            raise InputError(f"model.pretrained = {recipe.model.pretrained!r}: {error}") from error
    return model


def _checked_run(config: TrainConfig, speak: bool) -> Mapping[str, Any] | None:
    """The saved state to go on from, or None for a new run; refuses to overwrite one or to change its recipe."""
    config.check_run()
    if not config.resume:
        return None
    run = config.run
    state, wrong = read_state(run)
    if wrong and state is not None and speak:
        tqdm.write(f"{'; '.join(wrong)}: going on from the state before, step {state['step']}", file=sys.stderr)
    return state
