"""Masks of a cache in the files that other projects read: one exporter a module, found by name."""

from ..errors import InputError
from .arrays import AgwExporter, ArrayExporter
from .base import AnyExporter
from .bpbreid import BpbreidExporter, KprExporter
from .coco import CocoExporter
from .cvat import CvatExporter
from .eanet import EanetExporter
from .isp import IspExporter
from .pixel_sampling import PixelSamplingExporter
from .png import PngExporter
from .scnet import ScnetExporter
from .sgiel import SgielExporter
from .tar import WebDatasetExporter

EXPORTERS: dict[str, type[AnyExporter]] = {
    kind.name: kind
    for kind in (
        PngExporter, SgielExporter, BpbreidExporter, KprExporter, EanetExporter, IspExporter, ScnetExporter,
        PixelSamplingExporter, CvatExporter, CocoExporter, ArrayExporter, AgwExporter, WebDatasetExporter,
    )
}  # fmt: skip


def exporter(name: str) -> type[AnyExporter]:
    """Return the exporter called `name`; InputError lists the names there are."""
    if name not in EXPORTERS:
        raise InputError(f"no exporter {name!r}; there are {', '.join(EXPORTERS)}")
    return EXPORTERS[name]
