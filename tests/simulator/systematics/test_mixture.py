"""Families of systematics: their sizes, times and colours, and how a visit's are chosen."""

import numpy as np
import pytest

from ariel_lib.errors import SpectraMindError
from ariel_lib.instrument import AIRS, FGS1, spectrum_wavelengths
from ariel_lib.io.layout import Star
from ariel_lib.simulator.light_curve import DRIFT_SIZE, Orbit
from ariel_lib.simulator.systematics import ranges, stellar
from ariel_lib.simulator.systematics.mixture import LIGHT, draw_catalogue_orbit, draw_systematics, read_recipe
from ariel_lib.simulator.systematics.ranges import FAMILIES, RANGES, draw_parameters
from ariel_lib.simulator.systematics.terms import PARTS, Target, contrast, temperature_colour

WAVELENGTH = spectrum_wavelengths()
TIME = (np.arange(225) + 0.5) / 30  # h
TIMES = {FGS1.name: TIME, AIRS.name: TIME}
SUN = Star("1", 1.0, 1.0, 5777.0, 1.0, 0.0, 4.0, 10.0, 88.0)
TARGET = Target(SUN, 0.0144, 3.6, 3.0)


def draw(families, seed=0, times=TIMES):
    return draw_systematics(families, TARGET, times, WAVELENGTH, np.random.default_rng(seed))


def white(drawn):
    return [drawn.white_factor(name, np.ones(len(WAVELENGTH[part]))) for name, part in PARTS.items()]


@pytest.fixture
def fixed(monkeypatch):
    """Set parameters of a family to one value each."""

    def set_parameters(family, **values):
        table = {name: ranges.Range(values[name], values[name], limits.unit, limits.source, logarithmic=False) if name in values else limits
                 for name, limits in RANGES[family].items()}  # fmt: skip
        monkeypatch.setitem(RANGES, family, table)

    return set_parameters


def test_without_systematics_the_factor_is_exactly_one():
    drawn = draw(())
    for name in TIMES:
        assert (drawn.factor(name) == 1).all() and (drawn.pointing[name] == 0).all()
    for family in ("unocculted_spots", "limb_darkening", "catalogue"):  # they do not multiply the light
        assert (draw([family]).factor(AIRS.name) == 1).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_drawn_parameters_lie_in_the_table_and_fill_it(family):
    drawn = [draw_parameters(family, np.random.default_rng(n)) for n in range(200)]
    for name, limits in RANGES[family].items():
        values = np.array([p[name] for p in drawn])
        assert limits.low <= values.min() and values.max() <= limits.high and limits.source
        assert np.ptp(values) > 0.7 * (limits.high - limits.low)


@pytest.mark.parametrize("family", LIGHT)
def test_one_seed_gives_one_draw_at_any_times_and_beside_any_other_family(family):
    alone, other = draw([family]), draw([family], seed=1)
    together, coarse = draw(list(LIGHT)), draw([family], times={name: TIME[::5] for name in TIMES})
    for name in TIMES:
        assert alone.factor(name).tobytes() == draw([family]).factor(name).tobytes()
        assert np.abs(alone.factor(name) - other.factor(name)).max() > 1e-6
        np.testing.assert_allclose(coarse.factor(name), alone.factor(name)[::5], atol=1e-12)
    assert together.parameters[family] == alone.parameters[family]


def test_the_factor_is_the_sum_of_the_families():
    both, parts = draw(["ramp", "granulation"]), [draw([family]) for family in ("ramp", "granulation")]
    np.testing.assert_allclose(both.factor(AIRS.name) - 1, sum(part.factor(AIRS.name) - 1 for part in parts), atol=1e-15)


def test_the_polynomial_has_the_nominal_sizes():
    last = np.array([draw(["polynomial"], seed).factor(FGS1.name)[[0, -1], 0] - 1 for seed in range(400)])
    odd = (last[:, 1] - last[:, 0]) / 2  # c_1 + c_3 at τ = ±1
    assert odd.std() == pytest.approx(np.hypot(DRIFT_SIZE[0], DRIFT_SIZE[2]), rel=0.12)


