"""build_datasets.py: wheels for any Python, compared with Kaggle's image, the same bytes every time; weights with a manifest."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from zipfile import ZipFile

import numpy as np
import pytest
from safetensors.numpy import save_file

from ariel_lib.io.checksums import write_manifest
from ariel_lib.pipeline.checkpoint import Checkpoint

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
import build_datasets as builder  # noqa: E402

sys.path.remove(str(ROOT))


def make_wheel(folder, name, version, requires=(), tag="py3-none-any"):
    path = folder / f"{name}-{version}-{tag}.whl"
    with ZipFile(path, "w") as wheel:
        lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {need}" for need in requires)]
        wheel.writestr(f"{name}-{version}.dist-info/METADATA", "\n".join(lines) + "\n")
    return path


def test_each_wheel_is_compared_with_the_image(tmp_path):
    wheels = [make_wheel(tmp_path, "alpha", "1.0", ["numpy>=2", "beta; extra == 'dev'"]), make_wheel(tmp_path, "numpy", "3.0")]
    lines = builder.compare_with_image(wheels, {"numpy": "2.0.2"})
    assert lines == ["alpha 1.0: not in the image", "numpy 3.0: shadows 2.0.2 of the image"]


@pytest.mark.parametrize(("need", "found"), [("beta", "none"), ("numpy>=2.1", "2.0.2")])
def test_a_dependency_that_nothing_satisfies_is_refused(tmp_path, need, found):
    with pytest.raises(builder.DatasetError, match=f"have {found}"):
        builder.compare_with_image([make_wheel(tmp_path, "alpha", "1.0", [need])], {"numpy": "2.0.2"})


def test_a_wheel_for_one_python_is_refused(tmp_path):
    with pytest.raises(builder.DatasetError, match="any Python"):
        builder.compare_with_image([make_wheel(tmp_path, "alpha", "1.0", tag="cp312-cp312-linux_x86_64")], {})


def test_the_image_and_the_pinned_wheels_satisfy_the_library(tmp_path):
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    wheel = make_wheel(tmp_path, "spectramind", "1.0", needs)
    assert builder.compare_with_image([wheel], builder.read_pins(builder.IMAGE) | builder.read_pins(builder.PINNED))


def test_what_is_pinned_is_not_in_the_image_and_every_line_has_its_hash():
    pinned, image = builder.read_pins(builder.PINNED), builder.read_pins(builder.IMAGE)
    assert set(pinned) == {"hydra-core", "mamba-ssm", "torch-geometric"} and not set(pinned) & set(image)
    for path in (builder.PINNED, builder.SOURCES):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        assert all(" --hash=sha256:" in line and "://" not in line for line in lines)


def test_weights_that_no_manifest_vouches_for_are_refused(tmp_path, capsys):
    (tmp_path / "weights.safetensors").write_bytes(b"1")
    assert builder.main(["weights", "--from", str(tmp_path / "weights.safetensors"), "--out", str(tmp_path / "out")]) == 2
    assert "expected manifest.json" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_one_line(capsys, monkeypatch):
    monkeypatch.setattr(builder, "_collect_wheels", lambda out: [])
    assert builder.main(["wheels", "--out", f"{os.devnull}/wheels"]) == 2
    assert capsys.readouterr().err.startswith("build_datasets.py: ")


def test_weights_are_never_built_over_their_source(tmp_path, capsys):
    source = tmp_path / "v50" / "weights.safetensors"
    source.parent.mkdir()
    save_file({"x": np.zeros(1)}, source)
    write_manifest(source.parent, [source.name])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "load", lambda path: SimpleNamespace(wavelength=(1.0,)))
        for out in (source.parent, tmp_path):
            assert builder.main(["weights", "--from", str(source), "--out", str(out)]) == 2
            assert "other than that of" in capsys.readouterr().err and source.is_file()
        out = tmp_path / "set"
        for _ in range(2):  # an earlier build is replaced
            assert builder.main(["weights", "--from", str(source), "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["dataset-metadata.json", "manifest.json", "weights.safetensors"]
    assert (out / source.name).read_bytes() == source.read_bytes()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    "names",
    [["thesis.tex"], ["weights.safetensors", "manifest.json"]] + [["dataset-metadata.json", mine] for mine in ("mine.csv", "weights/")],
)
def test_only_an_earlier_build_is_replaced(tmp_path, names):
    for name in names:
        (tmp_path / name).mkdir() if name.endswith("/") else (tmp_path / name).touch()
    with pytest.raises(builder.DatasetError, match="expected no folder"), builder.fresh_folder(tmp_path, ("weights*", "manifest.json")):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(name.rstrip("/") for name in names)


def test_a_build_that_fails_leaves_the_earlier_one(tmp_path):
    out = tmp_path / "wheels"
    out.mkdir()
    (out / "dataset-metadata.json").write_text("{}")
    with pytest.raises(builder.DatasetError), builder.fresh_folder(out, ()) as building:
        (building / "half.whl").touch()
        raise builder.DatasetError("no network")
    assert [path.name for path in out.iterdir()] == ["dataset-metadata.json"] and list(tmp_path.iterdir()) == [out]


def test_make_clean_keeps_trained_weights():
    done = subprocess.run(["make", "-n", "clean"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert " build " in done.stdout and "outputs" not in done.stdout


TITLES = ["Spectres d'Ariel à 283 λ", "Ariel スペクトル 2025", "Straße_der Exoplaneten", "SpectraMind V50: weights"]


@pytest.mark.parametrize("title", TITLES)
def test_a_slug_is_the_one_that_kaggles_client_computes(title):
    api = pytest.importorskip("kaggle.api.kaggle_api_extended")
    assert builder.slug(title) == api.slugify(title) and builder.slug(title).isascii()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('user = "spectramind"', 'user = ""', "expected user as a text in quotes, found ''"),
        ('user = "spectramind"', "", "expected user as a text in quotes, found none"),
        ('user = "spectramind"', 'user = "me/you"', "expected user as in its address on Kaggle"),
        ("enable_gpu = true", 'enable_gpu = "no"', "expected enable_gpu as true or false"),
        ('"SpectraMind V50 submission"', '"V50"', "expected kernels.submission as a title of 5 to 50"),
        ('"SpectraMind weights"', '"λμν"', "expected datasets.weights as a title of 6 to 50"),
        ('"SpectraMind weights"', '"......"', "expected datasets.weights as a title of 6 to 50"),
        ('wheels = "SpectraMind wheels"', "", "expected datasets.wheels as a text in quotes, found none"),
        ("SpectraMind V50 training", "SpectraMind V50: Submission", "expected titles of kernels that differ in their names on Kaggle"),
        ("SpectraMind weights", "SpectraMind wheels", "expected titles of datasets that differ"),
        ("[datasets]", "[datasets", "expected TOML"),
    ],
)
def test_a_setting_that_kaggle_would_refuse_is_refused_before_anything_is_built(tmp_path, old, new, expected):
    text = (ROOT / "kaggle.toml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "kaggle.toml").write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(builder.DatasetError) as raised:
        builder.kaggle_names(tmp_path / "kaggle.toml")
    assert expected in str(raised.value)


@pytest.mark.slow
def test_two_builds_in_two_folders_are_the_same_bytes(tmp_path):
    """Notebooks, wheels, cards: other folder, other hash seed, other locale. It asks the package registry for two wheels."""
    digests = []
    for name, seed, locale in (("one", "1", "C"), ("another place", "2", "C.UTF-8")):
        copy = tmp_path / name
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns("build", ".git", ".venv", "__pycache__", "outputs"))
        environment = os.environ | {"PYTHONHASHSEED": seed, "LC_ALL": locale, "TZ": f"UTC{seed}"}
        for command in (["build_kernel.py"], ["build_datasets.py", "wheels"]):
            subprocess.run([sys.executable, *command], cwd=copy, env=environment, check=True)
        files = [*(copy / "build").rglob("*.*"), copy / "kernel-metadata.json"]
        digests.append({str(f.relative_to(copy)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files if f.is_file()})
    assert digests[0] == digests[1]
    print(json.dumps(digests[0], indent=1, sort_keys=True))
    assert sum(name.endswith(".whl") for name in digests[0]) == 4
    assert sum(name.endswith(".ipynb") for name in digests[0]) == 3
