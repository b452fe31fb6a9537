"""Masks of a batch: the winners of the enlarged scores, ties to the first class, whatever the order of the steps."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from parsing.images import read_image
from parsing.parsers.confidence import confidence, find_winners
from parsing.parsers.enlarging import enlarging, find_most_likely, label_enlarged
from parsing.parsers.labelling import label_images, stack_images
from parsing.parsers.street import StreetParser


def test_the_first_of_equal_classes_wins() -> None:
    scores = torch.randint(0, 3, (9, 20, 30), generator=torch.Generator().manual_seed(0)).float()
    assert (scores.max(0)[0] == scores[0]).any()
    labels = find_most_likely(scores)
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, find_winners(scores[None])[1][0].numpy())
    assert np.array_equal(labels, scores.numpy().argmax(0))


@pytest.mark.parametrize("size", [(288, 144), (97, 200), (64, 32), (20, 9), (1, 1)])
def test_classes_enlarged_in_their_boxes_are_those_of_the_whole_scores(size: tuple[int, int]) -> None:
    drawn, between = torch.Generator().manual_seed(0), (256, 128)
    rows, columns = enlarging(64, 256, size[0]), enlarging(32, 128, size[1])
    for _ in range(20):
        scores = torch.randn(8, 64, 32, generator=drawn)
        for number in range(1, 7):  # each class in a box of its own, from a single cell to everything; the last nowhere
            (top, bottom), (left, right) = (
                torch.randint(0, side, (2,), generator=drawn).sort()[0].tolist() for side in (64, 32)
            )
            inside = torch.zeros(64, 32, dtype=torch.bool)
            inside[top : bottom + 1, left : right + 1] = True
            scores[number][~inside] -= 20
        scores[7] = scores[0]  # equal to the background, which then wins
        whole = rows.mT @ scores @ columns
        labels = torch.from_numpy(label_enlarged(scores, between, size)).long()
        assert bool((whole.gather(0, labels[None])[0] >= whole.max(0)[0] - 1e-5).all())
        assert not bool((labels == 7).any())


def test_an_image_of_background_alone_has_no_class() -> None:
    scores = torch.zeros(3, 4, 4)
    scores[0] = 1
    assert not label_enlarged(scores, (8, 8), (9, 9)).any()


@pytest.mark.parametrize("flip", [False, True])
def test_masks_are_those_of_the_probabilities(tiny_figures: Path, flip: bool) -> None:
    parser, images = StreetParser(), [read_image(file) for file in sorted(tiny_figures.glob("cam?/*/*.jpg"))]
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
    coarse, _ = parser.parse(batch, sizes, (72, 36), flip)
    rated = [confidence(p, *find_winners(p), agreement, parser.labels).numpy() for p in (coarse, probabilities)]
    assert alone.confidence == pytest.approx(rated[0], abs=1e-5)
    # at full size an image differs if a class of a few pixels comes or goes, which counts as much as a large one
    assert np.median(np.abs(alone.confidence - rated[1])) < 0.01


def test_a_batch_keeps_its_images_and_has_channels_last() -> None:
    images: list[Tensor] = [torch.from_numpy(np.full((4, 2, 3), n, np.uint8)).permute(2, 0, 1) for n in range(3)]
    batch = stack_images(images)
    assert torch.equal(batch, torch.stack(images))
    assert batch.is_contiguous(memory_format=torch.channels_last)
