"""`cscl parser list`: the parsers there are, what they answer, whose they are and whether their weights are at hand."""

from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

from parsing.labels import LABEL_SETS, label_set
from parsing.parsers.sources import BUILT_IN_LICENCE, HUB_MODELS, SCHP, SCHP_LICENCE, at_hand, built_in_size


@dataclass(frozen=True)
class ParserRow:
    """One parser. weights: `here`, `not here`, or for a file of the user's own `yours`; needs: an extra, or nothing."""

    name: str
    labels: str
    classes: tuple[str, ...]
    input: str
    licence: str
    source: str
    weights: str
    needs: str = ""


@dataclass(frozen=True)
class ParserList:
    """All parsers, for `cscl parser list`."""

    rows: tuple[ParserRow, ...]

    def to_json(self) -> list[dict[str, Any]]:
        """Everything as plain strings and lists, for `json.dumps`."""
        return [asdict(row) for row in self.rows]

    def lines(self) -> list[str]:
        """A table, then licence and source of each."""
        cells = [("parser", "label set", "classes", "input", "weights", "")]
        cells += [
            (r.name, r.labels, str(len(r.classes) or "-"), r.input, r.weights, r.needs and f"needs {r.needs}")
            for r in self.rows
        ]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        table = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells]
        sources = [f"{r.name}: {r.licence}; {r.source}" for r in self.rows]
        sets = [f"{s.name}: {', '.join(s.classes)}" for s in LABEL_SETS.values()]
        return [*table, "", "licences and sources", *sources, "", "label sets", *sets]


def list_parsers() -> ParserList:
    """Look at the package and at the download cache; nothing is downloaded."""
    rows = [_row("street", "street", built_in_size(), BUILT_IN_LICENCE, "in the package", True)]
    rows += [_row(name, p.labels, p.input_size, SCHP_LICENCE, p.source, at_hand(name)) for name, p in SCHP.items()]
    hf = "" if find_spec("transformers") else 'pip install "cscl[hf]"'
    rows += [
        _row(
            f"hf:{model}",
            known.labels,
            None,
            known.licence,
            f"https://huggingface.co/{model}",
            at_hand(f"hf:{model}"),
            hf,
        )
        for model, known in HUB_MODELS.items()
    ]
    onnx = "" if find_spec("onnx") and find_spec("onnxruntime") else 'pip install "cscl[onnx]"'
    of_file, no_licence = "--labels", "that of the model"
    rows += [
        ParserRow(
            "hf:ORG/NAME", "of its config", (), "its own", no_licence, "https://huggingface.co/ORG/NAME", "hub", hf
        ),
        ParserRow("hf:DIR", "of its config", (), "its own", no_licence, "a folder of save_pretrained", "yours", hf),
        ParserRow("smp:DIR", of_file, (), "--input", no_licence, "a folder of save_pretrained", "yours"),
        ParserRow("torchscript:FILE", of_file, (), "--input", no_licence, "a file of torch.jit.save", "yours"),
        ParserRow("onnx:FILE", of_file, (), "--input", no_licence, "an exported file", "yours", onnx),
        ParserRow(
            "python:FILE", "of its code", (), "its own", no_licence, "code of your own, docs/parsers.md", "yours"
        ),
    ]
    return ParserList(tuple(rows))


def _row(
    name: str, labels: str, size: tuple[int, int] | None, licence: str, source: str, here: bool, needs: str = ""
) -> ParserRow:
    classes, shown = label_set(labels).classes, f"{size[0]}x{size[1]}" if size else "its own"
    return ParserRow(name, labels, classes, shown, licence, source, "here" if here else "not here", needs)
