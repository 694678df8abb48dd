"""The command `spectramind`: each verb reads its options, calls one function of the library and prints JSON.

The only importer of Typer. Everything heavy is imported inside the verbs, so that --help answers at once.
Exit codes: 0 done, 1 done in part or a check failed, 2 the input or a setting is wrong.
"""

import dis
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from ariel_lib import __version__


class Verbs(TyperGroup):
    """Turns errors that the library raises on purpose, and the file system's, into one line and exit code 2."""

    def invoke(self, context):
        try:
            return super().invoke(context)
        except (ValueError, OSError) as error:
            if not _is_for_the_user(error):
                raise
            print(f"spectramind: {' '.join(str(error).split())}", file=sys.stderr)
            raise typer.Exit(2) from error


def _is_for_the_user(error: Exception) -> bool:
    """Whether the file system named a file, or a `raise` statement of this library explains what is wrong.

    A ValueError that numpy or another library raises is a fault of the program: its traceback must stay.
    """
    if isinstance(error, OSError):
        return error.filename is not None
    last = error.__traceback__
    while last.tb_next is not None:
        last = last.tb_next
    ours = last.tb_frame.f_globals["__name__"].partition(".")[0] == __package__
    return ours and dis.opname[last.tb_frame.f_code.co_code[last.tb_lasti]] == "RAISE_VARARGS"


app = typer.Typer(
    name="spectramind",
    cls=Verbs,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Transmission spectra with honest uncertainties from Ariel detector frames. The verbs in the order of use: "
    "simulate, calibrate, train, predict, score, report, diagnose. `spectramind VERB --help` shows an example of each.",
)


class Split(StrEnum):
    train = "train"
    test = "test"


class Size(StrEnum):
    toy = "toy"
    full = "full"


class Level(StrEnum):
    frames = "frames"
    lightcurves = "lightcurves"


Data = Annotated[Path, typer.Option("--data", help="Folder in Kaggle's layout.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes that calibrate planets side by side.")]


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
    """The options that stand before the verb."""


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
    with _bar("Simulating planets") as progress:
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
    from ariel_lib.calibration.cluster import open_crew
    from ariel_lib.runs import run_calibration

    crew = open_crew(scheduler, data.resolve(), out.resolve()) if scheduler else nullcontext(workers)
    with _bar("Calibrating visits") as progress:
        result, failed = run_calibration(data=data, split=split.value, out=out, hands=crew, progress=progress)
    _print_json(result)
    if failed:
        raise typer.Exit(1)


@app.command(epilog="Example: spectramind train --config configs/train.yaml data.root=build/sim +training.seed=1337")
def train(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Settings, such as training.epochs=20, +model=v50 or data.root=DIR."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of differences from the defaults.")] = None,
) -> None:
    """Train V50; print where its weights lie and its validation score.

    Under `torchrun --nproc-per-node N --no-python` the processes share the work, one GPU each where there are GPUs.
    """
    from ariel_lib.config import load_config

    settings = load_config(config, overrides or ())
    from ariel_lib.runs import run_training  # after the settings: a misspelt key need not wait for torch

    with _bar("Training") as progress:
        result = run_training(settings, progress=progress, log=_print_line)
    _print_json(result)


@app.command(epilog="Example: spectramind compare data.root=build/sim --truth build/sim/test.csv training.out=build/comparison")
def compare(
    truth: Annotated[Path, typer.Option(help="Spectra of the test split, such as a simulation's test.csv.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings, as for train; training.out takes the tables.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of differences from the defaults.")] = None,
    workers: Workers = 1,
) -> None:
    """Train V50 and its rivals on one split; print their scores on the test split, with errors."""
    from ariel_lib.config import load_config

    settings = load_config(config, overrides or ())
    from ariel_lib.comparison import compare as run

    with _bar("Training") as progress:
        result = run(settings, truth, workers=workers, progress=progress, log=_print_line)
    _print_json(result)


@app.command(
    epilog="Example: spectramind predict --data build/sim --weights outputs/v50/weights.safetensors --out out.csv"
)
def predict(
    data: Data,
    weights: Annotated[Path, typer.Option(help="weights.safetensors that `train` wrote.")],
    out: Annotated[Path, typer.Option(help="Submission to write.")],
    split: Annotated[Split, typer.Option(help="Which planets.")] = Split.test,
    light_curves: Annotated[
        Path | None, typer.Option(help="Folder that `calibrate` wrote; default: calibrate now.")
    ] = None,
    workers: Workers = 1,
) -> None:
    """Write a submission: spectra and their standard deviations."""
    from ariel_lib.runs import run_prediction

    with _bar("Predicting planets") as progress:
        result = run_prediction(
            data=data, split=split.value, weights=weights, out=out, light_curves=light_curves, workers=workers,
            progress=progress,
        )  # fmt: skip
    _print_json(result)


