"""Recipes: what is unknown or of the wrong kind is refused by name; what is written is read back."""

from dataclasses import replace
from pathlib import Path

import pytest

from parsing.errors import InputError, MissingError
from pipelines.recipes import METHODS
from pipelines.recipes.reading import DataRecipe, ModelRecipe, Recipe, TrainRecipe, list_shipped, read_recipe


def written(tmp_path: Path, text: str) -> Path:
    (tmp_path / "own.toml").write_text(text, encoding="utf-8")
    return tmp_path / "own.toml"


@pytest.mark.parametrize("name", list_shipped())
@pytest.mark.parametrize("method", [None, *METHODS])
def test_every_shipped_recipe_loads_and_is_read_back_the_same(tmp_path: Path, name: str, method: str | None) -> None:
    recipe = read_recipe(Path(name), method=method)
    assert read_recipe(written(tmp_path, recipe.to_toml())) == recipe
    assert recipe.method == (method or ("agw" if name == "agw" else "cscl"))


def test_the_default_is_the_shipped_cscl() -> None:
    assert read_recipe() == read_recipe(Path("cscl"))
    assert {"cscl", "small", "demo"} <= set(list_shipped())


def test_what_was_changed_from_a_preset_is_read_back_too(tmp_path: Path) -> None:
    recipe = read_recipe(Path("small"), ["loss.icm=0.25", "model.non_local=false"], "agw")
    again = read_recipe(written(tmp_path, recipe.to_toml()))
    assert again == recipe
    assert (again.loss.icm, again.model.non_local, again.model.pam) == (0.25, False, False)


def test_a_recipe_is_read_back_bit_for_bit(tmp_path: Path) -> None:
    recipe = Recipe(
        seed=2**63 - 1,
        data=DataRecipe(size=(64, 32), scheme="reid6", min_confidence=0.1 + 0.2),
        model=ModelRecipe(backbone="resnet34", pretrained='a "quoted" \\ file é.pth', tau=1 / 3),
        train=TrainRecipe(learning_rate=1e-7, milestones=(), guided=0.1),
    )
    assert read_recipe(written(tmp_path, recipe.to_toml())) == recipe


def test_the_baseline_is_cscl_without_its_parts() -> None:
    cscl, baseline = read_recipe(Path("small")), read_recipe(Path("small"), method="baseline")
    assert (cscl.model.pam, cscl.model.spam, cscl.model.non_local) == (True, True, False)
    assert (baseline.model.pam, baseline.model.spam, baseline.model.non_local) == (False, False, False)
    assert (baseline.loss.parsing, baseline.loss.division, baseline.loss.icm) == (0, 0, 0)
    assert min(cscl.loss.parsing, cscl.loss.division) > 0
    assert replace(baseline, method="cscl", model=cscl.model, loss=cscl.loss) == cscl


@pytest.mark.parametrize("name", list_shipped())
@pytest.mark.parametrize("method", METHODS)
def test_a_shipped_recipe_is_called_by_its_method(name: str, method: str) -> None:
    assert read_recipe(Path(name), method=method).title == method


def test_a_baseline_with_parts_is_not_called_one() -> None:
    recipe = read_recipe(Path("small"), ["model.spam=true", "train.epochs=3"], "baseline")
    assert recipe.title == "baseline with model.spam = true"
    assert read_recipe(changes=["loss.icm=0.5"]).title == "cscl with loss.icm = 0.5"


def test_agw_is_the_baseline_as_published() -> None:
    agw = read_recipe(Path("small"), method="agw")
    assert (agw.model.pam, agw.model.spam, agw.model.non_local, agw.model.gem_learned) == (False, False, True, False)
    assert (agw.loss.smoothing, agw.augment.erase, agw.augment.exchange, agw.augment.grey) == (0, 0, 0, 0)
    assert agw.train.decay == "all"


def test_a_recipes_own_method_fills_in_what_it_does_not_say(tmp_path: Path) -> None:
    file = written(tmp_path, 'method = "agw"\n[model]\nnon_local = false\n')
    recipe = read_recipe(file)
    assert (recipe.method, recipe.model.pam, recipe.model.non_local) == ("agw", False, False)


