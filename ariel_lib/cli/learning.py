"""Commands that train networks: train, compare, ablate, corel-train."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from ariel_lib.cli.shared import ConfigFile, Workers, app, print_json, print_line, progress_bar


@app.command(epilog="Example: spectramind train --config configs/train.yaml data.root=build/sim +training.seed=1337")
def train(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Settings, such as training.epochs=20, +model=v50 or data.root=DIR."),
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Train V50; print the path of its weights and, under "validation", scores on held-out planets.

    Held-out planets choose neither weights nor epoch, and the sigmas of each are calibrated on the others. Planets whose transit fit fails
    its quality checks take no part, and are listed with reasons under "left_out".

    An interrupted run is resumed. Under `torchrun --nproc-per-node N --no-python` N processes share each batch, with a GPU each.
    """
    from ariel_lib.config import load_config

    settings = load_config(config, overrides or ())
    from ariel_lib.commands import run_training  # after the settings, whose errors come first

    with progress_bar("Training") as progress:
        result = run_training(settings, progress=progress, log=print_line)
    print_json(result)


@app.command(epilog="Example: spectramind compare data.root=build/sim --truth build/sim/test.csv training.out=build/comparison")
def compare(
    truth: Annotated[Path, typer.Option(help="Spectra of the test split, such as a simulation's test.csv.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings, as for train; tables are written to training.out.")
    ] = None,
    config: ConfigFile = None,
    workers: Workers = 1,
) -> None:
    """Train V50 and its baselines; print their scores on the test split, with errors.

    The sigmas of all are calibrated on the planets that training held out; the test split chooses and calibrates nothing.

    Exit code 1: test planets that could not be predicted are left out of every row and listed under "left_out".
    """
    from ariel_lib.config import load_config

    settings = load_config(config, overrides or ())
    from ariel_lib.commands import run_comparison

    with progress_bar("Training") as progress:
        result = run_comparison(settings, truth, workers=workers, progress=progress, log=print_line)
    print_json(result)
    if result["left_out"]:
        raise typer.Exit(1)


@app.command(epilog="Example: spectramind ablate --config configs/ablation.yaml data.root=build/sim")
def ablate(
    config: Annotated[Path, typer.Option(help="YAML file with the grid.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings of every point.")] = None,
    truth: Annotated[
        Path | None, typer.Option(help="CSV of labels of the test planets: compare the points on them, with errors.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of points run in parallel.")] = 1,
    scheduler: Annotated[
        str | None, typer.Option(help="Dask scheduler, tcp://host:port, to use in place of local processes.")
    ] = None,
) -> None:
    """Train every point of a grid of settings and rank the points. An interrupted run is resumed.

    Held-out planets rank the points: the winner's figures on them are optimistic, those on the planets of --truth are not.

    Exit code 1: some points failed, the others are ranked; or test planets without an acceptable transit fit were left out.
    """
    from ariel_lib.commands import run_ablation
    from ariel_lib.execution.dask_cluster import open_pool

    pool = open_pool(scheduler) if scheduler is not None else nullcontext(workers)
    with pool as workers, progress_bar("Points") as progress:
        result = run_ablation(config, overrides or (), truth=truth, workers=workers, progress=progress, log=print_line)
    print_json(result)
    if result["failed"] or result["left_out"]:
        raise typer.Exit(1)


@app.command(
    "corel-train", epilog="Example: spectramind corel-train --q 0.80 --outdir outputs/corel --update-checkpoint"
)
def corel_train(
    outdir: Annotated[Path, typer.Option(help="Folder for intervals, coverage tables and the trained network.")],
    q: Annotated[float, typer.Option(help="Coverage of the intervals.")] = 0.80,
    weights: Annotated[Path, typer.Option(help="Checkpoint, weights.safetensors of `train`.")] = Path(
        "outputs/v50/weights.safetensors"
    ),
    data: Annotated[Path | None, typer.Option("--data", help="The training set; default: as recorded in the weights.")] = None,
    update_checkpoint: Annotated[
        bool, typer.Option("--update-checkpoint", help="Store the intervals in the weights, so that `predict` takes its sigmas from them.")
    ] = False,
    workers: Workers = 1,
) -> None:
    """Train relational conformal intervals (COREL) on the planets that `train` held out.

    Prints marginal and joint coverage, overall and by brightness, cross-fitted: each planet is tested on a fit without it. The sigmas
    of `predict` have no guaranteed coverage.
    """
    from ariel_lib.commands import run_intervals

    with progress_bar("Reading planets") as progress:
        result = run_intervals(
            weights=weights, outdir=outdir, q=q, data=data, update=update_checkpoint, workers=workers, progress=progress
        )  # fmt: skip
    print_json(result)