@app.command(
    "corel-train", epilog="Example: spectramind corel-train --q 0.80 --outdir outputs/corel --update-checkpoint"
)
def corel_train(
    outdir: Annotated[Path, typer.Option(help="Folder for intervals, coverage tables and the trained network.")],
    q: Annotated[float, typer.Option(help="Coverage of the intervals.")] = 0.80,
    weights: Annotated[Path, typer.Option(help="weights.safetensors that `train` wrote.")] = Path(
        "outputs/v50/weights.safetensors"
    ),
    data: Annotated[Path | None, typer.Option("--data", help="The training set; default: where `train` read it.")] = None,
    update_checkpoint: Annotated[
        bool, typer.Option("--update-checkpoint", help="Store the intervals: `predict` then takes its sigmas from them.")
    ] = False,
    workers: Workers = 1,
) -> None:
    """Train relational conformal intervals on the planets that `train` held out.

    Prints marginal and joint coverage, in all and by brightness; every planet is judged by a network that has not seen it.
    """
    from ariel_lib.runs import run_intervals

    with _bar("Reading planets") as progress:
        result = run_intervals(
            weights=weights, outdir=outdir, q=q, data=data, update=update_checkpoint, workers=workers, progress=progress
        )  # fmt: skip
    _print_json(result)


@app.command(epilog="Example: spectramind check --submission submission.csv --data build/sim --outdir outputs/check")
def check(
    submission: Annotated[Path, typer.Option(help="The submission.")],
    data: Data,
    outdir: Annotated[Path, typer.Option(help="Folder for violations.jsonl and summary.json.")],
    split: Annotated[Split, typer.Option(help="Which planets it holds.")] = Split.test,
    light_curves: Annotated[
        Path | None, typer.Option(help="Folder that `calibrate` wrote, for the microlensing guard.")
    ] = None,
    workers: Workers = 1,
) -> None:
    """Judge a submission by the rules of physics: smoothness, sign, resolution, molecules, bumps in the light curves.

    A violation is a finding, not an error: the exit code is 0.
    """
    from ariel_lib.runs import run_check

    with _bar("Guarding light curves") as progress:
        result = run_check(
            submission=submission, data=data, outdir=outdir, split=split.value, light_curves=light_curves, workers=workers,
            progress=progress,
        )  # fmt: skip
    _print_json(result)


@app.command(epilog="Example: spectramind score --truth build/sim/test.csv --submission submission.csv")
def score(
    truth: Annotated[Path, typer.Option(help="True spectra, as train.csv. Planets not submitted are left out.")],
    submission: Annotated[Path, typer.Option(help="The submission.")],
    year: Annotated[int, typer.Option(min=2024, max=2025, help="Whose rules.")] = 2025,
    train_labels: Annotated[
        Path | None, typer.Option(help="Labels whose mean and spread are the naive answer; default: the truth.")
    ] = None,
) -> None:
    """Print the challenge's score: 0 is naive, 1 is perfect.

    Beside it, lower is better for nll, mae and rmse_ppm; coverage_80 should be 0.8 and z_rms 1.
    """
    from ariel_lib.evaluation import evaluate_submission

    _print_json(evaluate_submission(submission, truth, year=year, train_labels=train_labels))


@app.command(epilog="Example: spectramind report --submission submission.csv --data build/sim --out report.html")
def report(
    submission: Annotated[Path, typer.Option(help="The submission.")],
    out: Annotated[Path, typer.Option(help="HTML page to write, complete in itself.")],
    truth: Annotated[Path | None, typer.Option(help="True spectra to compare with.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder with wavelengths.csv and train.csv.")] = None,
) -> None:
    """Write one page that shows the spectra and, given truth, their errors."""
    from ariel_lib.archive import Archive
    from ariel_lib.diagnostics.report import report_from_artifacts
    from ariel_lib.evaluation import evaluate_submission

    if truth is not None:
        evaluate_submission(submission, truth)  # refuses a truth that does not fit before anything is drawn
    wavelengths = Archive(data).wavelengths() if data is not None else None
    labels = data / "train.csv" if data is not None and (data / "train.csv").is_file() else None
    page = report_from_artifacts(
        submission, out, labels_csv=truth, wavelengths=wavelengths, train_labels_csv=labels
    )  # fmt: skip
    _print_json({"report": str(page)})


