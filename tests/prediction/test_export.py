"""prediction.export: every number is read back unchanged with astropy, in each format; planet ids are never paths or markup."""

import json
from urllib.parse import unquote

import numpy as np
import pytest

pytest.importorskip("astropy", reason="needs the extra [export]")
from astropy import units
from astropy.io import fits
from astropy.table import Table

from ariel_lib.io.checksums import sha256
from ariel_lib.io.storage import save_arrays
from ariel_lib.io.submission import write_submission
from ariel_lib.io.submission_record import SubmissionRecord
from ariel_lib.prediction.export import COLUMNS, COVARIANCE, export
from ariel_lib.transit.population.corrections import PopulationCorrections
from ariel_lib.transit.population.multiplicative_bias import MultiplicativeBias
from ariel_lib.transit.population.nuisance_prior import NuisancePrior
from ariel_lib.transit.result import B_SQUARED_KIND, KINDS, LOG_A_KIND, DepthEstimate, save_estimate

PLANETS = ("1103775", "../../etc/passwd", "<img src=x onerror=alert(1)>", "=cmd|'/c calc'!A1", "# Ünïcode'")
WIDTH = 7


def weights_of(population: NuisancePrior) -> dict[str, np.ndarray]:
    corrections = PopulationCorrections(population, MultiplicativeBias.none(WIDTH))
    return {f"corrections.{name}": array for name, array in corrections.to_arrays().items()}


@pytest.fixture
def run(tmp_path):
    """A submission of five planets with hostile ids, its record and arrays, weights and one transit fit."""
    rng, folder, data = np.random.default_rng(1), tmp_path / "run", tmp_path / "data"
    data.mkdir()
    wavelength = np.array([0.7, *np.linspace(1.95, 3.9, WIDTH - 1)])
    head = ",".join(f"wl_{n + 1}" for n in range(WIDTH))
    (data / "wavelengths.csv").write_text(head + "\n" + ",".join(map(repr, wavelength.tolist())) + "\n")
    mean, sigma = 0.01 * rng.random((5, WIDTH)), 1e-4 * (1 + rng.random((5, WIDTH)))
    submission = folder / "submission.csv"
    write_submission(submission, PLANETS, mean, sigma, fallback=(mean[0], 0.01))
    population = NuisancePrior(1e-3 * np.eye(KINDS))
    save_arrays(folder / "model" / "weights.safetensors", weights_of(population), {})
    root, coupling = rng.normal(size=(WIDTH, WIDTH)) * 1e-4, 1e-8 * rng.normal(size=(WIDTH, 2))
    estimate = DepthEstimate(
        PLANETS[0], mean[0] + 1e-5, root @ root.T + 1e-8 * np.eye(WIDTH), np.full(WIDTH, 1e-4), np.ones(WIDTH), np.ones(WIDTH),
        np.zeros(8), np.array([1e-3, 2e-3]), np.diag([1e-6, 1e-6]), coupling, np.array([LOG_A_KIND, B_SQUARED_KIND]), (), (),
    )  # fmt: skip
    save_estimate(folder / "estimates" / "test" / f"{PLANETS[0]}.safetensors", estimate, "source")
    conditioned = population.condition(estimate)
    kept = {source: rng.random((4, WIDTH)) for _, (source, _) in COLUMNS.items() if source}
    kept["depth"][0], kept["depth_sigma"][0] = conditioned.depth, conditioned.sigma
    save_arrays(submission.with_suffix(".safetensors"), kept, {"planet_ids": json.dumps(PLANETS[:4]), "initial_estimate": "white_depth"})
    source = {"weights": sha256(folder / "model" / "weights.safetensors"), "data": str(data)}
    submission.with_suffix(".json").write_text(json.dumps({"answered": 4, "source": source}))
    expected = {name: kept[source] for name, (source, _) in COLUMNS.items() if source}
    nothing = np.full((1, WIDTH), np.nan)
    expected = {name: np.vstack([rows, nothing]) for name, rows in expected.items()} | {"transit_depth": mean, "sigma": sigma}
    return submission, wavelength, expected, conditioned


