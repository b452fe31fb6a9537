"""Reading a mask cache: every way to ask, from every process, and everything that must be refused."""

import json
import multiprocessing
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from support.caches import edit

from parsing import MaskCache, part_scheme
from parsing.cache.index import shard_folder
from parsing.cache.provenance import fingerprint
from parsing.errors import CacheError, MissingError
from pipelines.masks.verify import VerifyConfig, verify

WriteCache = Callable[..., Path]
Drawn = Callable[[int, int], np.ndarray]
COUNTS = (3, 2, 4)


@pytest.fixture
def cache(write_cache: WriteCache, tmp_path: Path) -> MaskCache:
    return MaskCache(write_cache(tmp_path / "c", COUNTS, probs=True))


def test_columns_and_provenance_are_there(cache: MaskCache, tmp_path: Path) -> None:
    assert len(cache) == 9
    assert cache.names[1] == "cam2/0001/é0001.jpg"
    assert (cache.labels.name, cache.labels.classes[14], cache.labels.swaps[0]) == ("lip", "left-arm", (14, 15))
    assert (cache.size, cache.data_set, cache.licence) == ((16, 8), "sysu", "none")
    assert cache.root == tmp_path / "images"
    assert cache.camera.tolist() == [n % 6 + 1 for n in range(9)]
    assert cache.modality.tolist() == [n % 2 for n in range(9)]
    assert cache.identity.tolist() == [n // 2 for n in range(9)]
    assert cache.source_size[4].tolist() == [104, 54]
    assert cache.confidence.tolist() == pytest.approx([n / 100 for n in range(9)])
    assert not cache.status.any()
    assert "9 masks, lip, 16x8" in repr(cache)


def test_masks_come_by_name_number_slice_and_list(cache: MaskCache, drawn: Drawn) -> None:
    masks = drawn(0, 9)
    for number, name in enumerate(cache.names):
        assert np.array_equal(cache[name], masks[number])
        assert np.array_equal(cache[number], masks[number])
        assert np.array_equal(cache[np.int64(number)], masks[number])
        assert np.array_equal(cache[number - 9], masks[number])
    for part in (slice(None), slice(2, 7), slice(None, None, -2), slice(-3, None), slice(4, 4)):
        assert np.array_equal(cache[part], masks[part])
    assert np.array_equal(cache[[8, 0, cache.names[4], -2, 0]], masks[[8, 0, 4, 7, 0]])
    assert np.array_equal(cache[np.array([5, 1])], masks[[5, 1]])
    assert cache[[]].shape == (0, 16, 8)
    assert cache[0].dtype == np.uint8


def test_bools_choose_images_as_in_numpy(cache: MaskCache, drawn: Drawn) -> None:
    chosen = np.arange(9) % 4 == 1
    assert np.array_equal(cache[chosen], drawn(0, 9)[chosen])
    assert np.array_equal(cache.preload(chosen), drawn(0, 9)[chosen])
    assert np.array_equal(cache.parts(chosen), cache.parts(np.flatnonzero(chosen)))
    assert len(cache[cache.has_mask]) == 9
    with pytest.raises(IndexError, match=r"9 images, the array of bools is \(2,\)"):
        cache[np.array([True, False])]


@pytest.mark.parametrize("key", [True, 2.7, None, [True, False], np.array([2.0])])
def test_what_is_neither_name_nor_number_is_refused(cache: MaskCache, key: object) -> None:
    with pytest.raises(TypeError, match=r"is neither the name of an image nor a number|not iterable"):
        cache[key]  # type: ignore[index]


def test_iterating_over_a_cache_ends(cache: MaskCache, drawn: Drawn) -> None:
    assert np.array_equal(np.stack(list(cache)), drawn(0, 9))  # type: ignore[call-overload]


def test_what_is_not_there_raises_as_dict_and_list_do(cache: MaskCache) -> None:
    assert cache.names[3] in cache
    assert "nobody.jpg" not in cache
    with pytest.raises(KeyError, match=r"nobody\.jpg is not in .*9 images"):
        cache["nobody.jpg"]
    for number in (9, -10):
        with pytest.raises(IndexError, match=f"no number {number}"):
            cache[number]
    with pytest.raises(KeyError):
        cache[[0, "nobody.jpg"]]


def test_parts_are_the_labels_regrouped(cache: MaskCache) -> None:
    labels = cache[1]
    regrouped = cache.part_labels(1)
    maps = cache.parts(1, "reid6", soft=False)
    assert maps.shape == (6, 16, 8)
    assert maps.dtype == np.float32
    assert np.array_equal(regrouped == 1, np.isin(labels, [1, 2, 4, 13]))
    assert np.array_equal(maps[2], np.isin(labels, [3, 14, 15]).astype(np.float32))
    assert np.array_equal(cache.parts(1, "body", soft=False)[0], (labels > 0).astype(np.float32))
    assert np.array_equal(cache.parts([1, 5], part_scheme("reid6"), soft=False)[0], maps)
    assert cache.parts(slice(0, 0)).shape == (0, 4, 16, 8)


def test_probabilities_come_at_a_quarter_of_the_size_or_are_refused_by_name(
    cache: MaskCache, write_cache: WriteCache, tmp_path: Path
) -> None:
    assert cache.probs(0).shape == (20, 4, 2)
    with h5py.File(cache.path, "r") as file:
        assert np.array_equal(cache.probs([8, 2]), file["probs"][:][[8, 2]])
    assert cache.probs([]).shape == (0, 20, 4, 2)
    with pytest.raises(CacheError, match="no probabilities; parse with --probs"):
        MaskCache(write_cache(tmp_path / "plain")).probs(0)


def test_preload_gives_all_or_the_named_ones_in_the_order_asked(cache: MaskCache, drawn: Drawn) -> None:
    assert np.array_equal(cache.preload(), drawn(0, 9))
    assert np.array_equal(cache.preload([cache.names[7], 2]), drawn(0, 9)[[7, 2]])


def test_a_cache_survives_pickling_with_files_open(cache: MaskCache, drawn: Drawn) -> None:
    assert np.array_equal(cache[cache.names[4]], drawn(4, 1)[0])
    again = pickle.loads(pickle.dumps(cache))
    assert again.names == cache.names
    assert np.array_equal(again[cache.names[8]], drawn(8, 1)[0])
    assert np.array_equal(cache[0], drawn(0, 1)[0])


def _sums(cache: MaskCache, answers: "multiprocessing.Queue[list[int]]") -> None:
    answers.put([int(cache[n].sum()) for n in range(len(cache))])


def test_a_cache_survives_fork_with_files_open(cache: MaskCache, drawn: Drawn) -> None:
    assert int(cache[:].sum()) == int(drawn(0, 9).sum())
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    children = [context.Process(target=_sums, args=(cache, answers)) for _ in range(2)]
    for child in children:
        child.start()
    wanted = [int(m.sum()) for m in drawn(0, 9)]
    assert [answers.get(timeout=20) for _ in children] == [wanted, wanted]
    for child in children:
        child.join(timeout=20)
        assert child.exitcode == 0
    assert np.array_equal(cache[8], drawn(8, 1)[0])  # the parent's files are untouched


def test_close_is_not_the_end(cache: MaskCache, drawn: Drawn) -> None:
    assert np.array_equal(cache[0], drawn(0, 1)[0])
    cache.close()
    assert np.array_equal(cache[0], drawn(0, 1)[0])


def test_a_cache_opened_by_a_relative_path_survives_a_change_of_folder(
    cache: MaskCache, drawn: Drawn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(cache.path.parent)
    relative = MaskCache("masks.h5")
    monkeypatch.chdir(tmp_path)
    assert np.array_equal(relative[5], drawn(5, 1)[0])
    assert relative.root == tmp_path / "images"


def test_the_images_folder_can_be_given(cache: MaskCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    moved = MaskCache(cache.path, root="elsewhere")
    monkeypatch.chdir("/")
    assert moved.root == pickle.loads(pickle.dumps(moved)).root == tmp_path / "elsewhere"
    with pytest.raises(MissingError, match=f"there is no folder {tmp_path / 'nowhere'} of the images of"):
        MaskCache(cache.path, root=tmp_path / "nowhere")


def test_no_memory_is_kept_per_open_shard(cache: MaskCache) -> None:
    """HDF5 keeps up to 8 MiB of chunks per data set, which nobody reads again: 450 shards would be 6 GB per worker."""
    assert cache[0].shape == cache.size
    for opened in cache._open.values():
        assert opened["labels"].id.get_access_plist().get_chunk_cache()[1] == 0


def test_the_data_set_is_found_through_a_linked_folder(cache: MaskCache, tmp_path: Path) -> None:
    link = tmp_path / "far" / "off" / "link"
    link.parent.mkdir(parents=True)
    link.symlink_to(cache.path.parent)
    assert MaskCache(link / "masks.h5").root == tmp_path / "images"


def test_a_link_to_the_index_is_followed_where_the_shards_are(cache: MaskCache, drawn: Drawn, tmp_path: Path) -> None:
    (tmp_path / "repository").mkdir()
    link = tmp_path / "repository" / "sysu.h5"
    link.symlink_to(cache.path)
    linked = MaskCache(link)
    assert np.array_equal(linked[:], drawn(0, 9))
    assert linked.root == cache.root
    assert verify(VerifyConfig(link)).sound
    shutil.copytree(shard_folder(cache.path), shard_folder(link))  # as in a store of links to each file
    assert MaskCache(link).path == link
    assert np.array_equal(MaskCache(link)[:], drawn(0, 9))


def test_a_shard_that_is_newer_than_the_index_is_refused(
    cache: MaskCache, write_cache: WriteCache, tmp_path: Path
) -> None:
    grown = write_cache(tmp_path / "grown", (4, *COUNTS), probs=True)
    os.replace(shard_folder(grown) / "00000.h5", shard_folder(cache.path) / "00000.h5")
    with pytest.raises(CacheError, match=r"00000\.h5 is not the file that the index describes"):
        cache[0]
    with pytest.raises(CacheError, match=r"00000\.h5 is not the file that the index describes"):
        MaskCache(cache.path).preload()


def test_a_moved_cache_reads_as_before(cache: MaskCache, drawn: Drawn, tmp_path: Path) -> None:
    shutil.move(cache.path.parent, tmp_path / "elsewhere")
    assert np.array_equal(MaskCache(tmp_path / "elsewhere" / "masks.h5")[:], drawn(0, 9))


def test_files_that_are_no_index_are_refused_when_opened(cache: MaskCache, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no mask cache at .*none\.h5.*cscl parse"):
        MaskCache(tmp_path / "none.h5")
    with pytest.raises(MissingError, match="no mask cache"):
        MaskCache(tmp_path)
    (tmp_path / "text.h5").write_text("no masks here\n")
    with pytest.raises(CacheError, match=r"text\.h5 is damaged or no mask cache"):
        MaskCache(tmp_path / "text.h5")
    with pytest.raises(CacheError, match=r"00000\.h5 is no index"):
        MaskCache(shard_folder(cache.path) / "00000.h5")
    whole = cache.path.read_bytes()
    cache.path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CacheError, match=r"masks\.h5 is damaged"):
        MaskCache(cache.path)


def changed(path: Path, change: Callable[[h5py.File], None]) -> Path:
    with edit(path) as file:
        change(file)
    return path


def test_another_version_or_a_changed_history_is_refused(cache: MaskCache) -> None:
    changed(cache.path, lambda f: f.attrs.modify("format_version", 2))
    with pytest.raises(CacheError, match=r"format 2, but this version of cscl reads 1"):
        MaskCache(cache.path)
    other = json.dumps(cache.made_by | {"flip": False})
    changed(cache.path, lambda f: f.attrs.update({"format_version": 1, "made_by": other}))
    with pytest.raises(CacheError, match="fingerprint does not fit"):
        MaskCache(cache.path)


@pytest.mark.parametrize("made_by", [{}, [], {"labels": {}}, {"labels": None}, 3])
def test_a_consistent_but_meaningless_history_is_refused(cache: MaskCache, made_by: dict[str, object]) -> None:
    text, digest = fingerprint(made_by)
    changed(cache.path, lambda f: f.attrs.update({"made_by": text, "fingerprint": digest}))
    with pytest.raises(CacheError, match="is no index of a mask cache"):
        MaskCache(cache.path)


@pytest.mark.parametrize(("column", "value"), [("shard", 3), ("shard", -1), ("row", -1)])
def test_rows_that_point_outside_the_shards_are_refused(cache: MaskCache, column: str, value: int) -> None:
    def point(file: h5py.File) -> None:
        file[column][4] = value

    with pytest.raises(CacheError, match="rows do not fit"):
        MaskCache(changed(cache.path, point))


def test_a_missing_truncated_or_foreign_shard_is_refused_by_name_and_the_others_still_read(
    cache: MaskCache, drawn: Drawn, write_cache: WriteCache, tmp_path: Path
) -> None:
    shard = shard_folder(cache.path) / "00001.h5"
    whole = shard.read_bytes()
    other = write_cache(tmp_path / "other", COUNTS, flip=False)

    def refused() -> None:
        opened = MaskCache(cache.path)
        with pytest.raises(
            CacheError, match=r"00001\.h5: the mask of cam4/0001/é0003\.jpg cannot be read.*from a copy"
        ):
            opened[3]
        assert np.array_equal(opened[5], drawn(5, 1)[0])

    shard.unlink()
    refused()
    shard.write_bytes(whole[: len(whole) // 2])
    refused()
    shard.write_bytes(b"no shard")
    refused()
    shutil.copy(shard_folder(other) / "00001.h5", shard)
    refused()
    shard.write_bytes(whole)
    assert np.array_equal(MaskCache(cache.path)[3], drawn(3, 1)[0])


def test_a_flipped_bit_in_a_mask_is_noticed(cache: MaskCache) -> None:
    shard = shard_folder(cache.path) / "00000.h5"
    with h5py.File(shard, "r") as file:
        chunk = file["labels"].id.get_chunk_info(1)
    content = bytearray(shard.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(CacheError, match="cannot be read"):
        MaskCache(cache.path)[1]


@pytest.mark.parametrize("escape", ["../../secret/00000.h5", "{absolute}", "..", "", "/", "a\0b"])
def test_the_shards_names_never_lead_out_of_their_folder(cache: MaskCache, tmp_path: Path, escape: str) -> None:
    secret = tmp_path / "secret" / "00000.h5"
    secret.parent.mkdir()
    shutil.copy(shard_folder(cache.path) / "00001.h5", secret)  # a shard of the right fingerprint, but not ours
    own = shard_folder(cache.path) / "00000.h5"
    first = cache[0]
    cache.close()
    name = escape.format(absolute=secret)

    def lead_out(file: h5py.File) -> None:
        paths = [name.replace("\0", ""), *file["shards/path"].asstr()[:][1:]]
        del file["shards/path"]
        file.create_dataset("shards/path", data=paths, dtype=h5py.string_dtype("utf-8"))

    opened = MaskCache(changed(cache.path, lead_out))
    if Path(name).name == own.name:
        assert np.array_equal(opened[0], first)
        own.unlink()
        opened = MaskCache(cache.path)
    with pytest.raises(CacheError, match="cannot be read"):
        opened[0]


def test_nothing_of_a_cache_is_changed_by_reading_it(cache: MaskCache) -> None:
    files = [cache.path, *shard_folder(cache.path).iterdir()]
    for file in files:
        os.utime(file, (1, 1))
    before = {p: p.read_bytes() for p in files}
    cache.preload()
    cache.close()
    assert {p: p.read_bytes() for p in files} == before
    assert {p.stat().st_mtime for p in files} == {1}


def test_plain_h5py_reads_no_background_where_the_shards_are_missing(cache: MaskCache, tmp_path: Path) -> None:
    alone = tmp_path / "elsewhere" / "masks.h5"
    alone.parent.mkdir()
    alone.write_bytes(cache.path.read_bytes())
    with h5py.File(alone, "r") as file:
        assert (file["labels"][0] == 255).all()
    with pytest.raises(CacheError, match=r"masks\.shards"):
        MaskCache(alone)[0]


def test_a_mask_of_another_shape_is_not_stretched_to_fit(cache: MaskCache) -> None:
    def narrow(file: h5py.File) -> None:
        del file["labels"]
        file.create_dataset("labels", data=np.ones((3, 16, 1), np.uint8))

    changed(shard_folder(cache.path) / "00000.h5", narrow)
    with pytest.raises(CacheError, match=r"cannot be read \(labels is \(3, 16, 1\) of uint8, not \(N, 16, 8\)"):
        MaskCache(cache.path)[0]


def test_masks_in_other_files_are_not_read(cache: MaskCache, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(3 * 16 * 8))
    shard = shard_folder(cache.path) / "00000.h5"

    def lead_out(file: h5py.File) -> None:
        del file["labels"]
        file.create_dataset("labels", (3, 16, 8), "u1", external=[(str(secret), 0, 3 * 16 * 8)])

    changed(shard, lead_out)
    with pytest.raises(CacheError, match="labels is no data set of this file"):
        MaskCache(cache.path)[0]

    def link(file: h5py.File) -> None:
        del file["labels"]
        file["labels"] = h5py.ExternalLink(str(shard.with_name("00001.h5")), "labels")

    changed(shard, link)
    with pytest.raises(CacheError, match="labels is a link"):
        MaskCache(cache.path)[0]


def test_a_column_that_says_it_is_larger_than_its_file_is_refused_before_it_is_read(cache: MaskCache) -> None:
    def grow(file: h5py.File) -> None:
        del file["names"]
        file.create_dataset("names", (1 << 40,), h5py.string_dtype("utf-8"), chunks=(1024,))

    with pytest.raises(CacheError, match="names is larger than what is stored of it"):
        MaskCache(changed(cache.path, grow))


@pytest.mark.parametrize(
    ("column", "value"), [("status", 9), ("confidence", np.nan), ("source_size", -1), ("modality", 2)]
)
def test_values_that_no_image_has_are_refused_by_column(cache: MaskCache, column: str, value: float) -> None:
    def put(file: h5py.File) -> None:
        file[column][4] = value

    with pytest.raises(CacheError, match=f"{column} has values that no image has"):
        MaskCache(changed(cache.path, put))


@pytest.mark.parametrize("name", ["../private.jpg", "/etc/passwd", "cam2/0001/é0001.jpg"])
def test_names_that_lead_out_or_occur_twice_are_refused(cache: MaskCache, name: str) -> None:
    def rename(file: h5py.File) -> None:
        file["names"][0] = name

    with pytest.raises(CacheError, match=r"no path below the data set's folder|a name occurs twice"):
        MaskCache(changed(cache.path, rename))
