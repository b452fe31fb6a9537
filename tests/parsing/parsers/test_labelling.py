"""Masks of a batch: the winners of the enlarged scores, ties to the first class, whatever the order of the steps."""

import numpy as np
import pytest
import torch
from torch import Tensor

from parsing.parsers.confidence import confidence, find_winners
from parsing.parsers.enlarging import find_most_likely
from parsing.parsers.labelling import label_images, stack_images
from parsing.parsers.street import StreetParser


def photographs() -> list[np.ndarray]:
    """Images of several sizes with large shapes in them."""
    rng = np.random.default_rng(0)
    return [
        np.kron(rng.integers(0, 256, (9, 5, 3)), np.ones((scale, scale, 1))).astype(np.uint8) for scale in (9, 22, 40)
    ]


def test_the_first_of_equal_classes_wins() -> None:
    scores = torch.randint(0, 3, (9, 20, 30), generator=torch.Generator().manual_seed(0)).float()
    assert torch.equal(find_most_likely(scores), find_winners(scores[None])[1][0])
    assert (scores.max(0)[0] == scores[0]).any()
    assert torch.equal(find_most_likely(scores), torch.from_numpy(scores.numpy().argmax(0).astype(np.uint8)))


@pytest.mark.parametrize("flip", [False, True])
def test_masks_are_those_of_the_probabilities(flip: bool) -> None:
    parser, images = StreetParser(), photographs()
    sizes, size = [(i.shape[0], i.shape[1]) for i in images], (288, 144)
    batch = torch.stack([parser.prepare(image) for image in images])
    probabilities, agreement = parser.parse(batch, sizes, size, flip)
    alone = label_images(parser, batch=batch, sources=sizes, size=size, flip=flip)
    both = label_images(parser, batch=batch, sources=sizes, size=size, flip=flip, probs=(72, 36))
    assert len(np.unique(alone.labels)) > 2
    assert (alone.labels == probabilities.argmax(1).numpy()).mean() > 0.9999
    assert (alone.labels == both.labels).mean() > 0.9999
    assert alone.probs is None
    assert both.probs is not None
    wanted = probabilities.unflatten(2, (72, 4)).unflatten(4, (36, 4)).mean((3, 5)) * 255
    assert np.abs(both.probs - wanted.numpy()).max() < 1
    fine = confidence(probabilities, *find_winners(probabilities), agreement, parser.labels)
    assert alone.confidence == pytest.approx(fine.numpy(), abs=0.05)


def test_a_batch_keeps_its_images_and_has_channels_last() -> None:
    images: list[Tensor] = [torch.from_numpy(np.full((4, 2, 3), n, np.uint8)).permute(2, 0, 1) for n in range(3)]
    batch = stack_images(images)
    assert torch.equal(batch, torch.stack(images))
    assert batch.is_contiguous(memory_format=torch.channels_last)
