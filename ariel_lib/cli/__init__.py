"""The command line `spectramind`: each command parses its options, calls one function of the library and prints JSON.

Heavy packages are imported inside the commands, so that --help is fast.
Exit codes: 0 success, 1 partial success or a failed check, 2 invalid input or settings.
"""

from typing import Annotated

import typer

from ariel_lib import __version__

# isort: off — each module registers its commands, and --help lists them in this order
from ariel_lib.cli import (
    answers,  # noqa: F401
    data,  # noqa: F401
    diagnose,  # noqa: F401
    learning,  # noqa: F401
    records,  # noqa: F401
)
from ariel_lib.cli.shared import app

# isort: on


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Options before the command."""
