"""Commands that train networks: train, compare, ablate, corel-train."""

from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ariel_lib.cli.shared import ConfigFile, DeviceName, Workers, app, print_json, print_line, progress_bar


@app.command(epilog="Example: spectramind train --config configs/train.yaml data.root=build/sim +training.seed=1337")
def train(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Settings, such as training.epochs=20, +model=v50 or data.root=DIR."),
    ] = None,
    config: ConfigFile = None,
    device: Annotated[
        DeviceName | None, typer.Option(help="The setting training.device; auto, the default: the GPU where it works, else the CPU.")
    ] = None,
) -> None:
    """Train V50; print the path of its weights and, under "validation", scores on held-out planets.

    Held-out planets choose neither weights nor epoch, and the sigmas of each are calibrated on the others. Planets whose transit fit fails
    its quality checks take no part, and are listed with reasons under "left_out".

    An interrupted run is resumed. Under `torchrun --nproc-per-node N --no-python` N processes share each batch, with a GPU each.
    """
    from ariel_lib.config import load_config

    settings = load_config(config, [*(overrides or ()), *([f"training.device={device}"] if device else [])])
    from ariel_lib.commands import run_training  # after the settings, whose errors come first

    with progress_bar("Training") as progress:
        result = run_training(settings, progress=progress, log=print_line)
    print_json(result)


class WorldName(StrEnum):
    home = "home"
    away = "away"


Planets = Annotated[int | None, typer.Option(min=2, help="Number of planets of the world, test planets among them. Default: 80.")]
TestPlanets = Annotated[int | None, typer.Option(min=1, help="Number of test planets of the world. Default: 20.")]
LabelsOption = Annotated[Path | None, typer.Option(help="CSV of labels to draw the world's spectra from.")]
LeaveOut = Annotated[
    str | None,
    typer.Option(help="Families of systematics that only the test planets of away have. Default: ramp,thermal,granulation,pointing."),
]
WorldOption = Annotated[
    WorldName | None,
    typer.Option(
        help="Simulate the data in the output folder: home, cubic drifts, other ones for the test planets; away, families of "
        "systematics, of which the test planets have those that the training planets do not."
    ),
]
Seeds = Annotated[str | None, typer.Option(help="Training seeds, such as 0,1,2: all scores are means over them, with their spread.")]


def make_world(name: WorldName | None, planets: int | None, test_planets: int | None, labels: Path | None, leave_out: str | None):
    """The world of the options, or None. Raises ConfigError for options of a world without one."""
    from ariel_lib.config import ConfigError
    from ariel_lib.evaluation.world import World

    options = {"n_planets": planets, "n_test": test_planets, "labels": labels, "left_out": leave_out}
    given = {option: value for option, value in options.items() if value is not None}
    if name is None and given:
        raise ConfigError("--planets, --test-planets, --labels and --leave-out: expected --world with them, found none.")
    return None if name is None else World(name.value, **given)


def read_seeds(text: str | None) -> tuple[int, ...]:
    """Numbers joined by commas; none for None."""
    try:
        return () if text is None else tuple(int(word) for word in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"expected numbers joined by commas, such as 0,1,2, found {text!r}", param_hint="--seeds") from None


@app.command(epilog="Example: spectramind compare data.root=build/sim --truth build/sim/test.csv training.out=build/comparison")
def compare(
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings, as for train; tables are written to training.out.")
    ] = None,
    truth: Annotated[Path | None, typer.Option(help="Spectra of the test split of data.root, such as a simulation's test.csv.")] = None,
    config: ConfigFile = None,
    world: WorldOption = None,
    planets: Planets = None,
    test_planets: TestPlanets = None,
    labels: LabelsOption = None,
    leave_out: LeaveOut = None,
    seeds: Seeds = None,
    workers: Workers = 1,
) -> None:
    """Train V50 and its baselines; print their scores on the test split, with errors. Give --truth with data.root, or --world.

    The sigmas of all are calibrated on the planets that training held out; the test split chooses and calibrates nothing.

    Exit code 1: test planets that could not be predicted are left out of every row and listed under "left_out".
    """
    from ariel_lib.config import load_config

    settings = load_config(config, overrides or ())
    from ariel_lib.commands import run_comparison

    with progress_bar("Training") as progress:
        chosen = make_world(world, planets, test_planets, labels, leave_out)
        result = run_comparison(
            settings, truth, world=chosen, seeds=read_seeds(seeds), workers=workers, progress=progress, log=print_line
        )  # fmt: skip
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
    world: WorldOption = None,
    planets: Planets = None,
    test_planets: TestPlanets = None,
    labels: LabelsOption = None,
    leave_out: LeaveOut = None,
    seeds: Seeds = None,
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
        chosen = make_world(world, planets, test_planets, labels, leave_out)
        result = run_ablation(
            config, overrides or (), world=chosen, truth=truth, seeds=read_seeds(seeds), workers=workers, progress=progress, log=print_line
        )  # fmt: skip
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
