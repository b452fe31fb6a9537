"""`cscl export`: the ONNX file answers as the network does, says what it wants, and is not kept where it does not."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import pipelines.retrieval.onnx_export
from cli import main
from cscl import load
from parsing.errors import CsclError, InputError, MissingError
from pipelines.retrieval.onnx_export import OPSET, export

onnx = pytest.importorskip("onnx", reason='needs pip install "cscl[onnx]"')
onnxruntime = pytest.importorskip("onnxruntime", reason='needs pip install "cscl[onnx]"')


@pytest.fixture(scope="module")
def exported(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("onnx") / "new" / "cscl.onnx"
    made = export(finished, out)
    assert (made.path, made.size, made.flip) == (out, (64, 32), True)
    assert 0 <= made.difference < 1e-4
    assert [p.name for p in out.parent.iterdir()] == ["cscl.onnx"]
    return out


@pytest.mark.parametrize("infrared", [[True], [False, True, True, False], [False] * 9])
def test_onnxruntime_gives_the_embeddings_of_torch_for_any_batch(
    exported: Path, finished: Path, infrared: list[bool]
) -> None:
    session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
    images = np.random.default_rng(len(infrared)).integers(0, 256, (len(infrared), 3, 64, 32), dtype=np.uint8)
    (answer,) = session.run(["embedding"], {"images": images, "infrared": np.array(infrared)})
    expected = load(finished).embed(torch.from_numpy(images), infrared).numpy()
    assert np.abs(answer - expected).max() < 1e-4
    assert np.abs(answer - load(finished).embed(torch.from_numpy(images), [not i for i in infrared]).numpy()).max() > 0


def test_the_file_says_what_it_wants_and_gives(exported: Path, finished: Path) -> None:
    model = onnx.load(exported)
    about = {p.key: p.value for p in model.metadata_props}
    assert json.loads(about["size"]) == [64, 32]
    normalisation = json.loads(about["normalisation"])
    assert normalisation == {"in_graph": True, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    assert json.loads(about["flip_averaged"]) is True
    assert tuple(json.loads(about["blocks"])) == load(finished).blocks
    assert about["embedding"].endswith("by inner product, divided by the inner product of the lengths of the blocks")
    assert about["infrared"] == "bool (batch): false visible, true infrared"
    assert {i.name for i in (*model.graph.input, *model.graph.output)} <= about.keys()
    assert [o.version for o in model.opset_import if o.domain == ""] == [OPSET]
    session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
    shapes = {i.name: (i.shape, i.type) for i in session.get_inputs()}
    assert shapes == {"images": (["batch", 3, 64, 32], "tensor(uint8)"), "infrared": (["batch"], "tensor(bool)")}
    assert session.get_outputs()[0].shape == ["batch", load(finished).dim]


def test_the_command_exports_into_the_run_and_says_how_well_they_agree(run_copy: Path) -> None:
    result = CliRunner().invoke(main, ["export", "--run", str(run_copy), "--no-flip"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{run_copy / 'model.onnx'}: opset {OPSET}, images uint8 (batch, 3, 64, 32)")
    assert "flip not averaged; onnxruntime differs from torch by at most" in result.stdout
    images = torch.zeros(2, 3, 64, 32, dtype=torch.uint8)
    session = onnxruntime.InferenceSession(str(run_copy / "model.onnx"), providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"images": images.numpy(), "infrared": np.array([True, False])})
    expected = load(run_copy).embed(images, [True, False], flip=False).numpy()
    assert np.abs(answer - expected).max() < 1e-4


def test_a_file_that_disagrees_is_not_kept(
    exported: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines.retrieval.onnx_export, "_trace", lambda graph, file: shutil.copy(exported, file))
    for difference in (0.01, float("nan")):
        monkeypatch.setattr(pipelines.retrieval.onnx_export, "_measure_difference", lambda *_, d=difference: d)
        with pytest.raises(CsclError, match="was not written: onnxruntime and torch differ by"):
            export(finished, tmp_path / "model.onnx")
        assert list(tmp_path.iterdir()) == []


def test_without_the_extra_one_line_says_what_to_install(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(name: str, *rest: Any) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(pipelines.retrieval.onnx_export, "import_module", lacking)
    result = CliRunner().invoke(main, ["export", "--run", str(finished)])
    assert result.exit_code == 2
    assert result.stderr == 'cscl: cscl export needs onnx: pip install "cscl[onnx]"\n'


def test_wrong_places_are_refused(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--out .*model\.pt: give a file name that ends in \.onnx"):
        export(finished, tmp_path / "model.pt")
    with pytest.raises(MissingError, match=r"holds no model\.safetensors"):
        export(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        export(finished, tmp_path / "file" / "model.onnx")
