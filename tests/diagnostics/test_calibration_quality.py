"""diagnostics.calibration_quality: figures of a light curve with known noise and drift."""

import numpy as np
import pytest

from ariel_lib.diagnostics.calibration_quality import summarise_curve, summarise_visits
from ariel_lib.instrument import AIRS, FGS1
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.layout import CalibrationMaps, light_curves_path
from ariel_lib.io.light_curves import LightCurve, LightCurves, save_light_curves
from ariel_lib.io.writer import write_calibration_maps


def make_curve(slope=0.0, factor=1.0, n=4000):
    rng, flux, time = np.random.default_rng(0), 1e6, np.linspace(0, 7, n)
    level = flux * (1 + slope * np.linspace(0, 1, n))[:, None] * np.ones((n, 3))
    noise = factor * 1e3 * rng.standard_normal((n, 3))
    centroid = np.stack([np.linspace(0, 0.3, n), np.linspace(0, 0.4, n)], axis=1)
    mask = np.zeros((n, 3), bool)
    mask[: n // 10, 0] = True
    return LightCurve(time, level + noise, np.full((n, 3), 6e5), np.full((n, 3), 4e5), centroid, np.zeros(n), mask)


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_scatter_is_independent_of_the_slope(factor):
    figures = summarise_curve(make_curve(slope=0.05, factor=factor))
    assert figures["scatter_ppm"] == pytest.approx(1e3 * factor / 1.025, rel=0.05)
    assert figures["propagated_ppm"] == pytest.approx(1e3 / 1.025, rel=0.02)


def test_masked_share_and_centroid_drift():
    curve = make_curve(slope=0.01)
    figures = summarise_curve(curve)
    assert figures["masked_percent"] == pytest.approx(100 / 30)
    assert figures["centroid_drift_pixel"] == pytest.approx(0.45, abs=0.01)  # 0.5 between the ends, less a tenth


def test_a_fully_masked_curve_gives_nan():
    curve = make_curve(n=50)
    curve.mask[:] = True
    assert np.isnan(summarise_curve(curve)["scatter_ppm"])


def test_bad_pixels_are_counted_where_there_are_frames(tmp_path):
    airs, fgs1 = make_curve(n=50), make_curve(n=50)
    for planet in ("1", "2"):
        save_light_curves(light_curves_path(tmp_path, "test", planet, 0), LightCurves(planet, 0, fgs1=fgs1, airs=airs))

    for instrument in (AIRS, FGS1):
        shape = instrument.rows, instrument.columns
        dead = np.zeros(shape, bool)
        dead[0] = True
        maps = CalibrationMaps(np.zeros(shape), np.ones(shape), np.ones(shape), dead, np.ones((6, *shape)))
        write_calibration_maps(tmp_path, "test", "1", 0, instrument, maps)
        (tmp_path / "test" / "1" / f"{instrument.name}_signal_0.parquet").touch()
    dataset = Dataset(tmp_path, planets=["1", "2"], light_curves=tmp_path)
    table, failed = summarise_visits(dataset)
    assert not failed
    table = table.set_index("planet")
    assert table.loc["1", "bad_pixels_percent"].tolist() == pytest.approx([100 / 32] * 2)
    assert table.loc["2", "bad_pixels_percent"].isna().all()
    light_curves_path(tmp_path, "test", "2", 0).write_bytes(b"cut")
    table, failed = summarise_visits(dataset)
    assert set(table["planet"]) == {"1"} and "damaged" in failed["2"].reason
