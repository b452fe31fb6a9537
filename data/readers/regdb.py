"""RegDB: one visible and one thermal camera, 412 identities of 10 + 10 images, ten published splits."""

from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple

from parsing.errors import InputError, MissingError

from ..records import DataSet, Modality, Protocol, Record, Trial
from .listing import list_below
from .lists import is_number, read_index

SPLITS = 10
FOLDERS: dict[str, Modality] = {"Visible": "visible", "Thermal": "infrared"}
CAMERAS: dict[Modality, int] = {"visible": 1, "infrared": 2}


class Split(NamedTuple):
    """Training and test images of one split, each in its list's order."""

    train_visible: tuple[Record, ...]
    train_thermal: tuple[Record, ...]
    test_visible: tuple[Record, ...]
    test_thermal: tuple[Record, ...]


class RegDB(DataSet):
    """RegDB below `root`. The identity of an image is the number of its folder, the same in every split."""

    name = "regdb"
    folder = "RegDB"
    published: ClassVar[Mapping[str, int]] = {
        "identities": 412,
        "images, visible": 4120,
        "images, thermal": 4120,
        "visible images of an identity, fewest": 10,
        "visible images of an identity, most": 10,
        "thermal images of an identity, fewest": 10,
        "thermal images of an identity, most": 10,
        "splits": SPLITS,
        **{f"split {k}, {part} identities": 206 for k in range(1, SPLITS + 1) for part in ("training", "test")},
        **{f"split {k}, {part} test images": 2060 for k in range(1, SPLITS + 1) for part in ("visible", "thermal")},
    }
    tree = (
        "  RegDB/\n"
        "    Visible/1/*.bmp ...   Thermal/1/*.bmp ...\n"
        "    idx/train_visible_1.txt train_thermal_1.txt test_visible_1.txt test_thermal_1.txt ... to _10\n"
        "        (lines 'path label', such as 'Visible/1/a.bmp 0')"
    )
    parts = (*FOLDERS, "idx", *(f"idx/{part}_1.txt" for part in Split._fields))

    signs = tuple(FOLDERS)
    infrared = "thermal"
    split_count = SPLITS

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        names, others, linked = list_below(self.root, *FOLDERS)
        self.others, self.linked = tuple(others), tuple(linked)
        if not names:
            raise InputError(f"regdb: there are no images in {self.root}. Expected:\n{self.tree}")
        modalities = [FOLDERS[name.partition("/")[0]] for name in names]
        self._images = tuple(
            Record(name, identity=self._identity(name), camera=CAMERAS[modality], modality=modality)
            for name, modality in zip(names, modalities, strict=True)
        )
        self._splits = {k: self._read(k) for k in range(1, SPLITS + 1) if (self.root / self._lists(k)[0]).is_file()}

    @property
    def images(self) -> tuple[Record, ...]:
        return self._images

    @property
    def splits(self) -> tuple[int, ...]:
        """Numbers of the splits whose lists exist."""
        return tuple(self._splits)

    def train(self, split: int = 1) -> tuple[Record, ...]:
        """Return the training images of a split, 1 to 10."""
        chosen = self._split(split)
        return tuple(sorted(chosen.train_visible + chosen.train_thermal, key=lambda image: image.name))

    def protocols(self, gallery: str = "seeded", split: int = 1) -> tuple[Protocol, ...]:
        """Return visible-to-thermal and thermal-to-visible of one split: all test images against each other."""
        if gallery not in ("seeded", "all"):
            raise InputError(f"regdb: the gallery is every test image, there is no rule {gallery!r}; leave it out")
        chosen = self._split(split)
        pairs = {
            "visible-to-thermal": Trial(chosen.test_visible, chosen.test_thermal),
            "thermal-to-visible": Trial(chosen.test_thermal, chosen.test_visible),
        }
        return tuple(
            Protocol(name, trials=(trial,), skip=self.skip, deduplicated=False, gallery_rule="all")
            for name, trial in pairs.items()
        )

    def counts(self) -> dict[str, int]:
        everyone = {image.identity for image in self._images}
        found = {"identities": len(everyone)}
        for part, modality in (("visible", "visible"), ("thermal", "infrared")):
            each = Counter(image.identity for image in self._images if image.modality == modality)
            found[f"images, {part}"] = each.total()
            found[f"{part} images of an identity, fewest"] = min(each[identity] for identity in everyone)
            found[f"{part} images of an identity, most"] = max(each.values(), default=0)
        found["splits"] = len(self._splits)
        for k, split in self._splits.items():
            found[f"split {k}, training identities"] = len(_identities(split.train_visible + split.train_thermal))
            found[f"split {k}, test identities"] = len(_identities(split.test_visible + split.test_thermal))
            found[f"split {k}, visible test images"] = len(split.test_visible)
            found[f"split {k}, thermal test images"] = len(split.test_thermal)
        return found

    @cached_property
    def _by_name(self) -> dict[str, Record]:
        return {image.name: image for image in self._images}

    def _split(self, split: int) -> Split:
        if not 1 <= split <= SPLITS:
            raise InputError(f"regdb: splits are numbered 1 to {SPLITS}, got {split}")
        if split not in self._splits:
            here = ", ".join(str(k) for k in self._splits)
            raise MissingError(f"regdb: there is no {self.root / self._lists(split)[0]}; splits here: {here}")
        return self._splits[split]

    def _lists(self, split: int) -> list[str]:
        return [f"idx/{part}_{split}.txt" for part in Split._fields]

    def _read(self, split: int) -> Split:
        lists = self._lists(split)
        lines = read_index(self.root, lists[:2]) + read_index(self.root, lists[2:])
        for list_name, part, modality in zip(lists, lines, ("visible", "infrared") * 2, strict=True):
            absent = [line.name for line in part if line.name not in self._by_name]
            if absent:
                raise InputError(
                    f"{self.root / list_name} lists {len(absent)} images that are not there, first {absent[0]}"
                )
            wrong = next((line.name for line in part if self._by_name[line.name].modality != modality), None)
            if wrong:
                raise InputError(f"{self.root / list_name} is a list of {modality} images, but has {wrong}")
        result = Split(*(tuple(self._by_name[line.name] for line in part) for part in lines))
        both = _identities(result.train_visible + result.train_thermal)
        both &= _identities(result.test_visible + result.test_thermal)
        if both:
            raise InputError(f"{self.root}, split {split}: identities {sorted(both)[:5]} are both to train and to test")
        return result

    def _identity(self, name: str) -> int:
        folder = name.split("/")[-2]
        if not is_number(folder):
            raise InputError(
                f"regdb: {self.root / name} must lie in a folder numbered by identity. Expected:\n{self.tree}"
            )
        return int(folder)


def _identities(images: tuple[Record, ...]) -> set[int]:
    return {image.identity for image in images}
