"""mypy accepts the API's own annotations and a script that uses them, and knows enough to refuse a wrong one."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="needs the extra [dev]")
ROOT = Path(__file__).parents[1]

SCRIPT = """
import numpy as np
from ariel_lib import Dataset, LimbDarkening, Model, Orbit, PlanetLightCurves, Spectrum, Star, TransitFit, calibrate, fit_transit

dataset = Dataset("DATA", split="test")
planet: str = dataset.planets[0]
star: Star | None = dataset.star(planet)
curves: PlanetLightCurves = calibrate(dataset, planet)
orbit, limb_darkening = Orbit(a_over_rs=(9.0, 0.2), impact_parameter=0.3), LimbDarkening(u1=0.1, u2=(0.2, 0.1))
fit: TransitFit = fit_transit(curves, star=star, orbit=orbit, limb_darkening=limb_darkening, t0={0: (3.7, 0.01), 1: 3.6})
a: float = fit.a_over_rs.value + fit.t0[0, "FGS1"].sigma
drawn: np.ndarray = fit.samples(10, np.random.default_rng(0))["transit_depth"] + fit.limb_darkening.u1
spectrum: Spectrum = Model.load("weights.safetensors").predict(fit_transit(curves[0], star=star))
figure = spectrum.plot(truth=spectrum.answers["fit"].depth)
"""
WRONG = {
    "spectrum.median()": '"Spectrum" has no attribute "median"',
    "calibrate(dataset)": 'Missing positional argument "planet"',
    "fit_transit(curves, star=planet)": 'Argument "star" to "fit_transit" has incompatible type "str"',
    "Orbit(a_over_rs='nine')": 'Argument "a_over_rs" to "Orbit" has incompatible type "str"',
    "from ariel_lib import spectra": 'Module "ariel_lib" has no attribute "spectra"',
}


def mypy(cache, *arguments):
    """mypy with the project's settings, in the project's folder."""
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(cache), "--no-error-summary", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_the_api_and_a_script_that_uses_it_are_typed(tmp_path):
    modules = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]["files"]
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    found = mypy(tmp_path / "cache", *modules, script)
    assert found.returncode == 0, found.stdout
    script.write_text(SCRIPT + "\n".join(WRONG), encoding="utf-8")
    found = mypy(tmp_path / "cache", script)
    assert found.returncode == 1 and len(found.stdout.splitlines()) == len(WRONG), found.stdout
    for message in WRONG.values():
        assert message in found.stdout