def test_a_ramp_is_an_exponential(fixed):
    fixed("ramp", amplitude=5e-4, timescale=0.8, second_amplitude=0.0, falling=0.5, tilt=0.2)
    expected = -5e-4 * np.exp(-TIME / 0.8)
    drawn = draw(["ramp"])
    np.testing.assert_allclose(drawn.factor(FGS1.name)[:, 0] - 1, expected, atol=1e-12)
    np.testing.assert_allclose((drawn.factor(AIRS.name)[0] - 1) / expected[0], 1 + 0.2 * (WAVELENGTH[1:] - 2.9))


def test_a_thermal_cycle_has_its_period_in_both_instruments(fixed):
    fixed("thermal", amplitude=1e-4, period=2.5, lag=0.0, airs_over_fgs1=0.5, tilt=0.0)
    fgs1, airs = white(draw(["thermal"]))
    np.testing.assert_allclose(airs - 1, 0.5 * (fgs1 - 1), atol=1e-12)
    assert (fgs1 - 1).std() == pytest.approx(1e-4 / np.sqrt(2), rel=0.01)
    np.testing.assert_allclose(fgs1[75:150], fgs1[:75], atol=1e-10)  # 75 samples are 2.5 h


def test_persistence_decays_as_a_power_law(fixed):
    fixed("persistence", amplitude=5e-4, onset=0.5, exponent=1.0, previous_temperature=SUN.Ts)
    drawn = draw(["persistence"])
    for name in TIMES:
        np.testing.assert_allclose(drawn.factor(name) - 1, np.tile(5e-4 / (1 + TIME / 0.5), (drawn.factor(name).shape[1], 1)).T, rtol=1e-9)


def test_gain_has_its_rms_no_colour_and_differs_between_detectors(fixed):
    fixed("gain", rms=1e-4, airs_over_fgs1=1.0, slope=1.5)
    drawn = [draw(["gain"], seed) for seed in range(60)]
    for name in TIMES:
        rms = [one.factor(name).std(axis=0).mean() for one in drawn]
        assert np.mean(rms) == pytest.approx(1e-4, rel=0.03)
    assert np.ptp(drawn[0].factor(AIRS.name), axis=1).max() < 1e-15
    assert abs(np.mean([np.corrcoef(*white(one))[0, 1] for one in drawn])) < 0.25


def test_pointing_moves_both_images_with_its_rms_and_memory_and_the_flux_follows(fixed):
    fixed("pointing", rms=0.1, memory=0.3)
    drawn = [draw(["pointing"], seed) for seed in range(150)]
    motion = np.array([one.pointing[FGS1.name] for one in drawn])
    assert motion.std() == pytest.approx(0.1, rel=0.06)
    lag = 9  # 0.3 h, one memory
    correlation = (motion[:, lag:] * motion[:, :-lag]).mean() / (motion**2).mean()
    assert correlation == pytest.approx(np.exp(-1), abs=0.06)
    one = drawn[0]
    ratio = one.pointing[AIRS.name] / one.pointing[FGS1.name]
    np.testing.assert_allclose(ratio, ratio[0, 0])
    for name in TIMES:  # every light curve is a combination of the two coordinates of the centroid
        left = np.linalg.lstsq(one.pointing[name], one.factor(name) - 1, rcond=None)[1]
        assert (left < 1e-20).all() and (one.factor(name).std(axis=0) > 1e-7).all()


def test_granulation_is_seen_by_both_instruments_in_the_stars_colour(fixed):
    fixed("granulation", scale=1.0, oscillation_scale=0.0)
    drawn = [draw(["granulation"], seed) for seed in range(60)]
    colour = temperature_colour(WAVELENGTH, SUN.Ts)
    assert colour[0] > 2 * colour[1:].mean()
    for one in drawn[:3]:
        fgs1, airs = one.factor(FGS1.name)[:, 0] - 1, one.factor(AIRS.name) - 1
        np.testing.assert_allclose(airs, fgs1[:, None] * colour[1:] / colour[0], atol=1e-12)
    nu = np.linspace(1e6 / (2 * 7.5 * 3600), 20000, 400_000)  # the clock's lowest frequency, microhertz
    expected = colour[0] * np.sqrt(stellar.granulation_power(nu, stellar.peak_frequency(SUN)).sum() * (nu[1] - nu[0]))
    rms = np.sqrt(np.mean([np.mean((one.factor(FGS1.name) - 1) ** 2) for one in drawn]))
    assert rms == pytest.approx(expected, rel=0.05)
    assert 2e-5 < rms < 6e-5  # the Sun: about 40 ppm


