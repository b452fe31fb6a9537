"""Images in `visible/` and `infrared/`, at any depth; the folder that holds an image names its identity."""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import ClassVar

from parsing.errors import InputError, MissingError

from .listing import camera_of, images_below, read_words, require
from .records import DataSet, Modality, Protocol, Record, Trial

MODALITIES: tuple[Modality, ...] = ("visible", "infrared")
TEST_LIST = "test_id.txt"


class Folder(DataSet):
    """Images below `root/visible` and `root/infrared`.

    The identity is the name of the folder that holds the image (the next one up where that is a camera's,
    such as `cam3`), numbered from 1 in sorted order over both modalities; -1 directly in visible/ or
    infrared/. `test_id.txt` beside them names the identities to test, by folder name.
    """

    name = "folder"
    folder = "folder"
    published: ClassVar[Mapping[str, int]] = {}
    tree = (
        "  ROOT/\n"
        "    visible/ANNA/*.jpg ...  infrared/ANNA/*.jpg ...  (any depth; camera from cam3/ or _c3_)\n"
        "    test_id.txt                                      (to evaluate: folder names to test, one a line)"
    )
    parts = MODALITIES

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        require(type(self), self.root)
        found = [(name, modality) for modality in MODALITIES for name in images_below(self.root, modality)]
        if not found:
            raise InputError(f"folder: there are no images in {self.root}. Expected:\n{self.tree}")
        people = sorted({person for name, _ in found if (person := _person(name)) is not None})
        self.people = {person: number for number, person in enumerate(people, start=1)}
        """Identity numbers by folder name."""
        self._images = tuple(
            Record(
                name,
                -1 if (person := _person(name)) is None else self.people[person],
                camera_of(name),
                modality,
            )
            for name, modality in sorted(found)
        )
        self.test_identities = self._read_test()

    @property
    def images(self) -> tuple[Record, ...]:
        return self._images

    def train(self, split: int = 1) -> tuple[Record, ...]:
        """Images with an identity that `test_id.txt`, if there is one, does not name."""
        left_out = {-1, *self.test_identities}
        return tuple(image for image in self._images if image.identity not in left_out)

    def protocols(self, gallery: str = "seeded", split: int = 1) -> tuple[Protocol, ...]:
        """infrared-to-visible: every infrared image of the test identities against every visible one."""
        if gallery not in ("seeded", "all"):
            raise InputError(f"folder: the gallery is every test image, there is no rule {gallery!r}; leave it out")
        if not self.test_identities:
            raise InputError(
                "folder: no identities to test; write the names of their folders, one a line, into "
                f"{self.root / TEST_LIST}"
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
        return (Protocol("infrared-to-visible", (Trial(query, against),), self.skip, False, "all"),)

    def counts(self) -> dict[str, int]:
        return {
            "identities": len(self.people),
            "images, visible": sum(image.modality == "visible" for image in self._images),
            "images, infrared": sum(image.modality == "infrared" for image in self._images),
            "images without an identity": sum(image.identity < 0 for image in self._images),
            "training images": len(self.train()),
            "test identities": len(self.test_identities),
        }

    def _read_test(self) -> frozenset[int]:
        path = self.root / TEST_LIST
        if not path.exists():
            return frozenset()
        names = read_words(path)
        if not names:
            raise InputError(f"{path} is empty; write the folder names of the identities to test, one a line")
        unknown = [name for name in names if name not in self.people]
        if unknown:
            raise MissingError(f"{path} names {', '.join(unknown[:5])}, but no image lies in a folder of that name")
        return frozenset(self.people[name] for name in names)


def _person(name: str) -> str | None:
    folders = PurePosixPath(name).parts[1:-1]
    return next((folder for folder in reversed(folders) if not re.fullmatch(r"(?i)cam\d+", folder)), None)
