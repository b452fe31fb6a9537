"""Any names of images, classes and parts: understood, or refused with an error of ours; no path leads out."""

import tempfile
from itertools import pairwise
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.properties import TRIED, names

from parsing import CacheWriter, MaskCache, PartScheme
from parsing.errors import InputError
from parsing.exporters.paths import fill, relative_path
from parsing.labels import IGNORED, LabelSet, build_label_set, label_set
from parsing.names import find_name_fault
from parsing.schemes import part_scheme
from parsing.sides import split_side

TEMPLATES = (
    "{dir}/{stem}.png",
    "{stem}{suffix}",
    "m/{1}/{stem}.npy",
    "{root}_x/{dir:1}/{stem}.png",
    "{stem}/{suffix}/a",
)
MASK = np.ones((4, 4), np.uint8)


def inside(path: PurePosixPath) -> bool:
    """Whether a path, joined to a folder on this system or on Windows, stays below it."""
    windows = PureWindowsPath(str(path))
    parts = (*path.parts, *windows.parts)
    return bool(path.parts) and ".." not in parts and not path.is_absolute() and not windows.anchor


@TRIED
@given(names, st.sampled_from(TEMPLATES), st.one_of(st.just("SYSU-MM01"), names))
def test_no_name_leads_an_exporter_out(name: str, template: str, root: str) -> None:
    try:
        path = fill(template, name, root)
    except InputError as error:
        assert str(error)  # noqa: PT017
        return
    assert inside(path)
    assert inside(relative_path(name))
    assert "\0" not in str(path)


@settings(TRIED, max_examples=40)
@given(st.lists(names, min_size=1, max_size=4))
def test_a_writer_takes_a_name_that_every_reader_and_exporter_takes(tried: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        taken = []
        with CacheWriter(Path(folder) / "c.h5", labels="lip", size=(4, 4), parser="mine") as cache:
            for name in ("first.jpg", *tried):
                try:
                    cache.add(name, MASK)
                    taken.append(name)
                except InputError as error:
                    assert find_name_fault(name) or name in taken, error  # noqa: PT017
        read = MaskCache(Path(folder) / "c.h5")
        assert list(read.names) == taken
        places = {fill("{dir}/{stem}{suffix}", name, "root") for name in taken}
        assert len(places) == len(taken)  # no two names are one file
        assert all(np.array_equal(read[name], MASK) for name in taken)


spelt = st.one_of(
    st.text(max_size=12),
    st.builds(
        lambda side, part, order: order.format(side, part),
        st.sampled_from(["left", "Left", "LEFT", "l", "L", "lt", "right", "Right", "RIGHT", "r", "R", "rt"]),
        st.sampled_from(["arm", "Arm", "upper arm", "shoe", "éclair", "2", ""]),
        st.sampled_from(["{0}-{1}", "{0}_{1}", "{0} {1}", "{0}{1}", "{1}-{0}", "{1}{0}", "{1} ({0})"]),
    ),
)
swaps = st.one_of(st.none(), st.lists(st.tuples(spelt, spelt), max_size=2))


def check(labels: LabelSet) -> None:
    flip = labels.flipped
    assert [flip[flip[c]] for c in range(len(labels))] == list(range(len(labels)))
    assert flip[0] == 0
    for number, name in enumerate(labels.classes):
        assert labels.index(name) == number


@TRIED
@given(st.lists(spelt, max_size=6), swaps, st.randoms())
def test_any_class_names_flip_back_whatever_their_order(
    classes: list[str], given_swaps: list[tuple[str, str]] | None, chance: np.random.Generator
) -> None:
    try:
        labels = build_label_set("own", ["background", *classes], given_swaps)
    except InputError:
        return
    check(labels)
    mixed = list(classes)
    chance.shuffle(mixed)
    other = build_label_set("own", ["background", *mixed], given_swaps)
    pairs = [{frozenset(x.classes[c] for c in pair) for pair in x.swaps} for x in (labels, other)]
    assert pairs[0] == pairs[1]


@TRIED
@given(st.lists(st.tuples(spelt, spelt), min_size=1, max_size=3, unique=True))
def test_no_side_is_left_without_its_partner(pairs: list[tuple[str, str]]) -> None:
    classes = [name for pair in pairs for name in pair]
    assume(len({"background", *classes}) == len(classes) + 1)
    try:
        labels = build_label_set("own", ["background", *classes])
    except InputError:
        return
    swapped = {c for pair in labels.swaps for c in pair}
    assert {n for n, name in enumerate(labels.classes) if split_side(name) is not None} <= swapped


@TRIED
@given(st.text(max_size=6), st.lists(st.text(max_size=6), max_size=5), swaps)
def test_any_label_set_file_is_read_or_refused(
    name: str, classes: list[str], given_swaps: list[tuple[str, str]] | None
) -> None:
    import tomli_w

    content: dict[str, Any] = {"name": name, "classes": ["background", *classes]}
    if given_swaps is not None:
        content["swaps"] = [list(pair) for pair in given_swaps]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "own.toml"
        try:
            file.write_bytes(tomli_w.dumps(content).encode("utf-8"))
        except UnicodeEncodeError:
            return
        try:
            labels = label_set(str(file))
        except InputError:
            return
    check(labels)
    assert (labels.name, list(labels.classes)) == (name, ["background", *classes])


parts = st.lists(st.one_of(st.text(max_size=4), st.sampled_from(["name", "parts", "lip", "a", "b"])), max_size=4)


@TRIED
@given(parts, st.lists(st.lists(st.sampled_from(label_set("lip").classes), max_size=4), max_size=4), st.booleans())
def test_any_part_scheme_groups_each_class_once_and_flips_back(
    names_of_parts: list[str], classes: list[list[str]], from_file: bool
) -> None:
    import tomli_w

    labels = label_set("lip")
    groups = dict(zip(names_of_parts, classes, strict=False))
    try:
        if from_file:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "own.toml"
                try:
                    file.write_bytes(tomli_w.dumps({"name": "own", "parts": names_of_parts, "lip": groups}).encode())
                except UnicodeEncodeError:
                    return
                scheme = part_scheme(str(file))
        else:
            split = {part: tuple(each) for part, each in groups.items()}
            scheme = PartScheme("own", tuple(names_of_parts), {"lip": split}, partial=True)
        table = scheme.table(labels)
    except InputError:
        return
    assert table[0] == 0
    assert table[IGNORED] == IGNORED
    for number, part in enumerate(scheme.parts, 1):
        assert {labels.classes[c] for c in np.flatnonzero(table == number)} == set(groups.get(part, ()))
    try:
        flip = scheme.flipped(labels)
    except InputError:
        return
    assert [flip[flip[part]] for part in range(len(scheme) + 1)] == list(range(len(scheme) + 1))
    for one, other in pairwise((labels.flipped, range(len(labels)))):
        assert [flip[table[c]] for c in one] == [table[c] for c in other]
