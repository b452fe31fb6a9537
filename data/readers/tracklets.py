"""What video data sets have in common: their protocols rank tracklets, not images."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path

from parsing.errors import InputError

from ..records import DataSet, Protocol, Trial
from .listing import list_folder


class VideoDataSet(DataSet):
    """A data set of video; a subclass says which tracklets are ranked against which, and which lists that needs."""

    @property
    @abstractmethod
    def absent_lists(self) -> tuple[str, ...]:
        """Lists of tracklets that are not in the folder: without them nobody can be tested."""

    @abstractmethod
    def trials(self) -> Mapping[str, Trial]:
        """Return the one trial of each protocol, by its name."""

    def untested(self) -> str:
        if not self.absent_lists:
            return ""
        return (
            f"its protocols rank tracklets, and {self.root} has no {', '.join(self.absent_lists)}: masks and training "
            "only, `cscl evaluate` and `cscl score` need these lists"
        )

    def protocols(self, gallery: str = "seeded", split: int = 1) -> tuple[Protocol, ...]:
        """Return the published protocols: all tracklets of query and gallery, each by the mean feature of its images.

        Raises:
            InputError: if the lists of tracklets are not there, contradict each other or leave a side empty.
        """
        if gallery not in ("seeded", "all"):
            raise InputError(f"{self.name}: the gallery is every tracklet, there is no rule {gallery!r}; leave it out")
        if self.absent_lists:
            raise InputError(f"{self.name}: {self.untested()}")
        made = {name: trial for name, trial in self.trials().items() if trial.query and trial.gallery}
        if not made:
            raise InputError(f"{self.name}: the lists of tracklets in {self.root} leave no query or no gallery")
        return tuple(
            Protocol(name, trials=(trial,), skip=self.skip, deduplicated=False, gallery_rule="all")
            for name, trial in made.items()
        )


def absent_files(root: Path, names: Iterable[str]) -> list[str]:
    """Return those of the names that are no image files below `root`; each folder is listed once."""
    present: dict[str, frozenset[str]] = {}
    absent = []
    for name in names:
        folder, _, file = name.rpartition("/")
        if folder not in present:
            present[folder] = frozenset(list_folder(f"{root}/{folder}").images)
        if file not in present[folder]:
            absent.append(name)
    return absent
