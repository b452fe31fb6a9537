"""Wheel and source archive (slow): both hold every file that they should, and the wheel works elsewhere."""

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from support.places import ROOT

pytestmark = pytest.mark.slow
PACKAGES = ("parsing", "cscl", "data", "pipelines")
OUTSIDE = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME", "CSCL_DATA")}


def run(*command: object, cwd: Path) -> str:
    """Run a command without the checkout on Python's path and return what it printed."""
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=OUTSIDE, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build(kind: str, source: Path, out: Path) -> Path:
    """Build `sdist` or `wheel` of the project in `source` by pyproject.toml's build backend, with what is installed."""
    out.mkdir()
    code = f"import sys, setuptools.build_meta as backend; backend.build_{kind}(sys.argv[1])"
    run(sys.executable, "-c", code, out, cwd=source)
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the files that git knows or would add; a build leaves files beside its sources."""
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout")
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    copy = tmp_path_factory.mktemp("checkout")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    return copy


@pytest.fixture(scope="module")
def files(checkout: Path) -> set[str]:
    """Their names, from before anything was built."""
    return {file.relative_to(checkout).as_posix() for file in checkout.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def archive(checkout: Path, files: set[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive; images, caches and build leftovers lie in the checkout that it is made of."""
    for stray in ("data/SYSU-MM01/cam1/0001/0001.jpg", "data/sysu_masks.h5", "runs/a/model.safetensors", "build/x.py"):
        (checkout / stray).parent.mkdir(parents=True, exist_ok=True)
        (checkout / stray).write_bytes(b"")
    return build("sdist", checkout, tmp_path_factory.mktemp("sdist") / "out")


@pytest.fixture(scope="module")
def wheel(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel made of the source archive, as installers do that find no wheel."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    (source,) = folder.iterdir()
    return build("wheel", source, folder / "out")


def test_the_source_archive_holds_what_the_checkout_does(archive: Path, files: set[str]) -> None:
    with tarfile.open(archive) as tar:
        names = {member.name.partition("/")[2] for member in tar.getmembers() if member.isfile()}
    assert files - names == set()
    made = {name for name in names - files if not name.startswith("cscl.egg-info/")}
    assert made == {"PKG-INFO", "setup.cfg"}


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path, files: set[str]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == {"cli.py"} | {name for name in files if name.partition("/")[0] in PACKAGES}
    assert {f"{package}/py.typed" for package in PACKAGES} <= names


def test_the_description_for_a_package_index_has_no_link_into_the_checkout(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        text = archive.read(name).decode()
    assert "\nDescription-Content-Type: text/markdown\n" in text
    assert "\n# cscl\n" in text
    assert re.findall(r"\]\((?!https?://)", text) == []


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel; the dependencies are those of this one, so that no network is needed."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    command = (sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps", "--quiet", wheel)
    run(*command, cwd=folder)
    # a path in a .pth file is searched last, and its own .pth files, such as that of an editable cscl, are not read
    site = sysconfig.get_path("purelib", "venv", {"base": str(folder)})
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def test_the_installed_packages_are_the_wheels(environment: Path, tmp_path: Path) -> None:
    code = f"import cli, {', '.join(PACKAGES)}; print(*(m.__file__ for m in (cli, {', '.join(PACKAGES)})), sep='\\n')"
    found = run(environment / "bin" / "python", "-c", code, cwd=tmp_path).split()
    assert len(found) == 1 + len(PACKAGES)
    assert all(Path(file).is_relative_to(environment) for file in found), found


def test_the_installed_command_makes_images_and_parses_them_with_its_own_weights(
    environment: Path, tmp_path: Path
) -> None:
    cscl = environment / "bin" / "cscl"
    assert run(cscl, "--version", cwd=tmp_path).startswith("cscl, version ")
    options = ("--train", 2, "--test", 2, "--shots", 1)
    run(cscl, "data", "make", "pedestrians", "--out", "data/SYSU-MM01", *options, cwd=tmp_path)
    run(cscl, "parse", "--dataset", "sysu", "--limit", 2, "--workers", 0, "--size", "96x48", cwd=tmp_path)
    code = "from parsing import MaskCache; print(len(MaskCache('data/sysu_masks.h5')))"
    assert run(environment / "bin" / "python", "-c", code, cwd=tmp_path) == "2\n"
