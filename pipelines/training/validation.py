"""Validation on people held out of training, which selects the epoch of a run with `data.select = "val"`."""

from collections.abc import Sequence

from cscl.embedder import Embedder
from cscl.model import CSCL
from data.loading.transforms import MEAN, STD, Stack
from data.records import DataSet, Protocol, Record, Skip, Trial
from parsing.errors import InputError

from ..recipes.reading import Recipe
from ..runs.embed import embed
from ..runs.scores import score


class Validation:
    """Score a network on held-out people: infrared queries against all of their visible images.

    Args:
        records: N images of people who are not trained on.
        images: N of (3, H, W) uint8, of the network's input size.
        skip: the data set's rule for gallery images that a query does not see.

    Raises:
        InputError: if nobody is seen in both modalities.
    """

    def __init__(self, records: Sequence[Record], images: Stack, skip: Skip = DataSet.skip) -> None:
        self.records = records
        self._size = (images[0].shape[1], images[0].shape[2])
        self._images = {r.name: image for r, image in zip(records, images, strict=True)}
        query, gallery = (tuple(r for r in records if r.modality == m) for m in ("infrared", "visible"))
        if not {r.identity for r in query} & {r.identity for r in gallery}:
            raise InputError("data.select = 'val': no validation identity is seen in both modalities; use 'last'")
        self.protocol = Protocol(
            "validation", trials=(Trial(query, gallery),), skip=skip, deduplicated=True, gallery_rule="all"
        )

    def __call__(self, model: CSCL) -> dict[str, float]:
        """Return `rank1` and `mAP` in [0, 1]; the model returns to the mode, training or eval, that it was in."""
        training = model.training
        embedder = Embedder(model, size=self._size, mean=MEAN, std=STD)
        features = embed(embedder, self.records, lambda r: self._images[r.name]).double().numpy()
        model.train(training)
        by_name = {r.name: f for r, f in zip(self.records, features, strict=True)}
        result = score(self.protocol, by_name, blocks=model.blocks)
        return {"rank1": result.cmc[1], "mAP": result.mAP}


def hold_out(data_set: DataSet, records: Sequence[Record]) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """Return the records to train on, and those of the data set's validation identities."""
    people = data_set.validation_people(r.identity for r in records)
    return tuple(r for r in records if r.identity not in people), tuple(r for r in records if r.identity in people)


def is_due(epoch: int, recipe: Recipe) -> bool:
    """Return whether to validate at the end of an epoch, counted from 0; always at the end of the last one."""
    return (epoch + 1) % recipe.data.evaluate_every == 0 or epoch + 1 == recipe.train.epochs
