import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from support.limits import largest_file

from cli import main
from data.registry import open_data_set
from parsing import CsclError, InputError, MaskCache
from parsing.cache.shard import Status
from parsing.exporters import EXPORTERS
from parsing.exporters.png import PngExporter
from parsing.images import orientation
from pipelines.masks.export import ExportConfig, export

MakeCache = Callable[..., MaskCache]


@pytest.fixture
def config(make_cache: MakeCache, tmp_path: Path) -> ExportConfig:
    return ExportConfig(make_cache("lip").path, "png", tmp_path / "out", workers=2)


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_images_that_have_moved_are_given_by_root(tiny_figures: Path, make_cache: MakeCache, tmp_path: Path) -> None:
    """A cache that somebody else made: its index names a folder that is not on this machine."""
    names = [image.name for image in open_data_set("sysu", tiny_figures).images]
    made = make_cache("lip", names, source=[orientation(tiny_figures / name)[0] for name in names]).path
    command = ["masks", "export", str(made), "--to", "agw", "-o", str(tmp_path / "agw")]
    assert "there is no folder" in CliRunner().invoke(main, command).output
    run = CliRunner().invoke(main, [*command, "--root", str(tiny_figures)])
    assert run.exit_code == 0, run.output
    config = ExportConfig(made, "webdataset", tmp_path / "tar", root=tiny_figures)
    assert export(config).written == 1


