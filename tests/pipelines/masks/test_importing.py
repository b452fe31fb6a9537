from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from support.places import SHARED

from cli import main
from data.registry import open_data_set
from parsing import CacheError, InputError, MaskCache, MissingError
from parsing.cache.shard import Status
from parsing.images import MIRRORED, turn_array
from parsing.importers.placing import Fit
from parsing.resize import resize_labels
from pipelines.masks.export import ExportConfig, export
from pipelines.masks.importing import ImportConfig, import_masks


@pytest.fixture
def config(tiny_figures: Path, make_cache: Callable[..., MaskCache], tmp_path: Path) -> ImportConfig:
    """Masks of every image of the drawn data set as palette PNGs in its folders."""
    names = [image.name for image in open_data_set("sysu", tiny_figures).images]
    cache = make_cache("lip", names)
    export(ExportConfig(cache.path, "png", tmp_path / "schp", palette=True, size=(60, 30)))
    return ImportConfig(
        tmp_path / "schp",
        labels="lip",
        dataset="sysu",
        root=tiny_figures,
        out=tmp_path / "own" / "masks.h5",
        size=(60, 30),
    )


def test_masks_are_cached_with_their_images_identities_and_sizes(config: ImportConfig, tiny_figures: Path) -> None:
    result = import_masks(config)
    cache = MaskCache(result.path)
    images = open_data_set("sysu", tiny_figures).images
    assert cache.names == tuple(image.name for image in images)
    assert cache.identity.tolist() == [image.identity for image in images]
    assert cache.labels.name == "lip"
    assert cache.data_set == "sysu"
    assert cache.root == tiny_figures
    for name, source in zip(cache.names, cache.source_size, strict=True):
        assert np.array_equal(cache[name], np.array(Image.open((config.masks / name).with_suffix(".png"))))
        with Image.open(tiny_figures / name) as image:
            assert tuple(source) == (image.height, image.width)
    assert (cache.confidence == 1).all()
    assert result.without == ()


def test_masks_in_a_folder_below_are_not_taken_but_named(config: ImportConfig, tmp_path: Path) -> None:
    config.masks.rename(tmp_path / "SegmentationClass")
    (tmp_path / "cvat").mkdir()
    (tmp_path / "SegmentationClass").rename(tmp_path / "cvat" / "SegmentationClass")
    with pytest.raises(InputError, match=r"but some have in .*cvat/SegmentationClass: give that folder"):
        import_masks(replace(config, masks=tmp_path / "cvat"))


def test_nobody_is_advised_to_load_a_pickle(config: ImportConfig, tmp_path: Path) -> None:
    (tmp_path / "odd").mkdir()
    image = open_data_set("sysu", config.root).images[0]
    (tmp_path / "odd" / f"{Path(image.name).stem}.npy").write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(InputError) as caught:
        import_masks(replace(config, masks=tmp_path / "odd"))
    assert "pickle" not in str(caught.value)


def test_masks_all_in_one_folder_are_found_by_stem_unless_two_images_share_it(
    config: ImportConfig, tmp_path: Path
) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, file in enumerate(sorted(config.masks.rglob("*.png"))):
        if number < 2:
            file.rename(flat / file.name)
    with pytest.raises(InputError, match="share a mask"):
        import_masks(replace(config, masks=flat))


def test_images_without_a_mask_are_left_out_and_told(config: ImportConfig) -> None:
    gone = sorted(config.masks.rglob("*.png"))[4]
    gone.unlink()
    result = import_masks(config)
    assert result.masks == len(MaskCache(result.path))
    assert [Path(n).with_suffix(".png") for n in result.without] == [gone.relative_to(config.masks)]


def test_a_folder_where_nothing_fits_says_what_was_looked_for(config: ImportConfig) -> None:
    with pytest.raises(InputError, match=r"no image of sysu has a mask .*none/cam"):
        import_masks(replace(config, path="none/{dir}/{stem}.png"))
    with pytest.raises(MissingError, match="no folder of masks"):
        replace(config, masks=config.masks / "gone")


