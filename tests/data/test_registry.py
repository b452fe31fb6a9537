"""Finding and opening data sets by name, and what a user reads when that fails."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.places import ROOT

from data.registry import DATA_SETS, data_set, find_root, open_data_set
from parsing.errors import InputError, MissingError


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and no $CSCL_DATA."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    monkeypatch.delenv("CSCL_DATA", raising=False)
    return home


def test_roots_are_looked_for_at_root_then_cscl_data_then_data(
    at_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        MissingError, match=r"looked at data/SYSU-MM01, data/sysu\. Give --root or set CSCL_DATA"
    ) as error:
        find_root("sysu")
    assert "exp/train_id.txt" in str(error.value)
    (at_home / "data/sysu").mkdir(parents=True)
    assert find_root("sysu") == Path("data/sysu")
    (at_home / "data/SYSU-MM01").mkdir()
    assert find_root("sysu") == Path("data/SYSU-MM01")
    monkeypatch.setenv("CSCL_DATA", str(tmp_path / "store"))
    assert find_root("sysu") == Path("data/SYSU-MM01")
    (tmp_path / "store/sysu").mkdir(parents=True)
    assert find_root("sysu") == tmp_path / "store/sysu"
    assert find_root("sysu", tmp_path) == tmp_path
    with pytest.raises(MissingError, match=r"store/RegDB.*store/regdb.*data/RegDB.*data/regdb"):
        find_root("regdb")


def test_each_name_opens_its_reader(
    sysu_root: Path,
    regdb_root: Path,
    llcm_root: Path,
    folder_root: Path,
    at_home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert list(DATA_SETS) == ["sysu", "regdb", "llcm", "hitsz", "buptcampus", "folder"]
    roots = {"sysu": sysu_root, "regdb": regdb_root, "llcm": llcm_root, "folder": folder_root}
    for name, root in roots.items():
        opened = open_data_set(name, root)
        assert (type(opened), opened.name, opened.root) == (data_set(name), name, root)
    monkeypatch.setenv("CSCL_DATA", str(llcm_root.parent))
    assert open_data_set("llcm").images == open_data_set("llcm", llcm_root).images


def test_a_folder_of_ones_own_needs_a_root_and_names_must_be_known(at_home: Path) -> None:
    with pytest.raises(InputError, match=r"--root\. Expected:\n.*ROOT/"):
        open_data_set("folder")
    with pytest.raises(InputError, match="no data set 'market'; choose one of sysu, regdb, llcm, hitsz, buptcampus"):
        open_data_set("market")


def test_permutations_are_for_sysu_alone(sysu_root: Path, regdb_root: Path, tmp_path: Path) -> None:
    path = tmp_path / "perm.mat"
    path.touch()
    assert open_data_set("sysu", sysu_root, path).name == "sysu"
    with pytest.raises(InputError, match=r"regdb: --permutations .*perm\.mat is for --dataset sysu alone; leave"):
        open_data_set("regdb", regdb_root, path)
    with pytest.raises(InputError, match=r"sysu: --pattern \{identity\} is for --dataset folder alone"):
        open_data_set("sysu", sysu_root, pattern="{identity}")


def test_another_data_sets_root_is_recognised(
    sysu_root: Path, regdb_root: Path, llcm_root: Path, folder_root: Path
) -> None:
    roots = {"sysu": sysu_root, "regdb": regdb_root, "llcm": llcm_root, "folder": folder_root}
    for name in roots:
        for other, root in roots.items():
            if name != other:
                with pytest.raises(InputError, match=f"looks like {other}; use --dataset {other}"):
                    open_data_set(name, root)


@pytest.mark.parametrize("name", DATA_SETS)
def test_missing_empty_and_wrong_roots_show_the_expected_tree(name: str, tmp_path: Path) -> None:
    file, empty, full = tmp_path / "file", tmp_path / "empty", tmp_path / "full"
    file.touch()
    empty.mkdir()
    (full / "things").mkdir(parents=True)
    for root, message in (
        (tmp_path / "gone", "there is no folder"),
        (file, "is a file"),
        (empty, "is empty"),
        (full, f"has no {data_set(name).parts[0]}"),
    ):
        with pytest.raises(InputError, match=message) as error:
            open_data_set(name, root)
        assert str(error.value).endswith(f"Expected:\n{data_set(name).tree}")
        assert str(root) in str(error.value)


def test_the_folder_above_the_data_set_is_recognised(regdb_root: Path) -> None:
    with pytest.raises(MissingError, match=r"holds the data set in RegDB; use --root .*RegDB"):
        open_data_set("regdb", regdb_root.parent)


def test_only_data_knows_the_readers_of_single_data_sets() -> None:
    readers = {f"data.readers.{name}" for name in DATA_SETS}
    files = [file for package in ("pipelines", "parsing", "cscl") for file in (ROOT / package).rglob("*.py")]
    assert files
    assert [str(file) for file in files if any(reader in file.read_text(encoding="utf-8") for reader in readers)] == []


def test_the_names_are_listed_without_reading_matlab_or_image_libraries() -> None:
    code = "import sys, data.registry; print(data.registry.DATA_SETS, {'scipy', 'PIL', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{DATA_SETS} set()"
