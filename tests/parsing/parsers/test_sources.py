"""Weights by name: without a network a command ends in one line before torch is loaded; what is at hand is known."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from parsing.errors import InputError, MissingError
from parsing.parsers.sources import HF_FILES, SCHP, fetch, hf_at_hand, schp_at_hand

COMMAND = """
import sys
from click.testing import CliRunner
import cli
ended = CliRunner().invoke(cli.main, sys.argv[1:])
print(ended.exit_code, "torch" in sys.modules, "dask" in sys.modules)
print(ended.stderr, end="")
"""


@pytest.fixture
def silent() -> Iterator[str]:
    """A hub that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=8) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    "words",
    [
        "parse --dataset sysu --parser hf:me/parser",
        "parser score --photos . --parser schp-atr",
        "parser compare street hf:me/parser --images .",
    ],
)
def test_a_silent_network_ends_a_command_in_one_line_before_anything_heavy_is_loaded(
    silent: str, tmp_path: Path, words: str
) -> None:
    pytest.importorskip("transformers", reason="needs the extra cscl[hf]")
    environment = os.environ | {"HF_ENDPOINT": silent, "HF_HOME": str(tmp_path), "HF_HUB_ETAG_TIMEOUT": "1"}
    command = [sys.executable, "-c", COMMAND, *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.stderr == ""
    state, *told = done.stdout.splitlines()
    assert state == "2 False False"
    assert len(told) == 1
    assert told[0].startswith("cscl: ")
    for word in (
        silent,
        "does not answer",
        "https://huggingface.co/",
        "--parser hf:DIR" if "hf:" in words else "--weights",
    ):
        assert word in told[0]


def test_only_what_comes_from_the_hub_is_fetched(tmp_path: Path) -> None:
    for name in ("street", "smp:x", "onnx:x", "torchscript:x", "python:x", "no such parser", "hf:"):
        fetch(name)
    fetch("schp-lip", tmp_path / "mine.pth")
    pytest.importorskip("transformers", reason="needs the extra cscl[hf]")
    with pytest.raises(MissingError, match="no such folder, and no ORG/NAME"):
        fetch("hf:a/b/c")
    with pytest.raises(InputError, match=r"holds no config\.json"):
        fetch(f"hf:{tmp_path}")


def test_what_is_in_the_hubs_cache_is_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    commit = "0" * 40
    for at_hand, parser, repo, files in (
        (schp_at_hand, "schp-lip", SCHP["schp-lip"].repo, ["model.safetensors"]),
        (hf_at_hand, "me/parser", "me/parser", [names[0] for names in HF_FILES]),
    ):
        assert not at_hand(parser)
        folder = tmp_path / f"models--{repo.replace('/', '--')}"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "main").write_text(commit)
        (folder / "snapshots" / commit).mkdir(parents=True)
        for file in files:
            assert not at_hand(parser)
            (folder / "snapshots" / commit / file).touch()
        assert at_hand(parser)
