# %% [markdown]
# # SpectraMind: from detector frames to spectra with honest error bars
#
# Ariel watches a star while a planet passes in front of it. What the planet's atmosphere takes from the starlight at
# each wavelength is a few parts in ten thousand, less than the noise of a single wavelength. This notebook turns the
# frames of the two detectors, FGS1 and AIRS-CH0, into the transit depth `(Rp/Rs)²` at 283 wavelengths **and** its
# standard deviation.
#
# The road: calibrate the frames, fit the transit by physics, let the trained network V50 correct what physics left
# over, rescale the standard deviations as held-out planets demand, and write a submission that is always complete.

# %% [markdown]
# ## Parameters
# `None` finds the attached input by a file that it holds.

# %% tags=["parameters"]
data = None  # folder in Kaggle's layout, with sample_submission.csv
weights = None  # weights.safetensors of a training run
out = "submission.csv"
report = "report.html"
truth = None  # csv of true spectra, where they are known
light_curves = None  # folder of light curves, where they are calibrated already
split = "test"
workers = 4

# %%
from pathlib import Path

from ariel_lib.archive import Archive
from ariel_lib.diagnostics.report import report_from_artifacts
from ariel_lib.inference import predict
from ariel_lib.mounts import find_input
from ariel_lib.submission import validate_submission

data = Path(data or find_input("sample_submission.csv"))
weights = Path(weights or find_input("weights.safetensors") / "weights.safetensors")
archive = Archive(data)
print(f"{len(archive.requested_planets())} planets to answer for, from {data.name}")

# %% [markdown]
# ## Predict
# Frames that are not yet light curves are calibrated on the way. A planet that cannot be read gets the training mean
# with a wide standard deviation, and is counted under `fallbacks`.

# %%
result = predict(data=data, split=split, weights=weights, out=out, light_curves=light_curves, workers=workers)
result

# %% [markdown]
# ## Validate
# Every planet asked for, every column, no missing value: otherwise this cell stops with the reason.

# %%
validate_submission(out, data / "sample_submission.csv")
print(f"{out} is valid")

# %% [markdown]
# ## Report
# One page, complete in itself: the spectra with their bands and, where the truth is known, how honest the bands are.

# %%
report_from_artifacts(out, report, labels_csv=truth, wavelengths=archive.wavelengths(), title="Recovered spectra")