def test_an_export_that_was_stopped_goes_on_where_it_was(config: ExportConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = export(replace(config, out=config.out.with_name("whole")))
    assert (whole.written, whole.kept) == (8, 0)

    encode = PngExporter.encode
    done: list[int] = []

    def stops(self: PngExporter, number: int, target: object) -> bytes:
        if len(done) == 3:
            raise CsclError("stopped")
        done.append(number)
        return encode(self, number, target)  # type: ignore[arg-type]

    monkeypatch.setattr(PngExporter, "encode", stops)
    with pytest.raises(CsclError, match="stopped"):
        export(config)
    monkeypatch.undo()
    result = export(config)
    assert (result.written, result.kept) == (5, 3)
    assert files(config.out) == files(whole.out)
    assert export(config).written == 0


def test_a_file_is_never_seen_half_written(config: ExportConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.FileIO):
        def write(self, data: Any) -> int:
            super().write(data[:10])
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("parsing.files.open", lambda path, mode: Full(path, mode.replace("b", "")), raising=False)
    with pytest.raises(CsclError, match="No space left"):
        export(config)
    monkeypatch.undo()
    assert not list(config.out.rglob("*.png"))
    export(config)
    assert {Path(name).suffix for name in files(config.out)} == {".png", ".json"}


def test_another_export_in_the_folder_is_refused_and_replaced_only_when_told(config: ExportConfig) -> None:
    export(config)
    with pytest.raises(InputError, match=r"of another cache or with other options \(cscl-png.json: other scheme\); .*"):
        export(replace(config, scheme="reid4"))
    assert export(replace(config, scheme="reid4", overwrite=True)).written == 8
    assert np.array(Image.open(config.out / "cam1/0001/0001.png")).max() == 4


def test_a_scheme_is_its_groups_and_not_the_path_of_its_file(config: ExportConfig) -> None:
    def write(name: str, one: str, two: str) -> str:
        file = config.out.with_name(name)
        file.write_text(f'name = "own"\nparts = ["one", "two"]\n[lip]\none = {one}\ntwo = {two}\n')
        return str(file)

    export(replace(config, scheme=write("own.toml", '["hat", "hair"]', '["face"]')))
    again = replace(config, scheme=write("copy.toml", '["hair", "hat"]', '["face"]'))
    assert export(again).kept == 8
    for one, two in (('["hat"]', '["face"]'), ('["face"]', '["hat", "hair"]')):
        with pytest.raises(InputError, match="of another cache or with other options"):
            export(replace(config, scheme=write("own.toml", one, two)))
    other = config.out.with_name("order.toml")
    other.write_text('name = "own"\nparts = ["two", "one"]\n[lip]\none = ["hat", "hair"]\ntwo = ["face"]\n')
    with pytest.raises(InputError, match="of another cache or with other options"):
        export(replace(config, scheme=str(other)))


def test_what_an_older_export_wrote_and_the_new_one_does_not_is_removed(config: ExportConfig) -> None:
    export(replace(config, path="old/{dir}/{stem}.png"))
    theirs = config.out / "old" / "cam1" / "theirs.png"
    theirs.write_text("theirs")
    assert export(replace(config, overwrite=True)).written == 8
    found = set(files(config.out))
    assert {name for name in found if name.startswith("old/")} == {"old/cam1/theirs.png"}
    assert not (config.out / "old" / "cam3").exists()
    assert len(found) == 8 + 2  # and the record


def test_a_replacement_that_was_stopped_goes_on_without_a_file_of_the_older_export(
    config: ExportConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(config)
    other = replace(config, scheme="reid4", workers=1)
    encode = PngExporter.encode
    done: list[int] = []

    def stops(self: PngExporter, number: int, target: object) -> bytes:
        if len(done) == 3:
            raise CsclError("stopped")
        done.append(number)
        return encode(self, number, target)  # type: ignore[arg-type]

    monkeypatch.setattr(PngExporter, "encode", stops)
    with pytest.raises(CsclError, match="stopped"):
        export(replace(other, overwrite=True))
    monkeypatch.undo()
    assert export(other).kept == 3
    for file in config.out.rglob("*.png"):
        with Image.open(file) as image:
            assert np.array(image).max() <= 4


@pytest.mark.parametrize("name", ["../stolen.png", "/stolen.png"])
def test_a_record_that_names_files_elsewhere_is_refused(config: ExportConfig, name: str) -> None:
    stolen = config.out.parent / "stolen.png"
    stolen.write_text("mine")
    config.out.mkdir()
    (config.out / "cscl-png.json").write_text(json.dumps({"files": [name]}))
    with pytest.raises(InputError, match="is no path below"):
        export(replace(config, overwrite=True))
    assert stolen.is_file()


def test_replacing_never_removes_an_image_of_the_data_set(config: ExportConfig) -> None:
    root = MaskCache(config.file).root
    (root / "cam1/0001").mkdir(parents=True)
    (root / "cam1/0001/0001.jpg").write_text("image")
    (root / "cscl-png.json").write_text(json.dumps({"files": ["cam1/0001/0001.jpg"]}))
    export(replace(config, out=root, path="masks/{dir}/{stem}.png", overwrite=True))
    assert (root / "cam1/0001/0001.jpg").read_text() == "image"


def test_pictures_that_an_older_version_put_among_the_images_are_removed(config: ExportConfig) -> None:
    root = MaskCache(config.file).root
    (root / "cam1/0001").mkdir(parents=True)
    (root / "cam1/0001/0001.png").write_text("mask")
    (root / "cscl-png.json").write_text(json.dumps({"files": ["cam1/0001/0001.png"]}))
    export(replace(config, out=root, path="masks/{dir}/{stem}.png", overwrite=True))
    assert not (root / "cam1/0001/0001.png").exists()


def test_file_names_that_repeat_between_folders_keep_all_of_them(
    config: ExportConfig, make_cache: MakeCache, tmp_path: Path
) -> None:
    result = export(replace(config, to="bpbreid"))  # cameras 1 and 3 share names
    assert (config.out / "masks/pifpaf_maskrcnn_filtering/cam3/0002/0001.npy").is_file()
    assert "file names repeat between folders" in " ".join(result.notes)
    cache = make_cache("lip", ["train/0001_c1.jpg", "query/0002_c2.jpg"], path=tmp_path / "market" / "masks.h5")
    result = export(ExportConfig(cache.path, "bpbreid", tmp_path / "market" / "out"))
    assert (result.out / "masks/pifpaf_maskrcnn_filtering/train/0001_c1.npy").is_file()
    assert "repeat" not in " ".join(result.notes)
    with pytest.raises(InputError, match="would both be"):
        export(replace(config, out=tmp_path / "flat", path="{stem}.png"))


def test_a_file_of_somebody_else_is_never_touched(config: ExportConfig) -> None:
    theirs = config.out / "cam3/0002/0001.png"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs")
    with pytest.raises(InputError, match="is there already and not of this export"):
        export(config)
    assert theirs.read_text() == "theirs"


def test_images_of_the_data_set_are_never_overwritten(config: ExportConfig) -> None:
    root = MaskCache(config.file).root
    with pytest.raises(InputError, match="is an image of the data set"):
        export(replace(config, to="sgiel", out=root, overwrite=True))


def test_pictures_are_not_put_among_the_images_whose_readers_would_take_them_for_images(config: ExportConfig) -> None:
    root = MaskCache(config.file).root
    with pytest.raises(InputError, match=r"0001\.png would lie among the images of the data set"):
        export(replace(config, out=root))
    with pytest.raises(InputError, match=r"cam1/masks/.*0001\.png would lie among the images of the data set"):
        export(replace(config, out=root / "cam1", path="masks/{dir}/{stem}.png"))  # data sets are read at any depth
    assert not list(root.rglob("*.png"))
    assert export(replace(config, out=root, to="pixel-sampling", path="{dir}/{stem}.npy")).written == 8
    assert export(replace(config, out=root, path="masks/{dir}/{stem}.png")).written == 8


def test_images_that_are_reached_by_a_link_are_never_overwritten(
    config: ExportConfig, make_cache: MakeCache, tmp_path: Path
) -> None:
    real = tmp_path / "Market"
    real.mkdir()
    (real / "0001_c1.jpg").write_text("image")
    cache = make_cache("lip", ["visible/0001_c1.jpg"], path=tmp_path / "linked" / "masks.h5")
    cache.root.mkdir()
    (cache.root / "visible").symlink_to(real)
    linked = replace(config, file=cache.path, to="sgiel", out=real, path="{stem}{suffix}", overwrite=True)
    with pytest.raises(InputError, match="is an image of the data set"):
        export(linked)
    assert (real / "0001_c1.jpg").read_text() == "image"


def test_images_on_which_nobody_was_found_are_counted(
    config: ExportConfig, make_cache: MakeCache, tmp_path: Path
) -> None:
    status = [Status.OK, Status.EMPTY, *[Status.OK] * 6]
    cache = make_cache("lip", status=status, path=tmp_path / "other" / "masks.h5")
    for to in ("png", "array", "bpbreid", "isp"):
        notes = export(replace(config, file=cache.path, to=to, out=tmp_path / to)).notes
        assert f"nobody was found on 1 images, which are background alone: {cache.names[1]}" in notes, to


@pytest.mark.parametrize("to", ["eanet", "scnet", "isp", "bpbreid", "pixel-sampling"])
def test_a_label_set_that_an_exporter_has_no_parts_of_is_refused_before_any_file(
    config: ExportConfig, make_cache: MakeCache, tmp_path: Path, to: str
) -> None:
    cache = make_cache("person", path=tmp_path / "other" / "masks.h5")
    with pytest.raises(InputError, match=rf"{to}: no part of label set 'person' is known; there are lip, .* --to png"):
        export(replace(config, file=cache.path, to=to))
    assert not config.out.exists()


def test_names_and_links_that_lead_out_are_refused(config: ExportConfig, make_cache: MakeCache, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'../../stolen.jpg' is no path below"):
        make_cache("lip", ["../../stolen.jpg"], path=tmp_path / "evil" / "masks.h5")
    (tmp_path / "elsewhere").mkdir()
    config.out.mkdir()
    (config.out / "cam1").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="leads out of"):
        export(config)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_unreadable_images_get_no_file_and_are_named(
    config: ExportConfig, make_cache: MakeCache, tmp_path: Path
) -> None:
    status = [Status.OK, Status.UNREADABLE, Status.EMPTY, *[Status.OK] * 5]
    cache = make_cache("lip", status=status, path=tmp_path / "other" / "masks.h5")
    result = export(replace(config, file=cache.path))
    assert result.unreadable == (cache.names[1],)
    assert len(list(config.out.rglob("*.png"))) == result.written == 7


def test_what_made_the_files_lies_beside_them(config: ExportConfig) -> None:
    export(replace(config, to="kpr", path="{dir}/{stem}.npy"))
    record = json.loads((config.out / "cscl-kpr.json").read_text())
    assert record["made_by"]["parser"] == "test"
    assert record["size"] == [12, 6]
    assert record["licence"] == "MIT"


@pytest.mark.parametrize("to", [name for name, kind in EXPORTERS.items() if not kind.takes])
def test_options_that_an_exporter_has_no_use_for_are_refused(config: ExportConfig, to: str) -> None:
    with pytest.raises(InputError, match="--palette"):
        export(replace(config, to=to, palette=True))
    with pytest.raises(InputError, match="--scheme"):
        export(replace(config, to=to, scheme="reid4"))


def test_the_command_writes_and_says_what_it_should(config: ExportConfig) -> None:
    out = str(config.out)
    run = CliRunner().invoke(
        main, ["masks", "export", str(config.file), "--to", "sgiel", "-o", out, "--size", "source"]
    )
    assert run.exit_code == 0, run.output
    assert "8 files written" in run.output
    assert "note: hard 0/1 masks" in run.output
    assert Image.open(config.out / "cam1/0001/0001.jpg").size == (40, 100)
    run = CliRunner().invoke(main, ["masks", "export", str(config.file), "--to", "gif", "-o", out])
    assert run.exit_code == 2
    assert "no exporter 'gif'; there are png, sgiel" in run.output


def test_images_that_differ_in_their_ending_alone_are_told_a_path_that_keeps_it(
    config: ExportConfig, make_cache: MakeCache, tmp_path: Path
) -> None:
    cache = make_cache("lip", ["d/a.png", "d/a.jpg"], path=tmp_path / "twins" / "masks.h5")
    twins = replace(config, file=cache.path)
    with pytest.raises(InputError, match=r"ending alone: give --path '\{dir\}/\{stem\}\{suffix\}\.png'"):
        export(twins)
    assert export(replace(twins, path="{dir}/{stem}{suffix}.png")).written == 2


def test_a_size_that_the_cache_does_not_know_is_asked_for(
    config: ExportConfig, make_cache: MakeCache, tmp_path: Path
) -> None:
    cache = make_cache("lip", ["d/a.jpg"], path=tmp_path / "own" / "masks.h5", source=(0, 0))
    with pytest.raises(InputError, match=r"how large the image d/a\.jpg is; give --size HxW"):
        export(replace(config, file=cache.path, to="scnet"))


def test_a_disk_that_is_full_at_the_record_leaves_a_place_where_the_same_command_works(config: ExportConfig) -> None:
    with pytest.raises(CsclError, match=r"out cannot be written: File too large"), largest_file(100):
        export(config)
    assert export(config).written == 8


def test_files_that_differ_in_case_alone_are_refused_if_the_place_ignores_case(
    config: ExportConfig, make_cache: MakeCache, tmp_path: Path
) -> None:
    cache = make_cache("lip", ["d/A.jpg", "d/a.jpg", "d/b.jpg"], path=tmp_path / "twins" / "masks.h5")
    assert export(replace(config, file=cache.path)).written == 3
    (tmp_path / "ignores" / ".CSCL-PNG").mkdir(parents=True)  # as such a place shows the folder .cscl-png
    with pytest.raises(InputError, match=r"ignores upper and lower case, so that d/A.png and d/a.png would be one"):
        export(replace(config, file=cache.path, out=tmp_path / "ignores"))
    assert not list((tmp_path / "ignores").rglob("*.png"))
