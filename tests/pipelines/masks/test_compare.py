"""`cscl masks compare`: agreement of two caches, against loops over the pixels, and what cannot be compared."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from cli import main
from parsing import CacheWriter, MaskCache
from parsing.cache.shard import Status
from parsing.errors import InputError
from parsing.labels import IGNORED, label_set
from parsing.modality import Modality
from parsing.resize import resize_labels
from parsing.schemes import part_scheme
from pipelines.masks.compare import Agreement
from pipelines.masks.compare import compare as compare_caches
from pipelines.masks.score import confusion

MakeCache = Callable[..., MaskCache]
Two = Callable[..., tuple[Path, Path]]


def compare(first: Path, second: Path, scheme: str | None = None, worst: int = 10) -> Agreement:
    return compare_caches(MaskCache(first), MaskCache(second), scheme, worst)


NAMES = tuple(f"cam1/0001/{n:04d}.jpg" for n in range(6))


def drawn(seed: int, classes: int, size: tuple[int, int] = (48, 24)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, classes, (len(NAMES), *size), dtype=np.uint8)


@pytest.fixture
def two(make_cache: MakeCache, tmp_path: Path) -> Two:
    """`two(first, second)` writes two caches, each as `make_cache` is told by the arguments given."""

    def write(first: dict[str, object], second: dict[str, object]) -> tuple[Path, Path]:
        paths = tmp_path / "a" / "masks.h5", tmp_path / "b" / "masks.h5"
        for path, given in zip(paths, (first, second), strict=True):
            make_cache(**{"labels": "person7", "names": NAMES, **given}, path=path)
        return paths

    return write


def test_a_cache_agrees_with_itself(make_cache: MakeCache) -> None:
    path = make_cache("lip").path
    found = compare(path, path)
    assert found.scores.mean("visible") == 1
    assert (found.worst, found.equal) == ((), 8)
    text = "\n".join(found.lines())
    assert "all 8 compared masks are equal" in text
    assert "nan" not in text
    assert "agree least" not in text
    assert (found.only_first, found.only_second, found.unreadable, found.other_size) == (0, 0, 0, 0)


@pytest.mark.parametrize("scheme", [None, "reid4"])
def test_iou_is_that_of_a_loop_and_the_same_whichever_comes_first(two: Two, scheme: str | None) -> None:
    one, other = drawn(0, 8), drawn(1, 8)
    other[3] = one[3]
    paths = two({"masks": one}, {"masks": other})
    found = compare(*paths, scheme)
    table = np.arange(256) if scheme is None else part_scheme(scheme).table(label_set("person7"))
    a, b = table[one], table[other]

    def ious(a: np.ndarray, b: np.ndarray) -> list[float]:
        return [((a == c) & (b == c)).sum() / ((a == c) | (b == c)).sum() for c in range(len(found.scores.classes))]

    assert found.scores.iou["visible"] == pytest.approx(ious(a, b))
    each = sorted((float(np.mean(ious(a[n], b[n]))), NAMES[n]) for n in range(6))
    assert each.pop() == (1.0, NAMES[3])  # an image that agrees in full is none of the worst
    assert [name for name, _ in found.worst] == [name for _, name in each]
    assert [value for _, value in found.worst] == pytest.approx([value for value, _ in each])
    assert found.equal == 1
    assert compare(paths[1], paths[0], scheme).scores == found.scores


def test_other_label_sets_are_compared_in_a_scheme(two: Two) -> None:
    lip, person7 = drawn(0, 20), drawn(1, 8)
    paths = two({"masks": lip, "labels": "lip"}, {"masks": person7})
    with pytest.raises(InputError, match=r"holds lip classes, .* person7 ones: give a part scheme .* --scheme reid4"):
        compare(*paths)
    found = compare(*paths, "reid4")
    scheme = part_scheme("reid4")
    heads = [scheme.table(label_set(n))[m] == 1 for n, m in (("lip", lip), ("person7", person7))]
    assert found.scores.classes == ("background", "head", "upper", "lower", "feet")
    assert found.scores.iou["visible"][1] == pytest.approx((heads[0] & heads[1]).sum() / (heads[0] | heads[1]).sum())


def test_masks_of_another_size_are_compared_at_that_of_the_first(two: Two) -> None:
    small = drawn(0, 8, (24, 12))
    paths = two({"masks": resize_labels(small, (48, 24))}, {"masks": small, "size": (24, 12)})
    for order in (paths, paths[::-1]):
        assert compare(*order).scores.mean("visible") == 1


def test_what_only_one_cache_knows_is_counted_and_left_out(two: Two) -> None:
    masks = drawn(0, 8)
    status = [Status.OK, Status.UNREADABLE, *[Status.OK] * 3]
    paths = two({"masks": masks}, {"masks": masks[:5], "names": NAMES[:5], "status": status, "source": (90, 40)})
    found = compare(*paths, worst=2)
    assert found.scores.images == {"visible": 4}
    assert (found.only_first, found.only_second, found.unreadable, found.other_size) == (1, 0, 1, 4)
    text = "\n".join(found.lines())
    assert f"1 images are in {paths[0]} alone" in text
    assert "4 shared names are of images of another size" in text
    assert found.equal == 4


def test_what_either_side_ignores_does_not_count() -> None:
    one, other = np.array([[0, 1, IGNORED, 1]]), np.array([[0, IGNORED, 1, 1]])
    assert confusion(one, other, 2).tolist() == [[1, 0], [0, 1]]


def test_caches_without_a_common_image_are_refused(two: Two) -> None:
    paths = two({}, {"names": ("x/1.jpg",)})
    with pytest.raises(InputError, match=r"share no image: the first are cam1/0001/0000.jpg and x/1.jpg"):
        compare(*paths)


def test_caches_whose_common_images_have_no_masks_are_refused(two: Two) -> None:
    with pytest.raises(InputError, match="none of their 6 shared images has a mask in both"):
        compare(*two({"status": [Status.UNREADABLE] * 6}, {}))


def test_the_command_prints_a_table_and_strict_json(two: Two) -> None:
    masks = drawn(0, 5)  # some classes occur on neither side
    paths = [str(p) for p in two({"masks": masks}, {"masks": masks[::-1]})]
    plain = CliRunner().invoke(main, ["masks", "compare", *paths])
    assert plain.exit_code == 0, plain.output
    assert "images that agree least" in plain.stdout
    assert NAMES[0] in plain.stdout

    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is no JSON")

    result = CliRunner().invoke(main, ["masks", "compare", *paths, "--json", "--worst", "1"])
    read = json.loads(result.stdout, parse_constant=refuse)
    assert read["IoU"]["visible"]["bag"] is None
    assert len(read["worst"]) == 1
    assert read["worst"][0]["mIoU"] <= read["mIoU"]["visible"] + 0.1


def test_the_modalities_are_those_of_the_cache_that_knows_its_data_set(tmp_path: Path) -> None:
    names, masks = ("cam1/0001/0001.jpg", "cam3/0001/0001.jpg"), drawn(0, 8)
    paths = tmp_path / "known.h5", tmp_path / "imported.h5"
    modalities: tuple[Modality, Modality] = ("visible", "infrared")
    for path, data_set, of in zip(paths, ("sysu", "images"), (modalities, ("visible", "visible")), strict=True):
        with CacheWriter(path, labels="person7", size=(48, 24), parser="any", data_set=data_set) as cache:
            for name, mask, modality in zip(names, masks, of, strict=False):
                cache.add(name, mask, modality=modality, source_size=(90, 40) if data_set == "sysu" else (0, 0))
    for order in (paths, paths[::-1]):
        found = compare(*order)
        assert found.scores.images == {"visible": 1, "infrared": 1}
        assert found.other_size == 0  # one of the two does not know the size
    assert compare(paths[1], paths[1]).scores.images == {"visible": 2}
