"""Label unlabelled photographs with the network that is being trained (self-training)."""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from data.photographs.crops import Box, Photo, person_box, reduce_photo, widen_box
from data.photographs.library import Photos
from parsing.parsers.street_network import StreetNetwork


def label_photographs(network: nn.Module, config: StreetNetwork, photos: Photos, keep: float) -> list[Photo]:
    """Return the unlabelled photographs with the network's answers as labels, in the order of their names.

    A photograph is parsed whole, which finds the person, and again in the person's box, which labels it. The share
    `keep` with the highest confidence (mean probability of the winning class over the person) is answered.
    """
    network.eval()
    found: list[tuple[float, int, Photo]] = []
    bar = tqdm(photos.unlabelled, unit="photo", desc="pseudo-labels")
    for number, photo_id in enumerate(bar):
        image = reduce_photo(photos.photo(photo_id, labelled=False), config.input_size[0])
        whole = (0.0, 0.0, float(image.width), float(image.height))
        box = person_box(_label_image(network, config=config, image=image, box=whole)[0])
        if box is None:
            continue
        labels, confidence = _label_image(network, config=config, image=image, box=widen_box(box))
        box = person_box(labels)
        if box is not None:
            found.append((confidence, number, Photo(image, Image.fromarray(labels), box)))
    best = sorted(found, key=lambda f: (-f[0], f[1]))[: max(1, round(keep * len(found)))]
    return [photo for _, _, photo in sorted(best, key=lambda f: f[1])]


@torch.inference_mode()
def _label_image(
    network: nn.Module, config: StreetNetwork, image: Image.Image, box: Box
) -> tuple[NDArray[np.uint8], float]:
    """Return labels (H, W) of the whole image, background outside `box`, and their confidence in [0, 1]."""
    device = next(network.parameters()).device
    left, top, right, bottom = (round(v) for v in box)
    height, width = config.input_size
    crop = image.crop((left, top, right, bottom)).resize((width, height), Image.Resampling.BILINEAR)
    batch = torch.from_numpy(np.array(crop)).permute(2, 0, 1)[None].to(device).float() / 255
    batch = (batch - config.mean) / config.std
    logits = network(torch.cat((batch, batch.flip(-1))).contiguous(memory_format=torch.channels_last))
    probabilities = (logits[:1] + logits[1:].flip(-1)).div(2).softmax(1)  # person7 has no left and right classes
    probabilities = F.interpolate(probabilities, (bottom - top, right - left), mode="bilinear", align_corners=False)
    sure, classes = probabilities[0].max(0)
    person = classes > 0
    labels = Image.new("L", image.size)
    labels.paste(Image.fromarray(classes.byte().cpu().numpy()), (left, top))
    return np.asarray(labels), float(sure[person].mean()) if person.any() else 0.0
