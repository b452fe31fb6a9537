"""`cscl score`."""

from pathlib import Path
from typing import Any

import click

from .ending import print_result
from .options import DATA_SETS, Existing, NewFile, Place, json_option, pattern_option, protocol_options, rerank_option


@click.command()
@click.argument("features", metavar="FEATURES...", type=Existing(file=True), nargs=-1, required=True)
@click.option("--dataset", type=DATA_SETS, required=True)
@click.option("--root", type=Place, help="The data set's folder.  [default: as for `cscl parse`]")
@pattern_option
@click.option("--name", "method", help="Name of the method in the result.  [default: the file's name]")
@protocol_options
@click.option("--split", type=click.IntRange(1), default=1, help="RegDB: the split of the features.")
@rerank_option
@click.option("--baseline", type=Existing(file=True), help="Another result: differences with a bootstrap interval.")
@click.option("--out", type=NewFile(".json"), help="Write the result here, for --baseline of another.")
@json_option
def score(
    features: tuple[Path, ...],
    dataset: str,
    root: Path | None,
    pattern: str | None,
    permutations: Path | None,
    method: str | None,
    out: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Score features of any method under every protocol of a data set.

    FEATURES are .npz files with `features` (N, D) and `names` (N), the images' paths; or one .npy file with a row per
    image of the data set, or of its protocols, sorted by path.
    """
    from data.registry import open_data_set
    from pipelines.retrieval.features import read_blocks, read_features
    from pipelines.retrieval.judge import score_features

    names, rows = read_features(features)
    opened = open_data_set(dataset, root=root, permutations=permutations, pattern=pattern)
    result = score_features(
        rows, opened, names=names, method=method or features[0].stem, blocks=read_blocks(features), **options
    )
    print_result(result, as_json)
    if out is not None:
        result.save(out)
