"""Another part-based method on the same mask cache: a ResNet-18 whose features are averaged under each cached part.

    cscl data make pedestrians --out data/SYSU-MM01
    cscl parse --dataset sysu
    python examples/part_pooling.py --masks data/sysu_masks.h5 --epochs 5

It reads masks at training and test time, as SGIEL and BPBReID do. CSCL itself needs none at test time. The figures of
simulated pedestrians say that the code works, no more.
"""

import click
import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import v2

from data.loading.sampler import IdentitySampler
from data.registry import open_data_set
from parsing import MaskCache
from parsing.torch_dataset import WithMasks
from pipelines.runs.scores import score

SIZE, PEOPLE, IMAGES = (128, 64), 4, 2


class Files(torch.utils.data.Dataset):
    """Images of records and their identities, as any method has them; `WithMasks` adds the masks by the paths."""

    def __init__(self, root, records) -> None:
        number = {identity: n for n, identity in enumerate(sorted({r.identity for r in records}))}
        self.samples = [(str(root / r.name), number[r.identity]) for r in records]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index):
        path, label = self.samples[index]
        return Image.open(path).convert("RGB"), label


class PartPooling(nn.Module):
    """(B, 3, H, W) and soft masks (B, Q, H, W) -> features (B, Q, 128), shown (B, Q), logits (B, Q, people)."""

    def __init__(self, parts: int, people: int) -> None:
        super().__init__()
        resnet = torchvision.models.resnet18(weights=None)
        self.trunk = nn.Sequential(*list(resnet.children())[:-3])  # to stage 3: (B, 256, H/16, W/16)
        self.reduce = nn.ModuleList(nn.Sequential(nn.Linear(256, 128), nn.BatchNorm1d(128)) for _ in range(parts))
        self.classify = nn.ModuleList(nn.Linear(128, people, bias=False) for _ in range(parts))

    def forward(self, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found = self.trunk(images)
        weights = F.interpolate(masks, size=found.shape[2:], mode="area")
        area = weights.sum((2, 3))
        pooled = torch.einsum("bchw,bqhw->bqc", found, weights) / area.clamp(min=1e-6)[..., None]
        features = torch.stack([layer(pooled[:, q]) for q, layer in enumerate(self.reduce)], 1)
        logits = torch.stack([layer(features[:, q]) for q, layer in enumerate(self.classify)], 1)
        return features, (area > 0).float(), logits


def loss_of(features: Tensor, shown: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    """Identity loss and hard triplet of each part, over the images that show it."""
    terms = []
    for q in range(features.shape[1]):
        seen = shown[:, q] > 0
        if seen.sum() < 2:
            continue
        who, each = labels[seen], F.normalize(features[seen, q], dim=1)
        apart = torch.cdist(each, each)
        same = who[:, None] == who[None]
        hardest = (apart * same).amax(1) - (apart + 10 * same).amin(1)
        terms.append(F.cross_entropy(logits[seen, q], who, label_smoothing=0.1) + F.relu(hardest + 0.3).mean())
    return torch.stack(terms).mean()


@torch.no_grad()
def embed(network: PartPooling, data: WithMasks) -> np.ndarray:
    """Return features (N, Q * 128) of length 1: unit vectors of the parts that an image shows, 0 for the others."""
    network.eval()
    rows = []
    for images, masks, _ in torch.utils.data.DataLoader(data, batch_size=32):
        features, shown, _ = network(images, masks)
        rows.append(F.normalize((F.normalize(features, dim=2) * shown[..., None]).flatten(1), dim=1))
    return torch.cat(rows).double().numpy()


@click.command()
@click.option("--masks", required=True, type=click.Path(exists=True))
@click.option("--epochs", default=5, show_default=True)
@click.option("--steps", default=20, show_default=True, help="Per epoch.")
def main(masks: str, epochs: int, steps: int) -> None:
    """Train on the training identities of a SYSU-MM01 cache, then score all-single."""
    torch.manual_seed(0)
    cache = MaskCache(masks)
    data_set = open_data_set("sysu", cache.root)
    records = data_set.train()
    plain = v2.Compose([v2.ToImage(), v2.Resize(SIZE), v2.ToDtype(torch.float32, scale=True)])
    moved = v2.Compose([v2.RandomHorizontalFlip(), plain])
    data = WithMasks(Files(cache.root, records), cache, scheme="reid4", transform=moved)
    network = PartPooling(4, len({r.identity for r in records}))
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3)
    sampler = IdentitySampler(records, PEOPLE, IMAGES, seed=0)
    for epoch in range(epochs):
        network.train()
        for step in range(steps):
            images, parts, labels = zip(*(data[int(n)] for n in sampler.batch(epoch, step)), strict=True)
            loss = loss_of(*network(torch.stack(images), torch.stack(parts)), torch.tensor(labels))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        click.echo(f"epoch {epoch + 1}: loss {loss.item():.2f}")
    (protocol,) = (p for p in data_set.protocols() if p.name == "all-single")
    tested = list({r.name: r for t in protocol.trials for r in (*t.query, *t.gallery)}.values())
    features = embed(network, WithMasks(Files(cache.root, tested), cache, scheme="reid4", transform=plain))
    result = score(protocol, dict(zip((r.name for r in tested), features, strict=True)))
    chance, found = (100 * result.chance_rank1, 100 * result.chance_map), (100 * result.cmc[1], 100 * result.mAP)
    click.echo("all-single: Rank-1 {:.1f}, mAP {:.1f}".format(*found) + " (chance {:.1f}, {:.1f})".format(*chance))


if __name__ == "__main__":
    main()