def test_another_method_replaces_what_the_recipes_own_one_set(tmp_path: Path) -> None:
    agw = written(tmp_path, read_recipe(Path("small"), method="agw").to_toml())
    # what both set, here 0, is the method's own, and has its default again
    assert read_recipe(agw, method="cscl") == read_recipe(Path("small"), ["augment.erase=0.5"])
    assert read_recipe(Path("small"), method="baseline").augment == read_recipe(Path("small")).augment


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epochs = 3", r"there is no epochs; did you mean train\.epochs\? it has augment, data,"),
        ("lr = 3", r"there is no lr; it has augment, data,"),
        ("[training]\nepochs = 3", r"there is no training;"),
        (
            "[train]\nepoch = 3",
            r"there is no train\.epoch; did you mean train\.epochs\? train has accumulate, backbone_rate, clip",
        ),
        ("[train]\nepochs = 1.5", r"train\.epochs = 1\.5; give int"),
        ("[train]\nepochs = true", r"train\.epochs = True; give int"),
        ("[train]\nepochs = 0", r"train\.epochs = 0; give at least 1"),
        (
            "[train]\nguided = 0.3",
            r"train\.guided = 0\.3 of 80 epochs, but the rate falls first at 20; .*give at most 0\.25",
        ),
        ("[train]\nguided = 2", r"train\.guided = 2\.0; give a number in"),
        ("[train]\nclip = -1", r"train\.clip = -1\.0; give at least 0"),
        ("[train]\nguide_confidence = -1", r"train\.guide_confidence = -1\.0; give a number in"),
        ("[data]\nmasks = 'none'", r"data\.masks = 'none'; choose one of own, other"),
        ("[train]\nsteps = -1", r"train\.steps = -1; give at least 0"),
        ("[train]\nlearning_rate = nan", r"train\.learning_rate = nan"),
        ("[train]\nlearning_rate = '1'", r"train\.learning_rate = '1'; give float"),
        ("[train]\nmilestones = [1, 'x']", r"train\.milestones = 'x'; give int"),
        ("[train]\noptimiser = 'adam'", r"train\.optimiser = 'adam'; choose one of sgd, adamw"),
        ("[data]\nsize = [288]", r"data\.size = \[288\]; give tuple\[int, int\]"),
        ("[data]\nsize = 288", r"data\.size = 288; give tuple"),
        ("[data]\nsize = [0, 144]", r"data\.size = \[0, 144\]; .*at least 16"),
        ("[data]\nevaluate_every = 0", r"data\.evaluate_every = 0; give at least 1"),
        ("[data]\nselect = 'test'", r"data\.select = 'test'; choose one of last, val"),
        ("data = 3", r"data is a section, got 3"),
        ("[model]\nbackbone = 'vit'", r"model\.backbone = 'vit'; choose one of resnet18"),
        ("[model]\npretrained = 1", r"model\.pretrained = 1; give bool \| str"),
        ("[model]\ntau = 0", r"model\.tau = 0\.0; give a share"),
        ("[loss]\nicm = -1", r"loss\.icm = -1\.0; give a number of at least 0"),
        ("[augment]\nflip = 2", r"augment\.flip = 2\.0; give a probability"),
        ("seed = -1", r"seed = -1; give"),
        ("method = 'pmt'", r"there is no method 'pmt'; choose one of cscl, baseline, agw"),
        ("method = ['agw']", r"there is no method \['agw'\]"),
        ("this is = = no toml", r"own\.toml is no TOML"),
    ],
)
def test_what_a_recipe_gets_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        read_recipe(written(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_set_reads_its_values_as_toml_and_else_as_text() -> None:
    recipe = read_recipe(
        Path("small"),
        ["train.learning_rate=3", "data.size=[96, 48]", "model.pretrained=weights/r18.pth", "model.pam=false",
         " train.epochs = 7 ", "data.scheme=a=b.toml", "train.epochs=8", "augment.erase=1e-1"],
    )  # fmt: skip
    assert (recipe.train.learning_rate, type(recipe.train.learning_rate)) == (3.0, float)
    assert recipe.data.size == (96, 48)
    assert recipe.model.pretrained == "weights/r18.pth"
    assert recipe.model.pam is False
    assert recipe.train.epochs == 8
    assert recipe.data.scheme == "a=b.toml"
    assert recipe.augment.erase == 0.1


def test_set_comes_after_the_method() -> None:
    assert read_recipe(Path("small"), ["model.pam=true"], "agw").model.pam is True


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("train.epochs", r"--set train\.epochs: give it as section\.key=value"),
        ("train.epoch=3", r"there is no train\.epoch"),
        ("nothing=3", r"there is no nothing"),
        ("model=3", r"model is a section, got 3"),
        ("model.backbone.depth=18", r"backbone is a value, not a section"),
        ("train.epochs=many", r"train\.epochs = 'many'; give int"),
        ("method=agw", r"use --method"),
    ],
)
def test_what_set_gets_wrong_is_named(change: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_recipe(Path("small"), [change])


def test_a_recipe_that_is_not_there_is_refused_with_the_ones_that_are(tmp_path: Path) -> None:
    with pytest.raises(
        MissingError, match=r"there is no recipe .*none\.toml; give .* agw, cscl, demo, llcm, regdb, small"
    ):
        read_recipe(tmp_path / "none.toml")
    with pytest.raises(InputError, match="there is no method 'mpanet'"):
        read_recipe(method="mpanet")