def test_the_same_masks_again_change_nothing_and_others_need_overwrite(config: ImportConfig) -> None:
    assert config.out is not None
    import_masks(config)
    before = {p: p.stat().st_mtime_ns for p in config.out.with_suffix(".shards").iterdir()}
    import_masks(config)
    assert {p: p.stat().st_mtime_ns for p in config.out.with_suffix(".shards").iterdir()} == before
    file = sorted(config.masks.rglob("*.png"))[0]
    Image.fromarray(np.zeros((60, 30), np.uint8)).save(file)
    with pytest.raises(CacheError, match=r"was made from another parser or options \(weights .*--overwrite"):
        import_masks(config)
    import_masks(replace(config, overwrite=True))
    cache = MaskCache(config.out)
    assert [cache.names[i] for i in np.flatnonzero(cache.status == Status.EMPTY)] == [
        file.relative_to(config.masks).with_suffix(".jpg").as_posix()
    ]


def test_without_a_data_set_each_mask_is_an_image(tmp_path: Path) -> None:
    for name, value in (("visible/anna/cam1_a.png", 5), ("infrared/anna/x_c3_1.png", 0)):
        (tmp_path / "schp" / name).parent.mkdir(parents=True)
        Image.fromarray(np.full((40, 20), value, np.uint8)).save(tmp_path / "schp" / name)
    out = tmp_path / "m.h5"
    arguments = ["masks", "import", "--from", "png", str(tmp_path / "schp"), "--labels", "lip", "--out", str(out)]
    run = CliRunner().invoke(main, [*arguments, "--suffix", ".bmp"])
    assert run.exit_code == 0, run.output
    assert "2 masks imported, 1 of them empty, the first is infrared/anna/x_c3_1.bmp\n" in run.output
    assert "note: no data set named: `cscl train` cannot use these masks, and 1 of 2 images count as inf" in run.output
    cache = MaskCache(out)
    assert cache.names == ("infrared/anna/x_c3_1.bmp", "visible/anna/cam1_a.bmp")
    assert cache.modality.tolist() == [1, 0]
    assert cache.camera.tolist()[0] == 3
    assert cache.status.tolist() == [Status.EMPTY, Status.OK]
    assert cache.size == (288, 144)


PERSON = np.zeros((60, 30), np.uint8)
"""The left half of somebody: left arm (14) above left leg (16), as lip has them."""
PERSON[5:30, 5:15], PERSON[30:55, 5:15] = 14, 16


def photographs(root: Path, turn: int = 1, count: int = 3) -> ImportConfig:
    """Images 60 x 30 in the layout `folder`, stored so that EXIF orientation `turn` makes them so."""
    exif = Image.Exif()
    exif[0x0112] = turn
    stored = (30, 60) if turn >= 5 else (60, 30)
    for number in range(count):
        for modality in ("visible", "infrared"):
            file = root / "images" / modality / f"p{number}" / "cam1_0.jpg"
            file.parent.mkdir(parents=True)
            Image.fromarray(np.full((*stored, 3), 99, np.uint8)).save(file, exif=exif)
    (root / "masks").mkdir()
    return ImportConfig(
        root / "masks", labels="lip", dataset="folder", root=root / "images", out=root / "m.h5", size=(60, 30)
    )


def give(config: ImportConfig, masks: Sequence[np.ndarray]) -> ImportConfig:
    """One mask for each image."""
    assert config.root is not None
    for file, mask in zip(sorted(config.root.rglob("*.jpg")), masks, strict=True):
        target = (config.masks / file.relative_to(config.root)).with_suffix(".png")
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(target)
    return config


