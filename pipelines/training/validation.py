"""What picks the epoch of a run with `data.select = "val"`: people held out of training, scored now and then."""

from collections.abc import Sequence

from torch import Tensor

from cscl.embedder import Embedder
from cscl.model import CSCL
from data.loading.transforms import MEAN, STD
from data.records import DataSet, Protocol, Record, Skip, Trial
from parsing.errors import InputError

from ..recipes.reading import Recipe
from ..runs.embed import embed
from ..runs.scores import score


class Validation:
    """Infrared queries against all visible images of people held out of training; images (N, 3, H, W) uint8.

    skip: which gallery images a query does not see; the data set's rule.
    """

    def __init__(self, records: Sequence[Record], images: Tensor, skip: Skip = DataSet.skip) -> None:
        self.records = records
        self._size = (images.shape[2], images.shape[3])
        self._images = {r.name: image for r, image in zip(records, images, strict=True)}
        query, gallery = (tuple(r for r in records if r.modality == m) for m in ("infrared", "visible"))
        if not {r.identity for r in query} & {r.identity for r in gallery}:
            raise InputError("data.select = 'val': no validation identity is seen in both modalities; use 'last'")
        self.protocol = Protocol("validation", (Trial(query, gallery),), skip, True, "all")

    def __call__(self, model: CSCL) -> dict[str, float]:
        """rank1 and mAP in [0, 1]; the model is left in the mode that it was in."""
        training = model.training
        embedder = Embedder(model, self._size, MEAN, STD)
        features = embed(embedder, self.records, lambda r: self._images[r.name]).double().numpy()
        model.train(training)
        result = score(self.protocol, {r.name: f for r, f in zip(self.records, features, strict=True)})
        return {"rank1": result.cmc[1], "mAP": result.mAP}


def held_out(data_set: DataSet, records: Sequence[Record]) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """Return the records to train on, and those of the people whom the data set holds out for validation."""
    people = data_set.validation_people(r.identity for r in records)
    return tuple(r for r in records if r.identity not in people), tuple(r for r in records if r.identity in people)


def is_due(epoch: int, recipe: Recipe) -> bool:
    """Return whether the end of an epoch (from 0) is one at which to validate; the last one always is."""
    return (epoch + 1) % recipe.data.evaluate_every == 0 or epoch + 1 == recipe.train.epochs
