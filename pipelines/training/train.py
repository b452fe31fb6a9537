"""Train CSCL or a baseline on a data set and its cached masks (`cscl train`, stage 2)."""

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from cscl.model import CSCL
from data.loading.sampler import IdentitySampler
from data.records import DataSet, Record
from data.registry import DATA_SETS, open_data_set
from parsing.cache.lock import hold_lock
from parsing.cache.reader import MaskCache
from parsing.errors import CsclError, InputError, first_line
from parsing.image_sizes import find_other_image
from parsing.schemes import part_scheme
from parsing.words import list_briefly

from ..datasets.check import compare_published
from ..devices import is_out_of_memory
from ..images import find_images
from ..recipes.reading import Recipe
from ..runs.folder import read_state, save_info
from ..runs.loggers import MakeLogger, find_logger
from ..runs.provenance import RunInfo, hash_people, hash_records, read_own_recipe, write_file
from ..runs.scheme import keep_scheme, read_scheme, read_scheme_file
from .batches import Batches, permute_within_modality, read_confidences, select_with_masks
from .config import TrainConfig
from .initial import continue_from, find_initial, load_initial_weights
from .lengthen import check_changes, check_length, describe_changes
from .loop import fit
from .pretrained import load_backbone_weights
from .processes import find_sharing, make_fabric
from .progress import Progress
from .resumed import carry_over, check_content, check_data, describe_precision, read_past, reopen
from .session import start_session
from .stores import LabelStore, hash_masks, make_image_store, open_store
from .usable_masks import check_usable
from .validation import Validation, hold_out


def train(config: TrainConfig, cache: MaskCache | None = None) -> Path:
    """Train a network and return the folder of its run, see pipelines/runs/folder.py for the files in it.

    The data set and its root come from the cache. Nothing is written before everything has been checked.

    Args:
        config: masks, folder, recipe and machine.
        cache: the cache `config.masks`, if it is already open.

    Raises:
        InputError: if the arguments do not fit the cache or an existing run, an image is not in the cache, or no mask
            shows a part.
        LockedError: if another process trains into the same folder.
        CsclError: if the loss is not finite, or the memory is full.
    """
    loggers = [find_logger(name) for name in config.loggers]
    fabric = make_fabric(config.device, config.precision)
    run = config.run
    with (
        hold_lock(run, "cscl train", folder=run.parent) if fabric.is_global_zero else nullcontext(),
        Progress(config.verbosity, fabric.is_global_zero) as progress,
    ):
        try:
            _train(config, fabric=fabric, progress=progress, cache=cache, loggers=loggers)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            pieces = config.recipe.train.accumulate
            raise CsclError(
                f"the memory of --device {config.device} does not hold the training ({first_line(error)}); "
                f"--set train.accumulate={2 * pieces} sends a batch through the network in {2 * pieces} pieces"
            ) from error
    return run


