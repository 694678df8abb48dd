"""`spectramind serve` as a process: where it listens, and what it says when it cannot."""

import http.client
import importlib.util
import re
import socket
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from ariel_lib.cli import app
from ariel_lib.errors import SpectraMindError

pytest.importorskip("uvicorn", reason="needs the extra [gui]")

from ariel_lib.server.app import make_app

from .site import served


def refused(*arguments):
    result = CliRunner().invoke(app, ["serve", *map(str, arguments)])
    assert result.exit_code == 2
    return result.stderr


def test_it_serves_on_a_free_port_of_this_machine_and_says_which(tmp_path):
    command = [sys.executable, "-c", "from ariel_lib.cli import app; app()", "serve", "--root", str(tmp_path), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        port = int(re.match(r"http://127\.0\.0\.1:(\d+)/", process.stderr.readline())[1])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/api/runs")
        assert connection.getresponse().status == 200
    finally:
        process.terminate()
        process.wait(timeout=10)
    assert list(tmp_path.iterdir()) == []


def test_what_it_cannot_do_is_one_sentence(tmp_path, monkeypatch):
    assert "expected a folder to serve" in refused("--root", tmp_path / "none")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "another --host or --port" in refused("--root", tmp_path, "--port", taken.getsockname()[1])
    monkeypatch.setattr("ariel_lib.server.app.STATIC", tmp_path)
    assert "`make gui` builds it" in refused("--root", tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install 'spectramind[gui]'" in refused("--root", tmp_path)


def test_the_page_and_its_parts_are_served_under_a_proxys_prefix_too(tmp_path):
    with served(tmp_path, root_path="/lab/ariel") as site:
        _, page = site.ask("/")
        names = [name.removeprefix("./") for name in re.findall(r'(?:src|href)="(?!data:)([^"]+)"', page.decode())]
        for address in ("", "api/runs", *names):
            assert site.ask(f"/lab/ariel/{address}")[0].status == site.ask(f"/{address}")[0].status == 200
        response, _ = site.ask("/lab/ariel")
        assert response.status == 307 and response.headers["location"] == "/lab/ariel/"
        assert site.ask("/lab/arielapi/runs")[0].status == 404
    for wrong in ("ariel", "/ariel/", "/", "//host", "/a b"):
        with pytest.raises(SpectraMindError, match="path prefix"):
            make_app(tmp_path, root_path=wrong)
