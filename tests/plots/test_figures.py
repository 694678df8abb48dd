"""Figures: reproducible bytes, the values drawn, no pyplot."""

import subprocess
import sys

import numpy as np
import pytest

from ariel_lib.metrics import coverage
from ariel_lib.plots import figures as figures


def make_case(planets=3, wavelengths=8, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0.01, 0.02, (planets, wavelengths))
    sigma = rng.uniform(1e-4, 3e-4, truth.shape)
    return truth, truth + sigma * rng.standard_normal(truth.shape), sigma


def draw_all(planets=3, wavelengths=8):
    truth, mean, sigma = make_case(planets, wavelengths)
    ids = [str(n) for n in range(planets)]
    axis = np.concatenate([[0.7], np.linspace(1.95, 3.9, wavelengths - 1)])
    time = np.linspace(0, 7.5, 60)
    flux = 1 - 0.01 * (np.abs(time - 3.7) < 1)
    return {
        "draw_spectra": figures.draw_spectra(ids, mean, sigma, truth=truth, wavelengths=axis),
        "draw_spectra without truth": figures.draw_spectra(ids, mean, sigma, unit="percent"),
        "draw_calibration": figures.draw_calibration(truth, mean, sigma),
        "draw_gain_map": figures.draw_gain_map(1 - (truth - mean) ** 2 / sigma**2, wavelengths=axis),
        "draw_light_curve": figures.draw_light_curve(time, flux + 1e-4, flux, flux_sigma=np.full(60, 1e-4)),
        "draw_light_curve without sigma": figures.draw_light_curve(time, flux + 1e-4, flux),
    }


def find_line(axes, label):
    return next(line for line in axes.get_lines() if line.get_label() == label)


def test_render_png_gives_the_same_bytes_for_the_same_numbers():
    first, second = ({name: figures.render_png(f, dpi=40) for name, f in draw_all().items()} for _ in range(2))
    assert first == second
    assert all(png.startswith(b"\x89PNG") and b"Software" not in png for png in first.values())


def test_figures_draw_one_planet_with_one_airs_wavelength():
    for figure in draw_all(planets=1, wavelengths=2).values():
        assert len(figures.render_png(figure, dpi=40)) > 1000


def test_figures_do_not_import_pyplot():
    code = (
        "import sys, numpy as np; from ariel_lib.plots import figures as f;"
        "f.render_png(f.draw_spectra(['1'], np.ones((1, 3)), np.ones((1, 3))));"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("unit", "scale"), [("ppm", 1e6), ("percent", 1e2)])
def test_draw_spectra_shows_airs_in_its_unit_and_fgs1_apart(unit, scale):
    truth, mean, sigma = make_case()
    fgs1, airs = figures.draw_spectra(["1", "2", "3"], mean, sigma, truth=truth, unit=unit).axes[:2]
    assert find_line(airs, "recovered, 1 sigma").get_ydata() == pytest.approx(scale * mean[0, 1:])
    assert find_line(airs, "true").get_ydata() == pytest.approx(scale * truth[0, 1:])
    assert fgs1.get_lines()[0].get_ydata() == pytest.approx(scale * mean[0, :1])


def test_draw_spectra_shows_any_planet_id_as_plain_text():
    _, mean, sigma = make_case(planets=1)
    figure = figures.draw_spectra(["$\\frac{<b>"], mean, sigma)
    assert figures.render_png(figure, dpi=40)


def test_draw_history_shows_every_epoch_and_the_score_before_training():
    history = [{"epoch": 0, "loss": None, "score": 0.5}, {"epoch": 1, "loss": -1.0, "score": 0.4}, {"epoch": 2, "loss": -2.0, "score": 0.6}]
    scores, losses = figures.draw_history(history).axes
    assert scores.get_lines()[0].get_ydata() == pytest.approx([0.5, 0.4, 0.6])
    assert list(find_line(scores, "before training").get_ydata()) == [0.5, 0.5]
    assert losses.get_lines()[0].get_ydata() == pytest.approx([np.nan, -1.0, -2.0], nan_ok=True)


def test_draw_calibration_shows_the_empirical_coverage():
    truth, mean, sigma = make_case(planets=200)
    drawn = find_line(figures.draw_calibration(truth, mean, sigma).axes[1], "AIRS")
    levels, inside = drawn.get_data()
    # a leading wavelength of zero residual lies inside at every level
    case = [np.concatenate([first, values[:, 1:]], axis=1) for first, values in zip(
        (truth[:, :1], truth[:, :1], sigma[:, :1]), (truth, mean, sigma), strict=True
    )]  # fmt: skip
    for level, fraction in list(zip(levels, inside, strict=True))[::12]:
        assert coverage(*case, level) == pytest.approx((1 + 7 * fraction) / 8)


def test_draw_calibration_keeps_outliers_in_the_outermost_bins():
    truth, mean, sigma = make_case(planets=50)
    for patch in figures.draw_calibration(truth + 1.0, mean, sigma).axes[0].patches:
        heights, edges, _ = patch.get_data()
        assert np.sum(heights * np.diff(edges)) == pytest.approx(1)
        assert np.count_nonzero(heights) == 1


def test_draw_gain_map_sorts_planets_from_worst_to_best():
    gain = np.array([[0.9, 0.8, 0.7], [-3.0, 0.1, 0.2], [0.5, 0.4, 0.6]])
    airs = figures.draw_gain_map(gain).axes[1].collections[0].get_array().reshape(3, 2)
    assert np.array_equal(airs, gain[[1, 2, 0], 1:])


def test_draw_light_curve_shows_residuals_in_ppm():
    time = np.linspace(0, 5, 20)
    residual = figures.draw_light_curve(time, np.full(20, 1.0003), np.ones(20)).axes[1].get_lines()[0]
    assert residual.get_ydata() == pytest.approx(np.full(20, 300.0))
