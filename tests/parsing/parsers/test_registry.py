"""Parsers by name: every form is found, wrong options are refused, and each kind parses a data set."""

from importlib import import_module
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import torch
from click.testing import CliRunner

from cli import main
from parsing.cache.reader import MaskCache
from parsing.errors import CacheError, InputError
from parsing.labels import label_set
from parsing.parsers.base import NetworkParser
from parsing.parsers.registry import (
    BACKENDS,
    OPTIONS,
    PARSERS,
    ParserSpec,
    find_parser,
    list_takers,
    spec_from_cache,
)
from pipelines.parse.run import ParseConfig, parse
from pipelines.parsers.catalogue import list_parsers


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same small network as a folder of smp and as a TorchScript file."""
    folder = tmp_path_factory.mktemp("saved") / "tiny"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = smp.Unet(
            "tu-resnet10t", encoder_weights=None, encoder_depth=3, classes=7, decoder_channels=(16, 8, 8)
        )
    network.eval().save_pretrained(folder)
    torch.jit.save(torch.jit.trace(network, torch.zeros(1, 3, 32, 16)), str(folder / "tiny.pt"))
    return folder


def test_the_list_has_every_form_of_name_and_the_built_in_is_at_hand() -> None:
    rows = {row.name: row for row in list_parsers().rows}
    assert set(PARSERS) <= set(rows)
    assert rows["street"].weights == "here"
    assert rows["schp-lip"].classes == label_set("lip").classes
    for row in rows.values():
        assert row.licence
        assert row.source
    assert "hf:fashn-ai/fashn-human-parser" in rows


def test_files_are_found_from_other_folders_and_models_of_the_hub_keep_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "code.py").write_text("")
    (tmp_path / "link.py").symlink_to("code.py")
    monkeypatch.chdir(tmp_path)
    assert ParserSpec("python:code.py").absolute().name == f"python:{tmp_path}/code.py"
    assert ParserSpec("python:link.py").absolute().name == f"python:{tmp_path}/link.py"
    trusted = ParserSpec("hf:model", remote_code="model").absolute()
    assert (trusted.name, trusted.remote_code) == (f"hf:{tmp_path}/model", f"{tmp_path}/model")
    for spec in (ParserSpec(), ParserSpec("hf:me/parser", remote_code="me/parser"), ParserSpec("onnx:none.onnx")):
        assert spec.absolute() == spec


def test_each_row_of_the_table_is_what_its_module_does() -> None:
    rows = {backend.form: backend for backend in BACKENDS}
    for backend in BACKENDS:
        assert callable(import_module(f"parsing.parsers.{backend.module}").build)
        assert set(backend.options) <= set(OPTIONS)
    street, row = find_parser(ParserSpec()), rows["street"]
    assert (street.input_size, street.labels.name, street.licence) == (row.input, row.labels, row.licence)
    assert list_takers("labels") == "hf, smp, torchscript, onnx"
    assert list_takers("weights") == "street, schp-lip, schp-atr, schp-pascal, python"
    assert list_takers("remote_code") == "hf"


def test_what_a_cache_says_of_a_named_parser_is_enough_to_parse_again() -> None:
    narrow = {"input": [473, 241], "precision": "bfloat16"}
    wide = {"input": [473, 473], "precision": "float32"}
    file = Path("w.pth")
    for said, spec in (
        (("schp-lip", narrow), ParserSpec("schp-lip", file, "cpu", narrow=True, bf16=True)),
        (("schp-lip", wide), ParserSpec("schp-lip", file, "cpu")),
        (("street", {}), ParserSpec("street", file, "cpu")),
        *(((name, {}), None) for name in ("hf:me/parser", "python:own.py", "imported png", "mine", "hf")),
    ):
        assert spec_from_cache({"parser": said[0], "preprocessing": said[1]}, file, "cpu") == spec


def test_the_command_prints_the_list_as_a_table_and_as_json() -> None:
    table = CliRunner().invoke(main, ["parser", "list"])
    assert table.exit_code == 0
    assert "schp-pascal" in table.output
    as_json = CliRunner().invoke(main, ["parser", "list", "--json"])
    assert '"weights": "here"' in as_json.output


@pytest.mark.parametrize("name", ["graphonomy", "schp", "schp-cihp", "hf:", "smp:", "onnx", "street:x"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"no parser .*there are street, schp-lip|no such folder"):
        find_parser(ParserSpec(name))


def test_a_hub_name_of_three_parts_is_refused() -> None:
    pytest.importorskip("transformers", reason="needs the extra cscl[hf]")
    with pytest.raises(InputError, match=r"no parser|no such folder"):
        find_parser(ParserSpec("hf:ORG/NAME/x"))


def test_options_that_a_parser_does_not_take_or_lacks_are_refused() -> None:
    with pytest.raises(InputError, match="--labels lip: parser street does not take it"):
        find_parser(ParserSpec(labels="lip"))
    with pytest.raises(InputError, match=r"--input \(8, 8\): parser schp-lip"):
        find_parser(ParserSpec("schp-lip", input_size=(8, 8)))
    with pytest.raises(InputError, match=r"--weights w\.pth: parser smp:x"):
        find_parser(ParserSpec("smp:x", Path("w.pth"), labels="lip", input_size=(8, 8)))
    with pytest.raises(InputError, match=r"--mean .*: parser hf:a/b"):
        find_parser(ParserSpec("hf:a/b", mean=(0.0, 0.0, 0.0)))
    with pytest.raises(InputError, match="--narrow: parser street does not take it"):
        find_parser(ParserSpec(narrow=True))
    with pytest.raises(InputError, match="--bf16: parser onnx:x"):
        find_parser(ParserSpec("onnx:x", bf16=True))
    with pytest.raises(InputError, match="--labels NAME --input HxW"):
        find_parser(ParserSpec("onnx:x.onnx", labels="lip"))


def test_mean_and_std_of_255_are_the_same_parser_as_those_of_1(saved: Path) -> None:
    one = ParserSpec(f"smp:{saved}", labels="pascal", input_size=(32, 16), mean=(0.5, 0.25, 0.0), std=(1.0, 0.5, 0.25))
    other = ParserSpec(
        f"smp:{saved}", labels="pascal", input_size=(32, 16), mean=(127.5, 63.75, 0.0), std=(255.0, 127.5, 63.75)
    )
    for spec in (one, other):
        parser = find_parser(spec)
        assert isinstance(parser, NetworkParser)
        assert (parser.mean, parser.std) == (one.mean, one.std)


def config(out: Path, root: Path, parser: str = "street", **options: object) -> ParseConfig:
    spec = ParserSpec(parser, **options)  # type: ignore[arg-type]
    return ParseConfig("sysu", root=root, out=out, parser=spec, size=(32, 16), workers=0, limit=4)


def test_caches_of_two_parsers_lie_side_by_side_and_cannot_be_mixed(
    tiny_figures: Path, tiny_weights: Path, saved: Path, tmp_path: Path
) -> None:
    described = {"labels": "pascal", "input_size": (32, 16)}
    street = parse(config(tmp_path / "street.h5", tiny_figures, weights=tiny_weights))
    of_folder = parse(config(tmp_path / "smp.h5", tiny_figures, f"smp:{saved}", **described))
    of_file = parse(config(tmp_path / "script.h5", tiny_figures, f"torchscript:{saved / 'tiny.pt'}", **described))
    caches = [MaskCache(result.path) for result in (street, of_folder, of_file)]
    assert [cache.labels.name for cache in caches] == ["person7", "pascal", "pascal"]
    assert len({cache.fingerprint for cache in caches}) == 3
    assert (caches[1][:] == caches[2][:]).mean() > 0.999  # the same network by two roads
    with pytest.raises(CacheError, match="made from another parser"):
        parse(config(tmp_path / "street.h5", tiny_figures, f"smp:{saved}", **described))


def test_the_command_passes_the_options_on(tiny_figures: Path, saved: Path, tmp_path: Path) -> None:
    words = f"parse --dataset sysu --root {tiny_figures} --out {tmp_path / 'm.h5'} --parser smp:{saved} --size 32x16"
    words += " --workers 0 --limit 2 --labels pascal --input 32x16 --mean 0.5 0.4 0.3 --std 0.3 0.2 0.1 --channels bgr"
    result = CliRunner().invoke(main, words.split())
    assert result.exit_code == 0, result.output
    made = MaskCache(tmp_path / "m.h5").made_by["preprocessing"]
    assert (made["mean"], made["std"], made["channels"]) == ([0.5, 0.4, 0.3], [0.3, 0.2, 0.1], "bgr")