def write(submission, out, format, planets=None, weights=None):
    record = SubmissionRecord.of(submission, weights)
    dataset = record.dataset()
    return export(record, dataset.select(planets) if planets else dataset, out, format)


def equal(found, expected):
    return np.array_equal(np.asarray(found, float), expected, equal_nan=True)


def test_ecsv_round_trip_is_exact_with_units_metadata_and_covariance(run, tmp_path):
    submission, wavelength, expected, conditioned = run
    result = write(submission, out=tmp_path / "a.ecsv", format="ecsv")
    table = Table.read(tmp_path / "a.ecsv", format="ascii.ecsv")
    assert table["wavelength"].unit == units.um and equal(table["wavelength"], np.tile(wavelength, 5))
    assert list(table["planet_id"][::WIDTH]) == list(PLANETS)
    assert all(equal(table[name], rows.ravel()) for name, rows in expected.items())
    assert equal(table[COVARIANCE][:WIDTH], conditioned.covariance) and np.isnan(table[COVARIANCE][WIDTH:]).all()
    assert result["with_covariance"] == 1 and table.meta["submission_sha256"] == sha256(submission)
    assert "of transit_depth: not known" in table.meta["covariance"]
    assert table["initial_depth"].description == "V50's initial estimate, white_depth"


def test_csv_round_trip_is_exact_with_units_in_a_json_file(run, tmp_path):
    submission, wavelength, expected, conditioned = run
    write(submission, out=tmp_path / "a.csv", format="csv")
    table = Table.read(tmp_path / "a.csv", format="ascii.csv", converters={"planet_id": str}, fill_values=[])
    assert list(table["planet_id"][::WIDTH]) == list(PLANETS) and equal(table["wavelength"], np.tile(wavelength, 5))
    assert all(equal(table[name], rows.ravel()) for name, rows in expected.items())
    assert equal(np.stack([table[f"{COVARIANCE}_{n + 1}"][:WIDTH] for n in range(WIDTH)], 1), conditioned.covariance)
    meta = json.loads((tmp_path / "a.csv.json").read_text())
    assert meta["units"].startswith("wavelength in micron") and meta["submission_sha256"] == sha256(submission)


def test_fits_round_trip_is_exact_with_a_table_and_a_covariance_for_each_planet(run, tmp_path):
    submission, wavelength, expected, conditioned = run
    write(submission, out=tmp_path / "a.fits", format="fits")
    with fits.open(tmp_path / "a.fits") as file:
        file.verify("exception")
        tables = [hdu for hdu in file if hdu.name == "SPECTRUM"]
        assert [unquote(hdu.header["PLANET"]) for hdu in tables] == list(PLANETS)
        assert [hdu.ver for hdu in file if hdu.name == "COVARIANCE"] == [1]
        assert equal(file["COVARIANCE", 1].data, conditioned.covariance)
        assert file[0].header["SUBSHA"] == sha256(submission)
        for row, hdu in enumerate(tables):
            table = Table.read(hdu)
            assert table["wavelength"].unit == units.um and equal(table["wavelength"], wavelength)
            assert all(equal(table[name], rows[row]) for name, rows in expected.items())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.fits", "data", "run"]  # no id was used as a path


def test_the_same_submission_gives_the_same_bytes(run, tmp_path):
    for format in ("ecsv", "fits", "csv"):
        first, second = (write(run[0], out=tmp_path / f"{n}.x", format=format) and tmp_path / f"{n}.x" for n in "ab")
        assert first.read_bytes() == second.read_bytes()