class TableFormat(StrEnum):
    ecsv = "ecsv"
    fits = "fits"
    csv = "csv"


@app.command(epilog="Example: spectramind export --submission submission.csv --format fits --out spectra.fits")
def export(
    submission: Annotated[Path, typer.Option(help="The submission that `predict` wrote.")],
    format: Annotated[TableFormat, typer.Option(help="fits has a table and a covariance for each planet, the others one table.")],
    out: Annotated[Path, typer.Option(help="File to write.")],
    data: Annotated[Path | None, typer.Option("--data", help="Its data set; default: as recorded beside the submission.")] = None,
    weights: Annotated[Path | None, typer.Option(help="The weights that made it; default: as recorded beside it.")] = None,
    split: Annotated[Split, typer.Option(help="Which planets it holds.")] = Split.test,
    planet: Annotated[list[str] | None, typer.Option(help="Only this planet; may be given again.")] = None,
    covariance: Annotated[
        bool | None, typer.Option(help="The transit fit's covariance, where it is known. Default: in FITS only.")
    ] = None,
) -> None:
    """Write spectra for astropy: units, metadata, sigmas and the covariance of the transit fit."""
    from ariel_lib.export import export as run

    _print_json(run(
        submission=submission, out=out, format=format.value, data=data, weights=weights, split=split.value, planets=planet,
        covariance=format is TableFormat.fits if covariance is None else covariance,
    ))  # fmt: skip


diagnose = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, epilog="Example: spectramind diagnose dashboard --outdir outputs/diagnostics"
)
app.add_typer(diagnose, name="diagnose", help="Show what is known of a submission.")


@diagnose.command(
    epilog="Example: spectramind diagnose dashboard --outdir outputs/diagnostics --html outputs/diagnostics/v50_report_v1.html"
)
def dashboard(
    outdir: Annotated[Path, typer.Option(help="Folder for the charts as PNG and CSV, summary and manifest.")],
    html: Annotated[Path | None, typer.Option(help="The page; default: v50_report_v1.html in OUTDIR.")] = None,
    submission: Annotated[Path, typer.Option(help="The submission; default: what `make toy` wrote.")] = Path("build/toy/submission.csv"),
    data: Annotated[Path | None, typer.Option("--data", help="Its data set; default: as recorded beside the submission.")] = None,
    split: Annotated[Split, typer.Option(help="Which planets it holds.")] = Split.test,
    truth: Annotated[Path | None, typer.Option(help="True spectra; default: SPLIT.csv of the data set, if it is there.")] = None,
    weights: Annotated[
        Path | None, typer.Option(help="The weights that made it; default: model/weights.safetensors beside it.")
    ] = None,
    light_curves: Annotated[Path | None, typer.Option(help="Folder that `calibrate` wrote; default: as `predict` found them.")] = None,
    explained: Annotated[int, typer.Option(min=1, help="Planets whose attributions are computed.")] = 50,
    seed: Annotated[int, typer.Option(min=0, help="Of UMAP, t-SNE and GradientShap.")] = 0,
    workers: Workers = 1,
) -> None:
    """Draw one page that shows a submission from all sides, every chart also as PNG and CSV beside it."""
    from ariel_lib.runs import run_diagnosis

    with _bar("Reading planets") as progress:
        result = run_diagnosis(
            outdir=outdir, html=html, submission=submission, data=data, split=split.value, truth=truth, weights=weights,
            light_curves=light_curves, explained=explained, seed=seed, workers=workers, progress=progress,
        )  # fmt: skip
    _print_json(result)


