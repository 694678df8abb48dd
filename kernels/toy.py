# %% [markdown]
# # SpectraMind in one sitting
#
# The whole pipeline on a simulated data set, small enough for a laptop: simulate a few planets down to detector counts,
# train V50 on most of them, predict the others from their frames, and compare with the truth. The planets are few and the
# light curves short: the score shows that the pipeline works, not how accurate it is on real data.

# %% tags=["parameters"]
inputs = "/kaggle/input"  # where data sets are attached
wheels_set = "spectramind-wheels"  # its name; `make kernel` takes it from kaggle.toml
folder = "toy"
planets = 12
test_planets = 4
seed = 1
epochs = 5
workers = 2

# %% [markdown]
# ## Install, offline
# The wheels come from the attached data set, wherever it is mounted; pip refuses any whose hash is not the pinned one. Where the
# library is installed already, nothing happens.

# %% tags=["install"]
import importlib.util
import subprocess
import sys
import time
from pathlib import Path

started = time.monotonic()
wheels = [path.parent for depth in (1, 2, 3) for path in Path(inputs).glob("*/" * depth + "spectramind-wheels.json")]
named = [folder for folder in wheels if folder.name == wheels_set] or wheels
if wheels and importlib.util.find_spec("ariel_lib") is None:
    if len(named) > 1:
        raise SystemExit(f"expected one data set of wheels, found {', '.join(map(str, named))}. Detach all but one.")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--require-hashes"]
    subprocess.run([*pip, "--find-links", named[0], "-r", named[0] / "requirements.txt"], check=True)
    importlib.invalidate_caches()

# %%
from IPython.display import Image

from ariel_lib.commands import run_prediction, run_training
from ariel_lib.config import CalibrationConfig, Config, DataConfig, TrainingConfig
from ariel_lib.diagnostics.report import report_from_artifacts
from ariel_lib.evaluation.score import evaluate_submission
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.submission import read_submission
from ariel_lib.plots.figures import draw_spectra, render_png
from ariel_lib.simulator.dataset import simulate_dataset

folder = Path(folder)
data, submission = folder / "data", folder / "submission.csv"

# %% [markdown]
# ## Simulate
# Spectra with molecular bands, clouds and Rayleigh scattering; limb-darkened transits; jitter, drift, dark current,
# dead pixels, non-linearity and noise. The files look as Kaggle's do. The truth of the test planets goes to
# `test.csv`.

# %%
simulate_dataset(data, n_planets=planets, n_test=test_planets, seed=seed)

# %% [markdown]
# ## Train

# %%
config = Config(
    data=DataConfig(root=str(data), split="toy"),
    calibration=CalibrationConfig(workers=workers),
    training=TrainingConfig(seed=seed, epochs=epochs, out=str(folder / "model")),
)
result = run_training(config, log=print)
result["validation"]

# %% [markdown]
# ## Predict and score
# The score is 0 for the mean of all training spectra and 1 for the true spectra.

# %%
dataset = Dataset(data, "test")
run_prediction(dataset, weights=Path(result["weights"]), out=submission, workers=workers)
evaluate_submission(submission, data / "test.csv", train_labels=data / "train.csv")

# %%
ids, mean, sigma = read_submission(submission)
truth = dataset.labels().of(ids)
Image(render_png(draw_spectra(ids, mean, sigma, truth=truth, wavelengths=dataset.wavelengths)))

# %% [markdown]
# ## Report

# %%
report_from_artifacts(
    submission,
    folder / "report.html",
    labels_csv=data / "test.csv",
    train_labels_csv=data / "train.csv",
    wavelengths=dataset.wavelengths,
    title="Recovered spectra of the toy set",
)
