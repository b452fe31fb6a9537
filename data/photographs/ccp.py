"""A clone of Clothing Co-Parsing (Yang, Luo and Lin, CVPR 2014): its photographs and its class maps.

`photos/ID.jpg` and, for about half of them, `annotations/pixel-level/ID.mat` with the variable `groundtruth`.
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat, whosmat

from parsing.errors import InputError, MissingError, first_line
from parsing.images import UnreadableImageError, read_image


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


CLASSES = _words(
    """
    null accessories bag belt blazer blouse bodysuit boots bra bracelet cape cardigan clogs coat dress
    earrings flats glasses gloves hair hat heels hoodie intimate jacket jeans jumper leggings loafers necklace
    panties pants pumps purse ring romper sandals scarf shirt shoes shorts skin skirt sneakers socks stockings
    suit sunglasses sweater sweatshirt swimwear t-shirt tie tights top vest wallet watch wedges
    """
)
"""The classes in the order of label_list.mat, which is a cell array and therefore not read."""

VAL = _words(
    """
    0007 0020 0023 0041 0063 0071 0076 0084 0087 0088 0089 0095 0098 0113 0118 0127 0157 0206 0207 0210 0214
    0215 0225 0230 0238 0247 0249 0256 0258 0269 0275 0287 0288 0316 0333 0335 0337 0348 0366 0372 0382 0385
    0402 0408 0419 0427 0429 0448 0468 0472 0478 0513 0529 0544 0551 0555 0557 0562 0567 0569 0572 0573 0594
    0596 0609 0615 0633 0634 0648 0655 0661 0676 0696 0706 0730 0736 0752 0779 0797 0809 0812 0818 0832 0846
    0850 0864 0865 0877 0890 0891 0893 0911 0913 0915 0931 0937 0954 0967 0992 0996
    """
)
"""Photographs that score the built-in parser."""

TEST = _words(
    """
    0013 0021 0051 0068 0073 0082 0086 0092 0102 0128 0146 0150 0154 0155 0156 0159 0163 0169 0176 0179 0181
    0183 0186 0198 0222 0231 0254 0264 0266 0268 0273 0282 0286 0294 0295 0304 0310 0323 0327 0329 0344 0357
    0364 0374 0375 0386 0403 0412 0416 0421 0424 0434 0435 0445 0467 0484 0493 0500 0505 0510 0512 0530 0532
    0597 0604 0640 0643 0645 0663 0666 0672 0673 0683 0687 0704 0711 0722 0732 0744 0746 0748 0751 0756 0760
    0780 0790 0799 0808 0822 0830 0838 0855 0887 0892 0895 0896 0898 0899 0905 0932 0934 0952 0961 0982
    """
)
"""Photographs that neither trained nor scored the built-in parser."""

_NUMBERS = {"double", "single", "logical", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"}


class Clone:
    """Reads a clone of the public repository; `annotated` and `unannotated` are the ids, sorted."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._photos, self._maps = self.root / "photos", self.root / "annotations" / "pixel-level"
        for folder in (self._photos, self._maps):
            if not folder.is_dir():
                raise MissingError(
                    f"no folder {folder}; {self.root} should be a clone of bearpaw/clothing-co-parsing from GitHub"
                )
        photos = _ids(self._photos, ".jpg")
        self.annotated = _ids(self._maps, ".mat")
        self.unannotated = tuple(sorted(set(photos) - set(self.annotated)))
        if not self.annotated:
            raise MissingError(f"no ID.mat in {self._maps}; clone bearpaw/clothing-co-parsing again")
        if lost := sorted(set(self.annotated) - set(photos)):
            raise MissingError(
                f"{self._maps / lost[0]}.mat has no photograph {self._photos / lost[0]}.jpg "
                f"({len(lost)} such); clone bearpaw/clothing-co-parsing again"
            )

    def photo(self, photo_id: str) -> NDArray[np.uint8]:
        """Return the photograph (H, W, 3) in RGB; InputError if it cannot be read."""
        try:
            return read_image(self._photos / f"{photo_id}.jpg")
        except UnreadableImageError as error:
            raise InputError(f"photograph cannot be read: {error}") from error

    def classes(self, photo_id: str, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Return its class map (H, W), indices into CLASSES; InputError unless it is a matrix of `size` (H, W)."""
        path = self._maps / f"{photo_id}.mat"
        values = _groundtruth(path, size)
        odd = np.setdiff1d(values, np.arange(len(CLASSES)))
        if len(odd):
            raise InputError(f"{path}: holds the class {odd[0]}, but there are only 0 to {len(CLASSES) - 1}")
        return values.astype(np.uint8)


def _ids(folder: Path, ending: str) -> tuple[str, ...]:
    names = sorted(p.name for p in folder.iterdir() if p.suffix == ending and not p.name.startswith("."))
    for name in names:
        if not re.fullmatch(r"[0-9]{4}", name.removesuffix(ending)):
            raise InputError(f"{folder / name} is not of Clothing Co-Parsing, whose files are called 0001{ending}")
    return tuple(name.removesuffix(ending) for name in names)


def _groundtruth(path: Path, size: tuple[int, int]) -> NDArray[np.generic]:
    """Return the matrix in the file, read only if its header says that it holds numbers and has the right size."""
    with _damage_named(path):
        found = {name: (shape, kind) for name, shape, kind in whosmat(path, appendmat=False)}
    if "groundtruth" not in found:
        raise InputError(f"{path}: no variable groundtruth, but {', '.join(sorted(found)) or 'nothing'}")
    shape, kind = found["groundtruth"]
    if kind not in _NUMBERS:
        raise InputError(f"{path}: groundtruth is of the kind {kind}; expected a matrix of class numbers")
    if shape != size:
        raise InputError(f"{path}: groundtruth is {_by(shape)} pixels, its photograph {_by(size)} (height x width)")
    with _damage_named(path):
        return np.asarray(loadmat(path, appendmat=False, variable_names=["groundtruth"])["groundtruth"])


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # if scipy only warns, the map is in doubt too
            yield
    except Exception as error:  # scipy and zlib raise almost anything on a damaged file
        raise InputError(f"{path}: not a whole MATLAB file of version 4 to 7 ({first_line(error)})") from error


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
