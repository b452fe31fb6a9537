"""Weights: only tensors are read, and only those that fit are loaded."""

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from parsing.errors import InputError, MissingError
from parsing.parsers.weights import content_hash, load_strictly, read_tensors


def tensors() -> dict[str, torch.Tensor]:
    return {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4)}


@pytest.mark.parametrize("prefix", ["", "module.", "model."])
@pytest.mark.parametrize("form", ["checkpoint", "plain", "safetensors"])
def test_every_form_of_a_state_dict_reads_alike(tmp_path: Path, form: str, prefix: str) -> None:
    state = {prefix + name: tensor for name, tensor in tensors().items()}
    file = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pth")
    if form == "safetensors":
        save_file(state, file)
    else:
        torch.save({"state_dict": state, "epoch": 3} if form == "checkpoint" else state, file)
    read = read_tensors(file)
    assert list(read) == list(tensors())
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors().items())


def test_a_prefix_that_not_every_name_has_is_part_of_the_names(tmp_path: Path) -> None:
    save_file({"module.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "w.safetensors")
    assert sorted(read_tensors(tmp_path / "w.safetensors")) == ["b", "module.a"]


class Trap:
    """Unpickling it would make a folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.mkdir, (self.folder,)


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    torch.save({"state_dict": Trap(str(tmp_path / "sprung"))}, tmp_path / "w.pth")
    with pytest.raises(
        InputError, match=r"w\.pth holds more than tensors \(posix\.mkdir\), and code in a checkpoint is"
    ):
        read_tensors(tmp_path / "w.pth")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_truncated_and_foreign_files_are_refused_by_name(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    with pytest.raises(MissingError, match=f"no weights file .*{name}"):
        read_tensors(file)
    if name == "w.pth":
        torch.save(tensors(), file)
    else:
        save_file(tensors(), file)
    whole = file.read_bytes()
    for content in (whole[:-9], whole[:20], b"", b"an article, not weights"):
        file.write_bytes(content)
        with pytest.raises(InputError, match=f"{name} cannot be read as weights"):
            read_tensors(file)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InputError, match=r"list\.pth holds no state dict"):
        read_tensors(tmp_path / "list.pth")


def test_strict_loading_names_what_does_not_fit() -> None:
    file, network = Path("w.pth"), nn.BatchNorm2d(3)
    given = {name: tensor + 1 for name, tensor in network.state_dict().items()}
    load_strictly(network, tensors=given, file=file, what="a norm")
    assert network.num_batches_tracked == 1
    assert torch.equal(network.running_mean, torch.ones(3))  # type: ignore[arg-type]
    untracked = nn.Conv2d(1, 1, 1)
    extra = {**untracked.state_dict(), "bn.num_batches_tracked": torch.tensor(3)}
    load_strictly(untracked, tensors=extra, file=file, what="a convolution")
    with pytest.raises(InputError, match=r"w\.pth is no a norm: it lacks bias \(4 of 5 tensors fit, 0 are foreign"):
        load_strictly(network, tensors={k: v for k, v in given.items() if k != "bias"}, file=file, what="a norm")
    with pytest.raises(InputError, match=r"holds head too \(5 of 5 tensors fit, 1 are foreign"):
        load_strictly(network, tensors={**given, "head": torch.ones(1)}, file=file, what="a norm")
    with pytest.raises(InputError, match=r"bias is \(2,\), not \(3,\)"):
        load_strictly(network, tensors={**given, "bias": torch.ones(2)}, file=file, what="a norm")


def test_the_hash_of_one_file_is_its_own_and_of_several_sees_each(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    assert content_hash([one]) == hashlib.sha256(b"1").hexdigest()
    both = content_hash([one, two])
    two.write_bytes(b"3")
    assert len({both, content_hash([one]), content_hash([one, two])}) == 3
