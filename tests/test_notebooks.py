"""The notebooks of kernels/, run here as one script on a data set of ten planets: what they leave behind, and what they print."""

import tempfile
from pathlib import Path

import pytest

from ariel_lib.io.submission import validate_submission
from ariel_lib.pipeline import planet_fits
from ariel_lib.prediction.submission_file import SubmissionFile

ROOT = Path(__file__).parents[1]
INSTALL = "# %% [markdown]\n# ## Install, offline\n"


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """The folder of temporary files; the working directory is another one."""
    folder, work = tmp_path / "temporary", tmp_path / "work"
    folder.mkdir()
    work.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.chdir(work)
    return folder


def execute(kernel, **parameters):
    """Run a kernel with these parameters in this process; returns its names."""
    pytest.importorskip("IPython")
    before, after = (ROOT / "kernels" / f"{kernel}.py").read_text(encoding="utf-8").split(INSTALL)
    given = "".join(f"{name} = {value!r}\n" for name, value in parameters.items())
    names = {"__name__": "__main__"}
    exec(compile(before + given + after, kernel, "exec"), names)  # as editors and notebooks do: there is no __file__
    return names


def submit(run, **parameters):
    return execute("submission", data=str(run.data), weights=str(run.weights), workers=1, max_hours=None, **parameters)


def test_a_submission_leaves_a_few_small_files_and_no_scratch_folder(tiny_run, temporary):
    submit(tiny_run)
    left = [path for path in Path().rglob("*") if path.is_file()]
    validate_submission("submission.csv", tiny_run.data / "sample_submission.csv")
    assert len(left) < 12 and sum(path.stat().st_size for path in left) < 5e6
    assert not any(temporary.iterdir()) and Path("report.html") in left


def test_a_submission_that_was_killed_finds_its_fits_again(tiny_run, temporary, monkeypatch):
    update, estimate_depths, fitted = SubmissionFile.update, planet_fits.estimate_depths, []

    def counted(*arguments):
        fitted.append(1)
        return estimate_depths(*arguments)

    def killed(self, rows, facts=None):
        if rows:
            raise KeyboardInterrupt
        return update(self, rows, facts)

    monkeypatch.setattr(planet_fits, "estimate_depths", counted)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(SubmissionFile, "update", killed)
        submit(tiny_run)
    assert len(list(temporary.glob("*/estimates/test/*.safetensors"))) == len(fitted) > 0
    names = submit(tiny_run)
    assert not names["result"]["fallbacks"] and len(fitted) == 2 and not any(temporary.iterdir())


def test_a_scratch_folder_that_was_named_is_kept(tiny_run, temporary):
    submit(tiny_run, scratch="kept")
    assert len(list(Path("kept/estimates/test").iterdir())) == 2 and not any(temporary.iterdir())


def test_many_planets_without_time_are_one_line(tiny_run, monkeypatch, caplog, capsys):
    from ariel_lib.execution.time_budget import Budget

    monkeypatch.setattr(Budget, "left", property(lambda self: 0.0))
    with pytest.raises(Exception, match="no planet was predicted"):
        submit(tiny_run)
    lines = [record.getMessage() for record in caplog.records if "no time left" in record.getMessage()]
    (line,) = (line for line in lines if "the training mean, since" in line)
    assert line.startswith("2 planets (")
