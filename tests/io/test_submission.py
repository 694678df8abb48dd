import logging
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ariel_lib.io import submission
from ariel_lib.io.archive import Archive
from ariel_lib.io.submission import SubmissionError, read_sample, read_submission, validate_submission, write_submission

SAMPLE = Path(__file__).parents[2] / "../shared/data/adc2024/sample_submission.csv"
IDS = ("12", "7", "1103775")


def make_prediction(planets=3, wavelengths=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0.005, 0.03, (planets, wavelengths)), rng.uniform(1e-5, 1e-3, (planets, wavelengths))


def fallback(wavelengths=5):
    return {"fallback": (np.full(wavelengths, 0.0147), 0.0107)}


def test_submission_round_trip_is_exact(tmp_path):
    mean, sigma = make_prediction()
    path = write_submission(tmp_path / "deep" / "submission.csv", IDS, mean, sigma, **fallback())
    ids, mean_read, sigma_read = read_submission(path)
    assert ids == IDS
    assert np.array_equal(mean_read, mean) and np.array_equal(sigma_read, sigma)
    validate_submission(path)


@given(mean=arrays(np.float64, (2, 3), elements=st.floats(0, 1)))
@settings(max_examples=50, deadline=None)
def test_write_submission_does_not_round(mean, tmp_path_factory):
    path = tmp_path_factory.mktemp("submission") / "submission.csv"
    write_submission(path, ["1", "2"], mean, np.full((2, 3), 1e-4), **fallback(3))
    assert np.array_equal(read_submission(path)[1], mean)


def test_write_submission_writes_the_columns_of_the_sample(tmp_path):
    path = write_submission(tmp_path / "submission.csv", IDS, *make_prediction(wavelengths=2), **fallback(2))
    assert path.read_text().splitlines()[0] == "planet_id,wl_1,wl_2,sigma_1,sigma_2"


def test_write_submission_is_reproducible_and_leaves_its_input_unchanged(tmp_path):
    mean, sigma = make_prediction()
    before = mean.copy(), sigma.copy()
    first = write_submission(tmp_path / "a.csv", IDS, mean, sigma, **fallback()).read_bytes()
    second = write_submission(tmp_path / "b.csv", IDS, mean, sigma, **fallback()).read_bytes()
    assert first == second and b"\r" not in first and first.endswith(b"\n")
    assert np.array_equal(mean, before[0]) and np.array_equal(sigma, before[1])


def test_write_submission_follows_the_given_order(tmp_path, caplog):
    mean, sigma = make_prediction()
    with caplog.at_level(logging.WARNING):
        path = write_submission(tmp_path / "s.csv", IDS, mean, sigma, **fallback(), order=["1103775.0", "99", "12"])
    ids, mean_read, sigma_read = read_submission(path)
    assert ids == ("1103775", "99", "12")
    assert np.array_equal(mean_read[[0, 2]], mean[[2, 0]])
    assert np.all(mean_read[1] == 0.0147) and np.all(sigma_read[1] == 0.0107)
    assert "planet 99" in caplog.text and "no prediction" in caplog.text
    assert "planet 7 was predicted but is not required" in caplog.text


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("mean", np.nan, "means are not finite"),
        ("mean", -1e-9, "means are negative"),
        ("mean", 14689.0, "means exceed 1"),
        ("sigma", np.inf, "sigmas are not finite"),
        ("sigma", -1e-4, "sigmas are not positive"),
        ("sigma", 0.0, "sigmas are not positive"),
    ],
)
def test_write_submission_replaces_an_invalid_row_with_a_warning(tmp_path, caplog, field, value, reason):
    mean, sigma = make_prediction()
    {"mean": mean, "sigma": sigma}[field][1, 3] = value
    with caplog.at_level(logging.WARNING):
        path = write_submission(tmp_path / "s.csv", IDS, mean, sigma, **fallback())
    _, mean_read, sigma_read = read_submission(path)
    assert np.all(mean_read[1] == 0.0147) and np.all(sigma_read[1] == 0.0107)
    assert np.array_equal(mean_read[[0, 2]], mean[[0, 2]])
    assert len(caplog.records) == 1 and "planet 7 " in caplog.text and reason in caplog.text