@app.command(epilog="Example: spectramind ablate --config configs/ablation.yaml data.root=build/sim")
def ablate(
    config: Annotated[Path, typer.Option(help="YAML file with the grid.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings of every point.")] = None,
    truth: Annotated[
        Path | None, typer.Option(help="Labels of the test planets: what each point is worth on them, with errors.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Points that run side by side.")] = 1,
    scheduler: Annotated[
        str | None, typer.Option(help="tcp://host:port of a Dask scheduler, whose workers run the points.")
    ] = None,
) -> None:
    """Train every point of a grid of settings and rank them; goes on where a killed run stopped.

    Exit code 1: some points failed, the others are ranked.
    """
    from ariel_lib.ablation import ablate as run
    from ariel_lib.calibration.cluster import open_crew

    crew = open_crew(scheduler) if scheduler else nullcontext(workers)
    with crew as hands, _bar("Points") as progress:
        result = run(config, overrides or (), truth=truth, workers=hands, progress=progress, log=_print_line)
    _print_json(result)
    if result["failed"]:
        raise typer.Exit(1)


@app.command(epilog="Example: spectramind verify outputs/v50/manifest_train.json")
def verify(manifest: Annotated[Path, typer.Argument(help="manifest.json or manifest_VERB.json that a run wrote.")]) -> None:
    """Compute every hash of a manifest again and say what changed. Exit code 1: something did."""
    from ariel_lib.provenance import verify_run

    changes = verify_run(manifest)
    _print_json({"manifest": str(manifest), "changes": changes})
    if changes:
        raise typer.Exit(1)


@app.command(epilog="Example: spectramind track outputs/v50/manifest_train.json --store outputs/mlflow")
def track(
    manifest: Annotated[Path, typer.Argument(help="manifest_VERB.json that a run wrote.")],
    store: Annotated[Path, typer.Option(help="Folder of the MLflow store; made when it is missing.")] = Path("outputs/mlflow"),
) -> None:
    """Enter a finished run into a local MLflow store: settings, figures, and the files that its manifest lists."""
    from ariel_lib.tracking import track as run

    _print_json(run(manifest, store))


@app.command(epilog="Example: spectramind freeze --tag v0.50.0-best --manifest outputs/v50/manifest_train.json")
def freeze(
    tag: Annotated[str, typer.Option(help="Name of the tag.")],
    manifest: Annotated[Path, typer.Option(help="Manifest of the run.")] = Path("outputs/v50/manifest_train.json"),
) -> None:
    """Tag the commit that made a run, with its manifest as the message, after a deep self-test on a clean tree."""
    from ariel_lib.runs import freeze as run

    _print_json(run(tag, manifest))


@app.command(epilog="Example: spectramind serve --root outputs")
def serve(
    root: Annotated[Path, typer.Option(help="Folder with the runs to show; only what lies in it is read.")] = Path("outputs"),
    host: Annotated[str, typer.Option(help="Address to listen on. Anyone who reaches it can read.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    data: Annotated[list[Path] | None, typer.Option("--data", help="A data set that may be read too; may be given again.")] = None,
    name: Annotated[list[str] | None, typer.Option(help="Host name to answer to besides localhost; may be given again.")] = None,
) -> None:
    """Show runs, planets, leaderboards and running work on a web page that cannot write."""
    from importlib.util import find_spec

    if find_spec("fastapi") is None or find_spec("uvicorn") is None:
        raise ValueError("the web page needs FastAPI: pip install 'spectramind[gui]' adds it")
    from ariel_lib.server.app import serve as run

    run(root=root, host=host, port=port, also=data or (), names=name or (), log=_print_line)


@app.command(epilog="Example: spectramind test --deep")
def test(
    deep: Annotated[
        bool, typer.Option("--deep", help="Also simulate, calibrate, train, predict and score a tiny set.")
    ] = False,
) -> None:
    """Test this installation and print what was found."""
    from ariel_lib.selftest import run_checks

    result = run_checks(deep=deep, log=_print_line)
    _print_json(result)
    if not result["ok"]:
        raise typer.Exit(1)


@contextmanager
def _bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr, moved by the callable(done, total) that the library's long functions take."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, ProgressColumn

    class Rate(ProgressColumn):
        def render(self, task):
            return "" if task.speed is None else f"{task.speed:.2f}/s"

    bar = Progress(*Progress.get_default_columns(), MofNCompleteColumn(), Rate(), console=Console(stderr=True))
    task = bar.add_task(title, total=None)

    def move(done: int, total: int) -> None:
        bar.start()  # on the first call: input that is refused leaves no bar behind
        bar.update(task, completed=done, total=total)

    try:
        yield move
    finally:
        if bar.live.is_started:
            bar.stop()


def _print_json(value: dict) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def _print_line(line: str) -> None:
    print(line, file=sys.stderr)
