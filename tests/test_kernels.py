"""The rendered notebooks as Kaggle would run them: offline in an image without the library, killed, short of disk and time."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ariel_lib.evaluation.score import evaluate_submission
from ariel_lib.io.submission import read_submission, validate_submission

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
ISOLATED = ("unshare", "-n", "sh", "-c", 'ip link set lo up; exec "$@"', "sh")  # no network but the loopback of the kernel's own
MANY = 360
ABSENT = ("torch", "transformers", "astropy", "triton")  # of the image: torch comes as installed here, the rest is not used


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Notebooks, a toy data set and trained weights."""
    folder = tmp_path_factory.mktemp("kernels")
    for command in (
        ["build_kernel.py", "--out", folder / "notebooks"],
        ["-m", "ariel_lib.cli", "simulate", "--out", folder / "data", "--planets", 28, "--test-planets", 18, "--seed", 3],
        ["-m", "ariel_lib.cli", "train", f"data.root={folder / 'data'}", f"training.out={folder / 'v50'}", "training.epochs=1",
         "model.bin_width=10"],
        ["build_datasets.py", "weights", "--from", folder / "v50" / "weights.safetensors", "--out", folder / "weights"],
    ):  # fmt: skip
        entry = ["-c", "from ariel_lib.cli import app; app()", *command[2:]] if command[0] == "-m" else command
        subprocess.run([sys.executable, *map(str, entry)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return folder


def papermill(notebook, work, *, python=sys.executable, before=(), **parameters):
    """The command that executes a notebook in the folder work."""
    pairs = [text for name, value in parameters.items() for text in ("-p", name, str(value))]
    work.mkdir(parents=True, exist_ok=True)
    return [*before, str(python), "-m", "papermill", str(notebook), str(work / "out.ipynb"), *pairs, "--no-progress-bar"]


def run(command, work, *, ours=True):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"PYTHONPATH": str(ROOT)} if ours else {}
    done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def printed(work):
    cells = json.loads((work / "out.ipynb").read_text())["cells"]
    return "".join("".join(out.get("text", "")) for cell in cells for out in cell.get("outputs", ()))


def predict_with(made, work, data, **parameters):
    weights = made / "weights" / "weights.safetensors"
    run(papermill(made / "notebooks" / "submission.ipynb", work, data=data, weights=weights, workers=2, **parameters), work)
    validate_submission(work / "submission.csv", data / "sample_submission.csv")
    return json.loads((work / "out.ipynb").read_text())


def seconds_of(notebook):
    """Duration of an executed notebook, and that of the cell which imports the library: 3 s, more on a busy machine."""
    cells = [cell for cell in notebook["cells"] if "from ariel_lib.commands import" in "".join(cell["source"])]
    return notebook["metadata"]["papermill"]["duration"], cells[0]["metadata"]["papermill"]["duration"]


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A virtual environment with what Kaggle's image has, without what the kernel must bring. SPECTRAMIND_IMAGE: one made before."""
    if "SPECTRAMIND_IMAGE" in os.environ:
        return Path(os.environ["SPECTRAMIND_IMAGE"]) / "bin" / "python"
    import torch

    folder = tmp_path_factory.mktemp("image")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    lines = (ROOT / "wheels" / "image.txt").read_text().splitlines()
    pins = [line for line in lines if line[0] != "#" and line.partition("==")[0] not in ABSENT]
    for packages in ([f"torch=={torch.__version__.partition('+')[0]}"], [*pins, "papermill", "ipykernel"]):
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", *packages], check=True)
    return folder / "bin" / "python"


@pytest.mark.parametrize("mount", ["{slug}", "datasets/owner/{slug}"])
def test_the_submission_kernel_installs_and_answers_without_a_network(made, image, tmp_path, mount):
    if subprocess.run([*ISOLATED[:2], "true"], capture_output=True).returncode:
        pytest.skip("this system does not let a process leave the network")
    inputs = tmp_path / "input"
    subprocess.run([sys.executable, "build_datasets.py", "wheels", "--out", tmp_path / "wheels"], cwd=ROOT, check=True)
    competition = mount.format(slug="ariel") if "/" not in mount else "competitions/ariel"
    for source, where in (
        (made / "data", competition), (tmp_path / "wheels", mount.format(slug="spectramind-wheels")),
        (made / "weights", mount.format(slug="spectramind-weights")),
    ):  # fmt: skip
        shutil.copytree(source, inputs / where, copy_function=os.link)
    python = tmp_path / "venv"
    shutil.copytree(image.parents[1], python, symlinks=True, copy_function=os.link)
    missing = "import importlib.util as u, sys; sys.exit(any(map(u.find_spec, ('ariel_lib', 'torch_geometric', 'hydra', 'mamba_ssm'))))"
    subprocess.run([python / "bin" / "python", "-I", "-c", missing], check=True)  # -I: this checkout must not be seen
    work = tmp_path / "work"
    run(papermill(made / "notebooks" / "submission.ipynb", work, python=python / "bin" / "python", before=ISOLATED,
                  inputs=inputs, workers=2, max_hours=0.5), work, ours=False)  # fmt: skip
    validate_submission(work / "submission.csv", made / "data" / "sample_submission.csv")
    assert "18 of 18 planets, 18 answered, 0 not" in printed(work)
    figures = evaluate_submission(work / "submission.csv", made / "data" / "test.csv", train_labels=made / "data" / "train.csv")
    assert figures["score"] > 0


WAYS = {
    "script": [sys.executable, "kernel.py"],
    "%run": [sys.executable, "-m", "IPython", "--no-banner", "-c", "get_ipython().run_line_magic('run', 'kernel.py')"],
    "__file__ set": [sys.executable, "-c", "__file__ = 'kernel.py'\nexec(open(__file__, encoding='utf-8').read())"],
}


@pytest.mark.parametrize("way", WAYS)
def test_the_submission_kernel_answers_when_it_is_run_as_a_script(made, tmp_path, way):
    cells = json.loads((made / "notebooks" / "submission.ipynb").read_text(encoding="utf-8"))["cells"]
    chosen = f"data, weights, workers = {str(made / 'data')!r}, {str(made / 'weights' / 'weights.safetensors')!r}, 2\n"
    code = [("".join(cell["source"]), "parameters" in cell["metadata"].get("tags", ())) for cell in cells if cell["cell_type"] == "code"]
    (tmp_path / "kernel.py").write_text("\n".join(text + "\n" + chosen * given for text, given in code), encoding="utf-8")
    run(WAYS[way], tmp_path)
    assert json.loads((tmp_path / "submission.json").read_text())["answered"] == 18


@pytest.fixture(scope="module")
def many(made, tmp_path_factory):
    """The toy test planets under new names, over and over: MANY, more than three minutes' work of two workers."""
    root = tmp_path_factory.mktemp("many") / "data"
    shutil.copytree(made / "data", root, ignore=shutil.ignore_patterns("train", "test"))
    ids = [line.partition(",")[0] for line in (root / "sample_submission.csv").read_text().splitlines()[1:]]
    copies = range(MANY // len(ids))
    for copy in copies:
        for planet in ids:
            shutil.copytree(made / "data" / "test" / planet, root / "test" / f"{planet}-{copy}", copy_function=os.link)
    for table in ("test_star_info.csv", "test.csv", "sample_submission.csv"):
        header, *rows = (root / table).read_text().splitlines()
        rows = [row.replace(",", f"-{copy},", 1) for copy in copies for row in rows]
        (root / table).write_text("\n".join([header, *rows]) + "\n")
    return root


def test_with_more_time_the_score_is_no_worse_and_the_limit_holds(made, many, tmp_path):
    scores, answered = [], []
    for name, limit in (("minute", 60), ("three", 180), ("all", None)):
        work = tmp_path / name
        seconds, imports = seconds_of(predict_with(made, work, data=many, max_hours=limit and limit / 3600))
        figures = evaluate_submission(work / "submission.csv", many / "test.csv", train_labels=many / "train.csv")
        record, text = json.loads((work / "submission.json").read_text()), printed(work)
        print(name, f"{seconds:.0f} s, score {figures['score']:.4f}, {record['answered']} answered; {text.splitlines()[-1]}")
        assert limit is None or seconds <= limit + 3 + imports  # papermill starts before the notebook's clock
        if record["answered"] < MANY:
            assert f"skipped: planets: {MANY - record['answered']} of {MANY} were not fitted" in text
        left = [path for path in work.rglob("*") if path.is_file()]
        assert len(left) < 20 and sum(path.stat().st_size for path in left) < 50e6  # 1100 planets: at most 200 files and 1 GB
        scores.append(figures["score"])
        answered.append(record["answered"])
        shutil.rmtree(work)
    assert scores == sorted(scores) and answered == sorted(answered) and answered[-1] == MANY


def start_training(made, out):
    work = out.parent / f"run_{time.monotonic_ns()}"
    command = papermill(made / "notebooks" / "train.ipynb", work, data=made / "data", out=out, epochs=2, workers=2, bin_width=10)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, cwd=work, env=environment, start_new_session=True, **quiet)


MOMENTS = {
    "while planets are calibrated": lambda out: len(list(out.glob("lightcurves/train/*.safetensors"))) >= 2,
    "while transits are fitted": lambda out: len(list(out.glob("estimates/train/*.safetensors"))) >= 4,
    "while epochs run": lambda out: (out / "state_0.safetensors").is_file(),
}


def test_a_killed_training_kernel_goes_on_to_the_same_result(made, tmp_path):
    out, digests = tmp_path / "v50", []
    for moments in ((), tuple(MOMENTS.values())):
        shutil.rmtree(out, ignore_errors=True)
        for moment in moments:
            process = start_training(made, out)
            while process.poll() is None and not moment(out):
                time.sleep(0.1)
            assert process.poll() is None, "it ended before the moment came"
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert not (out / "weights.safetensors").is_file()
        assert start_training(made, out).wait() == 0
        digests.append((out / "weights.safetensors").read_bytes())
    assert digests[0] == digests[1]


def test_a_full_disk_ends_clearly_with_the_submission_kept(made, tmp_path):
    work = tmp_path / "small"
    work.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "none", work], capture_output=True).returncode:
        pytest.skip("this system does not let a process mount a small disk")
    try:
        command = papermill(
            made / "notebooks" / "submission.ipynb", tmp_path / "log", data=made / "data", workers=2,
            weights=made / "weights" / "weights.safetensors", out=work / "submission.csv", report=work / "r.html",
            scratch=work / "scratch",
        )  # fmt: skip
        run(command, tmp_path / "log")
        validate_submission(work / "submission.csv", made / "data" / "sample_submission.csv")
        assert "No space left" in printed(tmp_path / "log") or "No space left" in (work / "submission.json").read_text()
        assert len(read_submission(work / "submission.csv")[0]) == 18
    finally:
        subprocess.run(["umount", work], check=True)
