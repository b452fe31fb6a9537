"""The cameras of the `collage` simulation: from a scene's colours to a visible, near-infrared or thermal image."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from ...photographs.infrared import near_infrared, reflectance, thermal, warmth
from ...records import Infrared
from ..layouts import Slot


@dataclass(frozen=True, slots=True)
class Camera:
    """What a camera does to every image: light, colour, sharpness; whether it sees the street in a mirror.

    gain: factor of the brightness. tint: factors of red, green and blue (3,). gamma: exponent of the brightness.
    blur: sigma in pixels. contrast: factor about mid-grey.
    """

    gain: float
    tint: NDArray[np.float32]
    gamma: float
    blur: float
    contrast: float
    mirror: bool


def make_camera(seed: int, number: int) -> Camera:
    """Return camera `number` of the data set of `seed`."""
    rng = np.random.default_rng((seed, 0xCA, number))
    return Camera(
        gain=rng.uniform(0.72, 1.15),
        tint=np.clip(rng.normal(1, 0.07, 3), 0.82, 1.18).astype(np.float32),
        gamma=rng.uniform(0.85, 1.2),
        blur=rng.uniform(0.4, 1.4),
        contrast=rng.uniform(0.75, 1.1),
        mirror=bool(rng.random() < 0.5),
    )


@dataclass(frozen=True, slots=True)
class Film:
    """Turns scenes into images. seed: of the data set; infrared: kind of its infrared cameras."""

    seed: int
    infrared: Infrared

    def expose(
        self,
        image: NDArray[np.float32],
        labels: NDArray[np.uint8],
        slot: Slot,
        camera: Camera,
        rng: np.random.Generator,
        person: int | None = None,
    ) -> NDArray[np.uint8]:
        """Return what the camera sees of a scene.

        Args:
            image: colours (H, W, 3) in [0, 255].
            labels: person7 classes (H, W); infrared depends on them.
            slot: the image to make; says the modality and who is on it.
            camera: the camera that takes it.
            rng: of the noise and of what changes from shot to shot.
            person: the person's height in pixels; None if the scene is as high as the person.

        Returns:
            Image (H, W, 3), grey in infrared.
        """
        colour = np.clip(image, 0, 255).astype(np.uint8)
        soft = ImageFilter.GaussianBlur(camera.blur * rng.uniform(0.7, 1.4))
        if slot.modality == "infrared":
            return self._infrared(colour, labels=labels, slot=slot, soft=soft, rng=rng, person=person)
        return _visible(colour, camera=camera, soft=soft, rng=rng)

    def _infrared(
        self,
        colour: NDArray[np.uint8],
        labels: NDArray[np.uint8],
        slot: Slot,
        soft: ImageFilter.GaussianBlur,
        rng: np.random.Generator,
        person: int | None,
    ) -> NDArray[np.uint8]:
        own = np.random.default_rng((self.seed, 0x1F, slot.person))
        if self.infrared == "thermal":
            return thermal(colour, labels, warmth(own), rng, person)
        # blurred after the rendering, whose edges are as hard as the labels', and made noisy again
        near = near_infrared(colour, labels=labels, reflectance=reflectance(own), rng=rng, person=person)
        grey = Image.fromarray(near[..., 0]).filter(soft)
        noise = rng.standard_normal(labels.shape, np.float32) * np.float32(rng.uniform(2, 6))
        noisy = (np.asarray(grey) + noise).clip(0, 255).astype(np.uint8)
        return np.repeat(noisy[..., None], 3, axis=2)


def _visible(
    colour: NDArray[np.uint8], camera: Camera, soft: ImageFilter.GaussianBlur, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return the colours (H, W, 3) as the camera's light, contrast and sensor render them."""
    light = np.asarray(Image.fromarray(colour).filter(soft), np.float32) / 255
    light = ((light - 0.5) * camera.contrast + 0.5).clip(0, 1) ** (camera.gamma * rng.uniform(0.92, 1.08))
    slope = 1 + rng.normal(0, 0.1) * np.linspace(-1, 1, colour.shape[1], dtype=np.float32)[None, :, None]
    light = light * slope * (camera.gain * rng.uniform(0.85, 1.12)) * camera.tint
    noise = rng.standard_normal(light.shape, np.float32) * np.float32(rng.uniform(1.5, 6))
    return (light * 255 + noise).clip(0, 255).astype(np.uint8)