def test_masks_of_nobody_are_refused_with_the_option_that_answers(tmp_path: Path) -> None:
    config = give(photographs(tmp_path), [255 * (PERSON > 0).astype(np.uint8)] * 6)
    with pytest.raises(InputError, match=r"255 is the only value but 0 in the 6 masks .*--values 255=CLASS") as refusal:
        import_masks(config)
    assert "\n" not in str(refusal.value)
    assert config.out is not None
    assert not config.out.exists()
    own = tmp_path / "own.toml"
    own.write_text('name = "own"\nclasses = ["background", "person"]')
    with pytest.raises(InputError, match="as --values 255=person"):
        import_masks(replace(config, labels=str(own)))
    result = import_masks(replace(config, labels=str(own), values=("255=person",)))
    assert result.empty == ()
    assert np.array_equal(MaskCache(result.path)[0], PERSON > 0)
    assert MaskCache(result.path).made_by["preprocessing"] == {"resize": "nearest", "values": {"255": 1}}
    give(config, [PERSON * 0] * 6)
    with pytest.raises(InputError, match="all 6 masks are background alone"):
        import_masks(config)


def test_empty_masks_and_a_single_class_are_told(tmp_path: Path) -> None:
    config = give(photographs(tmp_path), [(PERSON > 0).astype(np.uint8)] * 4 + [PERSON * 0, np.full_like(PERSON, 255)])
    result = import_masks(config)
    assert result.empty == ("visible/p1/cam1_0.jpg", "visible/p2/cam1_0.jpg")
    assert result.notes == ("the only class in any mask is hat (1), of the 20 of lip",)


def test_a_labelmap_is_its_colours_and_not_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m").mkdir()
    colours = np.full((16, 16, 3), (0, 255, 0), np.uint8)
    colours[:8] = 255, 0, 0
    Image.fromarray(colours).save(tmp_path / "m" / "a.png")
    monkeypatch.chdir(tmp_path)

    def run(masks: Path, *lines: str) -> list[int]:
        Path("m/labelmap.txt").write_text("\n".join(["# label:color_rgb:parts:actions", *lines, ""]))
        cache = MaskCache(import_masks(ImportConfig(masks, "lip", out=Path("m.h5"), size=(16, 16))).path)
        return [int(cache[0][row, 0]) for row in (0, 15)]

    hat, hair = "hat:255,0,0::", "hair:0,255,0::"
    assert run(Path("m"), hat, hair) == [1, 2]
    before = Path("m.shards/00000.h5").stat().st_mtime_ns
    assert run(tmp_path / "m", hair, "# by hand", hat) == [1, 2]
    assert Path("m.shards/00000.h5").stat().st_mtime_ns == before
    with pytest.raises(CacheError, match=r"from another parser or options \(preprocessing .*labelmap\.txt .*--overwr"):
        run(Path("m"), "hat:0,255,0::", "hair:255,0,0::")


def test_masks_of_another_shape_need_to_say_how_the_image_lies_in_them(tmp_path: Path) -> None:
    square = np.zeros((60, 60), np.uint8)
    person = PERSON[:, ::-1]
    square[:, 15:45] = person
    config = give(photographs(tmp_path), [person] * 5 + [square])
    with pytest.raises(
        InputError, match=r"of visible/p2/cam1_0.jpg is 60x60, its image 60x30 .*--letterbox .*--stretch"
    ):
        import_masks(config)
    result = import_masks(replace(config, fit="letterbox"))
    assert all(np.array_equal(mask, person) for mask in MaskCache(result.path)[:])
    assert result.notes == ()
    wrong = import_masks(replace(config, fit="corner", overwrite=True))
    assert "1 masks show somebody in the padding that was cut off, the first is visible/p2" in wrong.notes[0]
    stretched = import_masks(replace(config, fit="stretch", overwrite=True))
    assert np.array_equal(MaskCache(stretched.path)[5], resize_labels(square, (60, 30)))


@pytest.mark.parametrize("option", [{"fit": "letterbox"}, {"fit": "corner"}, {"as_stored": True}])
def test_what_needs_the_images_is_refused_where_one_cannot_be_read(tmp_path: Path, option: dict[str, Any]) -> None:
    config = replace(give(photographs(tmp_path), [PERSON] * 6), **option)
    (tmp_path / "images/infrared/p1/cam1_0.jpg").write_bytes(b"cut off")
    with pytest.raises(
        InputError, match=r"1 of 6 images cannot be read \(the first is infrared/p1/cam1_0.jpg\), and --"
    ):
        import_masks(config)
    (tmp_path / "masks/infrared/p1/cam1_0.png").unlink()
    assert import_masks(config).without == ("infrared/p1/cam1_0.jpg",)


