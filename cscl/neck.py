"""BNNeck: batch normalisation between a feature and its identity classifier (Backbone of docs/method.md)."""

from typing import NamedTuple

from torch import Tensor, nn


class Necked(NamedTuple):
    """Output of a BNNeck.

    Attributes:
        feature: (B, D), after the batch norm; used for retrieval.
        logits: (B, identities) of the classifier.
    """

    feature: Tensor
    logits: Tensor


class BNNeck(nn.Module):
    """Batch norm and identity classifier (Luo et al., CVPR Workshops 2019): feature (B, D) -> `Necked`.

    Metric losses take the feature before the norm; the classifier and retrieval take the feature after it. The norm has
    no shift and the classifier no bias, so that distances and angles are measured from the same origin.
    """

    def __init__(self, dim: int, identities: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(dim)
        nn.init.normal_(self.norm.weight, 1.0, 0.01)
        self.norm.bias.requires_grad_(False)
        self.classifier = nn.Linear(dim, identities, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)

    def forward(self, feature: Tensor) -> Necked:
        necked = self.norm(feature)
        return Necked(necked, self.classifier(necked))
