"""Commands for finished runs and the installation: verify, track, freeze, serve, test."""

from pathlib import Path
from typing import Annotated

import typer

from ariel_lib.cli.shared import app, print_json, print_line
from ariel_lib.errors import SpectraMindError


@app.command(epilog="Example: spectramind verify outputs/v50/manifest_train.json")
def verify(manifest: Annotated[Path, typer.Argument(help="Manifest of a run, manifest.json or manifest_COMMAND.json.")]) -> None:
    """Recompute the hashes of a manifest and list the changes. Exit code 1: there are changes."""
    from ariel_lib.provenance.record import verify_run

    changes = verify_run(manifest)
    print_json({"manifest": str(manifest), "changes": changes})
    if changes:
        raise typer.Exit(1)


@app.command(epilog="Example: spectramind track outputs/v50/manifest_train.json --store outputs/mlflow")
def track(
    manifest: Annotated[Path, typer.Argument(help="Manifest of a run, manifest_COMMAND.json.")],
    store: Annotated[Path, typer.Option(help="Folder of the MLflow store, created if missing.")] = Path("outputs/mlflow"),
) -> None:
    """Log a finished run to a local MLflow store: settings, figures, and the files in its manifest."""
    from ariel_lib.provenance.mlflow import track as run

    print_json(run(manifest, store))


@app.command(epilog="Example: spectramind freeze --tag v0.50.0-best --manifest outputs/v50/manifest_train.json")
def freeze(
    tag: Annotated[str, typer.Option(help="Name of the tag.")],
    manifest: Annotated[Path, typer.Option(help="Manifest of the run.")] = Path("outputs/v50/manifest_train.json"),
) -> None:
    """Tag the commit of a run, with the run's manifest as message. Requires a clean tree and a passed deep self-test."""
    from ariel_lib.commands import freeze as run

    print_json(run(tag, manifest))


@app.command(epilog="Example: spectramind serve --root outputs")
def serve(
    root: Annotated[Path, typer.Option(help="Folder with the runs to show; nothing outside it is read.")] = Path("outputs"),
    host: Annotated[str, typer.Option(help="Address to listen on. There is no password: whoever reaches it can read.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any free one.")] = 8000,
    data: Annotated[list[Path] | None, typer.Option("--data", help="A data set to read as well; may be repeated.")] = None,
    name: Annotated[list[str] | None, typer.Option(help="Accepted host name besides localhost, or *.DOMAIN; may be repeated.")] = None,
    root_path: Annotated[str, typer.Option(help="Path prefix that a proxy in front passes on, such as /ariel.")] = "",
) -> None:
    """Serve a read-only web page of runs, planets, leaderboards and work in progress."""
    from importlib.util import find_spec

    if find_spec("fastapi") is None or find_spec("uvicorn") is None:
        raise SpectraMindError("the web page needs FastAPI: pip install 'spectramind[gui]' adds it")
    from ariel_lib.server.app import serve as run

    run(root=root, host=host, port=port, also=data or (), names=name or (), root_path=root_path, log=print_line)


@app.command(epilog="Example: spectramind test --deep")
def test(
    deep: Annotated[
        bool, typer.Option("--deep", help="Also simulate, calibrate, train, predict and score a small data set.")
    ] = False,
) -> None:
    """Test this installation and print the result of every check."""
    from ariel_lib.selftest import run_checks

    result = run_checks(deep=deep, log=print_line)
    print_json(result)
    if not result["ok"]:
        raise typer.Exit(1)
