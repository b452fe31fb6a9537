"""`python:FILE`: what a file of the user's must hold, refused by name where it does not."""

from pathlib import Path

import pytest

from parsing.errors import InputError, MissingError
from parsing.parsers.python_file import build_own_parser
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
    hashes = {parser.weights_hash, build_own_parser(written(tmp_path, CODE)).weights_hash}
    assert len(hashes) == 1
    hashes.add(build_own_parser(written(tmp_path, CODE + "# changed\n")).weights_hash)
    hashes.add(build_own_parser(written(tmp_path, CODE.replace('"0"', '"1"'))).weights_hash)
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
        build_own_parser(written(tmp_path, code))


def test_a_file_that_is_not_there_or_no_python_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"none\.py: there is no such file"):
        build_own_parser(tmp_path / "none.py")
    with pytest.raises(InputError, match=r"own\.txt: give a file that ends in \.py"):
        build_own_parser(written(tmp_path, CODE, "own.txt"))
    with pytest.raises(InputError, match="--labels lip: parser python:x does not take it"):
        find_parser(ParserSpec("python:x", labels="lip"))


ANSWERS = {
    "y[:1]": r"answers \(1, 7, 8, 4\), not scores \(B, 7, h, w\) of the classes of pascal for 2 images",
    "y[:, :5]": r"answers \(2, 5, 8, 4\), not scores",
    "y[:, :, :0]": r"answers \(2, 7, 0, 4\), not scores",
    "y.permute(0, 2, 3, 1)": r"answers \(2, 8, 4, 7\), not scores",
    "y.argmax(1)": r"answers \(2, 8, 4\), not scores",
    "[y]": "answers list, not scores",
    "None": "answers NoneType, not scores",
    "y.numpy()": "answers ndarray, not scores",
    "y.to('meta')": "answers on meta, but its device is cpu",
    "y / 0": "not finite",
    "y * float('nan')": "not finite",
    "y.softmax(1)": "answers probabilities; a parser answers logits",
    "y.sigmoid()": "as a sigmoid does",
    "1 / 0": r"own\.py, line 12: ZeroDivisionError: division by zero",
}
FORWARD = CODE.replace(
    "\n\ndef build",
    "\n    def forward(self, batch):\n        y = super().forward(batch)\n        return {}\n\ndef build",
)


@pytest.mark.parametrize(("answer", "complaint"), ANSWERS.items(), ids=ANSWERS)
def test_an_answer_of_which_no_mask_could_be_made_is_refused(tmp_path: Path, answer: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        build_own_parser(written(tmp_path, FORWARD.format(answer)))


@pytest.mark.parametrize(
    "answer", ["y", "y.double()", "y.half()", "y.flip(2).transpose(2, 3).contiguous().transpose(2, 3)"]
)
def test_logits_of_any_type_and_order_in_memory_are_taken(tmp_path: Path, answer: str) -> None:
    build_own_parser(written(tmp_path, FORWARD.format(answer)))


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("def build(weights, device:", "own.py.*SyntaxError"),
        ("def build(weights, device):\n    return weights.read()", r"own\.py, line 2: AttributeError"),
        (
            CODE.replace(
                "\n\ndef build", "\n    def prepare(self, i):\n        return super().prepare(i)[:, :5]\n\ndef build"
            ),
            r"prepare answers \(3, 5, 4\), not a tensor \(3, 8, 4\)",
        ),
    ],
)
def test_errors_in_the_files_own_code_name_its_line(tmp_path: Path, code: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        build_own_parser(written(tmp_path, code))
