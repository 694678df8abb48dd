"""Commands that make or reduce data: simulate, calibrate."""

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
    planets: Annotated[int, typer.Option(min=2, help="Planets in all; a quarter of them become the test split.")],
    seed: Annotated[int, typer.Option(min=0, help="The same seed writes the same bytes.")],
    size: Annotated[
        Size | None, typer.Option(help="toy shortens time only. Default: toy for frames, full for lightcurves.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Draw the spectra from this csv of labels.")] = None,
    level: Annotated[
        Level, typer.Option(help="lightcurves skips the detector: what calibrate would write.")
    ] = Level.frames,
    test_planets: Annotated[int | None, typer.Option(min=1, help="Planets of the test split.")] = None,
    calibration_from: Annotated[
        Path | None, typer.Option(help="Folder of a real planet whose calibration maps are used.")
    ] = None,
    shifted: Annotated[
        bool, typer.Option(help="Drifts and limb darkening of the test split come from other distributions.")
    ] = False,
) -> None:
    """Write a data set in Kaggle's layout.

    The truth of the test planets, which Kaggle hides, goes to test.csv.
    """
    from ariel_lib.simulator.dataset import simulate_dataset

    size = size or (Size.full if level is Level.lightcurves else Size.toy)
    with progress_bar("Simulating planets") as progress:
        simulate_dataset(
            out, n_planets=planets, seed=seed, size=size.value, labels=labels, level=level.value,
            calibration_from=calibration_from, n_test=test_planets, shifted=shifted, progress=progress,
        )  # fmt: skip


@app.command(
    epilog="Example: spectramind calibrate --data build/sim --split train --out build/light_curves --workers 2"
)
def calibrate(
    data: Data,
    split: Annotated[Split, typer.Option(help="Which planets.")],
    out: Annotated[Path, typer.Option(help="Folder for the light curves, one file a visit.")],
    workers: Workers = 1,
    scheduler: Annotated[
        str | None, typer.Option(help="tcp://host:port of a Dask scheduler, whose workers do it instead.")
    ] = None,
) -> None:
    """Turn detector frames into light curves with their noise.

    A second run does only what is missing or out of date. Exit code 1: some visits failed, the others are done.
    """
    from ariel_lib.commands import run_calibration
    from ariel_lib.execution.dask_cluster import open_pool
    from ariel_lib.io.dataset import Dataset

    dataset = Dataset(data, split.value, light_curves=out)
    pool = open_pool(scheduler, data.resolve(), out.resolve()) if scheduler else nullcontext(workers)
    with progress_bar("Calibrating visits") as progress:
        result, failed = run_calibration(dataset, workers=pool, progress=progress)
    print_json(result)
    if failed:
        raise typer.Exit(1)