def test_masks_follow_images_of_another_size_or_turn(tmp_path: Path) -> None:
    square = np.zeros((60, 60), np.uint8)
    square[:, 15:45], square[:, 29:31] = 5, 7
    config = replace(give(photographs(tmp_path, count=1), [square] * 2), fit="letterbox")
    image = tmp_path / "images/visible/p0/cam1_0.jpg"
    import_masks(config)
    Image.new("RGB", (60, 60)).save(image)
    cache = MaskCache(import_masks(config).path)
    assert cache.source_size.tolist() == [[60, 30], [60, 60]]
    assert np.array_equal(cache[1], resize_labels(square, (60, 30)))
    assert not np.array_equal(cache[0], cache[1])
    import_masks(replace(config, as_stored=True, overwrite=True))
    exif = Image.Exif()
    exif[0x0112] = 2  # mirrored, of the same size
    Image.new("RGB", (60, 60)).save(image, exif=exif)
    with pytest.raises(CacheError, match="was made from another parser or options"):
        import_masks(replace(config, as_stored=True))
    exif[0x0112] = 3
    import_masks(replace(config, as_stored=True, overwrite=True))
    Image.new("RGB", (60, 60)).save(image, exif=exif)
    with pytest.raises(CacheError, match=r"was made from another parser or options \(weights"):
        import_masks(replace(config, as_stored=True))


def test_our_own_export_comes_back_from_the_size_that_it_was_stretched_to(tmp_path: Path) -> None:
    config = give(photographs(tmp_path), [PERSON] * 6)
    import_masks(config)
    assert config.out is not None
    for to, masks in (("png", "png"), ("cvat", "cvat/SegmentationClass"), ("coco", "coco/annotations.json")):
        export(ExportConfig(config.out, to, tmp_path / to, size=(60, 60)))
        back = import_masks(replace(config, masks=tmp_path / masks, out=tmp_path / f"{to}.h5"))
        assert np.array_equal(MaskCache(back.path)[0], PERSON)
    alone = replace(config, dataset=None, root=tmp_path / "images/visible", out=tmp_path / "alone.h5")
    assert import_masks(replace(alone, masks=tmp_path / "png/visible")).masks == 3
    (tmp_path / "cvat" / "theirs").mkdir()
    Image.new("L", (60, 60), 1).save(tmp_path / "cvat" / "theirs" / "cam1_0.png")
    with pytest.raises(InputError, match="is 60x60, its image 60x30"):
        import_masks(replace(alone, masks=tmp_path / "cvat" / "theirs", root=tmp_path / "images/visible/p0"))


@pytest.mark.parametrize(("to", "options"), [("eanet", {"size": "masks"}), ("scnet", {})])
def test_numbers_of_our_own_exports_that_are_no_classes_are_refused(
    tmp_path: Path, to: str, options: dict[str, Any]
) -> None:
    config = give(photographs(tmp_path), [PERSON] * 6)
    import_masks(config)
    assert config.out is not None
    export(ExportConfig(config.out, to, tmp_path / to, path="masks/{dir}/{stem}.png", **options))
    own = replace(config, masks=tmp_path / to / "masks", out=tmp_path / f"{to}.h5")
    with pytest.raises(InputError, match=rf"holds the classes background, head, .* says .*cscl-{to}.json"):
        import_masks(own)
    said = tuple(f"{number}=face" for number in range(1, 12))
    assert import_masks(replace(own, values=said)).masks == 6