def test_write_submission_is_complete_without_any_prediction(tmp_path):
    path = write_submission(tmp_path / "s.csv", [], np.empty((0, 5)), np.empty((0, 5)), **fallback(), order=IDS)
    validate_submission(path)
    assert read_submission(path)[0] == IDS


def test_write_submission_raises_sigmas_to_the_floor(tmp_path):
    mean, sigma = make_prediction()
    sigma[0, 1], sigma[2] = 1e-7, 9e-7
    path = write_submission(tmp_path / "s.csv", IDS, mean, sigma, **fallback())
    assert np.array_equal(read_submission(path)[2], np.maximum(sigma, 1e-6))


def test_write_submission_raises_for_duplicates_and_wrong_shapes(tmp_path):
    mean, sigma = make_prediction()
    path = tmp_path / "s.csv"
    with pytest.raises(SubmissionError, match="planet 12 more than once"):
        write_submission(path, ["12", "12.0", "7"], mean, sigma, **fallback())
    with pytest.raises(SubmissionError, match="planet 7 more than once"):
        write_submission(path, IDS, mean, sigma, **fallback(), order=["7", "7"])
    with pytest.raises(SubmissionError, match=r"\(3, 5\).*\(2, 5\)"):
        write_submission(path, IDS, mean[:2], sigma[:2], **fallback())
    with pytest.raises(SubmissionError, match="valid fallback"):
        write_submission(path, IDS, mean, sigma, fallback=(np.full(5, 0.0147), 0.0))
    with pytest.raises(SubmissionError, match="at least one planet"):
        write_submission(path, IDS, mean, sigma, **fallback(), order=[])
    with pytest.raises(SubmissionError, match="planet id in every row"):
        write_submission(path, ["1", "", "2"], mean, sigma, **fallback())
    assert not path.exists()


def test_write_submission_keeps_the_old_file_when_writing_fails(tmp_path, monkeypatch):
    mean, sigma = make_prediction()
    path = write_submission(tmp_path / "s.csv", IDS, mean, sigma, **fallback())
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_submission(path, IDS, mean / 2, sigma, **fallback())
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "csv table"),
        ("planet_id,wl_1\n1,0.1\n", "columns planet_id"),
        ("planet_id,wl_1,wl_2,sigma_1\n1,0.1,0.1,0.1\n", "columns planet_id"),
        ("planet_id,wl_1,wl_1\n1,0.1,0.1\n", "each column once"),
        ("planet_id,wl_1,sigma_1,star\n1,0.1,0.1,2\n", "with 'star'"),
        ("planet_id;wl_1;sigma_1\n1;0.1;0.1\n", "found semicolons"),
        (f"<html>{'x' * 999}</html>\n", f"1 columns with '<html>{'x' * 34}'"),
        ("planet_id,wl_1,sigma_1\n1,0.1,\n", "number in every cell"),
        ("planet_id,wl_1,sigma_1\n1,0.1,1_0\n", "number in every cell"),
        ("planet_id,wl_1,sigma_1\n1,0.1\n", "3 cells in every row"),
        ("planet_id,wl_1,sigma_1\n", "no row"),
        ("planet_id,wl_1,sigma_1\n1,0.1,0.1,0.1\n", "surplus commas"),
        ("planet_id,wl_1,sigma_1\n1,nan,0.1\n", "not finite"),
        ("planet_id,wl_1,sigma_1\n1,-0.1,0.1\n", "negative"),
        ("planet_id,wl_1,sigma_1\n1,0.1,0\n", "not positive"),
        ("planet_id,wl_1,sigma_1\n1,0.1,0.1\n1.0,0.1,0.1\n", "each planet once"),
        ("planet_id,wl_1,sigma_1\n,0.1,0.1\n", "planet id in every row"),
    ],
)
def test_validate_submission_names_file_and_fault(tmp_path, text, message):
    path = tmp_path / "s.csv"
    path.write_text(text)
    with pytest.raises(SubmissionError, match=message) as caught:
        validate_submission(path)
    assert str(path) in str(caught.value) and caught.value.remedy