def test_selected_planets_only_and_no_covariance_from_a_later_fit(run, tmp_path):
    submission = run[0]
    assert write(submission, out=tmp_path / "a.ecsv", format="ecsv", planets=[PLANETS[2]])["planets"] == 1
    assert list(Table.read(tmp_path / "a.ecsv", format="ascii.ecsv")["planet_id"]) == [PLANETS[2]] * WIDTH
    path = submission.parent / "estimates" / "test" / f"{PLANETS[0]}.safetensors"
    from dataclasses import replace

    from ariel_lib.transit.result import load_estimate

    estimate = load_estimate(path)
    save_estimate(path, replace(estimate, depth=estimate.depth + 1e-9), "another")
    assert write(submission, out=tmp_path / "a.ecsv", format="ecsv")["with_covariance"] == 0


def test_inputs_that_do_not_belong_together_raise(run, tmp_path):
    submission = run[0]
    with pytest.raises(ValueError, match="another file than the submission"):
        write(submission, out=submission.with_suffix(".json"), format="csv")
    with pytest.raises(ValueError, match="no planet 'x'"):
        write(submission, out=tmp_path / "a", format="csv", planets=["x"])
    other = save_arrays(tmp_path / "w.safetensors", weights_of(NuisancePrior(np.zeros((KINDS, KINDS)))), {})
    with pytest.raises(ValueError, match="found others"):
        write(submission, out=tmp_path / "a", format="csv", weights=other)
    (tmp_path / "data" / "wavelengths.csv").write_text("wl_1\n0.7\n")
    with pytest.raises(ValueError, match="7 wavelengths"):
        write(submission, out=tmp_path / "a", format="csv")


@pytest.mark.parametrize("format", ["ecsv", "fits", "csv"])
@pytest.mark.parametrize("harm", [lambda b: b[: len(b) // 3], lambda b: b"", lambda b: b[:40] + b[41:]])
def test_a_damaged_fit_costs_its_planet_the_covariance_and_is_named(run, tmp_path, format, harm):
    submission, _, expected, _ = run
    fit = submission.parent / "estimates" / "test" / f"{PLANETS[0]}.safetensors"
    fit.write_bytes(harm(fit.read_bytes()))
    result = write(submission, out=tmp_path / "a", format=format)
    assert list(result["damage"]) == [PLANETS[0]] and str(fit) in result["damage"][PLANETS[0]]
    assert (result["planets"], result["with_covariance"]) == (5, 0)
    if format != "fits":
        table = Table.read(tmp_path / "a", format=f"ascii.{format}", converters={"planet_id": str}, fill_values=[])
        assert all(equal(table[name], rows.ravel()) for name, rows in expected.items())


def test_what_predict_remarked_on_a_planet_stands_in_the_result_and_in_the_files(run, tmp_path):
    submission, *_ = run
    record = submission.with_suffix(".json")
    why = "visit 1 is left out: σ\nof none"
    facts = {"fallbacks": {PLANETS[4]: why}, "notes": {PLANETS[1]: "no star is used"}}
    record.write_text(json.dumps(json.loads(record.read_text()) | facts))
    wanted = {PLANETS[4]: f"training mean: {why}", PLANETS[1]: "no star is used"}
    assert write(submission, tmp_path / "a.csv", "csv")["remarks"] == wanted
    assert json.loads((tmp_path / "a.csv.json").read_text())["remarks"] == wanted
    write(submission, tmp_path / "a.ecsv", "ecsv")
    assert Table.read(tmp_path / "a.ecsv", format="ascii.ecsv").meta["remarks"] == wanted
    write(submission, tmp_path / "a.fits", "fits")
    with fits.open(tmp_path / "a.fits") as file:
        file.verify("exception")
        told = {unquote(hdu.header["PLANET"]): "".join(hdu.header.get("COMMENT", "")) for hdu in file if hdu.name == "SPECTRUM"}
    assert {planet: text for planet, text in told.items() if text} == {
        PLANETS[1]: "no star is used", PLANETS[4]: "training mean: visit 1 is left out: \\u03c3 of none"}  # fmt: skip
    assert write(submission, tmp_path / "b.csv", "csv", planets=[PLANETS[0]])["remarks"] == {}