@pytest.mark.parametrize("turn", range(2, 9))
def test_images_turned_by_exif_have_their_upright_size_and_masks_either_way(tmp_path: Path, turn: int) -> None:
    config = give(photographs(tmp_path, turn, 1), [PERSON] * 2)
    result = import_masks(config)
    cache = MaskCache(result.path)
    assert cache.source_size.tolist() == [[60, 30]] * 2
    assert np.array_equal(cache[0], PERSON)
    assert "2 images are turned by EXIF (the first is infrared/p0/cam1_0.jpg)" in result.notes[0]
    export(ExportConfig(cache.path, "png", tmp_path / "png", size="source"))
    with Image.open(tmp_path / "png/visible/p0/cam1_0.png") as image:
        assert np.array_equal(np.array(image), PERSON)
    back = {5: 5, 6: 8, 7: 7, 8: 6}.get(turn, turn)  # from the upright image to the stored pixels
    drawn = turn_array(PERSON, back)
    if turn in MIRRORED:  # what was left in the mirrored picture is right
        drawn = np.where(drawn > 0, drawn + 1, 0).astype(np.uint8)
    give(config, [drawn] * 2)
    if turn >= 5:
        with pytest.raises(InputError, match=r"is 30x60 and its image 60x30 .*--as-stored turns masks"):
            import_masks(replace(config, overwrite=True))
    result = import_masks(replace(config, as_stored=True, overwrite=True))
    assert np.array_equal(MaskCache(result.path)[0], PERSON)
    assert result.notes == ()


