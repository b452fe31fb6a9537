"""BNNeck: batch normalisation between a feature and its identity classifier (Backbone of docs/method.md)."""

from typing import NamedTuple

from torch import Tensor, nn


class Necked(NamedTuple):
    """feature: (B, D) after the neck, used for retrieval; logits: (B, identities)."""

    feature: Tensor
    logits: Tensor


class BNNeck(nn.Module):
    """Metric losses see the feature before the neck, classifier and retrieval after it (Luo et al., 2019).

    (B, D) -> Necked. The norm's shift stays 0 and the classifier has no bias, so that both share the origin.
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
