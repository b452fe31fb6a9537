"""P x K batches over both modalities, as a pure function of (seed, epoch, step)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from parsing.errors import InputError

from ..records import Record


class IdentitySampler:
    """Each batch: `identities` people, `images` visible and `images` infrared pictures of each.

    Only people seen in both modalities take part. Raises InputError where there are too few of them.
    """

    def __init__(self, records: Sequence[Record], identities: int, images: int, seed: int) -> None:
        rows: dict[int, tuple[list[int], list[int]]] = {}
        for number, record in enumerate(records):
            rows.setdefault(record.identity, ([], []))[record.modality == "infrared"].append(number)
        self._rows = [(np.array(v), np.array(r)) for _, (v, r) in sorted(rows.items()) if v and r]
        if len(self._rows) < identities:
            raise InputError(
                f"a batch wants {identities} identities, but only {len(self._rows)} of {len(rows)} are seen in both "
                "modalities; lower train.identities"
            )
        self.identities, self.images, self.seed = identities, images, seed
        larger = max(sum(len(pair[m]) for pair in self._rows) for m in (0, 1))
        self.steps = max(1, larger // (identities * images))
        """Batches an epoch that show each image of the larger modality about once."""

    def batch(self, epoch: int, step: int) -> NDArray[np.int64]:
        """Row numbers (2 * identities * images): all visible ones, then all infrared ones, person by person."""
        people = self._people(epoch, step)
        rng = np.random.default_rng((self.seed, epoch, step))
        drawn = [[self._draw(self._rows[p][modality], rng) for p in people] for modality in (0, 1)]
        return np.concatenate(drawn[0] + drawn[1])

    def _people(self, epoch: int, step: int) -> NDArray[np.int64]:
        """Everybody comes once in len // P steps of a round before anybody comes again."""
        a_round = len(self._rows) // self.identities
        rng = np.random.default_rng((self.seed, epoch, step // a_round, 1))
        start = step % a_round * self.identities
        return rng.permutation(len(self._rows))[start : start + self.identities]

    def _draw(self, rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        return rng.choice(rows, self.images, replace=len(rows) < self.images)
