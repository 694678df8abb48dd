"""Shared by the commands: the Typer application, common options, progress bar, JSON output."""

import errno
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from ariel_lib.errors import SpectraMindError

FULL = (errno.ENOSPC, errno.EDQUOT)  # of write(), whose OSError has no file name


class CommandGroup(TyperGroup):
    """Command group that prints SpectraMindError, and OSError of a file or of a full disk, in one line, with exit code 2."""

    def main(self, *arguments, **options):
        for stream in (sys.stdout, sys.stderr):  # a path or a σ that the terminal cannot show raises no error
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        return super().main(*arguments, **options)

    def invoke(self, context):
        try:
            return super().invoke(context)
        except (SpectraMindError, OSError) as error:
            if isinstance(error, OSError) and error.filename is None and error.errno not in FULL:
                raise
            print(f"spectramind: {' '.join(str(error).split())}", file=sys.stderr)
            raise typer.Exit(2) from error


app = typer.Typer(
    name="spectramind",
    cls=CommandGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Transmission spectra with calibrated uncertainties from Ariel detector frames. Commands in the order of use: "
    "simulate, calibrate, train, predict, score, report, diagnose. `spectramind COMMAND --help` shows an example of each.",
)


class Split(StrEnum):
    train = "train"
    test = "test"


class DeviceName(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


Data = Annotated[Path, typer.Option("--data", help="Folder in Kaggle's layout.")]
Workers = Annotated[int, typer.Option(min=1, help="Number of parallel processes.")]
ConfigFile = Annotated[Path | None, typer.Option(help="YAML file of differences from the defaults.")]


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr; yields the function progress(done, total) that updates it."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, ProgressColumn

    class Rate(ProgressColumn):
        def render(self, task):
            return "" if task.speed is None else f"{task.speed:.2f}/s"

    bar = Progress(*Progress.get_default_columns(), MofNCompleteColumn(), Rate(), console=Console(stderr=True))
    task = bar.add_task(title, total=None)

    def move(done: int, total: int) -> None:
        bar.start()  # on the first call, so that invalid input leaves no bar
        bar.update(task, completed=done, total=total)

    try:
        yield move
    finally:
        if bar.live.is_started:
            bar.stop()


def print_json(value: dict) -> None:
    """Print the result of a command as JSON to stdout; with \\u escapes if the encoding of stdout lacks a character."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2)
    print(text)


def print_line(line: str) -> None:
    """Print a log line to stderr."""
    print(line, file=sys.stderr)