def test_p_modes_of_the_sun_have_periods_of_five_minutes(fixed):
    fixed("granulation", scale=0.0, oscillation_scale=1.0)
    fine = np.arange(0, 7.5, 12 / 3600)
    light = draw(["granulation"], times={FGS1.name: fine, AIRS.name: fine}).factor(FGS1.name)[:, 0] - 1
    power = np.abs(np.fft.rfft(light)) ** 2
    frequency = np.fft.rfftfreq(len(fine), 12)
    assert 1 / (frequency @ power / power.sum()) == pytest.approx(324, rel=0.05)


def test_rotation_has_the_contrast_of_its_spots(fixed):
    fixed("rotation", amplitude=2e-3, period=5.0, harmonic=0.0, phase=0.0, spot_deficit=0.2)
    drawn, dark = draw(["rotation"]), contrast(WAVELENGTH, 0.8 * SUN.Ts, SUN.Ts)
    expected = 2e-3 * np.sin(2 * np.pi * TIME / 120)
    np.testing.assert_allclose(drawn.factor(FGS1.name)[:, 0] - 1, expected, atol=1e-12)
    np.testing.assert_allclose(drawn.factor(AIRS.name)[-1] - 1, expected[-1] * dark[1:] / dark[0], rtol=1e-9)
    assert (dark[1:] < dark[0]).all()


def test_a_spot_crossing_brightens_the_transit_only_and_less_in_the_infrared(fixed):
    fixed("spot_crossing", number=1.0, radius=0.05, position=0.1, spot_deficit=0.2)
    fgs1, airs = white(draw(["spot_crossing"]))
    dark = contrast(WAVELENGTH, 0.8 * SUN.Ts, SUN.Ts)
    assert fgs1.max() - 1 == pytest.approx(0.05**2 * dark[0], rel=0.03) and airs.max() < fgs1.max()
    assert abs(TIME[fgs1.argmax()] - 3.9) < 0.05
    outside = np.abs(TIME - TARGET.mid_transit) > TARGET.duration / 2
    assert np.abs(fgs1[outside] - 1).max() < 1e-9


def test_errors_of_the_catalogue_have_the_recorded_sigmas():
    orbit = Orbit(96.0, 10.0, 86.0)
    drawn = [draw_catalogue_orbit(orbit, np.random.default_rng(n)) for n in range(800)]
    error = np.array([[wrong.inclination - 86, np.log(wrong.a / 10), np.log(wrong.period / 96)] for wrong, _ in drawn])
    z = error / [[p["inclination_sigma"], p["sma_sigma"], p["period_sigma"]] for _, p in drawn]
    np.testing.assert_allclose(z.std(axis=0), 1, atol=0.08)
    assert draw_catalogue_orbit(Orbit(96.0, 10.0, 90.0), np.random.default_rng(0))[0].inclination <= 90


@pytest.mark.parametrize(
    ("name", "all_of", "some_of"),
    [
        ("nominal", {"polynomial"}, set()),
        ("ramp", {"ramp"}, set()),
        ("polynomial+ramp", {"polynomial", "ramp"}, set()),
        ("ramp,thermal,gain", set(), {"ramp", "thermal", "gain"}),
        ("mixed", set(), set(FAMILIES)),
        ("mixed-ramp-gain", set(), set(FAMILIES) - {"ramp", "gain"}),
    ],
)
def test_a_name_stands_for_families(name, all_of, some_of):
    recipe, rng = read_recipe(name), np.random.default_rng(0)
    drawn = [set(recipe.choose(rng)) for _ in range(300)]
    assert all(chosen and all_of <= chosen <= all_of | some_of for chosen in drawn)
    assert set().union(*drawn) == all_of | some_of


def test_mixed_draws_each_family_with_its_share():
    recipe, rng = read_recipe("mixed"), np.random.default_rng(0)
    drawn = [recipe.choose(rng) for _ in range(1000)]
    for family, share in ranges.SHARES.items():
        assert np.mean([family in chosen for chosen in drawn]) == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize(
    "name",
    ["rampp", "", "ramp-gain", "mixed+ramp", "nominal,ramp", "mixed-nominal", "ramp+thermal,gain", "mixed-ramp,gain", "mixed-"],
)
def test_another_name_is_one_error_that_lists_the_families(name):
    with pytest.raises(SpectraMindError, match="polynomial, ramp, thermal") as error:
        read_recipe(name)
    assert repr(name) in str(error.value) and "\n" not in str(error.value)
