"""Images in `visible/` and `infrared/`, at any depth; their paths name identity and camera (naming.py)."""

import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from parsing.errors import InputError, MissingError
from parsing.modality import MODALITIES
from parsing.words import list_briefly

from ..records import DataSet, Finding, Protocol, Record, Trial
from ..words import count_endings, is_text
from .listing import list_below
from .lists import read_words
from .naming import DISTRACTORS, by_level, by_pattern, cameras_of, recurring, reduce_name

TEST_LIST = "test_id.txt"


class Folder(DataSet):
    """Images below `root/visible` and `root/infrared`, or one of the two alone, for masks.

    The identity is the first folder below those two that is no camera's, or what `pattern` says (naming.py),
    numbered from 1 in the sorted order of its names over both modalities; -1 where nothing names it, and for
    Market-1501's distractors, `-1` and `0000`. `test_id.txt` beside them names the identities to test.
    """

    name = "folder"
    folder = ""
    options = ("pattern",)
    walked = True
    published: ClassVar[Mapping[str, int]] = {}
    tree = (
        "  ROOT/\n"
        "    visible/ANNA/*.jpg ...  infrared/ANNA/*.jpg ...  (any depth; camera from c3/, cam_3/, D3/ or _c3_)\n"
        "    visible/0002_c1s1_000451.jpg ...                 (or flat, named as Market-1501's; else --pattern)\n"
        "    test_id.txt                                      (to evaluate: names of people to test, one per line)"
    )
    parts = MODALITIES
    signs = MODALITIES

    def __init__(self, root: Path, pattern: str | None = None) -> None:
        super().__init__(root)
        self.pattern = pattern
        there = [modality for modality in MODALITIES if (self.root / modality).exists()]
        names, others, linked = list_below(self.root, *there)
        self.others, self.linked = tuple(others), tuple(linked)
        if not names:
            unread = f" ({len(others)} files that are no image: {count_endings(others)})" if others else ""
            raise InputError(f"folder: there are no images in {self.root}{unread}. Expected:\n{self.tree}")
        self._who = [by_level(name) for name in names] if pattern is None else by_pattern(names, pattern)
        named = {who.person for who in self._who if who.person is not None}
        self._names = sorted(named.difference(DISTRACTORS))
        self.people = {person: number for number, person in enumerate(self._names, start=1)}
        """Identity numbers by the people's names."""
        self._images = tuple(
            Record(
                name,
                identity=self.people.get(str(who.person), -1),
                camera=who.camera,
                modality="visible" if name.startswith("visible/") else "infrared",
            )
            for name, who in zip(names, self._who, strict=True)
        )
        self.test_identities = self._read_test()

    @classmethod
    def require(cls, root: Path) -> None:
        if not is_text(str(root)) or not root.is_dir() or not any((root / part).is_dir() for part in cls.parts):
            super().require(root)

    @property
    def images(self) -> tuple[Record, ...]:
        return self._images

    def train(self, split: int = 1) -> tuple[Record, ...]:
        """Return images of people whom `test_id.txt` does not name; InputError if none is left."""
        if not self.people:
            raise InputError(
                f"folder: none of {len(self._images)} images in {self.root} has an identity, such as "
                f"{self._images[0].name}; say where their paths name it, as in --pattern '{{identity}}_*'"
            )
        self._require_both()
        if not self._train():
            raise InputError(f"folder: {self.root / TEST_LIST} names everyone; leave somebody to train on")
        return self._train()

    def protocols(self, gallery: str = "seeded", split: int = 1) -> tuple[Protocol, ...]:
        """Return infrared-to-visible: every infrared image of the test identities against every visible one."""
        if gallery not in ("seeded", "all"):
            raise InputError(f"folder: the gallery is every test image, there is no rule {gallery!r}; leave it out")
        self._require_both()
        if not self.test_identities:
            raise InputError(
                "folder: no identities to test; write the names of the people, one per line, into "
                f"{self.root / TEST_LIST}, people whom no run was trained on"
            )
        query, against = (
            tuple(i for i in self._images if i.modality == modality and i.identity in self.test_identities)
            for modality in ("infrared", "visible")
        )
        if not query or not against:
            raise InputError(
                f"folder: the identities in {self.root / TEST_LIST} have {len(query)} infrared and "
                f"{len(against)} visible images; name some with both"
            )
        return (
            Protocol(
                "infrared-to-visible",
                trials=(Trial(query, against),),
                skip=self.skip,
                deduplicated=False,
                gallery_rule="all",
            ),
        )

    def untested(self) -> str:
        """Return what to do before training to hold people out for a test; empty if `test_id.txt` names some."""
        if self.test_identities:
            return ""
        return (
            f"nobody is held out for a test; write the names of the people to test, one per line, into "
            f"{self.root / TEST_LIST} before training: a run cannot be evaluated on people whom it was trained on"
        )

    def counts(self) -> dict[str, int]:
        return {
            "images, visible": sum(image.modality == "visible" for image in self._images),
            "images, infrared": sum(image.modality == "infrared" for image in self._images),
            "training images": len(self._train()),
            "test identities": len(self.test_identities),
        }

    def person(self, identity: int) -> str:
        return self._names[identity - 1] if 0 < identity <= len(self._names) else str(identity)

    def findings(self) -> tuple[Finding, ...]:
        """Return which people and cameras were found, and where the user may have meant others."""
        cameras = sorted({image.camera for image in self._images} - {0})
        without = sum(image.camera == 0 for image in self._images)
        said = [list_briefly([str(camera) for camera in cameras])] if cameras else []
        said += [f"none known of {without:,} images"] if without else []
        return (
            Finding("identities", count=len(self.people), note=list_briefly(self._names), wrong=not self.people),
            Finding("cameras", len(cameras), "; ".join(said)),
            *(finding for finding in (*self._unnamed(), *self._doubtful()) if finding.count),
            *super().findings(),
        )

    def _unnamed(self) -> Iterator[Finding]:
        """Yield images without an identity, and those in no folder of a person."""
        pairs = list(zip(self._images, self._who, strict=True))
        flat = [(image, who) for image, who in pairs if image.name.count("/") == 1 and self.pattern is None]
        named = sum(who.person is not None for _, who in flat)
        yield Finding(
            "images directly in visible/ or infrared/",
            len(flat),
            f"{named:,} of them named as Market-1501's, 0002_c1s1_000451.jpg",
        )
        strange = [image.name for image, who in pairs if who.person in DISTRACTORS]
        yield Finding(
            f"images of {' and '.join(DISTRACTORS)}", len(strange),
            f"Market-1501's distractors, identity taken as unknown: {list_briefly(strange, 1)}",
        )  # fmt: skip
        nobody = [image.name for image, who in pairs if who.person is None]
        yield Finding(
            "images without an identity", count=len(nobody),
            note=list_briefly(nobody, 2) + "; --pattern says where their paths name it, as in '{identity}_*'",
            wrong=True,
        )  # fmt: skip

    def _doubtful(self) -> Iterator[Finding]:
        """Yield folders and names that the user may have meant otherwise."""
        below = recurring(self._who)
        places = {folder: f"{folder} (below {list_briefly(people, 2)})" for folder, people in below.items()}
        within = {folder: str(who.person) for who in self._who for folder in who.within}
        places |= {folder: f"{folder} (also below {within[folder]})" for folder in within if folder in self.people}
        if len(self.people) == 1 and within:
            yield Finding(
                "folder holds everybody", 1,
                f"{self._names[0]} is taken as one person; if its folders, {list_briefly(sorted(within), 3)}, are the "
                "people, say so with --pattern '*/{identity}/**'", wrong=True,
            )  # fmt: skip
        yield Finding(
            "folder names below several people", count=len(places),
            note=f"{list_briefly(list(places.values()), 3)}; the first folder is the person, "
            "confirm it with --pattern '{identity}/**', or say otherwise, as in '*/{identity}/**'",
            wrong=any(folder in self.people or not any(map(str.isdigit, folder)) for folder in places),
        )  # fmt: skip
        both = set.intersection(*({i.identity for i in self._images if i.modality == m} for m in MODALITIES))
        like: dict[str, list[str]] = {}
        for person in self.people:
            like.setdefault(reduce_name(person), []).append(person)
        twins = [" and ".join(p) for p in like.values() if p[1:] and not both.issuperset(map(self.people.get, p))]
        yield Finding(
            "names alike in one modality alone", count=len(twins),
            note=f"{list_briefly(twins)}; one person needs one name in both", wrong=True,
        )  # fmt: skip
        forms: dict[str, list[str]] = {}
        for person in self.people:
            forms.setdefault(unicodedata.normalize("NFC", person), []).append(person)
        same = [p for p in forms.values() if p[1:] and both.issuperset(map(self.people.get, p))]
        yield Finding(
            "names written in two forms of Unicode", count=len(same),
            note=f"{list_briefly([' and '.join(map(ascii, p)) for p in same], 2)} look the same; one person needs one "
            "name", wrong=True,
        )  # fmt: skip
        two = [i.name for i in self._images if len(set(cameras_of(i.name))) > 1 and self.pattern is None]
        yield Finding(
            "images whose path names two cameras",
            count=len(two),
            note=f"the last folder's is taken: {list_briefly(two, 1)}",
            wrong=True,
        )

    def _require_both(self) -> None:
        """Raise InputError if all images are of one modality."""
        there = {image.modality for image in self._images}
        for modality in MODALITIES:
            if modality not in there:
                raise InputError(
                    f"folder: {self.root} has no {modality} images: masks can be made, but training and testing take "
                    f"both modalities; put images of the same people into {modality}/"
                )

    def _train(self) -> tuple[Record, ...]:
        left_out = {-1, *self.test_identities}
        return tuple(image for image in self._images if image.identity not in left_out)

    def _read_test(self) -> frozenset[int]:
        path = self.root / TEST_LIST
        if not path.exists():
            return frozenset()
        names = read_words(path)
        if not names:
            raise InputError(f"{path} is empty; write the names of the people to test, one per line")
        unknown = [name for name in names if name not in self.people]
        if unknown:
            raise MissingError(
                f"{path} names {list_briefly(unknown)}, but nobody here has that name; the people are "
                f"{list_briefly(self._names)}"
            )
        return frozenset(self.people[name] for name in names)
