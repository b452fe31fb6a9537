"""Where the weights of parsers come from: the published ones by name, and fetching those before torch is loaded."""

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ..errors import InputError, MissingError
from .hub import find_cached_folder, hub_folder

BUILT_IN = Path(__file__).parents[1] / "weights" / "street.safetensors"
"""The weights of the parser `street`, part of the package."""
STREET_LICENCE = (
    "weights MIT (cscl); trained on Clothing Co-Parsing photographs, Apache-2.0 (Yang, Luo and Lin, CVPR 2014), from "
    "the ImageNet weights of EfficientNet-Lite0, Apache-2.0"
)
SCHP_LICENCE = "MIT (Self-Correction Human Parsing)"
SCHP_FILE = "model.safetensors"
DRIVE = "https://drive.google.com/drive/folders/1uOaQCpNtosIjEL2phQKEdiYd0Td18jNo"
SEGFORMER = "NVIDIA Source Code License for SegFormer, non-commercial"
HF_FILES = (
    ("config.json",),
    ("preprocessor_config.json",),
    ("model.safetensors", "model-*.safetensors", "pytorch_model.bin", "pytorch_model-*.bin"),
)
HF_EXTRA = ("README.md", "*.index.json")


@dataclass(frozen=True)
class PublishedSCHP:
    """One of the three published networks.

    Attributes:
        labels: name of its label set.
        file: of its author.
        repo: on the hub, with the same weights.
        input_size: (height, width) of the input that it was trained on.
        narrow: an input half as wide.
    """

    labels: str
    file: str
    repo: str
    input_size: tuple[int, int]
    narrow: tuple[int, int]

    @property
    def source(self) -> str:
        """Where both forms of its weights are."""
        return f"{self.file} from {DRIVE} or {SCHP_FILE} from https://huggingface.co/{self.repo}"


@dataclass(frozen=True)
class HubModel:
    """A model known by name: its label set and the licence of its weights."""

    labels: str
    licence: str


SCHP: dict[str, PublishedSCHP] = {
    "schp-lip": PublishedSCHP(
        "lip",
        file="exp-schp-201908261155-lip.pth",
        repo="pirocheto/schp-lip-20",
        input_size=(473, 473),
        narrow=(473, 241),
    ),
    "schp-atr": PublishedSCHP(
        "atr",
        file="exp-schp-201908301523-atr.pth",
        repo="pirocheto/schp-atr-18",
        input_size=(512, 512),
        narrow=(512, 256),
    ),
    "schp-pascal": PublishedSCHP(
        "pascal",
        file="exp-schp-201908270938-pascal-person-part.pth",
        repo="pirocheto/schp-pascal-7",
        input_size=(512, 512),
        narrow=(512, 256),
    ),
}
HUB_MODELS: dict[str, HubModel] = {
    "mattmdjaga/segformer_b2_clothes": HubModel("atr", SEGFORMER),
    "mattmdjaga/segformer_b0_clothes": HubModel("atr", SEGFORMER),
    "fashn-ai/fashn-human-parser": HubModel("fashn", SEGFORMER),
}


def fetch(parser: str, weights: Path | None = None, remote_code: str | None = None) -> None:
    """Fetch what the parser of this name needs from the hub, if anything; errors as those of the parser itself.

    A command calls it first: without a network it ends before seconds go into loading torch.
    """
    from .backends import find_backend  # the table, which itself needs this module
    from .spec import ParserSpec

    try:
        backend = find_backend(parser)
    except InputError:
        return  # whoever builds the parser says so, with the other options
    backend.fetch(ParserSpec(parser, weights, remote_code=remote_code))


def schp_at_hand(name: str) -> bool:
    """Return whether the weights of a published SCHP network are in the hub's cache."""
    return find_cached_folder(SCHP[name].repo, ((SCHP_FILE,),)) is not None


def hf_at_hand(model: str) -> bool:
    """Return whether the files of a model of the hub are in the hub's cache."""
    return find_cached_folder(model, HF_FILES) is not None


def schp_file(name: str) -> Path:
    """Return the weights of a published SCHP network, from the hub or its cache; errors as `hub_folder`."""
    published = SCHP[name]
    advice = f"get {published.source}, and give it with --weights FILE"
    return hub_folder(published.repo, ((SCHP_FILE,),), advice) / SCHP_FILE


def is_hub_model(place: str) -> bool:
    """Return whether this is the name of a model of the hub, ORG/NAME, and no folder of this machine."""
    return not Path(place).is_dir() and re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", place) is not None


def hf_files(model: str, trusted: bool) -> tuple[Path, list[Path]]:
    """Return the folder of a model of the hub or of this machine, and its files of weights.

    Args:
        model: ORG/NAME of the hub, or a folder.
        trusted: get the model's Python files too.

    Raises:
        InputError, MissingError: if transformers or a file is missing, or there is no such model.
    """
    if find_spec("transformers") is None:
        raise InputError(f'hf:{model} needs transformers: pip install "cscl[hf]"')
    folder = Path(model)
    if is_hub_model(model):
        advice = (
            f"get config.json, preprocessor_config.json and model.safetensors from https://huggingface.co/{model} "
            "into a folder and give that with --parser hf:DIR"
        )
        folder = hub_folder(model, wanted=HF_FILES, advice=advice, extra=(*HF_EXTRA, "*.py") if trusted else HF_EXTRA)
    elif not folder.is_dir():
        raise MissingError(f"hf:{model}: no such folder, and no ORG/NAME of the Hugging Face hub")
    for names in HF_FILES:
        files = next((found for name in names if (found := sorted(folder.glob(name)))), [])
        if not files:
            raise MissingError(f"hf:{model}: {folder} holds no {' or '.join(names)}; give a folder of save_pretrained")
    return folder, files
