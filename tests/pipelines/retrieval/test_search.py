"""`cscl search`: the ranking is that of the embeddings, the picture shows it, and bad images are named."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from cli import main
from cscl import load
from parsing.errors import InputError, MissingError
from pipelines.retrieval.search import SearchConfig, search


@pytest.fixture
def gallery(figures: Path, tmp_path: Path) -> Path:
    """Eight visible images at two depths."""
    folder = tmp_path / "gallery"
    for number, image in enumerate(sorted(figures.glob("cam[12]/*/*.jpg"))[:8]):
        copy = folder / ("sub" if number % 2 else ".") / f"{number}.jpg"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(image.read_bytes())
    return folder


@pytest.fixture
def queries(figures: Path) -> list[Path]:
    return sorted(figures.glob("cam3/*/*.jpg"))[:2]


def cscl(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["search", *map(str, arguments)], catch_exceptions=False)


def test_the_ranking_is_that_of_the_embeddings(
    finished: Path, gallery: Path, queries: list[Path], tmp_path: Path
) -> None:
    config = SearchConfig(
        run=finished, queries=tuple(queries), gallery=gallery, top=5, out=tmp_path / "new" / "picture.png", device="cpu"
    )
    found = search(config)
    model = load(finished)
    files = sorted(gallery.rglob("*.jpg"))
    features = model.embed([Image.open(f) for f in files], infrared=False)
    assert (found.searched, found.query_modality, found.gallery_modality) == (8, "infrared", "visible")
    assert [q for q, _ in found.rankings] == [str(q) for q in queries]
    for query, (_, matches) in zip(queries, found.rankings, strict=True):
        similarity = model.similarity(model.embed(Image.open(query), infrared=True), features)[0].numpy()
        order = np.argsort(-similarity)[:5]
        assert [Path(m.image) for m in matches] == [files[i] for i in order]
        assert [m.similarity for m in matches] == pytest.approx(similarity[order].tolist(), abs=1e-4)
    with Image.open(found.picture) as picture:
        assert picture.format == "PNG"
        assert picture.width > 5 * 84
        assert picture.height > 2 * 2 * 168, "each row has the images and their part attention"


def test_the_command_takes_images_and_folders_and_prints_a_list_or_json(
    run_copy: Path, gallery: Path, queries: list[Path]
) -> None:
    shown = cscl("--run", run_copy, "--query", *queries, "--gallery", gallery, "--top", 3, "--device", "cpu")
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    assert lines[0] == "8 visible images searched, with their similarity"
    assert lines[1] == f"infrared {queries[0]}"
    assert [line.split()[0] for line in lines[2:5]] == ["1", "2", "3"]
    assert lines[-1] == f"{run_copy / 'search.png'}: picture"
    same = ("--query", queries[0].parent, "--query", queries[1], "--gallery", gallery, "--device", "cpu", "--json")
    result = json.loads(cscl("--run", run_copy, *same).stdout)
    assert result["unreadable"] == []
    assert {r["query"] for r in result["results"]} >= {str(q) for q in queries}
    first = next(r for r in result["results"] if r["query"] == str(queries[0]))
    assert [m["image"] for m in first["matches"][:3]] == [line.split()[2] for line in lines[2:5]]
    assert len(first["matches"]) == 8


def test_an_image_finds_itself_first_in_its_own_modality(finished: Path, gallery: Path, tmp_path: Path) -> None:
    config = SearchConfig(
        run=finished, queries=(gallery / "sub",), gallery=gallery, query_modality="visible",
        gallery_modality="visible", top=1, out=tmp_path / "p.png", device="cpu",
    )  # fmt: skip
    for query, matches in search(config).rankings:
        assert (matches[0].image, round(matches[0].similarity, 4)) == (query, 1)


def test_unreadable_images_are_left_out_named_and_end_with_1(
    run_copy: Path, gallery: Path, queries: list[Path], tmp_path: Path
) -> None:
    bad, worse = gallery / "bad.jpg", tmp_path / "worse.png"
    bad.write_bytes(b"no image")
    worse.write_bytes(b"")
    result = cscl("--run", run_copy, "--query", queries[0], worse, "--gallery", gallery, "--device", "cpu")
    assert result.exit_code == 1
    assert "8 visible images searched" in result.stdout
    said = result.stderr.strip().splitlines()[-1]
    assert said.startswith("cscl: 2 images cannot be read and were left out: ")
    assert str(bad) in said
    assert str(worse) in said
    for options in (("--query", worse, "--gallery", gallery), ("--query", queries[0], "--gallery", tmp_path / "bads")):
        (tmp_path / "bads").mkdir(exist_ok=True)
        (tmp_path / "bads" / "bad.jpg").write_bytes(b"no image")
        result = cscl("--run", run_copy, *options, "--device", "cpu")
        assert result.exit_code == 2
        assert "none of the images can be read; the first: " in result.stderr


def test_what_the_user_gets_wrong_is_named(finished: Path, gallery: Path, queries: list[Path], tmp_path: Path) -> None:
    def ask(**changes: object) -> None:
        given = {"run": finished, "queries": (queries[0],), "gallery": gallery, "device": "cpu"}
        search(SearchConfig(**given | changes))  # type: ignore[arg-type]

    (tmp_path / "empty").mkdir()
    for changes, error, said in (
        ({"top": 0}, InputError, "--top 0: show at least 1"),
        ({"queries": (tmp_path / "none.jpg",)}, MissingError, "--query .*none.jpg: there is no such file or folder"),
        ({"gallery": tmp_path / "none"}, MissingError, "--gallery .*none: there is no such folder"),
        ({"gallery": queries[0]}, MissingError, "there is no such folder"),
        ({"gallery": tmp_path / "empty"}, InputError, "--gallery .*empty: there is no image in this folder"),
        ({"run": tmp_path}, MissingError, "is no run"),
    ):
        with pytest.raises(error, match=said):
            ask(**changes)


def test_files_that_are_no_image_are_said(finished: Path, gallery: Path, queries: list[Path], tmp_path: Path) -> None:
    (gallery / "x.heic").touch()
    (gallery / "._0.jpg").touch()
    found = search(SearchConfig(run=finished, queries=tuple(queries[:1]), gallery=gallery, out=tmp_path / "p.png"))
    assert (found.searched, found.others) == (8, (str(gallery / "x.heic"),))
    assert found.lines()[-2] == f"note: 1 files are no image: 1 .heic; the first is {gallery / 'x.heic'}"
    only = tmp_path / "only"
    only.mkdir()
    (only / "x.heic").touch()
    with pytest.raises(InputError, match=r"there is no image in this folder, but 1 files that are none: 1 \.heic"):
        search(SearchConfig(run=finished, queries=tuple(queries[:1]), gallery=only))


def test_a_ranking_is_printed_even_if_its_picture_cannot_be_written(
    finished: Path, gallery: Path, queries: list[Path], tmp_path: Path
) -> None:
    taken = tmp_path / "taken.png"
    taken.mkdir()
    result = cscl("--run", finished, "--query", queries[0], "--gallery", gallery, "--device", "cpu", "--out", taken)
    assert result.exit_code == 1
    assert "8 visible images searched" in result.stdout
    assert "taken.png: picture" not in result.stdout
    last = result.stderr.splitlines()[-1]
    assert last == f"cscl: {taken} cannot be written: Is a directory; give --out FILE.png elsewhere"


def test_a_linked_folder_is_searched_once_and_told(
    run_copy: Path, gallery: Path, queries: list[Path], tmp_path: Path
) -> None:
    (gallery / "again").symlink_to(gallery / "sub")
    result = cscl("--run", run_copy, "--query", queries[0], "--gallery", gallery, "--device", "cpu")
    assert "8 visible images searched" in result.stdout
    assert f"note: 1 folders are links to others, whose images are searched once: {gallery}: again is sub\n" in (
        result.stdout
    )