def test_validate_submission_compares_with_the_sample(tmp_path):
    mean, sigma = make_prediction()
    sample = write_submission(tmp_path / "sample.csv", IDS, mean, sigma, **fallback())
    shuffled = write_submission(tmp_path / "a.csv", IDS, mean, sigma, **fallback(), order=IDS[::-1])
    validate_submission(shuffled, sample)
    short = write_submission(tmp_path / "b.csv", IDS[:2], mean[:2], sigma[:2], **fallback())
    with pytest.raises(SubmissionError, match=r"1 missing .1103775."):
        validate_submission(short, sample)
    narrow = write_submission(tmp_path / "c.csv", IDS, mean[:, :3], sigma[:, :3], **fallback(3))
    with pytest.raises(SubmissionError, match="5 wavelengths"):
        validate_submission(narrow, sample)
    with pytest.raises(SubmissionError, match="no such file"):
        validate_submission(tmp_path / "absent.csv")


def test_a_submission_is_read_by_column_name(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("Unnamed: 0,sigma_2,wl_1,planet_id,wl_2,sigma_1\n0,4e-4,0.1,7.0,0.2,3e-4\n,,,,,\n1,8e-4,0.5,12,0.6,7e-4\n")
    ids, mean, sigma = read_submission(path)
    assert ids == ("7", "12") and mean.tolist() == [[0.1, 0.2], [0.5, 0.6]] and sigma.tolist() == [[3e-4, 4e-4], [7e-4, 8e-4]]
    assert read_sample(path).columns == ("sigma_2", "wl_1", "planet_id", "wl_2", "sigma_1")


def test_a_submission_has_planets_and_columns_in_the_order_of_the_sample(tmp_path):
    sample = tmp_path / "sample.csv"
    sample.write_text("planet_id,wl_1,sigma_1,wl_2,sigma_2\n7,,,,\n1103775,,,,\n,,,,\n12,,,,\n")
    wanted, (mean, sigma) = read_sample(sample), make_prediction(wavelengths=2)
    assert wanted.planet_ids == ("7", "1103775", "12")
    options = {**fallback(2), "order": wanted.planet_ids}
    path = write_submission(tmp_path / "s.csv", IDS, mean, sigma, **options, columns=wanted.columns)
    assert path.read_text().startswith("planet_id,wl_1,sigma_1,wl_2,sigma_2\n7,")
    assert np.array_equal(read_submission(path)[1], mean[[1, 2, 0]]) and np.array_equal(read_submission(path)[2], sigma[[1, 2, 0]])
    validate_submission(path, sample)
    other = write_submission(tmp_path / "other.csv", IDS, mean, sigma, **options)
    with pytest.raises(SubmissionError, match="wl_2 in place of sigma_1"):
        validate_submission(other, sample)
    with pytest.raises(SubmissionError, match="columns for 5 wavelengths"):
        write_submission(path, IDS, *make_prediction(), **fallback(), columns=wanted.columns)


@pytest.mark.parametrize("text", ["planet_id,wl_1,sigma_1\n7,,\n7.0,,\n", "planet_id,wl_1,sigma_1\n", "planet_id,wl_1,sigma_1\n../7,,\n"])
def test_a_sample_with_repeated_unsafe_or_no_planets_is_refused(tmp_path, text):
    (tmp_path / "sample_submission.csv").write_text(text)
    with pytest.raises(SubmissionError, match=r"sample_submission.csv: expected"):
        Archive(tmp_path).requested_planets()


@pytest.mark.parametrize("name", ["s.csv.gz", "s.csv.zip", "s.json", "s"])
def test_a_submission_has_the_name_of_a_csv(tmp_path, name):
    with pytest.raises(SubmissionError, match=r"a name that ends in .csv"):
        write_submission(tmp_path / name, IDS, *make_prediction(), **fallback())
    assert not list(tmp_path.iterdir())


def test_validate_submission_accepts_the_sample_submission():
    if not SAMPLE.exists():
        pytest.skip("the sample submission of the challenge is not beside this checkout")
    validate_submission(SAMPLE, SAMPLE)
    assert read_submission(SAMPLE)[1].shape == (1, 283)


def test_submission_error_can_be_pickled():
    error = SubmissionError("s.csv", "this", "that", "Do so.")
    assert str(pickle.loads(pickle.dumps(error))) == str(error) == "s.csv: expected this, found that. Do so."


def test_find_fault_of_a_valid_spectrum_is_none():
    assert submission.find_fault(*make_prediction()) is None
