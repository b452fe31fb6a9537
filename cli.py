"""The `cscl` command: the group of all commands, each a module of pipelines/commands/, in the order of the work."""

import os

import click

from pipelines.commands.benchmark import benchmark
from pipelines.commands.data import data
from pipelines.commands.demo import demo
from pipelines.commands.ending import CommandLine
from pipelines.commands.evaluate import evaluate
from pipelines.commands.export import export
from pipelines.commands.masks import masks
from pipelines.commands.parse import parse
from pipelines.commands.parser import parser
from pipelines.commands.reproduce import reproduce
from pipelines.commands.score import score
from pipelines.commands.search import search
from pipelines.commands.train import train
from pipelines.devices import keep_memory
from pipelines.training.launch import is_first


@click.group(
    cls=CommandLine,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 110},
)
@click.version_option(package_name="cscl")
def main() -> None:
    """Human-part masks for visible-infrared person re-identification, and CSCL trained on them."""
    keep_memory()
    if not is_first():  # one of several training processes; only the first shows progress
        os.environ["TQDM_DISABLE"] = "1"


for command in (demo, data, parse, masks, train, evaluate, reproduce, score, search, export, parser, benchmark):
    main.add_command(command)

if __name__ == "__main__":
    main()
