"""A cache of one's own masks: what is added is read, wrong masks are refused, and a failed block leaves nothing."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from parsing import CacheWriter, InputError, MaskCache, label_set
from parsing.cache import writer
from parsing.cache.damage import inspect_cache
from parsing.cache.index import shard_folder
from parsing.cache.lock import LockedError

SIZE = (8, 4)


def mask(value: int) -> np.ndarray:
    return np.full(SIZE, value, np.uint8)


def opened(path: Path, **changed: object) -> CacheWriter:
    options = {"labels": "pascal", "size": SIZE, "parser": "mine"} | changed
    return CacheWriter(path, **options)  # type: ignore[arg-type]


def test_what_is_added_is_read(tmp_path: Path) -> None:
    small = np.arange(7 * 2, dtype=np.uint8).reshape(7, 2, 1)
    with opened(
        tmp_path / "m.h5", weights="w", preprocessing={"resize": "none"}, flip=True, probs=True, data_set="sysu",
        root=tmp_path / "images", licence="mine", pattern="{identity}/*",
    ) as cache:  # fmt: skip
        cache.add("a/1.jpg", mask(3), identity=7, camera=2, modality="infrared", confidence=0.5, source_size=(9, 5),
                  probs=small)  # fmt: skip
        cache.add("a/2.jpg", mask(0), probs=small)
        cache.add("a/3.jpg", None)
        cache.add("a/4.jpg", mask(255), probs=small)
        cache.add("a/5.jpg", mask(6), probs=small)
    found = MaskCache(tmp_path / "m.h5")
    assert found.names == tuple(f"a/{n}.jpg" for n in range(1, 6))
    assert np.array_equal(found[:], np.stack([mask(n) for n in (3, 0, 0, 255, 6)]))
    assert np.array_equal(found.probs(0), small)
    assert found.status.tolist() == [0, 2, 1, 2, 0]
    assert found.confidence.tolist() == [0.5, 0, 0, 0, 1]
    assert found.source_size.tolist() == [[9, 5], [0, 0], [0, 0], [0, 0], [0, 0]]
    assert (found.identity.tolist(), found.camera.tolist()) == ([7, -1, -1, -1, -1], [2, 0, 0, 0, 0])
    assert found.modality.tolist() == [1, 0, 0, 0, 0]
    assert (found.labels, found.size, found.root) == (label_set("pascal"), SIZE, tmp_path / "images")
    assert (found.data_set, found.licence, found.pattern) == ("sysu", "mine", "{identity}/*")
    assert (found.made_by["parser"], found.made_by["weights"], found.made_by["flip"]) == ("mine", "w", True)
    assert found.made_by["preprocessing"] == {"resize": "none"}
    assert inspect_cache(tmp_path / "m.h5").damage == ()


def test_shards_are_cut_when_they_are_full_and_on_demand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MOST_IN_A_SHARD", 2)
    reused = mask(0)
    with opened(tmp_path / "m.h5") as cache:
        for n in range(6):
            reused[:] = n
            cache.add(f"{n}.jpg", reused)  # the caller may use the array again
            if n == 4:
                cache.cut_shard()
                cache.cut_shard()
    assert np.array_equal(MaskCache(tmp_path / "m.h5")[:], np.stack([mask(n) for n in range(6)]))
    lengths = [len(shard) for shard in inspect_cache(tmp_path / "m.h5").whole.values()]
    assert lengths == [2, 2, 1, 1]


def test_what_cannot_be_in_the_cache_is_refused_and_the_rest_is_kept(tmp_path: Path) -> None:
    with opened(tmp_path / "m.h5") as cache:
        cache.add("a.jpg", mask(1))
        for wrong, given in {
            r"a\.jpg was added before": ("a.jpg", mask(1), {}),
            "below its data set's folder": ("../a.jpg", mask(1), {}),
            "'/a.jpg': give the path": ("/a.jpg", mask(1), {}),
            r"a mask \(4, 8\) of uint8; this cache takes \(8, 4\)": ("b.jpg", mask(1).T, {}),
            r"of int64; this cache takes .* \(astype\('uint8'\) makes it\)": ("b.jpg", mask(1).astype(int), {}),
            "a mask of type list; give an array": ("b.jpg", mask(1).tolist(), {}),
            "is a PosixPath; give the name as text": (Path("b.jpg"), mask(1), {}),
            "identity '0001'; give a number": ("b.jpg", None, {"identity": "0001"}),
            "the mask has the value 7; label set 'pascal' has 0 to 6, and 255": ("b.jpg", mask(7), {}),
            "confidence 1.5": ("b.jpg", mask(1), {"confidence": 1.5}),
            "confidence nan": ("b.jpg", mask(1), {"confidence": float("nan")}),
            "modality 'thermal'; give visible or infrared": ("b.jpg", mask(1), {"modality": "thermal"}),
            "identity 2147483648; give a number of 32 bits": ("b.jpg", mask(1), {"identity": 2**31}),
            "camera 1099511627776; give": ("b.jpg", mask(1), {"camera": 2**40}),
            r"source_size \(12000, 12000\); give": ("b.jpg", mask(1), {"source_size": (12000, 12000)}),
            r"source_size \(-1, 5\); give": ("b.jpg", None, {"source_size": (-1, 5)}),
            "this cache takes none": ("b.jpg", mask(1), {"probs": np.zeros((7, 2, 1), np.uint8)}),
        }.items():
            with pytest.raises(InputError, match=wrong):
                cache.add(*given[:2], **given[2])  # type: ignore[arg-type]
    assert MaskCache(tmp_path / "m.h5").names == ("a.jpg",)
    with opened(tmp_path / "p.h5", probs=True) as cache:
        with pytest.raises(InputError, match=r"probabilities None; this cache takes \(7, 2, 1\)"):
            cache.add("a.jpg", mask(1))
        cache.add("a.jpg", mask(1), probs=np.zeros((7, 2, 1), np.uint8))


def test_a_block_that_fails_or_adds_nothing_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with opened(tmp_path / "m.h5") as cache:
            cache.add("a.jpg", mask(1))
            cache.cut_shard()
            assert list(shard_folder(tmp_path / "m.h5").iterdir())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="no mask was added"), opened(tmp_path / "m.h5"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_replaced_only_if_asked_and_one_writes_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with opened(path) as cache:
        cache.add("a.jpg", mask(1))
        with pytest.raises(LockedError, match="CacheWriter"), opened(path, overwrite=True):
            pass
        cache.cut_shard()
        cache.add("b.jpg", mask(2))
    with pytest.raises(InputError, match=r"m\.h5 is there already; .*overwrite=True"), opened(path):
        pass
    assert len(MaskCache(path)) == 2
    with opened(path, overwrite=True, labels="lip") as cache:
        cache.add("c.jpg", mask(19))
    assert (MaskCache(path).names, len(list(shard_folder(path).iterdir()))) == (("c.jpg",), 1)
    path.unlink()  # shards alone are not replaced unasked either
    with pytest.raises(InputError, match=r"00000\.h5 is there already"), opened(path):
        pass


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"path": "masks.npz"}, "ends in .h5"),
        ({"size": (0, 4)}, r"size \(0, 4\)"),
        ({"size": (3, 8), "probs": True}, r"size \(3, 8\).* 4 with probabilities"),
        ({"size": (20000, 20000)}, "at most 100000000 pixels"),
        ({"labels": "x"}, "no label set"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_touched(
    wrong: dict[str, object], message: str, tmp_path: Path
) -> None:
    options = {"path": "m.h5"} | wrong
    with pytest.raises(InputError, match=message):
        opened(tmp_path / str(options.pop("path")), **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["half 50%", "%s%b%%", "日本 #1?"])
def test_a_cache_of_any_name_is_read_by_plain_h5py(name: str, tmp_path: Path) -> None:
    with CacheWriter(tmp_path / f"{name}.h5", labels="lip", size=(8, 4), parser="mine") as cache:
        for value in (3, 4):
            cache.add(f"{value}.jpg", np.full((8, 4), value, np.uint8))
    assert MaskCache(tmp_path / f"{name}.h5")[:].max((1, 2)).tolist() == [3, 4]
    with h5py.File(tmp_path / f"{name}.h5") as file:
        assert file["labels"][:].max((1, 2)).tolist() == [3, 4]
