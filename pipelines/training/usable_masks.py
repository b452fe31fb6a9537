"""Check that the training masks show parts: with empty masks the losses on masks would be 0, without any error."""

from collections.abc import Sequence

import torch
from torch import Tensor

from data.loading.transforms import Stack
from data.records import Record
from parsing.cache.reader import MaskCache
from parsing.errors import InputError
from parsing.labels import IGNORED
from parsing.words import quote_path

AT_ONCE = 1024
"""Number of masks that are compared at once; bounds the memory."""


def check_usable(
    cache: MaskCache, records: Sequence[Record], parts: Stack, confidence: Tensor, scheme: str
) -> tuple[str, ...]:
    """Check that at least one mask shows a part and is used, and return a note per modality without such a mask.

    Args:
        cache: of the masks; named in errors.
        records: N training images.
        parts: N of (H, W) uint8, their part labels.
        confidence: (N,) in [0, 1]; 0 if a mask is not used.
        scheme: name of the part scheme, for errors.

    Raises:
        InputError: if there is no such mask.
    """
    shown = torch.cat([_show_part(parts[start : start + AT_ONCE]) for start in range(0, len(records), AT_ONCE)])
    if not shown.any():
        raise InputError(
            f"{cache.path}: none of the {len(records)} training masks shows a part of {scheme}, so that there is "
            f"nothing to learn parts from; `cscl masks info {quote_path(cache.path)}` shows what it contains"
        )
    usable = shown & (confidence > 0)
    if not usable.any():
        raise InputError(
            f"{cache.path}: none of the {len(records)} training masks reaches data.min_confidence; the best of "
            f"them has {max(float(cache.confidence[cache.number(r.name)]) for r in records):.2f}: lower it"
        )
    infrared = torch.tensor([record.modality == "infrared" for record in records])
    return tuple(
        f"{cache.path}: no {name} mask shows a part: the parts are learnt from the masks of the other modality only"
        for name, of in (("visible", ~infrared), ("infrared", infrared))
        if of.any() and not usable[of].any()
    )


def _show_part(parts: Stack) -> Tensor:
    """Return whether each mask (H, W) shows a part."""
    some = torch.stack(list(parts))
    return ((some > 0) & (some != IGNORED)).flatten(1).any(1)
