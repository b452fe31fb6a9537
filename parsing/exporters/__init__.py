"""Masks of a cache in the files that other projects read: one exporter a module, found by name."""

from ..errors import InputError
from .base import Exporter
from .bpbreid import BpbreidExporter, KprExporter
from .cvat import CvatExporter
from .eanet import EanetExporter
from .isp import IspExporter
from .pixel_sampling import PixelSamplingExporter
from .png import PngExporter
from .scnet import ScnetExporter
from .sgiel import SgielExporter

EXPORTERS: dict[str, type[Exporter]] = {
    kind.name: kind
    for kind in (
        PngExporter, SgielExporter, BpbreidExporter, KprExporter, EanetExporter, IspExporter, ScnetExporter,
        PixelSamplingExporter, CvatExporter,
    )
}  # fmt: skip


def exporter(name: str) -> type[Exporter]:
    """Return the exporter called `name`; InputError lists the names there are."""
    if name not in EXPORTERS:
        raise InputError(f"no exporter {name!r}; there are {', '.join(EXPORTERS)}")
    return EXPORTERS[name]
