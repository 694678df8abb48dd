# %% [markdown]
# # SpectraMind: training V50
#
# V50 corrects a closed-form estimate: a limb-darkened transit fitted to the calibrated light curves, combined with the
# training spectra, gives each planet's spectrum and its standard deviation. A state-space encoder reads the FGS1 light curve,
# a graph network passes messages between neighbouring wavelengths and between the bands of one molecule, and two heads
# correct mean and standard deviation. Both heads are zero at the start, so that an untrained network returns the estimate itself.
#
# Calibrated light curves are kept, and a training that was interrupted or ran out of time goes on where it stopped: attach this notebook's
# output as an input, name the folder `v50` in it below and run again.

# %% [markdown]
# ## Parameters
# `None`: the attached input is found by a file that it contains; of several the one whose name stands below is taken.

# %% tags=["parameters"]
inputs = "/kaggle/input"  # where data sets are attached
competition = "ariel-data-challenge-2025"  # names of inputs, preferred where several fit; `make kernel` takes them from kaggle.toml
wheels_set = "spectramind-wheels"
data = None  # folder in Kaggle's layout, with train.csv
light_curves = None  # folder of light curves, where they are calibrated already
previous = None  # the folder `out` of an earlier session, to go on from
out = "v50"
seed = 1337
epochs = 60
folds = 3  # networks whose predictions are combined; each holds out its share of the planets
batch_size = 32
bin_width = 0  # FGS1 samples averaged before the encoder; 0 chooses
processes = None  # that train together, with a GPU each; None: as many as there are GPUs
max_hours = 8.0  # a session of twelve hours ends cleanly long before its limit
workers = 4

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
import json

import numpy as np
from IPython.display import Image

from ariel_lib.commands import run_training_on_gpus
from ariel_lib.config import CalibrationConfig, Config, DataConfig, ModelConfig, TrainingConfig
from ariel_lib.io.kaggle_inputs import find_input, take_up_session
from ariel_lib.pipeline.checkpoint import Checkpoint
from ariel_lib.pipeline.planet_fits import fit_planets
from ariel_lib.plots.figures import draw_history, draw_spectra, render_png
from ariel_lib.prediction.answer import answer
from ariel_lib.priors.scale_height import LabelledSpectra
from ariel_lib.training.examples import training_set

config = Config(
    data=DataConfig(root=str(data or find_input("train.csv", under=inputs, prefer=competition)), light_curves=light_curves),
    calibration=CalibrationConfig(workers=workers),
    model=ModelConfig(bin_width=bin_width),
    training=TrainingConfig(seed=seed, epochs=epochs, folds=folds, batch_size=batch_size, max_hours=max_hours, out=out),
)
print(f"{take_up_session(previous, out)} files taken up from an earlier session")
config

# %% [markdown]
# ## Train
# Frames that are not calibrated yet are calibrated first, in at most two thirds of the time; the rest is left to another
# session. Some planets choose the epoch, others, held out, give the factor by which the standard deviations are rescaled and the
# scores: those of each planet with a factor fitted to the others. Two GPUs share every batch. A GPU that fails is done without, from the
# last epoch on.

# %%
result = run_training_on_gpus(config, processes=processes, log=print)
result["validation"]

# %% [markdown]
# ## Score by epoch
# On the planets that choose the epoch: the score of the best is optimistic, the scores above are not. Epoch 0 is the initial
# estimate, before training. The weights of the best epoch are kept, those of epoch 0 if none was better.

# %%
history = json.loads((Path(out) / "metrics.json").read_text(encoding="utf-8"))["history"]
Image(render_png(draw_history(history)))

# %% [markdown]
# Three planets: recovered spectrum with its one-sigma band, and the label. Neither the network used here nor its spectral
# priors contain that label; the sigmas are those before the rescaling, which is fitted to these planets too.

# %%
checkpoint, dataset = Checkpoint.load(result["weights"]), training_set(config)
held_out_checkpoints = checkpoint.as_held_out(LabelledSpectra.read(dataset))
three = dataset.select(list(held_out_checkpoints)[:3])
seen = fit_planets(three, settings=checkpoint.calibration_settings).conditioned_on(held_out_checkpoints).fits
answers = [answer(planet_fit, held_out_checkpoints[planet]) for planet, planet_fit in seen.items()]
mean, sigma = (np.stack([getattr(found, name) for found in answers]) for name in ("mean", "sigma"))
labels = dataset.labels().of(seen)
Image(render_png(draw_spectra(list(seen), mean, sigma, truth=labels, wavelengths=dataset.wavelengths)))

# %% [markdown]
# The weights contain their configuration; the submission kernel needs nothing else. `manifest.json` beside them has their
# SHA-256, without which they are not used; `manifest_train.json` records data, versions and hashes of the run.

# %%
print(Path(result["weights"]).name, Path(result["weights"]).stat().st_size, "bytes")
