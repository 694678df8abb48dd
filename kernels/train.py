# %% [markdown]
# # SpectraMind: training V50
#
# V50 starts from the physical answer: a limb-darkened transit fitted to the calibrated light curves gives each
# planet's spectrum and its standard deviation. A state-space encoder reads the FGS1 light curve, a graph network lets
# neighbouring wavelengths and the bands of one molecule speak to one another, and two heads correct mean and standard
# deviation. Both heads start at zero, so that training begins at the physical answer and has to earn its keep.

# %% [markdown]
# ## Parameters
# `None` finds the attached input by a file that it holds.

# %% tags=["parameters"]
data = None  # folder in Kaggle's layout, with train.csv
light_curves = None  # folder of light curves, where they are calibrated already
out = "v50"
seed = 1337
epochs = 60
batch_size = 32
max_hours = 8.0  # a session of twelve hours ends cleanly long before its limit
workers = 4

# %%
from pathlib import Path

from ariel_lib.config import CalibrationConfig, Config, DataConfig, TrainingConfig
from ariel_lib.mounts import find_input
from ariel_lib.training import train

config = Config(
    data=DataConfig(root=str(data or find_input("train.csv")), light_curves=light_curves),
    calibration=CalibrationConfig(workers=workers),
    training=TrainingConfig(seed=seed, epochs=epochs, batch_size=batch_size, max_hours=max_hours, out=out),
)
config

# %% [markdown]
# ## Train
# Frames that are not yet light curves are calibrated on the way. Planets held out of training decide when to stop,
# and give the factor by which the standard deviations are rescaled.

# %%
result = train(config, log=print)
result["validation"]

# %% [markdown]
# The weights carry their configuration; `submission.py` needs nothing else.

# %%
print(Path(result["weights"]).name, Path(result["weights"]).stat().st_size, "bytes")
