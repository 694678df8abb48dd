# %% [markdown]
# # A first spectrum
#
# From a folder of light curves or detector frames to the transmission spectrum of one planet with its standard deviations, in five
# lines of Python, and what the objects on the way hold. Without a data set of your own the notebook simulates a small one and trains
# a small model on it; its spectra show how the library is used, not how accurate it is.

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
data = None  # folder in Kaggle's layout; None: simulate one
weights = None  # weights.safetensors of a training run; None: train on the data's training split
folder = "first_spectrum"  # where simulated data and the trained model go
planets = 8  # of the simulated training split
seed = 1

# %%
from pathlib import Path

import numpy as np

from ariel_lib import Dataset, LimbDarkening, Model, Orbit, calibrate, fit_transit, load_config, simulate_dataset, train

folder = Path(folder)
if data is None:
    data = folder / "data"
    simulate_dataset(data, n_planets=planets + 2, n_test=2, seed=seed, level="lightcurves")
if weights is None:
    config = load_config(overrides=["training.epochs=1", f"training.out={folder / 'model'}"])
    weights = train(Dataset(data, split="train", scratch=folder / "model"), config)["weights"]

# %% [markdown]
# ## Five lines

# %%
dataset = Dataset(data, split="test")
curves = calibrate(dataset, dataset.planets[0])
fit = fit_transit(curves, star=dataset.star(dataset.planets[0]))
spectrum = Model.load(weights).predict(fit)
spectrum.plot()

# %% [markdown]
# ## The data set and the light curves
# A data set is a folder, a split and its planets. `calibrate` reads light curves that are on disk and calibrates frames that have none.

# %%
dataset

# %%
curves

# %% [markdown]
# ## The transit fit
# Depths with their full covariance, and the parameters that all wavelengths share, each with its standard deviation. No knowledge of
# what spectra look like enters.

# %%
fit

# %%
fit.plot()

# %% [markdown]
# `samples` draws from the joint posterior: here the correlation of impact parameter and mean depth.

# %%
drawn = fit.samples(2000, np.random.default_rng(seed))
round(float(np.corrcoef(drawn["impact_parameter"], drawn["transit_depth"].mean(axis=1))[0, 1]), 2)

# %% [markdown]
# A parameter that is known from elsewhere can be given: a pair is a mean and a standard deviation, a number alone is held fixed.

# %%
orbit = Orbit(a_over_rs=(fit.star.sma, 0.01 * fit.star.sma))
limb_darkening = LimbDarkening(u1=(0.40, 0.10), u2=(0.24, 0.19), u1_sigma=0.01, u2_sigma=0.01)
informed = fit_transit(curves, star=fit.star, orbit=orbit, limb_darkening=limb_darkening)
{"FGS1 sigma, ppm": [round(1e6 * found.sigma[0]) for found in (fit, informed)], "a/Rs": str(informed.a_over_rs)}

# %% [markdown]
# ## The spectrum
# The model's standard deviations are marginal: each belongs to its own wavelength. Answers whose covariance is known come along:
# `fit`, the transit fit under the population's corrections, and `gaussian`, its posterior under a Gaussian spectral prior.

# %%
spectrum

# %%
spectrum.answers["gaussian"].samples(1000, np.random.default_rng(seed)).std(axis=0)[:3]

# %% [markdown]
# With astropy installed, `to_table` gives a table with units. Where the truth is known, as in a simulation, the figure shows it.

# %%
truth = dataset.labels().of([spectrum.planet_id])[0] if (dataset.root / "test.csv").is_file() else None
spectrum.plot(truth=truth)