def test_options_that_cannot_work_are_refused(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    Image.fromarray(PERSON).save(tmp_path / "masks/a.PNG")
    config = ImportConfig(tmp_path / "masks", "lip", out=tmp_path / "m.h5", fit="letterbox")
    with pytest.raises(
        InputError, match=r"1 of 1 images cannot be read .* and --letterbox takes their sizes .*give --root"
    ):
        import_masks(config)
    assert import_masks(replace(config, fit="same")).masks == 1


@pytest.mark.parametrize("labels", ["lip", "atr", "pascal"])
def test_schps_own_pngs_come_in_as_they_are(tmp_path: Path, labels: str) -> None:
    answer = SHARED / "schp_demo" / f"demo_{labels}.png"
    if not answer.is_file():
        pytest.skip("the answers of SCHP's demonstration are not beside the checkout")
    (tmp_path / "schp").mkdir()
    (tmp_path / "schp" / "demo.png").write_bytes(answer.read_bytes())
    with Image.open(answer) as image:
        values = np.array(image)
    config = ImportConfig(tmp_path / "schp", labels, out=tmp_path / "m.h5", size=(200, 300))
    cache = MaskCache(import_masks(config).path)
    assert np.array_equal(cache["demo.jpg"], resize_labels(values, (200, 300)))
    person = cache.parts("demo.jpg", "body")[0]
    assert np.array_equal(person > 0, resize_labels(values, (200, 300)) > 0)
    assert 0.05 < person.mean() < 0.95


def test_hidden_files_are_no_masks_and_a_pattern_names_the_people_of_folder(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for modality in ("visible", "infrared"):
        for name in ("a_1.png", "b_1.png"):
            for folder in (tmp_path / "images", tmp_path / "masks"):
                (folder / modality).mkdir(parents=True, exist_ok=True)
                numbers = rng.integers(0, 8, (32, 16), dtype=np.uint8)
                Image.fromarray(numbers).save(folder / modality / name)
        (tmp_path / "masks" / modality / "._a_1.png").write_bytes(b"of macOS")
    given: dict[str, Any] = {"size": (32, 16)}
    plain = import_masks(ImportConfig(tmp_path / "masks", "person7", out=tmp_path / "plain.h5", **given))
    assert plain.masks == 4
    named = ImportConfig(
        tmp_path / "masks",
        labels="person7",
        dataset="folder",
        root=tmp_path / "images",
        out=tmp_path / "named.h5",
        pattern="{identity}_*",
        **given,
    )
    cache = MaskCache(import_masks(named).path)
    assert (cache.pattern, cache.identity.tolist()) == ("{identity}_*", [1, 2, 1, 2])
    with pytest.raises(InputError, match=r"--pattern .* is for --dataset folder"):
        import_masks(ImportConfig(tmp_path / "masks", "person7", pattern="{identity}_*", **given))


def test_logits_of_schp_make_the_cache_that_its_pictures_make(config: ImportConfig, tmp_path: Path) -> None:
    expected = MaskCache(import_masks(config).path)
    logits = tmp_path / "logits"
    for file in config.masks.rglob("*.png"):
        place = (logits / file.relative_to(config.masks)).with_suffix(".npy")
        place.parent.mkdir(parents=True, exist_ok=True)
        scores = np.eye(20, dtype=np.float32)[np.array(Image.open(file))] * 9 - 4  # (H, W, 20), as SCHP stores them
        np.save(place, scores)
    cache = MaskCache(import_masks(replace(config, masks=logits, out=tmp_path / "l" / "masks.h5", fit="stretch")).path)
    assert cache.names == expected.names
    assert np.array_equal(cache.preload(), expected.preload())
    assert cache.made_by["parser"] == "imported npy"
    alone = import_masks(replace(config, masks=logits, dataset=None, root=None, out=tmp_path / "a" / "masks.h5"))
    assert alone.masks == len(cache)


def test_the_kind_of_masks_is_guessed_by_their_names_unless_there_are_two(config: ImportConfig, tmp_path: Path) -> None:
    np.save(config.masks / "note.npy", np.zeros(3))
    with pytest.raises(InputError, match=r"holds png and npy files; say which are the masks with --from png\|npy"):
        import_masks(config)
    assert import_masks(replace(config, kind="png")).masks > 0
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds neither png nor npy files"):
        import_masks(replace(config, masks=tmp_path / "empty"))


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("fit", ["corner", "letterbox"])
def test_padding_of_the_pixels_as_stored_is_cut_off_where_exif_turns_it(turn: int, fit: Fit, tmp_path: Path) -> None:
    exif, numbers, padded = Image.Exif(), np.zeros((30, 50), np.uint8), np.zeros((100, 100), np.uint8)
    exif[274] = turn
    numbers[5:15, 10:45], numbers[15:28, 20:30], numbers[20:29, 2:8] = 1, 2, 5
    top = 0 if fit == "corner" else 20
    padded[top : top + 60] = np.kron(numbers, np.ones((2, 2), np.uint8))
    for name in ("images/visible/anna/1.jpg", "masks/visible/anna/1.png"):
        (tmp_path / name).parent.mkdir(parents=True)
    Image.new("RGB", (50, 30)).save(tmp_path / "images/visible/anna/1.jpg", exif=exif)
    Image.fromarray(padded).save(tmp_path / "masks/visible/anna/1.png")
    result = import_masks(
        ImportConfig(
            tmp_path / "masks", "lip", dataset="folder", root=tmp_path / "images", out=tmp_path / "m.h5",
            size=(60, 60), fit=fit, as_stored=True,
        )
    )  # fmt: skip
    assert not any("padding" in note for note in result.notes)
    assert np.array_equal(MaskCache(result.path)[0], resize_labels(turn_array(numbers, turn), (60, 60)))


def test_our_own_files_of_parts_or_of_another_label_set_are_not_taken_for_other_classes(
    make_cache: Callable[..., MaskCache], tmp_path: Path
) -> None:
    cache = make_cache("person7")
    parts = tmp_path / "parts.toml"
    parts.write_text('name = "parts"\nclasses = ["background", "head", "upper", "lower", "feet"]\n')
    for scheme, wrong, right in ((None, "lip", "person7"), ("reid4", "person7", str(parts))):
        out = tmp_path / f"masks of {scheme}"
        export(ExportConfig(cache.path, "png", out, scheme=scheme))
        given = ImportConfig(out, wrong, out=tmp_path / f"{scheme}.h5")
        with pytest.raises(
            InputError, match=rf"holds the classes background, head, upper.*cscl-png\.json.*{wrong} has o"
        ):
            import_masks(given)
        found = MaskCache(import_masks(replace(given, labels=right, size=cache.size)).path)
        expected = cache[:] if scheme is None else cache.part_labels(slice(None), scheme)
        assert np.array_equal(found[:], expected)
    feet = tuple(f"{n}={name}" for n, name in enumerate(("background", "head", "upper", "lower", "feet")))
    said = replace(given, values=feet, out=tmp_path / "said.h5")
    assert import_masks(said).masks == len(cache)
    (tmp_path / "masks of reid4" / "cscl-png.json").unlink()
    assert import_masks(replace(given, fit="stretch", overwrite=True)).masks == len(cache)
