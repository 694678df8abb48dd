"""Commands for the diagnosis of a submission: diagnose dashboard."""

from pathlib import Path
from typing import Annotated

import typer

from ariel_lib.cli.shared import Split, Workers, app, print_json, progress_bar

diagnose = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, epilog="Example: spectramind diagnose dashboard --outdir outputs/diagnostics"
)
app.add_typer(diagnose, name="diagnose", help="Diagnose a submission.")


@diagnose.command(
    epilog="Example: spectramind diagnose dashboard --outdir outputs/diagnostics --html outputs/diagnostics/v50_report_v1.html"
)
def dashboard(
    outdir: Annotated[Path, typer.Option(help="Folder for the charts (PNG and CSV), summary and manifest.")],
    html: Annotated[Path | None, typer.Option(help="The page; default: v50_report_v1.html in OUTDIR.")] = None,
    submission: Annotated[Path, typer.Option(help="The submission; default: that of `make toy`.")] = Path("build/toy/submission.csv"),
    data: Annotated[Path | None, typer.Option("--data", help="Its data set; default: as recorded beside the submission.")] = None,
    split: Annotated[Split, typer.Option(help="Split of its planets.")] = Split.test,
    truth: Annotated[Path | None, typer.Option(help="True spectra; default: SPLIT.csv of the data set, if it is there.")] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Its weights; default: as recorded, else model/weights.safetensors beside it.")
    ] = None,
    light_curves: Annotated[Path | None, typer.Option(help="Output folder of `calibrate`; default: as `predict` found them.")] = None,
    explained: Annotated[int, typer.Option(min=1, help="Number of planets to compute attributions for.")] = 50,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of UMAP, t-SNE and GradientShap.")] = 0,
    workers: Workers = 1,
) -> None:
    """Write a dashboard of a submission: one HTML page, with every chart also as PNG and CSV.

    Exit code 1: files of some planets could not be read, or their fits fail the quality checks; the JSON lists them under "unread".
    """
    from ariel_lib.commands import run_diagnosis
    from ariel_lib.io.submission_record import SubmissionRecord

    record = SubmissionRecord.of(submission, weights, truth)
    dataset = record.dataset(data, split.value, light_curves)
    with progress_bar("Reading planets") as progress:
        result = run_diagnosis(
            record, dataset, outdir, html=html, explained=explained, seed=seed, workers=workers, progress=progress
        )
    print_json(result)
    if result["unread"]:
        raise typer.Exit(1)