def _train(
    config: TrainConfig, fabric: Fabric, progress: Progress, cache: MaskCache | None, loggers: Sequence[MakeLogger]
) -> None:
    recipe, run = config.recipe, config.run
    done = _read_done(config, progress)
    before = read_own_recipe(run) if config.resume else recipe
    cache = MaskCache(config.masks) if cache is None else cache
    if done is not None and done["masks"] != cache.fingerprint:
        raise InputError(f"--resume: {run} was trained on other masks than those of {config.masks}; give the same")
    if cache.data_set not in DATA_SETS:
        raise InputError(
            f"{config.masks} was imported without a data set, so nobody in it has an identity; import it again with "
            f"--dataset, one of {', '.join(DATA_SETS)}"
        )
    data_set = open_data_set(cache.data_set, find_images(config.masks, cache.root, config.root), pattern=cache.pattern)
    data_set.check_split(recipe.data.split, f"data.split = {recipe.data.split}")
    listed = data_set.train(recipe.data.split)
    records = select_with_masks(listed, cache)
    scheme, edited = read_scheme(run, recipe.data.scheme) if config.resume else (part_scheme(recipe.data.scheme), "")
    scheme_file = None if config.resume else read_scheme_file(recipe.data.scheme)
    image_store = make_image_store(cache, root=data_set.root, records=records, size=recipe.data.size)
    label_store = LabelStore(cache, records=records, table=scheme.table(cache.labels), size=recipe.data.size)
    validating: tuple[Record, ...] = ()
    if recipe.data.select == "val":
        records, validating = hold_out(data_set, records)
    info = _describe(config, cache=cache, data_set=data_set, records=records, validating=validating)
    past = None if done is None else read_past(run)
    if past is not None:
        check_data(past, info, run=run, masks=config.masks)
        info = carry_over(past, info)
        if change := describe_precision(past, fabric.strategy.precision.precision):
            progress.note(change)
    if sharing := find_sharing(fabric):
        progress.note(sharing)
    for note in (compare_published(data_set), data_set.untested(), edited):
        if note:
            progress.note(note)
    if unmasked := sorted({r.name for r in listed}.difference(label_store.names)):
        progress.note(
            f"{len(unmasked)} of the {len(listed)} training images have no mask in {config.masks} "
            f"and are left out: {list_briefly(unmasked, 3)}"
        )
    sampler = IdentitySampler(records, identities=recipe.train.identities, images=recipe.train.images, seed=recipe.seed)
    if sampler.never_drawn:
        names = [data_set.person(identity) for identity in sampler.never_drawn]
        progress.note(
            f"{len(names)} of the {info.identities} people are seen in one modality alone "
            f"and are not trained on: {list_briefly(names)}"
        )
    flipped = scheme.flipped(cache.labels)
    init = find_initial(run) if config.resume and done is None else config.init
    fresh = done is None and init is None
    model = _make_model(recipe, identities=info.identities, parts=len(scheme), flipped=flipped, fresh=fresh)
    if init is not None:
        new = load_initial_weights(model, init, info)
        info = continue_from(info, init=init, run=run)
        progress.say(f"starts from the weights of {init}" + f"; new: {', '.join(new)}" * bool(new))
    listed_names = [record.name for record in (*records, *validating)]
    if not image_store.exists() and (other := find_other_image(listed_names, data_set.root, cache)):
        raise InputError(
            f"{data_set.root}: {other} has another size than the image of that name in {config.masks}: these are other "
            "images, or they were changed after parsing; give their own masks, or the parsed images with --root"
        )
    masked = records
    if recipe.data.masks == "other":
        masked = tuple(records[n] for n in permute_within_modality(records, recipe.seed))
    labels, labels_hash = open_store(label_store, fabric, progress)
    part_labels = [labels[r.name] for r in masked]
    confidence = read_confidences(cache, masked, recipe.data.min_confidence)
    if recipe.loss.parsing or recipe.loss.shown:  # a baseline does not use masks
        notes = check_usable(cache, records=masked, parts=part_labels, confidence=confidence, scheme=scheme.name)
        for note in notes:
            progress.note(note)
    images, images_hash = open_store(image_store, fabric, progress)
    masks_hash = hash_masks(labels_hash, read_confidences(cache, records, recipe.data.min_confidence))
    info = replace(info, images_hash=images_hash, masks_hash=masks_hash)
    if past is not None:
        check_content(past, info, run=run, root=data_set.root, masks=config.masks)
    validation = None
    if recipe.data.select == "val":
        validation = Validation(validating, [images[r.name] for r in validating], data_set.skip)
    batches = Batches(
        records,
        images=[images[r.name] for r in records],
        part_labels=part_labels,
        confidence=confidence,
        sampler=sampler,
        steps=recipe.train.steps or sampler.steps,
        recipe=recipe,
        flipped=flipped,
        process=(fabric.global_rank, fabric.world_size),
    )
    start = 0 if done is None else int(done["step"])
    check_length(recipe, start, batches.steps)
    changes = check_changes(before, recipe, run / "recipe.toml")
    for line in describe_changes(before, after=recipe, done=start, steps=batches.steps) if changes else ():
        progress.note(line)
    fabric.barrier()  # no process may find the files that the first one writes now
    if fabric.is_global_zero:
        run.mkdir(parents=True, exist_ok=True)
        if changes and past is not None:  # before the recipe: a run killed from here to its next save is not finished
            info = reopen(run, info)
        elif init is not None:  # before the recipe too: a run killed before its first save begins from there again
            save_info(run, info)
        keep_scheme(run, scheme_file)
        write_file(run / "recipe.toml", recipe.to_toml().encode())
        progress.open(run / "train.log")
    session = start_session(fabric, start, changes)
    progress.detail(session.facts)
    fit(
        run,
        recipe=recipe,
        fabric=fabric,
        model=model,
        batches=batches,
        info=info,
        session=session,
        progress=progress,
        loggers=loggers,
        validation=validation,
        done=done,
    )


def _describe(
    config: TrainConfig, cache: MaskCache, data_set: DataSet, records: Sequence[Record], validating: Sequence[Record]
) -> RunInfo:
    """Return the content of run.json before the first session: what the run is trained on."""
    trained, seen = ({r.identity for r in some} for some in (records, (*records, *validating)))
    return RunInfo(
        data_set=data_set.name,
        root=os.path.relpath(data_set.root.resolve(), config.run.resolve()),
        masks=os.path.relpath(config.masks.resolve(), config.run.resolve()),
        fingerprint=cache.fingerprint,
        label_set=cache.labels.name,
        identities=len(trained),
        selection=config.recipe.data.select,
        pattern=cache.pattern,
        people=tuple(data_set.person(identity) for identity in sorted(seen)),
        people_hash=hash_people(data_set.person(identity) for identity in trained),
        records_hash=hash_records(data_set, records, validating),
    )


def _make_model(recipe: Recipe, identities: int, parts: int, flipped: tuple[int, ...], fresh: bool) -> CSCL:
    """Return the network with its weights at the start; if not `fresh`, without pretrained weights.

    A run that is continued, or starts from another one, loads weights afterwards.
    """
    with torch.random.fork_rng(devices=[]):  # the seed decides the weights; leave the global random state alone
        torch.default_generator.manual_seed(recipe.seed)
        model = CSCL(recipe.model.config(identities, parts, flipped))
        weights = load_backbone_weights(recipe.model.backbone, recipe.model.pretrained) if fresh else None
    if weights is not None:
        try:
            model.load_backbone(weights)
        except ValueError as error:
            raise InputError(f"model.pretrained = {recipe.model.pretrained!r}: {error}") from error
    return model


def _read_done(config: TrainConfig, progress: Progress) -> Mapping[str, Any] | None:
    """Return the saved state to continue from, or None for a new run, after `TrainConfig.check_run`.

    Damaged states are skipped, with a line that says so.
    """
    config.check_run()
    if not config.resume:
        return None
    run = config.run
    state, wrong = read_state(run)
    if wrong and state is not None:
        progress.say(f"{'; '.join(wrong)}: going on from the state before, step {state['step']}")
    return state
