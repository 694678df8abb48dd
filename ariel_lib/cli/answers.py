"""Commands for submissions: predict, score, check, report, export."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ariel_lib.cli.shared import Data, DeviceName, Split, Workers, app, print_json, print_line, progress_bar


@app.command(
    epilog="Example: spectramind predict --data build/sim --weights outputs/v50/weights.safetensors --out out.csv"
)
def predict(
    data: Data,
    weights: Annotated[Path, typer.Option(help="Checkpoint, weights.safetensors of `train`.")],
    out: Annotated[Path, typer.Option(help="Submission to write.")],
    split: Annotated[Split, typer.Option(help="Split to predict.")] = Split.test,
    light_curves: Annotated[
        Path | None, typer.Option(help="Output folder of `calibrate`; default: calibrate now.")
    ] = None,
    workers: Workers = 1,
    device: Annotated[DeviceName, typer.Option(help="Device of the networks; auto: the GPU where it works, else the CPU.")]
    = DeviceName.auto,
) -> None:
    """Write a submission: spectra and their standard deviations.

    Exit code 1: some planets could not be predicted, or written to a full disk, and have V50's initial estimate or the training mean;
    the JSON lists the reasons.
    """
    from ariel_lib.commands import run_prediction
    from ariel_lib.io.dataset import Dataset

    dataset = Dataset(data, split.value, light_curves=light_curves, scratch=out.parent)
    with progress_bar("Predicting planets") as progress:
        result = run_prediction(
            dataset, weights=weights, out=out, workers=workers, device=device.value, progress=progress, log=print_line
        )  # fmt: skip
    print_json(result)
    if result["fallbacks"] or result["closed_form"] or result["tracebacks"] or "writing" in result["skipped"]:
        raise typer.Exit(1)


@app.command(epilog="Example: spectramind score --truth build/sim/test.csv --train-labels build/sim/train.csv --submission submission.csv")
def score(
    truth: Annotated[Path, typer.Option(help="True spectra, in the format of train.csv. Planets not submitted are left out.")],
    submission: Annotated[Path, typer.Option(help="The submission.")],
    year: Annotated[int, typer.Option(min=2024, max=2025, help="Scoring rule of this year.")] = 2025,
    train_labels: Annotated[
        Path | None,
        typer.Option(help="train.csv, which sets the naive answer. Default: the truth, which does not give the challenge's score."),
    ] = None,
) -> None:
    """Print the challenge's score, 0 for the naive answer (mean and standard deviation of all labels), 1 for a perfect one, and statistics.

    Lower is better for nll, mae and rmse_ppm; coverage_80 should be 0.8 and z_rms 1.
    """
    from ariel_lib.evaluation.score import evaluate_submission

    print_json(evaluate_submission(submission, truth, year=year, train_labels=train_labels))


@app.command(epilog="Example: spectramind check --submission submission.csv --data build/sim --outdir outputs/check")
def check(
    submission: Annotated[Path, typer.Option(help="The submission.")],
    data: Data,
    outdir: Annotated[Path, typer.Option(help="Folder for violations.jsonl and summary.json.")],
    split: Annotated[Split, typer.Option(help="Split of its planets.")] = Split.test,
    light_curves: Annotated[
        Path | None, typer.Option(help="Output folder of `calibrate`, to search for bumps.")
    ] = None,
    workers: Workers = 1,
) -> None:
    """Check a submission against physics rules: smoothness, sign, resolution, molecular bands, bumps in the light curves.

    Violations are listed and do not change the exit code. Exit code 1: some light curves could not be read.
    """
    from ariel_lib.commands import run_check
    from ariel_lib.io.dataset import Dataset

    dataset = Dataset(data, split.value, light_curves=light_curves, scratch=submission.parent)
    with progress_bar("Searching light curves for bumps") as progress:
        result = run_check(dataset, submission=submission, outdir=outdir, workers=workers, progress=progress)
    print_json(result)
    if result["unread"]:
        raise typer.Exit(1)


@app.command(epilog="Example: spectramind report --submission submission.csv --data build/sim --out report.html")
def report(
    submission: Annotated[Path, typer.Option(help="The submission.")],
    out: Annotated[Path, typer.Option(help="Self-contained HTML page to write.")],
    truth: Annotated[Path | None, typer.Option(help="True spectra to compare with.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder with wavelengths.csv and train.csv.")] = None,
) -> None:
    """Write an HTML page with the spectra and, given true spectra, their errors."""
    from ariel_lib.diagnostics.report import report_from_artifacts
    from ariel_lib.evaluation.score import evaluate_submission
    from ariel_lib.io.archive import Archive

    if truth is not None:
        evaluate_submission(submission, truth)  # so that true spectra of other planets raise an error before anything is drawn
    wavelengths = Archive(data).wavelengths() if data is not None else None
    labels = data / "train.csv" if data is not None and (data / "train.csv").is_file() else None
    page = report_from_artifacts(
        submission, out, labels_csv=truth, wavelengths=wavelengths, train_labels_csv=labels
    )  # fmt: skip
    print_json({"report": str(page)})


class TableFormat(StrEnum):
    ecsv = "ecsv"
    fits = "fits"
    csv = "csv"


@app.command(epilog="Example: spectramind export --submission submission.csv --format fits --out spectra.fits")
def export(
    submission: Annotated[Path, typer.Option(help="Submission of `predict`.")],
    format: Annotated[TableFormat, typer.Option(help="fits: a table and a covariance for each planet; others: one table.")],
    out: Annotated[Path, typer.Option(help="File to write.")],
    data: Annotated[Path | None, typer.Option("--data", help="Its data set; default: as recorded beside the submission.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Its weights; default: as recorded beside the submission.")] = None,
    split: Annotated[Split, typer.Option(help="Split of its planets.")] = Split.test,
    planet: Annotated[list[str] | None, typer.Option(help="Export only this planet; may be repeated.")] = None,
    covariance: Annotated[
        bool | None, typer.Option(help="Write the covariance of the transit fit. Default: in FITS only.")
    ] = None,
) -> None:
    """Export spectra for astropy, with units, metadata and the covariance of the transit fit.

    Exit code 1: the stored transit fits of some planets could not be read; the JSON lists them, and their covariance is missing.
    """
    from ariel_lib.io.submission_record import SubmissionRecord
    from ariel_lib.prediction.export import export as run

    record = SubmissionRecord.of(submission, weights)
    dataset = record.dataset(data, split.value)
    with_covariance = format is TableFormat.fits if covariance is None else covariance
    result = run(record, dataset.select(planet) if planet else dataset, out, format.value, covariance=with_covariance)
    print_json(result)
    if result["damage"]:
        raise typer.Exit(1)
