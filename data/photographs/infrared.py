"""Simulated infrared cameras: a labelled colour photograph as a near-infrared or thermal camera might see it.

Both are simulations. They keep what carries over between the spectra (shape, texture, the layout of garments) and
redraw what does not (how bright a garment, skin, hair and the surroundings are), from wide ranges rather than from
one camera's.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

Image = NDArray[np.uint8]
HAIR, HEAD, UPPER, ARMS, LOWER, LEGS, FEET, BAG = range(8)
"""Entries of a person's reflectance and warmth: the person7 classes, with hair in the place of the background."""


def reflectance(rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the near-infrared reflectance (8,) of one person in [0, 1]; that of garments is independent of colour.

    Four people in ten wear clothes that hardly differ, as many dyes are clear there.
    """
    values = rng.uniform(0.12, 1.0, 8)
    values[HAIR] = rng.uniform(0.1, 0.4)
    if rng.random() < 0.4:
        values = _alike(values, 0.05, rng)
    values[[HEAD, ARMS, LEGS]] = rng.uniform(0.65, 0.95) + rng.normal(0, 0.02, 3)
    return values.clip(0, 1).astype(np.float32)


def warmth(rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the apparent temperature (8,) of one person's surface in [0, 1]: skin warmest, clothes and bag between.

    Six people in ten are dressed as warmly above as below, so that no edge parts their clothes.
    """
    values = rng.uniform(0.35, 0.75, 8)
    values[HAIR] = rng.uniform(0.45, 0.7)
    values[FEET] = rng.uniform(0.2, 0.6)
    values[BAG] = rng.uniform(0.15, 0.6)
    if rng.random() < 0.6:
        values = _alike(values, 0.03, rng)
    values[[HEAD, ARMS, LEGS]] = rng.uniform(0.76, 1.0) + rng.normal(0, 0.04, 3)
    return values.clip(0, 1).astype(np.float32)


def _alike(values: NDArray[np.float64], spread: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the values with the lower garment's near the upper's, and shoes and bag near them in half of the draws."""
    values = values.copy()
    for garment, chance in ((LOWER, 1.0), (FEET, 0.5), (BAG, 0.5)):
        if rng.random() < chance:
            values[garment] = values[UPPER] + rng.normal(0, spread)
    return values


def near_infrared(
    image: Image,
    labels: NDArray[np.uint8],
    reflectance: NDArray[np.float32],
    rng: np.random.Generator,
    person: int | None = None,
) -> Image:
    """Return what an active near-infrared camera sees, (H, W, 3) in three equal channels.

    image (H, W, 3) in colour; labels (H, W) of the person7 label set; reflectance as drawn by `reflectance`;
    person: the height in pixels that blurs are relative to, by default H, as in a crop of one person.
    The lamp's fall-off, the background's dimming, gain, blooming and noise are the shot's own, from `rng`.
    """
    height, longest = (person, person) if person else (labels.shape[0], max(labels.shape))
    light = _luminance(image, rng)
    texture = _texture(light, labels) * rng.uniform(0.15, 0.9)
    albedo = _melt(
        _albedo(image, light=light, labels=labels, values=reflectance), labels, rng.uniform(0, 0.008) * height
    )
    scene = albedo * (1 + np.where(labels > 0, texture, 0))
    # foliage and some fabrics are bright in near-infrared; anything else behind is dimmer, being further off
    foliage = np.clip((image[..., 1].astype(np.float32) - image[..., [0, 2]].max(-1)) / 40, 0, 1)
    back = light * rng.uniform(0.3, 0.75) + foliage * rng.uniform(0.1, 0.4)
    cover = gaussian_filter((labels > 0).astype(np.float32), height * rng.uniform(0.002, 0.007))
    scene = back + (scene - back) * cover
    scene = scene * _lamp(labels.shape, rng) * rng.uniform(0.6, 1.2)
    if rng.random() < 0.3:
        scene = scene + 0.35 * gaussian_filter(np.clip(scene - 0.7, 0, None), longest / 20)
    scene = scene ** rng.uniform(0.75, 1.2) + rng.normal(0, rng.uniform(0.01, 0.04), labels.shape)
    return _grey(scene)


def thermal(
    image: Image,
    labels: NDArray[np.uint8],
    warmth: NDArray[np.float32],
    rng: np.random.Generator,
    person: int | None = None,
) -> Image:
    """Return what an uncooled thermal camera sees, (H, W, 3) in three equal channels; arguments as in `near_infrared`.

    The surroundings may be colder, about as warm as the clothes (a third of the shots) or warmer than the person (a
    tenth). Clothes melt into each other, since they lie on one warm body, and are warmer in some places than in
    others; detail is lost to a small detector and to its automatic gain.
    """
    height, longest = (person, person) if person else (labels.shape[0], max(labels.shape))
    light = _luminance(image, rng)
    texture = _texture(light, labels) * rng.uniform(0.0, 0.25)
    body = _melt(
        _albedo(image, light=light, labels=labels, values=warmth), labels, rng.uniform(0.005, 0.03) * height
    ) * (1 + texture)
    body = body + rng.uniform(0, 0.1) * _blotches(labels.shape, height, rng)
    ambient = rng.choice((rng.uniform(0.05, 0.35), rng.uniform(0.35, 0.7), rng.uniform(0.8, 1.1)), p=(0.57, 0.33, 0.1))
    smooth = gaussian_filter(light, longest / rng.uniform(40, 120))
    back = ambient + (smooth - smooth.mean()) * rng.uniform(0.1, 0.5) * (1 if rng.random() < 0.5 else -1)
    scene = np.where(labels == 0, back, body)
    scene = gaussian_filter(scene, longest / rng.uniform(90, 220))
    detector = rng.uniform(0.3, 0.7)
    small = zoom(scene, detector, order=1)
    small = small + rng.normal(0, rng.uniform(0.005, 0.03), small.shape)
    small = small + rng.normal(0, rng.uniform(0, 0.012), (1, small.shape[1]))  # column noise of the readout
    scene = zoom(small, (labels.shape[0] / small.shape[0], labels.shape[1] / small.shape[1]), order=1)
    scene = scene[: labels.shape[0], : labels.shape[1]]
    low, high = np.percentile(scene, (0.5, 99.5))
    scene = (scene - low) / max(high - low, 0.2) * rng.uniform(0.7, 1.05) + rng.uniform(0, 0.12)
    return _grey(scene)


def _luminance(image: Image, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return brightness (H, W) in [0, 1] by random weights of the channels, mostly red, as a silicon sensor sees."""
    weights = rng.dirichlet((4.0, 2.0, 1.0)).astype(np.float32)
    return (image.astype(np.float32) @ weights) / np.float32(255)


def _texture(light: NDArray[np.float32], labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the contrast of each pixel to its part's mean brightness, clipped to [-1, 1]."""
    counts = np.bincount(labels.ravel(), minlength=8).clip(1)
    means = np.bincount(labels.ravel(), weights=light.ravel(), minlength=8) / counts
    mean = means.astype(np.float32)[labels]
    contrast: NDArray[np.float32] = np.clip((light - mean) / (mean + 0.15), -1, 1)
    return contrast


def _albedo(
    image: Image, light: NDArray[np.float32], labels: NDArray[np.uint8], values: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return each pixel's entry of `values`; in the head, between hair's and skin's by colour and brightness."""
    albedo = values[labels]
    head = labels == HEAD
    if head.any():
        redness = (image[..., 0].astype(np.float32) - image[..., 2])[head] / 255
        skin = 1 / (1 + np.exp(-(12 * (redness - 0.12) + 8 * (light[head] - 0.35))))
        albedo[head] = skin * values[HEAD] + (1 - skin) * values[HAIR]
    return albedo


def _melt(albedo: NDArray[np.float32], labels: NDArray[np.uint8], blur: float) -> NDArray[np.float32]:
    """Blur the person's albedo by `blur` pixels, unmixed with what is behind, and spread it a little beyond."""
    person = (labels > 0).astype(np.float32)
    sigma = max(blur, 0.5)
    melted: NDArray[np.float32] = gaussian_filter(albedo * person, sigma) / gaussian_filter(person, sigma).clip(1e-3)
    return melted


def _blotches(shape: tuple[int, ...], height: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return smooth noise (H, W) of mean 0 and deviation 1, its grains a twentieth to an eighth of `height`."""
    noise = gaussian_filter(rng.normal(size=shape), height * rng.uniform(0.05, 0.12))
    even: NDArray[np.float32] = ((noise - noise.mean()) / max(float(noise.std()), 1e-6)).astype(np.float32)
    return even


def _lamp(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the fall-off of the camera's lamp (H, W): a bright spot near the person, dimmer towards the edges."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    height = shape[0]
    cy, cx = rng.uniform(0.1, 0.8) * height, rng.uniform(0.2, 0.8) * shape[1]
    distance = ((y - cy) ** 2 + (x - cx) ** 2) / (height * rng.uniform(0.5, 1.5)) ** 2
    light: NDArray[np.float32] = 1 / (1 + distance * rng.uniform(0.2, 2.0))
    return light


def _grey(scene: NDArray[np.floating]) -> Image:
    grey = (scene * 255).clip(0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)
