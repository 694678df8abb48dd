"""Commands that show a submission: diagnose dashboard."""

from pathlib import Path
from typing import Annotated

import typer

from ariel_lib.cli.shared import Split, Workers, app, print_json, progress_bar

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
    from ariel_lib.commands import run_diagnosis
    from ariel_lib.io.submission_record import SubmissionRecord

    record = SubmissionRecord.of(submission, weights, truth)
    dataset = record.dataset(data, split.value, light_curves)
    with progress_bar("Reading planets") as progress:
        result = run_diagnosis(
            record, dataset, outdir, html=html, explained=explained, seed=seed, workers=workers, progress=progress
        )
    print_json(result)
