"""The commands that leave something behind, each recorded: a manifest, a log line and a summary entry in its output folder."""

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from ariel_lib.config import Config, config_hash, to_dict
from ariel_lib.errors import SpectraMindError
from ariel_lib.io.archive import Archive
from ariel_lib.provenance.progress import publish_progress
from ariel_lib.provenance.record import record_run

Progress = Callable[[int, int], None] | None


def run_training(config: Config, *, progress: Progress = None, log: Callable[[str], None] = print) -> dict:
    """training.train, and relational intervals where the configuration asks for them; recorded in config.training.out."""
    from ariel_lib.training.distributed import rank
    from ariel_lib.training.loop import train

    if rank() > 0:  # a companion under torchrun: the first process keeps the record
        return train(config, log=lambda line: None)
    folder = Path(config.training.out)
    with record_run("train", folder, seed=config.training.seed, config_hash=config_hash(config)) as run:
        run.settings = to_dict(config)
        with publish_progress("train", folder, progress, log) as (progress, log):
            result = train(config, progress=progress, log=log)
        if config.uncertainty.corel.enabled:
            from ariel_lib.evaluation.intervals import train_intervals

            outdir, q = folder / "corel", config.uncertainty.corel.q
            result["corel"] = train_intervals(weights=result["weights"], outdir=outdir, q=q, update=True)
            run.artifacts += [path for path in outdir.iterdir() if path.is_file()]
        run.artifacts += [folder / name for name in ("weights.safetensors", "metrics.json", "manifest.json")]
        run.inputs = {"data": Archive(config.data.root).root}
        run.metrics = result["validation"]
    return result


def run_prediction(*, data: Path, split: str, weights: Path, out: Path, progress: Progress = None, **settings) -> dict:
    """inference.predict, recorded beside the submission."""
    from ariel_lib.config import from_dict
    from ariel_lib.pipeline.checkpoint import Checkpoint
    from ariel_lib.prediction.predict import predict

    with record_run("predict", out.parent) as run:
        with publish_progress("predict", out.parent, progress) as (progress, _):
            result = predict(data=data, split=split, weights=weights, out=out, progress=progress, **settings)
        config = from_dict(Checkpoint.load(weights).config)
        run.seed, run.config_hash, run.settings = config.training.seed, config_hash(config), {"split": split}
        run.inputs = {"data": Archive(data).root, "weights": weights}
        run.artifacts = [path for path in (out.with_suffix(end) for end in (".csv", ".json", ".safetensors")) if path.is_file()]
        run.metrics = {"planets": result["planets"], "fallbacks": len(result["fallbacks"]), "flagged": len(result["flags"])}
    return result


def run_calibration(
    *, data: Path, split: str, out: Path, workers: AbstractContextManager, progress: Progress = None
) -> tuple[dict, list[dict]]:
    """engine.calibrate_split by the workers (a number of processes, or a pool), recorded in out; counts, and what failed."""
    from dataclasses import asdict

    from ariel_lib.calibration.pipeline import CalibrationSettings
    from ariel_lib.calibration.visits import calibrate_split

    archive, settings = Archive(data), CalibrationSettings()
    out.mkdir(parents=True, exist_ok=True)
    with record_run("calibrate", out) as run:
        with workers as workers, publish_progress("calibrate", out, progress) as (progress, _):
            report = calibrate_split(archive, split, out, settings, workers=workers, progress=progress)
        failed = [{"planet_id": f.planet_id, "visit": f.visit, "reason": f.reason} for f in report.failed]
        run.settings = {"split": split, **json.loads(json.dumps(asdict(settings), default=str))}
        run.inputs = {"data": archive.root}
        run.artifacts = sorted((out / split).glob("*.safetensors"))
        run.metrics = {"visits": len(run.artifacts), "failed": len(failed)}
    return {"done": len(report.done), "skipped": len(report.skipped), "failed": failed}, failed


