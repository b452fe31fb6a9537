"""Verify every file of a mask cache, and repair it (`cscl masks verify`)."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from data.registry import open_data_set
from parsing.cache.builder import plan_shards
from parsing.cache.damage import Damage, Inspection, inspect_cache
from parsing.cache.index import build_index, find_orphans, follow_link, list_shards, shard_folder
from parsing.cache.lock import hold_lock
from parsing.cache.provenance import describe_mending, is_parsed
from parsing.cache.reader import MaskCache
from parsing.cache.shard import Status, read_stored
from parsing.errors import CacheError
from parsing.images import is_readable
from parsing.parsers.registry import spec_from_cache
from parsing.progress import Bar
from parsing.words import list_briefly

from ..images import find_images
from ..parse.run import ParseConfig, parse


@dataclass(frozen=True)
class VerifyConfig:
    """The arguments of a verification. weights, root, device, workers: for parsing again, as in `ParseConfig`."""

    cache: Path
    repair: bool = False
    root: Path | None = None
    weights: Path | None = None
    device: str = "auto"
    workers: int | None = None


@dataclass(frozen=True)
class VerifyReport:
    """Faults of a cache.

    Attributes:
        unmasked: images that are recorded without a mask.
        readable: those of them that can be read now.
        advice: how to mend it.
    """

    path: Path
    shards: int
    images: int
    damage: tuple[Damage, ...]
    unmasked: tuple[str, ...]
    readable: tuple[str, ...]
    repaired: tuple[Damage, ...] = ()
    advice: str = "--repair mends it"

    @property
    def sound(self) -> bool:
        return not self.damage and not self.readable

    def to_json(self) -> dict[str, Any]:
        """Return all values for `--json`."""
        shown = {**asdict(self), "sound": self.sound, "path": str(self.path)}
        for key in ("damage", "repaired"):
            shown[key] = [{**one, "path": str(one["path"])} for one in shown[key]]
        return shown

    def lines(self) -> list[str]:
        """Return the text that `cscl masks verify` prints, as lines."""
        lines = [f"repaired: {d.path} {d.what}" for d in self.repaired]
        lines += [f"{d.path} {d.what}" for d in self.damage]
        if self.readable:
            lines.append(
                f"{len(self.readable)} images were unreadable and are not now: {list_briefly(self.readable, 10)}"
            )
        if others := [name for name in self.unmasked if name not in self.readable]:
            lines.append(f"note: {len(others)} images are recorded without a mask: {list_briefly(others, 10)}")
        state = "whole" if self.sound else f"damaged; {self.advice}"
        shards = f"{self.shards} whole shard{'s' * (self.shards != 1)}"
        return [*lines, f"{self.path}: {self.images} masks in {shards}, {state}"]


def verify(config: VerifyConfig) -> VerifyReport:
    """Check every file of the cache and mend what is wrong, if asked to; errors as those of `parse`."""
    config = replace(config, cache=follow_link(config.cache))
    found, report = _look(config)
    if not config.repair or (report.sound and not _fatal(found)):
        return report
    if (
        any(d.kind == "shard" for d in report.damage)
        or report.readable
        or (_fatal(found) and (_find_maker(found)[1] or not report.damage))
        or _lacks_shards(config, found)
    ):
        _parse_again(config, found, report.readable)
    else:
        with hold_lock(config.cache, "cscl masks verify"):
            shards = [read_stored(path) for path in list_shards(config.cache) if path.name in found.whole]
            build_index(config.cache, [shard for shard in shards if shard is not None])
            for path in find_orphans(config.cache):
                path.unlink(missing_ok=True)
    _, mended = _look(config)
    gone = tuple(d for d in report.damage if d not in mended.damage)
    return VerifyReport(
        mended.path,
        shards=mended.shards,
        images=mended.images,
        damage=mended.damage,
        unmasked=mended.unmasked,
        readable=mended.readable,
        repaired=gone,
        advice=mended.advice,
    )


def _look(config: VerifyConfig) -> tuple[Inspection, VerifyReport]:
    with Bar(unit="shard", desc="verify") as bar:
        found = inspect_cache(config.cache, bar.update)
    whole = [stored.columns for stored in found.whole.values()]
    unmasked = tuple(n for c in whole for n in c.names[(c.status == Status.UNREADABLE) | (c.status == Status.FATAL)])
    damage = found.damage
    if not any(d.path == config.cache for d in damage):
        damage += tuple(_unreadable_index(config.cache))
    again = _can_parse(config, found)
    candidates = [n for c in whole for n in c.names[c.status == Status.UNREADABLE] if again]
    readable = tuple(n for n in candidates if is_readable(_root(config, found) / n))
    images = sum(len(c) for c in whole)
    report = VerifyReport(
        config.cache, shards=len(found.whole), images=images, damage=damage, unmasked=unmasked, readable=readable
    )
    if any(d.kind == "shard" for d in damage):
        return found, replace(report, advice=_advise(found))
    if not config.cache.is_file():
        return found, replace(
            report, advice=f"a run that was stopped goes on with its command; {report.advice} otherwise"
        )
    return found, report


def _advise(found: Inspection) -> str:
    """Return how lost masks come back: imported ones cannot be parsed again."""
    mending, parses_again = _find_maker(found)
    advice = mending if mending and not parses_again else "--repair mends it"
    return advice if shard_folder(found.index).is_dir() else f"put its folder there; if it is lost, {advice}"


def _can_parse(config: VerifyConfig, found: Inspection) -> bool:
    """Return whether the masks are a parser's that can parse again, and the folder of the images is there."""
    return _find_maker(found)[1] and _root(config, found).is_dir()


