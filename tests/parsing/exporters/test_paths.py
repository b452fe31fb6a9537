import pytest

from parsing import InputError
from parsing.exporters.paths import fill, relative_path

IMAGE = "cam1/0001/0007.jpg"


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("{dir}/{stem}.png", "cam1/0001/0007.png"),
        ("{dir}/{stem}{suffix}", "cam1/0001/0007.jpg"),
        ("masks/{1}/{stem}.npy", "masks/0001/0007.npy"),
        ("{2}-{1}/{stem}.jpg.confidence_fields.npy", "cam1-0001/0007.jpg.confidence_fields.npy"),
        ("{root}_ps_label/{dir:1}/{stem}.png", "SYSU-MM01_ps_label/0001/0007.png"),
        ("processed/{stem}.png", "processed/0007.png"),
    ],
)
def test_a_template_is_filled_from_the_name(template: str, path: str) -> None:
    assert fill(template, IMAGE, "SYSU-MM01").as_posix() == path


def test_an_image_in_no_folder_stays_below_the_output() -> None:
    assert fill("{dir}/{stem}.png", "a.jpg", "x").as_posix() == "a.png"


@pytest.mark.parametrize(
    "name", ["/etc/x.jpg", "../x.jpg", "a/../../x.jpg", "", ".", "C:/x.jpg", "\\x.jpg", "a\\..\\x", "a\0b"]
)
def test_names_that_lead_out_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="no path below"):
        relative_path(name)
    with pytest.raises(InputError, match="no path below"):
        fill("{dir}/{stem}.png", name, "root")


@pytest.mark.parametrize("template", ["/tmp/{stem}.png", "../{stem}.png", "{dir}/../../{stem}.png"])
def test_templates_that_lead_out_are_refused(template: str) -> None:
    with pytest.raises(InputError, match="no path below"):
        fill(template, IMAGE, "root")


def test_a_root_that_leads_out_is_refused() -> None:
    with pytest.raises(InputError, match="no path below"):
        fill("{root}/{stem}.png", IMAGE, "..")


@pytest.mark.parametrize(
    ("template", "said"), [("{name}.png", r"no \{name\}"), ("{3}.png", "2 folders"), ("{0}.png", r"\{0\}")]
)
def test_unknown_fields_are_named(template: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        fill(template, IMAGE, "root")
