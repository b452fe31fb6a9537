"""Confidence: expected IoU against a loop, the layout of parts worked by hand, nothing for nobody."""

import numpy as np
import pytest
import torch

from parsing.labels import LabelSet, label_set
from parsing.parsers.confidence import confidence as confidence_of
from parsing.parsers.confidence import expected_iou, find_winners, layout

PERSON7 = label_set("person7")


def confidence(probabilities: torch.Tensor, agreement: torch.Tensor, labels: LabelSet) -> torch.Tensor:
    return confidence_of(probabilities, *find_winners(probabilities), agreement, labels)


def standing(*parts: str, height: int = 40, width: int = 12) -> torch.Tensor:
    """A mask (H, W) of these parts one below the other, in equal bands of the middle columns."""
    mask = np.zeros((height, width), np.int64)
    for part, rows in zip(parts, np.array_split(np.arange(2, height - 2), len(parts)), strict=True):
        mask[rows, 3:9] = PERSON7.index(part)
    return torch.from_numpy(mask)


def certain(mask: torch.Tensor, sure: float = 1.0) -> torch.Tensor:
    """Probabilities (1, 8, H, W) that give `sure` to the mask's class and share the rest evenly."""
    answer = torch.nn.functional.one_hot(mask, 8).permute(2, 0, 1)[None].float()
    return answer * sure + (1 - answer) * (1 - sure) / 7


def test_winners_are_those_of_max_and_the_first_of_equals() -> None:
    probabilities = torch.rand((3, 8, 20, 10), generator=torch.Generator().manual_seed(0)).mul(4).round() / 4
    top, classes = find_winners(probabilities)
    assert torch.equal(top, probabilities.amax(1))
    assert np.array_equal(classes.numpy(), probabilities.numpy().argmax(1))


def test_expected_iou_is_that_of_a_loop_over_classes() -> None:
    probabilities = torch.rand((3, 8, 20, 10), generator=torch.Generator().manual_seed(0)).mul(4).softmax(1)
    top, classes = find_winners(probabilities)
    for image in range(3):
        found = []
        for c in range(8):
            p, answer = probabilities[image, c], (classes[image] == c).float()
            if answer.any():
                found.append(float((p * answer).sum() / (p + answer - p * answer).sum()))
        assert float(expected_iou(probabilities, top, classes)[image]) == pytest.approx(
            sum(found) / len(found), abs=1e-6
        )


def test_a_certain_mask_of_a_standing_person_is_trusted_wholly_and_nobody_not_at_all() -> None:
    whole = certain(standing("head", "upper", "lower", "feet"))
    nobody = certain(torch.zeros(40, 12, dtype=torch.int64))
    assert confidence(torch.cat((whole, nobody)), torch.ones(2), PERSON7).tolist() == pytest.approx([1, 0], abs=1e-6)


def test_doubt_and_disagreement_under_the_flip_lower_the_confidence() -> None:
    mask = standing("head", "upper", "lower", "feet")
    sure, less = certain(mask), certain(mask, 0.6)
    assert confidence(less, torch.ones(1), PERSON7) < confidence(sure, torch.ones(1), PERSON7)
    assert float(confidence(sure, torch.tensor([0.5]), PERSON7)) == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("head", "upper", "lower", "feet"), 1.0),
        (("head", "upper", "lower"), 0.9),  # no feet
        (("head", "lower", "upper", "feet"), 0.9),  # one is not below the one before
        (("feet", "lower", "upper", "head"), 0.7),
        (("bag",), 0.6),
    ],
)
def test_the_layout_takes_a_tenth_off_for_each_part_missing_or_out_of_order(
    parts: tuple[str, ...], expected: float
) -> None:
    assert float(layout(standing(*parts)[None], PERSON7)) == pytest.approx(expected, abs=1e-6)


def test_parts_that_a_label_set_does_not_have_are_not_asked_for() -> None:
    pascal = label_set("pascal")
    mask = torch.zeros((1, 30, 8), dtype=torch.int64)
    for row, name in enumerate(("head", "torso", "upper-legs")):
        mask[0, 10 * row : 10 * row + 8, 2:6] = pascal.index(name)
    assert float(layout(mask, pascal)) == 1.0
