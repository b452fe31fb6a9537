"""What a reader of WebDataset's tar files finds: samples of an image, its mask and its description, in order."""

import io
import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parsing import InputError, MaskCache, MissingError
from parsing.exporters import tar
from pipelines.masks.export import ExportConfig, export

Exported = Callable[..., Path]


def samples(file: Path) -> dict[str, dict[str, bytes]]:
    """Members by key and ending, the key up to the first dot of the file's name, as WebDataset cuts it."""
    found: dict[str, dict[str, bytes]] = {}
    with tarfile.open(file) as members:
        for member in members:
            cut = re.fullmatch(r"((?:.*/|)[^.]+)[.]([^/]*)", member.name)
            content = members.extractfile(member)
            assert cut is not None
            assert content is not None
            assert (member.mtime, member.uid, member.gid, member.mode) == (0, 0, 0, 0o644)
            found.setdefault(cut[1], {})[cut[2]] = content.read()
    return found


@pytest.fixture
def cache(make_cache: Callable[..., MaskCache]) -> MaskCache:
    long = f"{'d' * 90}/{'e' * 90}/{'f' * 90}.JPG"
    made = make_cache("lip", ["a.d/one.two.jpg", "é/1.png", long])
    for number, name in enumerate(made.names):
        (made.root / name).parent.mkdir(parents=True)
        picture = draw(number)
        blocks = -(-len(picture) // 512)
        padding = bytes(512 * blocks - 1 + number - len(picture))  # blocks less one byte, blocks, blocks and one byte
        (made.root / name).write_bytes(picture + padding)
    return made


def draw(grey: int, turn: int = 1, size: tuple[int, int] = (40, 100)) -> bytes:
    """Return a JPEG file of one grey value with an EXIF orientation."""
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.new("L", size, grey).save(file, "JPEG", exif=exif)
    return file.getvalue()


def test_a_sample_is_an_image_with_its_mask_and_description(cache: MaskCache, exported: Exported) -> None:
    found = samples(exported(cache, "webdataset") / "masks-000000.tar")
    assert list(found) == ["a.d/one_two", "é/1", cache.names[2].removesuffix(".JPG")]
    for (key, sample), name in zip(found.items(), cache.names, strict=True):
        ending = Path(name).suffix.lower().removeprefix(".")
        assert list(sample) == [ending, "mask.png", "json"], key
        assert sample[ending] == (cache.root / name).read_bytes()
        assert np.array_equal(np.array(Image.open(io.BytesIO(sample["mask.png"]))), cache[name])
        said = json.loads(sample["json"])
        assert (said["name"], said["identity"]) == (name, cache.identity[cache.number(name)])
        assert said["classes"] == list(cache.labels.classes)


def test_the_bytes_are_the_same_each_time_and_files_are_cut(
    cache: MaskCache, exported: Exported, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tar, "IMAGES", 2)
    first, second = (exported(cache, "webdataset", tmp_path / name) for name in "ab")
    names = [f"masks-{n:06d}.tar" for n in range(2)]
    assert [len(samples(first / name)) for name in names] == [2, 1]
    assert [(first / n).read_bytes() for n in names] == [(second / n).read_bytes() for n in names]


def test_samples_that_would_be_one_and_missing_images_are_refused(
    cache: MaskCache, make_cache: Callable[..., MaskCache], exported: Exported, tmp_path: Path
) -> None:
    twins = make_cache("lip", ["d/a.b.jpg", "d/a_b.png"], path=tmp_path / "twins" / "m.h5")
    with pytest.raises(InputError, match=r"d/a\.b\.jpg and d/a_b\.png would both be the sample d/a_b"):
        exported(twins, "webdataset")
    (cache.root / cache.names[1]).unlink()
    with pytest.raises(MissingError, match=r"1\.png: no such file; the files hold the images"):
        exported(cache, "webdataset", tmp_path / "w")
    assert not list((tmp_path / "w").glob("*.tar"))


def test_files_of_images_that_have_changed_since_are_not_mixed_with_new_ones(
    cache: MaskCache, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tar, "IMAGES", 2)
    out = exported(cache, "webdataset")
    (out / "masks-000001.tar").unlink()  # as if stopped
    before = (out / "masks-000000.tar").read_bytes()
    first = cache.root / cache.names[0]
    was = first.read_bytes()
    first.write_bytes(draw(200))
    with pytest.raises(
        InputError, match=r"of another cache or with other options \(cscl-webdataset.json: other images\)"
    ):
        exported(cache, "webdataset")
    first.write_bytes(was)
    exported(cache, "webdataset")
    assert (out / "masks-000000.tar").read_bytes() == before
    assert (out / "masks-000001.tar").is_file()
    first.write_bytes(draw(200))
    exported(cache, "webdataset", overwrite=True)
    assert samples(out / "masks-000000.tar")["a.d/one_two"]["jpg"] == draw(200)


def test_an_image_that_does_not_fit_its_mask_is_refused_and_turned_ones_are_named(
    cache: MaskCache, exported: Exported
) -> None:
    (cache.root / cache.names[0]).write_bytes(draw(0, turn=6, size=(100, 40)))  # upright it is what was parsed
    result = export(ExportConfig(cache.path, "webdataset", cache.root.parent / "turned"))
    assert any("1 images are turned by EXIF" in note and cache.names[0] in note for note in result.notes)
    (cache.root / cache.names[0]).write_bytes(draw(0, size=(41, 100)))
    with pytest.raises(InputError, match=r"one\.two\.jpg has another size than the image that was parsed"):
        exported(cache, "webdataset")
