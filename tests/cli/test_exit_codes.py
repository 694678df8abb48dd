"""Every command with missing, damaged and misplaced inputs: one line on stderr, nothing on stdout, exit code 2. A partial result: 1."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from ariel_lib.cli import app
from ariel_lib.instrument import spectrum_wavelengths
from ariel_lib.io.layout import Spectra
from ariel_lib.io.submission import write_submission
from ariel_lib.io.writer import write_spectra, write_wavelengths

COMMANDS = {command.name or command.callback.__name__.replace("_", "-") for command in app.registered_commands} | {"diagnose"}
NO_INPUT = {"test"}
CASES = [  # arguments in a folder with data/ (tables only), deep/data/, s.csv, bad (no file of any kind), empty/
    "simulate --out new --planets 4 --seed 1 --labels no.csv",
    "simulate --out new --planets 4 --seed 1 --labels bad",
    "simulate --out data --planets 4 --seed 1",
    "simulate --out new --planets 4 --seed 1 --calibration-from empty",
    "simulate --out new --planets 4 --seed 1 --test-planets 5",
    "calibrate --data no --split train --out new",
    "calibrate --data empty --split train --out new",
    "calibrate --data deep --split train --out new",
    "calibrate --data bad --split train --out new",
    "train",
    "train data.root=no training.out=new",
    "train data.root=empty training.out=new",
    "train data.root=deep training.out=new",
    "train data.root=data training.out=new",
    "train --config bad.yaml",
    "train --config no.yaml",
    "train training.epochs=many",
    "compare --truth no.csv data.root=data training.out=new",
    "compare --truth bad data.root=data training.out=new",
    "compare --truth data/test.csv data.root=empty training.out=new",
    "compare data.root=data training.out=new",
    "compare --world away --truth data/test.csv training.out=new",
    "compare --world away data.root=data training.out=new",
    "compare --world away --leave-out rain training.out=new",
    "compare --world away --seeds 0 training.out=new",
    "compare --planets 30 --truth data/test.csv data.root=data training.out=new",
    "ablate --config no.yaml",
    "ablate --config bad",
    "ablate --config bad.yaml",
    "ablate --config empty.yaml",
    "predict --data data --weights no --out new/s.csv",
    "predict --data data --weights bad --out new/s.csv",
    "predict --data no --weights bad --out new/s.csv",
    "corel-train --outdir new",
    "corel-train --outdir new --weights bad",
    "score --truth no.csv --submission s.csv",
    "score --truth bad --submission s.csv",
    "score --truth data --submission s.csv",
    "score --truth data/test.csv --submission no.csv",
    "score --truth data/test.csv --submission bad",
    "score --truth data/wavelengths.csv --submission s.csv",
    "score --truth data/test.csv --submission s.csv --train-labels bad",
    "check --submission no.csv --data data --outdir new",
    "check --submission bad --data data --outdir new",
    "check --submission s.csv --data empty --outdir new",
    "check --submission s.csv --data deep --outdir new",
    "report --submission no.csv --out new.html",
    "report --submission bad --out new.html",
    "report --submission s.csv --out new.html.gz",
    "export --submission s.csv --format csv --out new.csv.zip --data data",
    "export --submission s.csv --format fits --out new.fits.gz --data data",
    "report --submission s.csv --truth bad --out new.html",
    "report --submission s.csv --data empty --out new.html",
    "export --submission no.csv --format csv --out new.csv --data data",
    "export --submission bad --format csv --out new.csv --data data",
    "export --submission s.csv --format csv --out new.csv",
    "export --submission s.csv --format csv --out s.csv --data data",
    "export --submission s.csv --format csv --out new.csv --data data --planet 99",
    "export --submission s.csv --format csv --out new.csv --data data --covariance --weights bad",
    "export --submission noted.csv --format csv --out new.csv --data data --covariance",
    "export --submission listed.csv --format csv --out new.csv",
    "diagnose dashboard --outdir new --submission no.csv",
    "diagnose dashboard --outdir new --submission bad --data data",
    "diagnose dashboard --outdir new --submission s.csv --data empty",
    "diagnose dashboard --outdir new --submission s.csv --data data --truth no.csv",
    "verify no.json",
    "verify bad",
    "verify list.json",
    "track no.json",
    "track bad",
    "track list.json",
    "freeze --tag x --manifest no.json",
    "serve --root no",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("inputs")
    (root / "empty").mkdir()
    depth = np.random.default_rng(0).uniform(0.005, 0.02, (3, 283))
    for data in (root / "data", root / "deep" / "data"):
        data.mkdir(parents=True)
        write_wavelengths(data, spectrum_wavelengths())
        for split in ("train", "test"):
            write_spectra(data / f"{split}.csv", Spectra(("1", "2", "3"), depth))
    write_submission(root / "s.csv", ("1", "2", "3"), depth, 0 * depth + 1e-4, fallback=(depth[0], 0.01))
    for name in ("bad", "bad.yaml", "noted.json"):
        (root / name).write_bytes(b"\x00\xff\x1f{[,\n\x93")
    for name in ("noted.csv", "listed.csv"):  # submissions with a damaged record
        (root / name).write_bytes((root / "s.csv").read_bytes())
    (root / "listed.json").write_text("[]")
    (root / "list.json").write_text(json.dumps([1, 2]))
    (root / "empty.yaml").write_text("")
    return root


PREDICTED = {"fallbacks": {}, "closed_form": {}, "tracebacks": {}, "skipped": {}}


def test_every_command_is_tried():
    assert {case.split()[0] for case in CASES} | NO_INPUT == COMMANDS


@pytest.mark.parametrize("case", CASES)
def test_wrong_input_is_one_line_and_code_2(folder, case, monkeypatch):
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(app, case.split())
    assert result.exit_code == 2, result.exception
    assert result.stdout == "" and result.stderr.count("\n") == 1 and result.stderr.startswith("spectramind: ")
    assert (folder / "s.csv").read_text().startswith("planet_id,wl_1,")


@pytest.mark.parametrize(
    ("case", "work", "partial", "whole"),
    [
        ("predict --data data --weights w --out s.csv", "commands.run_prediction", PREDICTED | {"fallbacks": {"1": "why"}}, {}),
        ("predict --data data --weights w --out s.csv", "commands.run_prediction", PREDICTED | {"closed_form": {"1": "why"}}, {}),
        ("predict --data data --weights w --out s.csv", "commands.run_prediction", PREDICTED | {"tracebacks": {"1": "…"}}, {}),
        ("predict --data data --weights w --out s.csv", "commands.run_prediction", PREDICTED | {"skipped": {"writing": "full"}}, {}),
        ("export --submission s.csv --format csv --out new.csv --data data", "prediction.export.export", {"damage": {"1": "why"}}, {}),
        ("check --submission s.csv --data data --outdir new", "commands.run_check", {"unread": {"1": "why"}}, {}),
        ("diagnose dashboard --outdir new --submission s.csv --data data", "commands.run_diagnosis", {"unread": {"1": "why"}}, {}),
        ("ablate --config g.yaml", "commands.run_ablation", {"failed": {"a": "why"}, "left_out": {}}, {}),
        ("ablate --config g.yaml", "commands.run_ablation", {"failed": {}, "left_out": {"1": "why"}}, {}),
        ("compare --world away --seeds 0,1", "commands.run_comparison", {"left_out": {"1": "why"}}, {}),
        ("compare --truth t.csv data.root=data", "commands.run_comparison", {"left_out": {"1": "why"}}, {}),
        ("test", "selftest.run_checks", {"ok": False}, {"ok": True}),
    ],
)
def test_a_partial_result_is_printed_with_code_1_and_a_bug_keeps_its_traceback(folder, case, work, partial, whole, monkeypatch):
    monkeypatch.chdir(folder)
    for result, code in ((partial, 1), ({name: type(value)() for name, value in partial.items()} | whole, 0)):
        monkeypatch.setattr(f"ariel_lib.{work}", lambda *args, found=result, **settings: found)
        done = CliRunner().invoke(app, case.split())
        assert (done.exit_code, json.loads(done.stdout)) == (code, result)

    def fail(*args, **settings):
        raise KeyError("bug")

    monkeypatch.setattr(f"ariel_lib.{work}", fail)
    assert isinstance(CliRunner().invoke(app, case.split()).exception, KeyError)