def _find_maker(found: Inspection) -> tuple[str, bool]:
    """Return what brings lost masks back, and whether that is to parse again; empty if nothing is known of them."""
    try:
        made_by = json.loads((found.attributes or {})["made_by"])
        return describe_mending(made_by), is_parsed(made_by) and spec_from_cache(made_by, None, "cpu") is not None
    except (KeyError, TypeError, ValueError, AttributeError):  # not as this project writes it; the damage says so
        return "", False


def _unreadable_index(index: Path) -> Iterator[Damage]:
    try:
        MaskCache(index)
    except CacheError as error:
        yield Damage(index, "index", str(error).removeprefix(f"{index}: "))


def _root(config: VerifyConfig, found: Inspection) -> Path:
    relative = found.attributes["root"] if found.attributes else "."
    return config.root or (config.cache.parent.resolve() / relative).resolve()


def _fatal(found: Inspection) -> list[str]:
    """Return the paths of the whole shards with images that killed every process that parsed them."""
    return [str(one.path) for one in found.whole.values() if (one.columns.status == Status.FATAL).any()]


def _parse_again(config: VerifyConfig, found: Inspection, readable: Sequence[str]) -> None:
    """Parse the shards that are damaged, and those with images that had no mask and may have one now."""
    if found.attributes is None:
        raise CacheError(f"{config.cache}: nothing of it is whole; run the command that made it again")
    made_by = json.loads(found.attributes["made_by"])
    parser = spec_from_cache(made_by, config.weights, config.device) if is_parsed(made_by) else None
    if parser is None:
        mending = describe_mending(made_by)
        if is_parsed(made_by) and (fatal := _fatal(found)):
            mending += f", and tries again what killed its workers if you remove {list_briefly(fatal)} first"
        raise CacheError(f"{config.cache} was made by {made_by['parser']}, which --repair does not run; {mending}")
    root = find_images(config.cache, _root(config, found), config.root)
    wanted = frozenset(readable)
    again = frozenset(
        name
        for name, stored in found.whole.items()
        if wanted.intersection(stored.columns.names) or (stored.columns.status == Status.FATAL).any()
    )
    again_config = ParseConfig(
        found.attributes["data_set"],
        root=root,
        out=config.cache,
        parser=parser,
        size=tuple(made_by["size"]),
        workers=config.workers,
        probs=made_by["probs"],
        flip=made_by["flip"],
        pattern=found.attributes.get("pattern"),
    )
    recorded = _root(replace(config, root=None), found)
    names = [name for rows in _plan(config, found, root).values() for name in rows]
    parse(again_config, names, again, recorded)


def _lacks_shards(config: VerifyConfig, found: Inspection) -> bool:
    """Return whether shards are missing that no index tells of: only the data set knows, if it can be asked."""
    if found.expected is not None or not _can_parse(config, found):
        return False
    return set(_plan(config, found, _root(config, found))) != set(found.whole)


def _plan(config: VerifyConfig, found: Inspection, root: Path) -> dict[str, list[str]]:
    """Return the images of each shard by file name, from the index, or from the data set if the whole shards fit it."""
    if found.expected is not None:
        return {file: columns.names.tolist() for file, columns in found.expected.items()}
    said = found.attributes or {}
    records = open_data_set(str(said.get("data_set")), root, pattern=said.get("pattern")).images
    planned = plan_shards(shard_folder(config.cache), records)
    names = {path.name: [record.name for record in rows] for path, rows in planned.items()}
    for file, stored in found.whole.items():
        if names.get(file) != stored.columns.names.tolist():
            raise CacheError(
                f"{config.cache}: its index is lost, and its shards do not hold the images of {root} as they are; run "
                "the command that made it again"
            )
    return names
