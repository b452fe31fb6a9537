"""Whether the masks of a training show anybody: without a part in them, CSCL's losses on masks are 0 in silence."""

from collections.abc import Sequence

import torch
from torch import Tensor

from data.records import Record
from parsing.cache.reader import MaskCache
from parsing.errors import InputError
from parsing.labels import IGNORED
from parsing.words import quoted

AT_ONCE = 1024


def check_usable(
    cache: MaskCache, records: Sequence[Record], parts: Tensor, confidence: Tensor, scheme: str
) -> tuple[str, ...]:
    """InputError if no mask can teach a part; notes of a modality of which none can.

    parts: (N, H, W) uint8 of the `records`, in the part scheme called `scheme`; confidence: (N), 0 if a mask is
    not to be used.
    """
    shown = torch.cat([((some > 0) & (some != IGNORED)).flatten(1).any(1) for some in parts.split(AT_ONCE)])
    if not shown.any():
        raise InputError(
            f"{cache.path}: none of the {len(records)} training masks shows a part of {scheme}, so that there is "
            f"nothing to learn parts from; `cscl masks info {quoted(cache.path)}` tells what is in it"
        )
    usable = shown & (confidence > 0)
    if not usable.any():
        raise InputError(
            f"{cache.path}: none of the {len(records)} training masks is as sure as data.min_confidence; the best of "
            f"them has {max(float(cache.confidence[cache.number(r.name)]) for r in records):.2f}: make it lower"
        )
    infrared = torch.tensor([record.modality == "infrared" for record in records])
    return tuple(
        f"{cache.path}: no {name} mask shows a part: the parts are learnt from the other modality's masks alone"
        for name, of in (("visible", ~infrared), ("infrared", infrared))
        if of.any() and not usable[of].any()
    )
