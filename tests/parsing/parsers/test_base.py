"""What every parser does alike: flip averaging with sides swapped back, agreement, size of the answer."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from parsing.errors import InputError
from parsing.labels import LabelSet
from parsing.parsers.base import NetworkParser, Parser
from parsing.resize import Size

SIDES = LabelSet("sides", ("background", "left-arm", "right-arm", "head"), ((1, 2),))
STRONG = 8.0


class SideParser(Parser):
    """Calls bright pixels an arm: left where x is in the first half, right in the second; `blind` sees neither side."""

    name, labels, licence, weights_hash, input_size = "side", SIDES, "none", "0", (4, 6)
    device = torch.device("cpu")

    def __init__(self, blind: bool = False) -> None:
        self.blind = blind

    @property
    def preprocessing(self) -> dict[str, Any]:
        return {}

    def prepare(self, image: NDArray[np.uint8]) -> Tensor:
        return torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)

    def forward(self, batch: Tensor) -> Tensor:
        bright = batch[:, 0] > 0.5
        logits = torch.zeros(len(batch), 4, *bright.shape[1:])
        logits[:, 0] = STRONG * ~bright
        first_half = torch.arange(bright.shape[2]) < bright.shape[2] // 2
        logits[:, 1] = STRONG * (bright & (first_half | self.blind))
        logits[:, 2] = STRONG * (bright & ~first_half & (not self.blind))
        return logits


def images() -> Tensor:
    """Both halves bright; the first half alone; nothing."""
    batch = torch.zeros(3, 3, 4, 6)
    batch[0] = 1
    batch[1, ..., :3] = 1
    return batch


def test_left_and_right_are_swapped_back_so_that_a_consistent_parser_agrees_with_its_mirror() -> None:
    parser = SideParser()
    averaged, agreement = parser.parse(images(), [(4, 6)] * 3, (4, 6))
    alone, _ = parser.parse(images(), [(4, 6)] * 3, (4, 6), flip=False)
    assert torch.equal(averaged, alone)
    assert agreement.tolist() == [1, 1, 1]
    assert averaged[0].argmax(0)[0].tolist() == [1, 1, 1, 2, 2, 2]


def test_a_parser_that_confuses_the_sides_is_averaged_between_them_and_does_not_agree() -> None:
    averaged, agreement = SideParser(blind=True).parse(images(), [(4, 6)] * 3, (4, 6))
    assert torch.allclose(averaged[0, 1], averaged[0, 2])
    assert agreement.tolist() == [0, 0, 1]  # an image without anybody is agreed upon


def test_agreement_is_the_share_of_the_foreground_labelled_alike() -> None:
    class Leaning(SideParser):
        def forward(self, batch: Tensor) -> Tensor:
            logits = torch.zeros(len(batch), 4, 4, 6)
            logits[:, 0] = STRONG
            logits[:, 3, :, 1:4] = 2 * STRONG  # head in columns 1-3; mirrored it is 2-4
            return logits

    _, agreement = Leaning().parse(images(), [(4, 6)] * 3, (4, 6))
    assert agreement.tolist() == pytest.approx([2 / 4] * 3)
    _, agreement = Leaning().parse(images(), [(4, 6)] * 3, (4, 6), flip=False)
    assert agreement.tolist() == [1, 1, 1]


def test_the_answer_has_the_size_asked_for_and_sums_to_one() -> None:
    probabilities, _ = SideParser().parse(images(), [(90, 41)] * 3, (24, 30))
    assert probabilities.shape == (3, 4, 24, 30)
    assert torch.allclose(probabilities.sum(1), torch.ones(3, 24, 30), atol=1e-6)
    assert probabilities[1, 0, :, -1].min() > 0.9
    assert probabilities[1, 1, :, 0].min() > 0.9


def test_a_network_parser_stretches_and_normalises_and_says_so() -> None:
    class Plain(NetworkParser):
        name, labels, licence, weights_hash = "plain", SIDES, "none", "0"
        input_size: Size = (8, 4)

    parser = Plain(nn.Identity(), (0.5, 0.25, 0.0), (0.5, 0.25, 1.0), "cpu")
    prepared = parser.prepare(np.full((31, 9, 3), 255, np.uint8))
    assert (prepared.shape, prepared.dtype) == ((3, 8, 4), torch.uint8)
    answer = parser.forward(prepared[None])
    assert torch.allclose(answer[0, :, 0, 0], torch.tensor([1.0, 3.0, 1.0]), atol=1e-5)
    assert parser.preprocessing["input"] == [8, 4]
    assert parser.preprocessing["mean"] == (0.5, 0.25, 0.0)


def test_an_answer_that_turns_bad_later_is_refused_and_not_taken_for_background() -> None:
    class Failing(SideParser):
        def forward(self, batch: Tensor) -> Tensor:
            answer = super().forward(batch)
            answer[-1, 3, 0, 0] = float("nan")
            return answer

    with pytest.raises(InputError, match="not finite"):
        Failing().parse(images(), [(4, 6)] * 3, (4, 6))


def test_a_restore_of_another_size_is_refused() -> None:
    class Small(SideParser):
        def restore(self, logits: Tensor, sources: Sequence[Size], size: Size) -> Tensor:
            return logits[:1]

    with pytest.raises(InputError, match=r"restore answers \(1, 4, 4, 6\) for 3 images"):
        Small().parse(images(), [(4, 6)] * 3, (4, 6))
