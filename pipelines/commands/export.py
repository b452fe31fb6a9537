"""`cscl export`."""

from typing import Any

import click

from .ending import print_values
from .options import NewFile, Place, flip_option, json_option


@click.command()
@click.option("--run", type=Place, required=True, help="The run's folder.")
@click.option("--out", type=NewFile(".onnx"), help="The file, .onnx.  [default: model.onnx in the run]")
@flip_option
@json_option
def export(as_json: bool, **options: Any) -> None:
    """Write a run's embedder as an ONNX file, checked against torch."""
    from pipelines.runs.provenance import check_trained

    check_trained(options["run"])
    from pipelines.retrieval.onnx_export import AGREEMENT, OPSET
    from pipelines.retrieval.onnx_export import export as run

    made = run(**options)
    line = (
        f"{made.path}: opset {OPSET}, images uint8 (batch, 3, {made.size[0]}, {made.size[1]}) and infrared bool (batch)"
        f" to embeddings (batch, {made.dim}), flip {'averaged' if made.flip else 'not averaged'}; "
        f"onnxruntime differs from torch by at most {made.difference:.1e} (allowed {AGREEMENT:.0e})"
    )
    print_values({**vars(made), "opset": OPSET, "allowed": AGREEMENT}, [line], as_json)
