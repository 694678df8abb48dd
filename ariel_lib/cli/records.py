"""Commands over finished runs and this installation: verify, track, freeze, serve, test."""

from pathlib import Path
from typing import Annotated

import typer

from ariel_lib.cli.shared import app, print_json, print_line
from ariel_lib.errors import SpectraMindError


@app.command(epilog="Example: spectramind verify outputs/v50/manifest_train.json")
def verify(manifest: Annotated[Path, typer.Argument(help="manifest.json or manifest_VERB.json that a run wrote.")]) -> None:
    """Compute every hash of a manifest again and say what changed. Exit code 1: something did."""
    from ariel_lib.provenance.record import verify_run

    changes = verify_run(manifest)
    print_json({"manifest": str(manifest), "changes": changes})
    if changes:
        raise typer.Exit(1)


@app.command(epilog="Example: spectramind track outputs/v50/manifest_train.json --store outputs/mlflow")
def track(
    manifest: Annotated[Path, typer.Argument(help="manifest_VERB.json that a run wrote.")],
    store: Annotated[Path, typer.Option(help="Folder of the MLflow store; made when it is missing.")] = Path("outputs/mlflow"),
) -> None:
    """Enter a finished run into a local MLflow store: settings, figures, and the files that its manifest lists."""
    from ariel_lib.provenance.mlflow import track as run

    print_json(run(manifest, store))


@app.command(epilog="Example: spectramind freeze --tag v0.50.0-best --manifest outputs/v50/manifest_train.json")
def freeze(
    tag: Annotated[str, typer.Option(help="Name of the tag.")],
    manifest: Annotated[Path, typer.Option(help="Manifest of the run.")] = Path("outputs/v50/manifest_train.json"),
) -> None:
    """Tag the commit that made a run, with its manifest as the message, after a deep self-test on a clean tree."""
    from ariel_lib.commands import freeze as run

    print_json(run(tag, manifest))


@app.command(epilog="Example: spectramind serve --root outputs")
def serve(
    root: Annotated[Path, typer.Option(help="Folder with the runs to show; only what lies in it is read.")] = Path("outputs"),
    host: Annotated[str, typer.Option(help="Address to listen on. Anyone who reaches it can read.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    data: Annotated[list[Path] | None, typer.Option("--data", help="A data set that may be read too; may be given again.")] = None,
    name: Annotated[list[str] | None, typer.Option(help="Host name to answer to besides localhost, or *.DOMAIN; may be given again.")] = None,
) -> None:
    """Show runs, planets, leaderboards and running work on a web page that cannot write."""
    from importlib.util import find_spec

    if find_spec("fastapi") is None or find_spec("uvicorn") is None:
        raise SpectraMindError("the web page needs FastAPI: pip install 'spectramind[gui]' adds it")
    from ariel_lib.server.app import serve as run

    run(root=root, host=host, port=port, also=data or (), names=name or (), log=print_line)


@app.command(epilog="Example: spectramind test --deep")
def test(
    deep: Annotated[
        bool, typer.Option("--deep", help="Also simulate, calibrate, train, predict and score a tiny set.")
    ] = False,
) -> None:
    """Test this installation and print what was found."""
    from ariel_lib.selftest import run_checks

    result = run_checks(deep=deep, log=print_line)
    print_json(result)
    if not result["ok"]:
        raise typer.Exit(1)
