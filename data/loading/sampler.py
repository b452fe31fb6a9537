"""P x K batches over both modalities, as a pure function of (seed, epoch, step)."""

from collections.abc import Sequence
from math import gcd

import numpy as np
from numpy.typing import NDArray

from parsing.errors import InputError

from ..records import Record


class IdentitySampler:
    """Draws batches of `identities` people with `images` visible and `images` infrared images of each.

    Only people seen in both modalities take part. Raises InputError if there are too few of them.

    Attributes:
        never_drawn: identities that are seen in one modality alone, sorted.
    """

    def __init__(self, records: Sequence[Record], identities: int, images: int, seed: int) -> None:
        rows: dict[int, tuple[list[int], list[int]]] = {}
        for number, record in enumerate(records):
            rows.setdefault(record.identity, ([], []))[record.modality == "infrared"].append(number)
        self._rows = [(np.array(v), np.array(r)) for _, (v, r) in sorted(rows.items()) if v and r]
        self.never_drawn = tuple(identity for identity, (v, r) in sorted(rows.items()) if not (v and r))
        if len(self._rows) < identities:
            raise InputError(
                f"a batch needs {identities} identities, but only {len(self._rows)} of {len(rows)} are seen in both "
                "modalities; lower train.identities"
            )
        self.identities, self.images, self.seed = identities, images, seed
        larger = max(sum(len(pair[m]) for pair in self._rows) for m in (0, 1))
        self.steps = max(1, larger // (identities * images))
        """Batches per epoch that show each image of the larger modality about once."""

    def batch(self, epoch: int, step: int) -> NDArray[np.int64]:
        """Return row numbers (2 * identities * images): all visible ones, then all infrared ones, by person."""
        people = self._people(epoch, step)
        rng = np.random.default_rng((self.seed, epoch, step))
        drawn = [[self._draw(self._rows[p][modality], rng) for p in people] for modality in (0, 1)]
        return np.concatenate(drawn[0] + drawn[1])

    def _people(self, epoch: int, step: int) -> list[int]:
        """Return the people of a batch: everybody comes once in a round, rounds follow each other without a gap.

        A batch may end one round and begin the next; the next round then begins with people who are not in the batch.
        """
        everybody, batch = len(self._rows), self.identities
        steps = everybody // gcd(everybody, batch)  # then a round ends where a batch ends: nothing before matters
        start, rounds = step % steps * batch, steps * batch // everybody
        order: list[int] = []
        for number in range(step // steps * rounds, step // steps * rounds + (start + batch - 1) // everybody + 1):
            drawn = np.random.default_rng((self.seed, epoch, number, 1)).permutation(everybody).tolist()
            if begun := len(order) % batch:
                present = set(order[-begun:])
                first = [person for person in drawn if person not in present][: batch - begun]
                drawn = first + [person for person in drawn if person not in first]
            order += drawn
        return order[start : start + batch]

    def _draw(self, rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        return rng.choice(rows, self.images, replace=len(rows) < self.images)
