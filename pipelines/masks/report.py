"""Write a page about a cache: provenance, counts, confidence, classes, failures, thumbnails (`cscl masks report`)."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.simulators.layouts import is_simulated
from parsing.cache.reader import MaskCache
from parsing.cache.shard import Status
from parsing.errors import CsclError, InputError
from parsing.images import UnreadableImageError, read_image
from parsing.modality import MODALITIES

from ..pages.charts import bars, histograms
from ..pages.page import Section, SummaryRow, Table, write_page
from ..pages.thumbnails import Thumbnails, make_cards, make_legend, order_worst_first, sample
from .counts import MaskCounts, count_masks
from .info import info

MOST_NAMED = 200
"""How many failures the page names."""
CONFIDENCE = (
    "The IoU that the parser's own probabilities expect of the mask, times the share of the person that the image and "
    "its mirror image label alike, times how plausibly the parts lie below one another."
)


@dataclass(frozen=True)
class ReportConfig:
    """The arguments of a report.

    Attributes:
        root: folder of the images, if it is not the one that the cache names.
        thumbnails: number of images to show.
        images: whether to show the images, or the masks only.
    """

    file: Path
    out: Path
    root: Path | None = None
    thumbnails: int = 300
    images: bool = True


@dataclass(frozen=True)
class ReportResult:
    """Path of the page, number of images it shows, and number of these without a readable image file."""

    page: Path
    shown: int
    missing: int


def report(config: ReportConfig, cache: MaskCache | None = None) -> ReportResult:
    """Write `out/index.html`, a single file that needs no network; a report that is there is replaced.

    cache: that of `config.file`, if it is open.
    """
    _check_free(config.out)
    cache = MaskCache(config.file) if cache is None else cache
    root = config.root or cache.root
    counts = count_masks(cache)
    order = order_worst_first(cache, counts.person)
    chosen = sample(cache, order, config.thumbnails)
    shown = make_cards(cache, root=root, numbers=chosen, person=counts.person, images=config.images)
    missing = sum(not card.image for card in shown) if config.images else 0
    try:
        with tempfile.TemporaryDirectory() as folder:
            page = write_page(
                config.out,
                title=f"Masks of {cache.data_set}",
                summary=_summary(cache, counts),
                sections=list(_sections(cache, counts=counts, root=root, pictures=Path(folder))),
                lead=f"{len(cache):,} images, parsed by {cache.made_by['parser']} into {len(cache.labels) - 1} parts "
                f"({cache.labels.name}) at {cache.size[0]}x{cache.size[1]}.",
                simulated=_simulated(root),
                facts=_list_facts(cache),
                subject="This cache",
                thumbnails=Thumbnails(
                    "Thumbnails, worst first",
                    caption=_write_caption(config, root=root, masks=len(order), shown=len(shown), missing=missing),
                    cards=shown,
                    legend=make_legend(cache, counts.pixels.sum(0) > 0),
                )
                if shown
                else None,
            )
    except OSError as error:
        raise CsclError(f"the report cannot be written to {config.out}: {error.strerror or error}") from error
    return ReportResult(page, len(shown), missing)


def _check_free(out: Path) -> None:
    """Refuse to replace a page that no `cscl` wrote, before the work is done."""
    page = out / "index.html"
    if out.exists() and not out.is_dir():
        raise InputError(f"-o {out}: that is a file; give a folder")
    if page.is_file():
        with page.open(encoding="utf-8", errors="replace") as file:
            if '<meta name="generator" content="cscl">' not in file.read(1000):
                raise InputError(f"{page} is not a page of cscl; give another -o")


def _simulated(root: Path) -> str:
    if not is_simulated(root):
        return ""
    return "These images were made by `cscl data make`. What is counted here says nothing about real cameras."


def _summary(cache: MaskCache, counts: MaskCounts) -> Iterator[SummaryRow]:
    parsed = cache.status == Status.OK
    yield SummaryRow(
        "Person found",
        float(parsed.mean()),
        meaning=f"share of the images with a person in the mask: {int(parsed.sum()):,} of {len(cache):,}",
    )
    for number, modality in enumerate(MODALITIES):
        of_it = parsed & (cache.modality == number)
        if of_it.any():
            sure = float(cache.confidence[of_it].mean().clip(0, 1))
            yield SummaryRow(
                f"Confidence, {modality}", sure, meaning=f"mean over {int(of_it.sum()):,} masks with a person"
            )


def _sections(cache: MaskCache, counts: MaskCounts, root: Path, pictures: Path) -> Iterator[Section]:
    parsed = cache.status == Status.OK
    yield Section(
        "Images",
        "By modality and camera. Person is the mean share of a mask that is no background, over the masks with one.",
        table=_make_camera_table(cache, counts),
    )
    if parsed.any():
        yield Section(
            "Confidence",
            f"{CONFIDENCE} Masks with nobody in them are left out. Imported masks count as sure: 1.",
            histograms(
                {m: cache.confidence[parsed & (cache.modality == i)] for i, m in enumerate(MODALITIES)},
                pictures / "confidence.png",
                "confidence",
            ),
            half=True,
        )
    present = [i for i in range(len(MODALITIES)) if counts.masks[i]]
    if present:
        of_images, of_person = counts.of_images(), counts.of_person()
        parts = list(cache.labels.classes[1:])
        yield Section(
            "Classes",
            caption="How many of the masks have a pixel of a class. A class that is common in one modality and rare in "
            "the other may be one that the parser loses there.",
            picture=bars(
                parts, {MODALITIES[i]: of_images[i, 1:] for i in present}, pictures / "classes.png",
                "% of the masks that a class occurs in",
            ),
            half=True,
        )  # fmt: skip
        yield Section(
            "Share of each class",
            caption="Of all masks, those with a pixel of the class; of all pixels of a person, those of the class.",
            table=Table(
                ("class", *(f"% of {w}, {MODALITIES[i]}" for w in ("masks", "person") for i in present)),
                [
                    [name, *(_per_cent(share[i, c]) for share in (of_images, of_person) for i in present)]
                    for c, name in enumerate(parts, 1)
                ],
            ),
        )
    yield _failures(cache, root)


def _make_camera_table(cache: MaskCache, counts: MaskCounts) -> Table:
    """Return a row per camera of each modality, and one per modality that has several."""
    rows = []
    for number, modality in enumerate(MODALITIES):
        of_it = cache.modality == number
        cameras = np.unique(cache.camera[of_it]).tolist()
        groups = [(f"{modality}, camera {c}" if c else modality, of_it & (cache.camera == c)) for c in cameras]
        if len(cameras) > 1:
            groups.append((f"{modality}, all", of_it))
        for name, group in groups:
            parsed = group & (cache.status == Status.OK)
            people = np.unique(cache.identity[group & (cache.identity >= 0)])
            rows.append(
                [
                    name,
                    f"{int(group.sum()):,}",
                    f"{len(people):,}" if len(people) else "unknown",
                    *(f"{int(g.sum()):,}" for g in (group & (cache.status == Status.EMPTY), group & ~cache.has_mask)),
                    f"{cache.confidence[parsed].mean():.3f}" if parsed.any() else "none",
                    _per_cent(counts.person[parsed].mean() if parsed.any() else np.nan),
                ]
            )
    columns = ("", "images", "identities", "nobody found", "no mask", "mean confidence", "person, %")
    return Table(columns, rows)


def _failures(cache: MaskCache, root: Path) -> Section:
    """Return the images without a mask and the masks without a person, each with the reason."""
    kinds = (Status.UNREADABLE, Status.FATAL, Status.EMPTY)
    numbers = [n for status in kinds for n in np.flatnonzero(cache.status == status).tolist()]
    if not numbers:
        return Section("Failures", "None: every image could be read and has a person in its mask.")
    without = int((~cache.has_mask).sum())
    caption = f"{without:,} images have no mask and {len(numbers) - without:,} masks have nobody in them."
    if len(numbers) > MOST_NAMED:
        caption += f" The first {MOST_NAMED} of these {len(numbers):,}:"
    rows = [[cache.names[n], *_explain(Status(cache.status[n]), root, cache.names[n])] for n in numbers[:MOST_NAMED]]
    return Section("Failures", caption, table=Table(("image", "what", "why"), rows, sentences=True))


def _explain(status: Status, root: Path, name: str) -> tuple[str, str]:
    """Return what failed and why; an unreadable image is read again, since a cache does not keep the reason."""
    if status == Status.EMPTY:
        return "nobody found", "the parser labelled every pixel as background"
    if status == Status.FATAL:
        return (
            "no mask",
            "the process that parsed it was killed, each time: the image may need more memory than there is",
        )
    try:
        read_image(root / name)
    except UnreadableImageError as error:
        reason = str(error).removeprefix(f"{root / name}: ").replace(f"{root}/", "")
        return "no mask", f"unreadable image: {reason}"
    return "no mask", "it had no mask when the cache was made, but can be read now: `cscl masks verify` says what to do"


def _write_caption(config: ReportConfig, root: Path, masks: int, shown: int, missing: int) -> str:
    """Return a caption: what the thumbnails show, and what is left out."""
    text = "Masks with nobody in them come first, then those of least confidence. "
    if shown < masks:
        text += (
            f"{shown:,} of {masks:,} masks: from each camera as many, half of them its worst, the others spread evenly "
            "over the rest. --thumbnails shows more. "
        )
    if config.images and missing:
        all_or_some = "None of the" if missing == shown else f"{missing:,} of the"
        text += (
            f"{all_or_some} images {'is' if missing == shown else 'are not'} where they are looked for, in "
            f"{root.name}: their masks stand alone. --root says where the images are. "
        )
    if config.images and missing < shown:
        text += (
            "The pictures are part of the data set: its licence may forbid to pass this page on (--no-images makes one "
            "of the masks alone). "
        )
    return text + "Select an image to enlarge it."


def _list_facts(cache: MaskCache) -> dict[str, str]:
    """Return the provenance that the cache records."""
    about = info(cache)
    made, labels = about.made_by, about.made_by["labels"]
    preprocessing = ", ".join(f"{key} {value}" for key, value in made["preprocessing"].items())
    return {
        "cache": about.path.name,
        "data set": f"{about.data_set} ({about.root.name})",
        "parser": f"{made['parser']}, weights {made['weights'][:16]}",
        "preprocessing": preprocessing or "not stated",
        "masks": f"{made['size'][0]}x{made['size'][1]}, {'flip averaged' if made['flip'] else 'no flip'}"
        f"{', with probabilities' if made['probs'] else ''}",
        "label set": f"{labels['name']}: {', '.join(labels['classes'])}",
        "licence": about.licence,
        "fingerprint": about.fingerprint,
        "on disk": f"{about.bytes / 2**20:.1f} MiB",
    }


def _per_cent(share: float) -> str:
    return "none" if np.isnan(share) else f"{100 * share:.1f}"
