"""The page of recipe keys is what the recipe's classes say."""

from dataclasses import fields
from pathlib import Path

from pipelines.recipes.describe import describe_recipe
from pipelines.recipes.reading import Recipe

PAGE = Path(__file__).parents[2] / "docs" / "recipe.md"


def test_the_page_is_made_from_the_classes_of_today() -> None:
    assert PAGE.read_text(encoding="utf-8") == describe_recipe(), (
        "run python -m pipelines.recipes.describe > docs/recipe.md"
    )


def test_every_key_has_a_meaning() -> None:
    sections = describe_recipe().split("\n## ")[2:]
    assert [section.partition("\n")[0] for section in sections] == [
        "`data`",
        "`model`",
        "`loss`",
        "`augment`",
        "`train`",
    ]
    for section in sections:
        name = section.partition("\n")[0].strip("`")
        rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| `")]
        assert [row[0].strip("| `") for row in rows] == [field.name for field in fields(getattr(Recipe(), name))]
        assert all(len(row) == 4 and len(row[3]) > 8 for row in rows)
