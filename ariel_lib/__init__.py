"""SpectraMind: from Ariel detector frames to transmission spectra with honest standard deviations.

    from ariel_lib import Dataset, Model, calibrate, fit_transit

    dataset = Dataset("DATA", split="test")
    curves = calibrate(dataset, dataset.planets[0])
    fit = fit_transit(curves, star=dataset.star(dataset.planets[0]))
    spectrum = Model.load("weights.safetensors").predict(fit)
    spectrum.plot()

This is the public API and the only list of it. A name is imported when it is first used, so that `import ariel_lib` is cheap.
"""

TYPE_CHECKING = False  # as type checkers read it; typing itself would be the larger part of the import
if TYPE_CHECKING:
    from ariel_lib.config import load_config
    from ariel_lib.errors import SpectraMindError
    from ariel_lib.io.dataset import Dataset
    from ariel_lib.io.layout import Star
    from ariel_lib.io.light_curves import LightCurve, LightCurves
    from ariel_lib.io.submission import read_submission
    from ariel_lib.metrics import score
    from ariel_lib.prediction.light_curves import PlanetLightCurves, calibrate
    from ariel_lib.prediction.model import Model
    from ariel_lib.prediction.parameter import Parameter
    from ariel_lib.prediction.predict import predict
    from ariel_lib.prediction.spectrum import Spectrum
    from ariel_lib.prediction.transit_fit import TransitFit, fit_transit
    from ariel_lib.prediction.transit_priors import LimbDarkening, Orbit
    from ariel_lib.simulator.dataset import simulate_dataset
    from ariel_lib.training.loop import train

__version__ = "0.50.0"

__all__ = [
    "Dataset",
    "LightCurve",
    "LightCurves",
    "LimbDarkening",
    "Model",
    "Orbit",
    "Parameter",
    "PlanetLightCurves",
    "SpectraMindError",
    "Spectrum",
    "Star",
    "TransitFit",
    "calibrate",
    "fit_transit",
    "load_config",
    "predict",
    "read_submission",
    "score",
    "simulate_dataset",
    "train",
]

_MODULES = {
    "config": ("load_config",),
    "errors": ("SpectraMindError",),
    "io.dataset": ("Dataset",),
    "io.layout": ("Star",),
    "io.light_curves": ("LightCurve", "LightCurves"),
    "io.submission": ("read_submission",),
    "metrics": ("score",),
    "prediction.light_curves": ("PlanetLightCurves", "calibrate"),
    "prediction.model": ("Model",),
    "prediction.parameter": ("Parameter",),
    "prediction.predict": ("predict",),
    "prediction.spectrum": ("Spectrum",),
    "prediction.transit_fit": ("TransitFit", "fit_transit"),
    "prediction.transit_priors": ("LimbDarkening", "Orbit"),
    "simulator.dataset": ("simulate_dataset",),
    "training.loop": ("train",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


if not TYPE_CHECKING:

    def __getattr__(name):
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        found = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
