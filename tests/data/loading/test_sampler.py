"""P x K batches: whole identities in both modalities, everybody in turn, nothing but (seed, epoch, step)."""

from collections import Counter

import numpy as np
import pytest

from data.loading.sampler import IdentitySampler
from data.records import Modality, Record
from parsing.errors import InputError


def people(counts: dict[int, tuple[int, int]]) -> list[Record]:
    """Records of each identity: so many visible and so many infrared images, shuffled."""
    modalities: tuple[Modality, Modality] = ("visible", "infrared")
    records = [
        Record(f"{modality}/{identity}/{number}.jpg", identity=identity, camera=1, modality=modality)
        for identity, each in counts.items()
        for modality, count in zip(modalities, each, strict=True)
        for number in range(count)
    ]
    return [records[i] for i in np.random.default_rng(0).permutation(len(records))]


RECORDS = people({10 * i: (5 + i % 3, 2 + i % 4) for i in range(1, 12)})


@pytest.mark.parametrize(("identities", "images"), [(1, 1), (3, 2), (4, 4), (11, 3)])
def test_a_batch_is_p_people_with_k_images_in_each_modality(identities: int, images: int) -> None:
    sampler = IdentitySampler(RECORDS, identities, images, seed=1)
    for step in range(6):
        batch = [RECORDS[row] for row in sampler.batch(2, step)]
        assert len(batch) == identities * images * 2
        half = len(batch) // 2
        assert [r.modality for r in batch] == ["visible"] * half + ["infrared"] * half
        assert [r.identity for r in batch[:half]] == [r.identity for r in batch[half:]]
        assert set(Counter(r.identity for r in batch).values()) == {2 * images}
        assert len({r.identity for r in batch}) == identities


def test_images_repeat_only_where_a_person_has_too_few() -> None:
    sampler = IdentitySampler(RECORDS, 3, 4, seed=0)
    have = Counter((r.identity, r.modality) for r in RECORDS)
    for step in range(20):
        drawn: dict[tuple[int, Modality], list[int]] = {}
        for row in sampler.batch(0, step).tolist():
            drawn.setdefault((RECORDS[row].identity, RECORDS[row].modality), []).append(row)
        for key, rows in drawn.items():
            assert len(rows) == 4
            if have[key] >= 4:
                assert len(set(rows)) == 4


def test_a_batch_depends_on_seed_epoch_and_step_alone() -> None:
    places = [(seed, epoch, step) for seed in (0, 1) for epoch in (0, 1, 2) for step in (0, 1, 2, 3)]
    first = [IdentitySampler(RECORDS, identities=3, images=2, seed=s).batch(e, t).tolist() for s, e, t in places]
    sampler = {seed: IdentitySampler(RECORDS, identities=3, images=2, seed=seed) for seed in (0, 1)}
    assert [sampler[s].batch(e, t).tolist() for s, e, t in reversed(places)][::-1] == first
    assert len({tuple(rows) for rows in first}) == len(places)


@pytest.mark.parametrize("identities", [1, 3, 4, 6, 8, 10, 11])
def test_everybody_comes_once_in_a_round_and_once_in_a_batch(identities: int) -> None:
    sampler = IdentitySampler(RECORDS, identities, 1, seed=0)
    for epoch in range(5):
        batches = [[RECORDS[row].identity for row in sampler.batch(epoch, step)[:identities]] for step in range(44)]
        assert all(len(set(batch)) == identities for batch in batches)
        shown = [identity for batch in batches for identity in batch]
        rounds = [shown[start : start + 11] for start in range(0, len(shown) - 10, 11)]
        assert all(len(set(a_round)) == 11 for a_round in rounds)
        assert len({tuple(a_round) for a_round in rounds}) == len(rounds)


def test_every_image_of_a_person_is_drawn() -> None:
    sampler = IdentitySampler(RECORDS, 4, 2, seed=0)
    seen = {int(row) for epoch in range(8) for step in range(sampler.steps) for row in sampler.batch(epoch, step)}
    assert seen == set(range(len(RECORDS)))


def test_people_of_one_modality_are_left_out() -> None:
    records = people({1: (3, 3), 2: (4, 0), 3: (0, 4), 4: (2, 2)})
    sampler = IdentitySampler(records, 2, 2, seed=0)
    drawn = {records[row].identity for step in range(20) for row in sampler.batch(0, step)}
    assert drawn == {1, 4}
    assert sampler.steps == 5 // 4


def test_too_few_people_are_refused_in_one_line() -> None:
    records = people({1: (3, 3), 2: (4, 0), 3: (0, 4), 4: (2, 2)})
    with pytest.raises(InputError, match=r"needs 3 identities, but only 2 of 4 .*lower train\.identities") as caught:
        IdentitySampler(records, 3, 2, seed=0)
    assert "\n" not in str(caught.value)


def test_an_epoch_shows_each_image_of_the_larger_modality_about_once() -> None:
    visible = sum(r.modality == "visible" for r in RECORDS)
    assert IdentitySampler(RECORDS, 3, 2, seed=0).steps == visible // 6
    assert IdentitySampler(RECORDS, 11, 50, seed=0).steps == 1


def test_people_of_one_modality_are_named_and_never_drawn() -> None:
    sampler = IdentitySampler(people({1: (2, 2), 2: (3, 0), 3: (1, 1), 4: (0, 5)}), identities=2, images=1, seed=0)
    assert sampler.never_drawn == (2, 4)
