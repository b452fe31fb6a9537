"""`python:FILE`: what a file of the user's must hold, refused by name where it does not."""

from pathlib import Path

import pytest

from parsing.errors import InputError, MissingError
from parsing.parsers.python_file import own_parser
from parsing.parsers.registry import ParserSpec, find_parser

CODE = """
import torch
from parsing.labels import label_set
from parsing.parser import NetworkParser


class Own(NetworkParser):
    labels, licence, weights_hash, input_size = label_set("pascal"), "mine", "0", (8, 4)


def build(weights, device):
    return Own(torch.nn.Conv2d(3, 7, 1), (0.5,) * 3, (0.5,) * 3, device)
"""


def written(folder: Path, code: str, name: str = "own.py") -> Path:
    (folder / name).write_text(code, encoding="utf-8")
    return folder / name


def test_its_name_is_the_files_and_its_hash_follows_the_code(tmp_path: Path) -> None:
    parser = find_parser(ParserSpec(f"python:{written(tmp_path, CODE)}"))
    assert (parser.name, parser.labels.name) == ("python:own.py", "pascal")
    hashes = {parser.weights_hash, own_parser(written(tmp_path, CODE)).weights_hash}
    assert len(hashes) == 1
    hashes.add(own_parser(written(tmp_path, CODE + "# changed\n")).weights_hash)
    hashes.add(own_parser(written(tmp_path, CODE.replace('"0"', '"1"'))).weights_hash)
    assert len(hashes) == 3


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("", r"own\.py has no function build"),
        ("build = 3", "has no function build"),
        ("def build(weights, device):\n    return 7", "build returns int, not a parsing"),
        (CODE.replace("licence, weights_hash", "weights_hash").replace('"mine", "0"', '"0"'), "does not set licence"),
    ],
)
def test_a_file_that_builds_no_parser_is_refused(tmp_path: Path, code: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        own_parser(written(tmp_path, code))


def test_a_file_that_is_not_there_or_no_python_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"none\.py: there is no such file"):
        own_parser(tmp_path / "none.py")
    with pytest.raises(InputError, match=r"own\.txt: give a file that ends in \.py"):
        own_parser(written(tmp_path, CODE, "own.txt"))
    with pytest.raises(InputError, match="--labels lip: parser python:x does not take it"):
        find_parser(ParserSpec("python:x", labels="lip"))
