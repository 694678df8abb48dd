"""Commands for data sets: simulate, calibrate."""

from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ariel_lib.cli.shared import Data, Split, Workers, app, print_json, progress_bar


class Size(StrEnum):
    toy = "toy"
    full = "full"


class Level(StrEnum):
    frames = "frames"
    lightcurves = "lightcurves"


@app.command(epilog="Example: spectramind simulate --out build/sim --planets 32 --seed 1 --labels train.csv")
def simulate(
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    planets: Annotated[int, typer.Option(min=2, help="Number of planets; a quarter of them form the test split.")],
    seed: Annotated[int, typer.Option(min=0, help="Random seed; the same seed gives the same files.")],
    size: Annotated[
        Size | None, typer.Option(help="toy: fewer reads in time. Default: toy for frames, full for lightcurves.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="CSV of labels to draw the spectra from.")] = None,
    level: Annotated[
        Level, typer.Option(help="lightcurves: write light curves, as `calibrate` does, without simulating the detector.")
    ] = Level.frames,
    test_planets: Annotated[int | None, typer.Option(min=1, help="Number of planets of the test split.")] = None,
    calibration_from: Annotated[
        Path | None, typer.Option(help="Folder of a real planet whose calibration maps are used.")
    ] = None,
    shifted: Annotated[
        bool, typer.Option(help="Draw drifts and limb darkening of the test split from other distributions.")
    ] = False,
    systematics: Annotated[
        str,
        typer.Option(
            help="nominal: cubic drifts. mixed: for each planet a random subset of the families of systematics. FAMILY: that one. "
            "FAMILY+FAMILY: all of them; FAMILY,FAMILY: a random subset; mixed-FAMILY: all but that one; A/B: A for training "
            "planets, B for test planets. docs/packages/simulator.md lists the families."
        ),
    ] = "nominal",
) -> None:
    """Simulate a data set in Kaggle's layout. The true spectra of the test planets are in test.csv."""
    from ariel_lib.simulator.dataset import simulate_dataset

    size = size or (Size.full if level is Level.lightcurves else Size.toy)
    with progress_bar("Simulating planets") as progress:
        simulate_dataset(
            out, n_planets=planets, seed=seed, size=size.value, labels=labels, level=level.value,
            calibration_from=calibration_from, n_test=test_planets, shifted=shifted, systematics=systematics,
            progress=progress,
        )  # fmt: skip


@app.command(
    epilog="Example: spectramind calibrate --data build/sim --split train --out build/light_curves --workers 2"
)
def calibrate(
    data: Data,
    split: Annotated[Split, typer.Option(help="Split to calibrate.")],
    out: Annotated[Path, typer.Option(help="Folder for the light curves, one file for each visit.")],
    workers: Workers = 1,
    scheduler: Annotated[
        str | None, typer.Option(help="Dask scheduler, tcp://host:port, to use in place of local processes.")
    ] = None,
) -> None:
    """Calibrate detector frames to light curves with their noise.

    A repeated run calibrates only what is missing or out of date. Exit code 1: some visits failed, the others are done.
    """
    from ariel_lib.commands import run_calibration
    from ariel_lib.execution.dask_cluster import open_pool
    from ariel_lib.io.dataset import Dataset

    dataset = Dataset(data, split.value, light_curves=out)
    pool = open_pool(scheduler, data.resolve(), out.resolve()) if scheduler is not None else nullcontext(workers)
    with progress_bar("Calibrating visits") as progress:
        result, failed = run_calibration(dataset, workers=pool, progress=progress)
    print_json(result)
    if failed:
        raise typer.Exit(1)
