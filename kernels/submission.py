# %% [markdown]
# # SpectraMind: from detector frames to spectra with honest error bars
#
# Ariel observes a star while a planet passes in front of it. The planet's atmosphere absorbs a few parts in ten thousand of the
# starlight at each wavelength, less than the noise of a single wavelength. This notebook turns the frames of the two
# detectors, FGS1 and AIRS-CH0, into the transit depth `(Rp/Rs)²` at 283 wavelengths **and** its standard deviation.
#
# ```text
#  frames of FGS1 and AIRS-CH0 ──> calibration ──> light curves ──> transit fit ──> depths and their covariance
#                                                                                         │
#  spectra of the training planets ──> spectral library ──────────────────────────> library posterior
#                                                                                         │
#  light curves ──> state-space encoder ──> graph of wavelengths ──> corrections ──> V50's spectrum
#                                                                                         │
#  planets held out from training ──> temperature ────────────────────────> mean and standard deviation
# ```
#
# The submission is complete at all times: what there is no time for is skipped, planets that fail keep a safe row.
#
# **The physics.** The flux of a visit at time $t$ and wavelength $\lambda$ is
#
# $$F(t, \lambda) = S(\lambda)\,[1 + d(t, \lambda)]\;T\big(t;\,k^2(\lambda),\,u(\lambda),\,\mathrm{orbit}\big) + \mathrm{noise},
# \qquad k^2 = (R_p/R_s)^2,$$
#
# with the star's spectrum $S$, a drift $d$ that is smooth in time and wavelength, and the transit $T$ of a planet before a limb-darkened
# star. All wavelengths share orbit, limb darkening and drift, so their errors are correlated: the fit gives the covariance of the 283
# depths. An atmosphere is opaque up to a few scale heights $H = k_B T/(\mu g)$, other ones at each wavelength, and changes the depth by
# about $2 R_p H / R_s^2$ for each. Which shapes occur is learned from the training planets.
#
# Papers: [orbits](https://arxiv.org/abs/1001.2010), [Mamba-2](https://arxiv.org/abs/2405.21060), the encoder's blocks,
# [relational graph convolution](https://arxiv.org/abs/1703.06103). The
# [challenge](https://www.kaggle.com/competitions/ariel-data-challenge-2025) has the data and the score.

# %% [markdown]
# ## Parameters
# `None`: the attached input is found by a file that it contains; of several the one whose name stands below is taken.

# %% tags=["parameters"]
inputs = "/kaggle/input"  # where data sets are attached
competition = "ariel-data-challenge-2025"  # names of inputs, preferred where several fit; `make kernel` takes them from kaggle.toml
wheels_set = "spectramind-wheels"
weights_set = "spectramind-weights"
data = None  # folder in Kaggle's layout, with sample_submission.csv
weights = None  # weights.safetensors of a training run, its manifest beside it
out = "submission.csv"
report = "report.html"
truth = None  # csv of true spectra, where they are known
light_curves = None  # folder of light curves, where they are calibrated already
scratch = None  # folder for light curves and fits, which is kept; None: one of temporary files, which the last cell removes
split = "test"
workers = 4
device = "auto"  # of the networks; auto: the GPU where it passes a test, else the CPU
max_hours = 8.5  # of the nine that a session may take; None: no limit

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

from ariel_lib.commands import run_prediction
from ariel_lib.diagnostics.report import report_from_artifacts
from ariel_lib.execution.time_budget import Budget
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.kaggle_inputs import find_input
from ariel_lib.io.scratch import remove_scratch, session_scratch
from ariel_lib.io.submission import read_submission, validate_submission
from ariel_lib.plots.figures import draw_spectra, render_png
from ariel_lib.prediction.predict import require_predicted

budget = Budget(max_hours and 3600 * max_hours, started=started)
data = Path(data or find_input("sample_submission.csv", under=inputs, prefer=competition))
weights = Path(weights or find_input("weights.safetensors", under=inputs, prefer=weights_set) / "weights.safetensors")
dataset = Dataset(data, split, light_curves=light_curves, scratch=scratch or session_scratch(out))
print(f"{len(dataset.planets)} planets, from {data.name}; weights from {weights.parent.name}")

# %% [markdown]
# ## Predict
# A valid submission is written before the first planet is read: every row the mean of all training spectra, with a
# standard deviation wide enough to score zero, not less. It is rewritten after each batch of planets. A planet that
# cannot be read keeps that row, and the reason is logged; what there is no time for is skipped in a stated order.
# A network that fails on the GPU is run again on the CPU; where it fails there too, the planet has the estimate that it starts from.
# Where every planet kept its first row, the last cell ends with an error.
# `manifest_predict.json` records weights, data, versions and hashes of the run. Light curves and fits lie outside the output; a run that
# was killed finds them again when it is repeated on the same machine.

# %%
result = run_prediction(
    dataset,
    weights=weights,
    out=Path(out),
    workers=workers,
    budget=budget,
    device=device,
    log=print,
)
{name: len(value) if isinstance(value, dict) else value for name, value in result.items()}

# %% [markdown]
# ## Validate
# Every requested planet, every column, no missing value: otherwise this cell stops with the reason.

# %%
validate_submission(out, dataset.archive.sample())
print(f"{out} is valid; {budget}")

# %% [markdown]
# ## Recovered spectra
# The first spectra with their one-sigma bands. Features larger than the band are molecular absorption.

# %%
planets, mean, sigma = read_submission(out)
budget.attempt(
    "figure",
    5,
    lambda: Image(render_png(draw_spectra(planets[:3], mean[:3], sigma[:3], wavelengths=dataset.wavelengths))),
)

# %% [markdown]
# ## Report
# One self-contained page: the spectra with their bands and, where the truth is known, the coverage of the bands.

# %%
budget.attempt(
    "report",
    15,
    lambda: report_from_artifacts(
        out, report, labels_csv=truth, wavelengths=dataset.wavelengths, title="Recovered spectra"
    ),
)
remove_scratch(out)
print(f"done; {budget}; skipped: {budget.skipped or 'nothing'}")
require_predicted(result)