def run_intervals(*, weights: Path, outdir: Path, q: float, **settings) -> dict:
    """intervals.train_intervals, recorded in outdir."""
    from ariel_lib.config import from_dict
    from ariel_lib.evaluation.intervals import train_intervals
    from ariel_lib.pipeline.checkpoint import Checkpoint

    with record_run("corel-train", outdir) as run:
        config = from_dict(Checkpoint.load(weights).config)
        run.seed, run.config_hash, run.settings = config.training.seed, config_hash(config), {"q": q}
        if not settings.get("update"):  # else the weights are an output, and the intervals lie in them
            run.inputs = {"weights": weights}
        result = train_intervals(weights=weights, outdir=outdir, q=q, **settings)
        run.artifacts = [outdir / name for name in ("intervals.csv", "coverage.json", "coverage_by_bin.csv", "corel.safetensors")]
        run.metrics = {name: value for name, value in result.items() if name not in ("outdir", "checkpoint_updated")}
    return result


def run_check(*, submission: Path, data: Path, outdir: Path, split: str, **settings) -> dict:
    """checking.check_submission, recorded in outdir."""
    from ariel_lib.evaluation.physics_check import check_submission

    with record_run("check", outdir) as run:
        result = check_submission(submission, data, outdir, split=split, **settings)
        run.settings = {"split": split}
        run.inputs = {"submission": submission, "data": Archive(data).root}
        run.artifacts = [outdir / name for name in ("violations.jsonl", "summary.json")]
        run.metrics = {"planets": result["planets"]} | {row["rule"]: row["planets"] for row in result["rules"]}
    return result


def run_ablation(path: Path, overrides: Sequence[str] = (), **settings) -> dict:
    """evaluation.ablation.ablate, each point trained and recorded by run_training; recorded in the grid's output folder."""
    from ariel_lib.evaluation.ablation import ablate, load_grid

    _, out, _ = load_grid(path, overrides)
    out.mkdir(parents=True, exist_ok=True)
    with record_run("ablate", out) as run:
        result = ablate(path, overrides, train=run_training, **settings)
        run.artifacts = [Path(name) for name in result["files"]]
        run.inputs = {"grid": Path(path)}
        run.metrics = {name: result[name] for name in ("winner", "composite", "points")} | {"failed": len(result["failed"])}
    return result


def run_diagnosis(*, outdir: Path, submission: Path, seed: int = 0, **settings) -> dict:
    """evidence.diagnose, recorded in outdir/manifest.json."""
    from ariel_lib.diagnostics.collect import diagnose

    with record_run("diagnose", outdir, seed=seed, manifest="manifest.json") as run:
        result = diagnose(outdir=outdir, submission=submission, seed=seed, **settings)
        page = Path(result["html"])
        run.artifacts = [page.parent / name for name in [*result["files"], "diagnostic_summary.json"]]
        if (outdir / "explanation.safetensors").is_file():
            run.artifacts.append(outdir / "explanation.safetensors")
        run.inputs = {"submission": submission}
        run.metrics = result["metrics"]
    return result | {"manifest": str(outdir / "manifest.json")}


def freeze(tag: str, manifest: Path, *, root: Path | None = None, check: Callable[..., dict] | None = None) -> dict:
    """Stamp an annotated tag on the commit that made a run, with the run's manifest as its message.

    Asks for a clean checkout, a manifest whose files are as it says and whose commit is the one checked out, and a deep
    self-test that passes. root: of the checkout; check: the self-test. Raises SpectraMindError where any of it does not hold.
    """
    import subprocess

    from ariel_lib.provenance.record import git_state, verify_run
    from ariel_lib.selftest import run_checks

    root = root or Path(__file__).resolve().parents[1]
    git = git_state(root)
    if git["sha"] is None:
        raise SpectraMindError(f"{root}: expected a git checkout, found none: a tag needs one")
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
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SpectraMindError(f"git tag {tag}: {done.stderr.strip()}")
    return {"tag": tag, "commit": git["sha"], "manifest": str(manifest)}
