"""The real kaggle command against a stub of its server on this machine: what would arrive is what was built."""

import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("kagglesdk")
ROOT = Path(__file__).parents[1]


class Stub(BaseHTTPRequestHandler):
    """Answers as Kaggle's API does and keeps what it is sent."""

    def log_message(self, *_):
        pass

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def reply(self, value, status=200):
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self):
        method, content = self.path.rpartition("/")[2], json.loads(self.body() or "{}")
        self.server.calls.append((method, content))
        token = f"token-{len(self.server.calls)}"
        self.server.names[token] = content.get("name")
        answers = {
            "SaveKernel": {"ref": "/code/u/k", "url": "http://localhost/code/u/k", "versionNumber": 1},
            "StartBlobUpload": {"token": token, "createUrl": f"http://kaggle.local/upload/{token}"},
            "CreateDataset": {"status": "ok", "ref": "u/d", "url": "http://localhost/d"},
        }
        self.reply(answers.get(method, {"code": 404, "message": "not found"}), 200 if method in answers else 404)

    def do_PUT(self):
        self.server.blobs[self.server.names[self.path.rpartition("/")[2]]] = self.body()
        self.reply({})

    def do_GET(self):
        self.reply({}, 404)


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    server.calls, server.blobs, server.names = [], {}, {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def kaggle(server, folder, *arguments):
    home = folder / "home"
    home.mkdir(exist_ok=True)
    environment = os.environ | {
        "KAGGLE_API_ENVIRONMENT": "LOCALHOST", "KAGGLE_USERNAME": "spectramind", "KAGGLE_KEY": "0" * 32, "HOME": str(home),
        "http_proxy": f"http://127.0.0.1:{server.server_port}", "no_proxy": "127.0.0.1",
    }  # fmt: skip
    command = [Path(sys.executable).with_name("kaggle"), *arguments]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def sent(server, method):
    return [content for name, content in server.calls if name == method]


@pytest.mark.parametrize("name", ["submission", "train"])
def test_the_kernel_that_arrives_is_the_one_that_was_built(server, tmp_path, name):
    project = tmp_path / "project"
    project.mkdir()
    for path in ("build_kernel.py", "build_datasets.py", "kaggle.toml"):
        shutil.copy(ROOT / path, project / path)
    shutil.copytree(ROOT / "kernels", project / "kernels")
    subprocess.run([sys.executable, "build_kernel.py", "--push", name], cwd=project, check=True)
    kaggle(server, project, "kernels", "push")
    (request,) = sent(server, "SaveKernel")
    built = json.loads((project / "build" / "kernel" / f"{name}.ipynb").read_text(encoding="utf-8"))
    for cell in built["cells"]:
        cell["source"] = "".join(cell["source"])  # the command joins the lines
    assert json.loads(request["text"]) == built
    assert request.get("enableInternet", True) is False
    assert request["enableGpu"] is True and request["isPrivate"] is True
    assert request["machineShape"] == "NvidiaTeslaT4"
    assert (request["language"], request["kernelType"]) == ("python", "notebook")
    assert request["competitionDataSources"] == ["ariel-data-challenge-2025"]
    attached = ["spectramind/spectramind-wheels", "spectramind/spectramind-weights"]
    assert request["datasetDataSources"] == attached[: 2 if name == "submission" else 1]
    titles = {"submission": "SpectraMind V50 submission", "train": "SpectraMind V50 training"}
    assert request["newTitle"] == titles[name]
    assert request["slug"] == "spectramind/" + titles[name].lower().replace(" ", "-")
    if name == "submission":
        card = (project / "kernel-metadata.json").read_bytes()
        assert card == (ROOT / "kernel-metadata.json").read_bytes(), "run make kernel: the committed card is out of step"


def test_the_data_set_that_arrives_is_the_folder_that_was_built(server, tmp_path):
    sys.path.insert(0, str(ROOT))
    try:
        from build_datasets import write_card
    finally:
        sys.path.remove(str(ROOT))
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "weights.safetensors").write_bytes(b"weights")
    (folder / "manifest.json").write_text("{}")
    write_card(folder, "weights")
    kaggle(server, tmp_path, "datasets", "create", "-p", "weights")
    assert server.blobs == {"weights.safetensors": b"weights", "manifest.json": b"{}"}
    (request,) = sent(server, "CreateDataset")
    assert (request["ownerSlug"], request["slug"]) == ("spectramind", "spectramind-weights")
    assert request["title"] == "SpectraMind weights" and request["licenseName"] == "MIT"
    assert request.get("isPrivate", True) is True
    assert len(request["files"]) == 2
