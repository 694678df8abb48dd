"""One function for each command that writes results. It calls the function of the library that does the work and records the run.

The record is a manifest, a line in the log and an entry in the summary of runs, in the output folder (provenance.record). Each
function returns the JSON-able result that the command prints, and raises the errors of the function that it calls.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ariel_lib.config import Config, ConfigError, config_hash, find_config, from_dict, to_dict
from ariel_lib.errors import SpectraMindError
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.submission_record import POPULATION, SubmissionRecord
from ariel_lib.provenance.progress import publish_progress
from ariel_lib.provenance.record import record_run

if TYPE_CHECKING:
    from ariel_lib.evaluation.world import World

Progress = Callable[[int, int], None] | None


def run_training(
    config: Config, *, dataset: Dataset | None = None, progress: Progress = None, log: Callable[[str], None] = print
) -> dict:
    """Train V50 by training.loop.train, and conformal intervals on it if uncertainty.corel.enabled; recorded in training.out.

    dataset   labelled planets; default: the data set of the configuration
    progress  called with the number of completed steps and their total
    log       called with each line of the log

    Raises SpectraMindError, before the training, for too few planets to fit conformal intervals to.
    """
    from ariel_lib.training.distributed import rank
    from ariel_lib.training.examples import training_set
    from ariel_lib.training.loop import train

    dataset = dataset or training_set(config)
    if rank() > 0:  # under torchrun only the first process writes the record
        return train(dataset, config, log=lambda line: None)
    if config.uncertainty.corel.enabled:  # checked before hours of training
        from ariel_lib.evaluation.intervals import require_held_out
        from ariel_lib.training.split import split_planets

        settings = config.training.folds, config.training.validation_fraction
        parts = split_planets(dataset.labels().planet_ids, *settings, np.random.default_rng(0))  # their sizes are those of any seed
        require_held_out(sum(len(part.held_out) for part in parts), config.uncertainty.corel.q)
    folder = Path(config.training.out)
    with record_run("train", folder, seed=config.training.seed, config_hash=config_hash(config)) as run:
        run.settings = to_dict(config)
        with publish_progress("train", folder, progress, log) as (progress, log):
            result = train(dataset, config, progress=progress, log=log)
        run.config_hash = result["config_hash"]  # of the configuration as resolved on this machine
        if config.uncertainty.corel.enabled:
            from ariel_lib.evaluation.intervals import train_intervals

            outdir, q = folder / "corel", config.uncertainty.corel.q
            result["corel"] = train_intervals(dataset, weights=result["weights"], outdir=outdir, q=q, update=True)
            run.artifacts += [path for path in outdir.iterdir() if path.is_file()]
        run.artifacts += [folder / name for name in ("weights.safetensors", "metrics.json", "manifest.json")]
        run.inputs = {"data": dataset.archive}
        if config.training.initial_weights:
            run.inputs["initial_weights"] = Path(config.training.initial_weights)
        run.metrics, run.remarks = result["validation"], result["left_out"] | result["notes"]
    return result


def run_training_on_gpus(config: Config, *, processes: int | None = None, log: Callable[[str], None] = print) -> dict:
    """run_training with all GPUs: where there are several, in so many processes that share each batch; else in this one.

    processes  their number; default: that of the GPUs, or 1 where training.device is cpu

    Raises what run_training raises, and RankDiedError where one of several processes fails; the same call goes on from the last epoch.
    """
    from tempfile import TemporaryDirectory

    import torch

    from ariel_lib.execution.ranks import run_ranks, script

    processes = processes or (1 if config.training.device == "cpu" else torch.cuda.device_count())
    if processes < 2:
        return run_training(config, log=log)
    log(f"{processes} processes train together")
    with TemporaryDirectory() as folder:
        settings, found = Path(folder) / "config.json", Path(folder) / "result.json"
        settings.write_text(json.dumps(to_dict(config)), encoding="utf-8")
        run_ranks(script(f"{__name__}:train_as_rank", settings, found), processes, log)
        return json.loads(found.read_bytes())


def train_as_rank(settings: str, found: str) -> None:
    """run_training in one of several processes: with the configuration of one JSON file, its result to another."""
    result = run_training(from_dict(json.loads(Path(settings).read_bytes())))
    from ariel_lib.training.distributed import rank

    if rank() == 0:
        Path(found).write_text(json.dumps(result), encoding="utf-8")


def run_prediction(dataset: Dataset, *, weights: Path, out: Path, progress: Progress = None, **settings) -> dict:
    """Predict spectra by prediction.predict.predict, which takes the settings; recorded beside the submission.

    weights  checkpoint, weights.safetensors of a training
    out      submission to write, CSV
    """
    from ariel_lib.pipeline.checkpoint import Checkpoint
    from ariel_lib.prediction.predict import predict

    with record_run("predict", out.parent) as run:
        with publish_progress("predict", out.parent, progress) as (progress, _):
            result = predict(dataset, weights=weights, out=out, progress=progress, **settings)
        config = from_dict(Checkpoint.load(weights).config)
        run.seed, run.config_hash, run.settings = config.training.seed, config_hash(config), {"split": dataset.split}
        run.inputs = {"data": dataset.archive, "weights": weights}
        companions = [out.with_suffix(end) for end in (".csv", ".json", ".safetensors")]
        run.artifacts = [path for path in (*companions, out.with_name(POPULATION)) if path.is_file()]
        run.metrics = {"planets": result["planets"], "flagged": len(result["flags"])}
        run.metrics |= {name: len(result[name]) for name in ("fallbacks", "closed_form")}
        run.remarks = SubmissionRecord(out).remarks
    return result


def run_calibration(dataset: Dataset, *, workers: AbstractContextManager, progress: Progress = None) -> tuple[dict, list[dict]]:
    """Calibrate the frames of a split by calibration.visits.calibrate_split to the data set's light-curve folder; recorded there.

    workers  context manager of a number of processes or of a worker pool

    Returns the numbers of visits calibrated and skipped with the failed ones, and the folders that are no planets if there are some; and
    the failed ones alone. Raises ArchiveError for a split without planets and for a table that no visit can use.
    """
    from ariel_lib.calibration.pipeline import CalibrationSettings
    from ariel_lib.calibration.visits import calibrate_split

    out, settings = dataset.light_curve_folder, CalibrationSettings()
    dataset.archive.require_planets(dataset.split)
    out.mkdir(parents=True, exist_ok=True)
    with record_run("calibrate", out) as run:
        with workers as pool, publish_progress("calibrate", out, progress) as (progress, _):
            report = calibrate_split(dataset, settings, workers=pool, progress=progress)
        failed = [asdict(failure) for failure in report.failed]
        run.settings = {"split": dataset.split, **json.loads(json.dumps(asdict(settings), default=str))}
        run.inputs = {"data": dataset.archive}
        run.artifacts = sorted((out / dataset.split).glob("*.safetensors"))
        run.metrics = {"visits": len(run.artifacts), "failed": len(failed)}
        for failure in report.failed:
            run.remarks[failure.planet_id] = "; ".join(filter(None, [run.remarks.get(failure.planet_id), failure.reason]))
    ignored = {"ignored": list(found)} if (found := dataset.archive.ignored(dataset.split)) else {}
    return {"done": len(report.done), "skipped": len(report.skipped), "failed": failed} | ignored, failed


def run_intervals(*, weights: Path, outdir: Path, q: float, data: Path | None = None, **settings) -> dict:
    """Train conformal intervals on held-out planets by evaluation.intervals.train_intervals; recorded in outdir.

    weights  checkpoint whose held-out planets are used
    q        coverage of the intervals, between 0 and 1
    data     folder of the training set; default: that of the checkpoint's configuration

    Raises ConfigError where neither gives a folder.
    """
    from ariel_lib.evaluation.intervals import train_intervals
    from ariel_lib.pipeline.checkpoint import Checkpoint

    with record_run("corel-train", outdir) as run:
        config = from_dict(Checkpoint.load(weights).config)
        root = data or config.data.root
        if root is None:
            raise ConfigError(f"{weights}: expected data.root in its configuration, found none. Give --data FOLDER.")
        dataset = Dataset(root, config.data.folder, light_curves=config.data.light_curves, scratch=weights.parent)
        run.seed, run.config_hash, run.settings = config.training.seed, config_hash(config), {"q": q}
        run.inputs = {"data": dataset.archive}
        if not settings.get("update"):  # with update, the weights are an output
            run.inputs["weights"] = weights
        result = train_intervals(dataset, weights=weights, outdir=outdir, q=q, **settings)
        run.artifacts = [outdir / name for name in ("intervals.csv", "coverage.json", "coverage_by_bin.csv", "corel.safetensors")]
        run.metrics = {name: value for name, value in result.items() if name not in ("outdir", "checkpoint_updated", "left_out")}
        run.remarks = result["left_out"]
    return result


def run_check(dataset: Dataset, *, submission: Path, outdir: Path, **settings) -> dict:
    """Check a submission against physics rules by evaluation.physics_check.check_submission; recorded in outdir."""
    from ariel_lib.evaluation.physics_check import check_submission

    dataset.require_light_curves()
    with record_run("check", outdir) as run:
        result = check_submission(submission, dataset, outdir, **settings)
        run.settings = {"split": dataset.split}
        run.inputs = {"submission": submission, "data": dataset.archive}
        if dataset.light_curve_visits:
            run.inputs["light_curves"] = dataset.light_curve_folder / dataset.split
        run.artifacts = [outdir / name for name in ("violations.jsonl", "summary.json")]
        run.metrics = {"planets": result["planets"]} | {row["rule"]: row["planets"] for row in result["rules"]}
        run.remarks = result["notes"] | result["unread"]
    return result


def run_comparison(
    config: Config, truth: Path | None = None, *, world: "World | None" = None, seeds: Sequence[int] = (), progress: Progress = None,
    log: Callable[[str], None] = print, **settings,
) -> dict:  # fmt: skip
    """Train V50 and its baselines, and score them on the test split, by evaluation.comparison.compare, which takes the settings.

    truth  CSV file of the spectra of the test split of the configuration's data set
    world  in place of both: its data are simulated in training.out
    seeds  of trainings, two or more, for evaluation.comparison.compare_seeds; none: the configuration's alone

    Not recorded. Raises ConfigError unless either truth or a world is given.
    """
    from ariel_lib.evaluation.seeds import require_seeds

    seeds = require_seeds(seeds) if seeds else ()
    if (truth is None) is (world is None):
        raise ConfigError("compare: expected --truth FILE or --world WORLD, found " + ("both." if world else "neither."))
    from ariel_lib.evaluation.comparison import compare, compare_seeds
    from ariel_lib.training.examples import training_set

    if world is not None:
        config, truth = _enter(world, config, Path(config.training.out), progress, log)
    dataset, settings = training_set(config), settings | {"progress": progress, "log": log}
    return compare_seeds(dataset, config, truth, seeds, **settings) if seeds else compare(dataset, config, truth, **settings)


def _enter(world: "World", config: Config, out: Path, progress: Progress, log: Callable[[str], None]) -> tuple[Config, Path]:
    """The configuration with the data of a world, which are simulated in `out`, and the spectra of its test planets."""
    from ariel_lib.evaluation.world import in_world

    in_world(config, out)  # judged before the simulation
    data = world.data(out, progress=progress, log=log)
    return in_world(config, data), data / "test.csv"


def run_ablation(
    path: Path, overrides: Sequence[str] = (), *, world: "World | None" = None, progress: Progress = None,
    log: Callable[[str], None] = print, **settings,
) -> dict:  # fmt: skip
    """Train each point of the grid in a YAML file by run_training and rank them by evaluation.ablation.ablate.

    overrides  KEY=VALUE, settings of every point
    world      in place of the data and of the setting truth: its data are simulated in the grid's output folder

    Recorded in the output folder that the grid names. Raises ConfigError where both a world and a truth are given.
    """
    from ariel_lib.evaluation.ablation import ablate, load_grid

    points, out, _ = load_grid(path, overrides)
    out.mkdir(parents=True, exist_ok=True)
    with record_run("ablate", out) as run:
        if world is not None:
            if settings.get("truth") is not None:
                raise ConfigError("ablate: expected --truth FILE or --world WORLD, found both.")
            config, truth = _enter(world, points[0].config, out, progress, log)
            settings |= {"truth": truth, "data": Path(config.data.root)}
        result = ablate(path, overrides, train=run_training, progress=progress, log=log, **settings)
        run.artifacts = [Path(name) for name in result["files"]]
        run.inputs = {"grid": find_config(path)}
        run.metrics = {name: result[name] for name in ("winner", "composite", "points")} | {"failed": len(result["failed"])}
        run.remarks = result["left_out"]
    return result


def run_diagnosis(submission: SubmissionRecord, dataset: Dataset, outdir: Path, *, seed: int = 0, explained: int = 50, **settings) -> dict:
    """Write the dashboard of a submission by diagnostics.collect.diagnose; recorded in outdir/manifest.json.

    explained  number of planets for which attributions are computed
    seed       of attributions, UMAP and t-SNE
    """
    from ariel_lib.diagnostics.attribution import AttributionSettings
    from ariel_lib.diagnostics.collect import diagnose

    with record_run("diagnose", outdir, seed=seed, manifest="manifest.json") as run:
        result = diagnose(submission, dataset, outdir, attribution=AttributionSettings(explained, seed), **settings)
        page = Path(result["html"])
        run.artifacts = [page.parent / name for name in [*result["files"], "diagnostic_summary.json"]]
        if (outdir / "explanation.safetensors").is_file():
            run.artifacts.append(outdir / "explanation.safetensors")
        run.inputs = {"submission": submission.path}
        run.metrics, run.remarks = result["metrics"], result["unread"]
    return result | {"manifest": str(outdir / "manifest.json")}


def freeze(tag: str, manifest: Path, *, root: Path | None = None, check: Callable[..., dict] | None = None) -> dict:
    """Create an annotated git tag on the commit of a run, with the run's manifest as message.

    root   folder of the checkout; default: that of this library
    check  function of the self-test; default: selftest.run_checks

    Raises SpectraMindError unless the tree is clean, the files match the manifest, its commit is checked out, and the deep
    self-test passes.
    """
    import subprocess

    from ariel_lib.provenance.record import git_state, verify_run
    from ariel_lib.selftest import run_checks

    root = root or Path(__file__).resolve().parents[1]
    git = git_state(root)
    if git["sha"] is None:
        raise SpectraMindError(f"{root}: expected a git checkout, found none")
    if git["dirty"]:
        raise SpectraMindError(f"{root}: expected a clean tree, found changes: commit or remove them")
    if changes := verify_run(manifest):
        raise SpectraMindError(f"{manifest}: {len(changes)} changes since the run: {'; '.join(changes[:3])}")
    made = json.loads(manifest.read_bytes()).get("git")
    if made != git:
        raise SpectraMindError(f"{manifest}: expected a run of this commit, {git['sha']}, from a clean tree, found {made}. Run it again.")
    result = (check or run_checks)(deep=True)
    if not result["ok"]:
        raise SpectraMindError(f"the deep self-test failed: {result['checks']}")
    command = ["git", "-C", str(root), "tag", "--annotate", tag, "--cleanup=verbatim", "--file", str(manifest.resolve())]
    done = subprocess.run(command, capture_output=True, check=False, encoding="utf-8", errors="replace")
    if done.returncode:
        raise SpectraMindError(f"git tag {tag}: {done.stderr.strip()}")
    return {"tag": tag, "commit": git["sha"], "manifest": str(manifest)}
