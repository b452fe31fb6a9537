"""`cscl evaluate`: a run under every protocol of its data set."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from parsing.errors import InputError

from .devices import find_device
from .embed import embed, from_root
from .runs import describe, load_model, open_images, read_run, write_file
from .scoring import Result, score


@dataclass(frozen=True)
class Evaluation:
    """Results by protocol, and what is to be said with every figure of them."""

    run: Path
    data_set: str
    simulated: bool
    about: dict[str, Any]
    results: tuple[Result, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "run": str(self.run),
            "data_set": self.data_set,
            "simulated": self.simulated,
            "about": self.about,
            "results": [asdict(r) for r in self.results],
        }

    def lines(self) -> list[str]:
        about = ", ".join(f"{k} {v}" for k, v in self.about.items() if k != "masks")
        columns = ("Rank-1", "Rank-10", "Rank-20", "mAP", "mINP")
        head = f"{'protocol':24s} " + " ".join(f"{c:>7s}" for c in columns) + "   chance Rank-1/mAP"
        rows = [
            f"{r.protocol:24s} {100 * r.cmc[1]:7.2f} {100 * r.cmc[10]:7.2f} {100 * r.cmc[20]:7.2f} {100 * r.mAP:7.2f} "
            f"{100 * r.mINP:7.2f}   {100 * r.chance_rank1:.2f}/{100 * r.chance_map:.2f}"
            for r in self.results
        ]
        one = self.results[0]
        return [
            f"{self.data_set}{' (simulated data)' if self.simulated else ''}: {about}",
            head,
            *rows,
            f"per cent; {one.trials} trial{'s' * (one.trials > 1)}, galleries {one.gallery_rule}, cosine distance, "
            f"flip averaged, {'re-ranked (k-reciprocal)' if one.reranked else 'not re-ranked'}",
        ]


def evaluate(
    run: Path,
    root: Path | None = None,
    protocols: Sequence[str] = (),
    gallery: str = "seeded",
    permutations: Path | None = None,
    rerank: bool = False,
    device: str = "auto",
    progress: bool = True,
) -> Evaluation:
    """Embed every query and gallery image once, score each protocol, and write `run`/evaluation.json."""
    recipe, info = read_run(run)
    data_set = open_images(run, info, root, permutations)
    offered = data_set.protocols(gallery, recipe.data.split)
    names = [p.name for p in offered]
    for name in protocols:
        if name not in names:
            raise InputError(f"--protocol {name}: {info.data_set} has {', '.join(names)}")
    chosen = [p for p in offered if not protocols or p.name in protocols]
    embedder = load_model(run, find_device(device))
    needed = {r.name: r for p in chosen for t in p.trials for r in (*t.query, *t.gallery)}
    records = list(needed.values())
    embedded = embed(embedder, records, from_root(data_set.root, embedder.size), progress=progress)
    features = dict(zip(needed, embedded.double().numpy(), strict=True))
    results = tuple(score(p, features, rerank) for p in chosen)
    simulated = (data_set.root / "simulated.json").is_file()
    evaluation = Evaluation(run, info.data_set, simulated, describe(info, recipe), results)
    write_file(run / "evaluation.json", (json.dumps(evaluation.to_json(), indent=1) + "\n").encode())
    np.savez_compressed(run / "embeddings.npz", names=np.array(list(needed)), embeddings=embedded.numpy())
    return evaluation
