"""io.lakefs: references raise without an endpoint, and are copied completely and once from a stub of the API."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlparse

import pytest
from typer.testing import CliRunner

from ariel_lib.cli import app
from ariel_lib.io import lakefs
from ariel_lib.io.archive import Archive
from ariel_lib.io.lakefs import ENDPOINT, KEYS, LakeFSError, Reference, local_folder, parse_reference, source_of
from ariel_lib.provenance.record import record_run

COMMIT = "c" * 64
OBJECTS = {f"ariel/train/{n}.bin": bytes([n]) for n in range(5)} | {"ariel/wavelengths.csv": b"wl_1,wl_2\n0.7,2.0\n", "other/x": b"x"}


class Stub(BaseHTTPRequestHandler):
    """A stub of three calls of the lakeFS API, version 1, with two objects a page."""

    requests: list[str] = []  # noqa: RUF012 (one instance a request: the list is shared)
    objects = OBJECTS
    cut: tuple[int, bool] | None = None  # bytes of an object that are sent, and whether its whole length is announced
    elsewhere: str | None = None  # where a request for an object is sent on to

    def do_GET(self):
        url = urlparse(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        Stub.requests.append(unquote(url.path))
        if self.headers["Authorization"] != "Basic a2V5OnNlY3JldA==":  # key:secret
            self.send_error(401)
        elif url.path == "/api/v1/repositories/ariel-data/refs/main/commits":
            self._json({"results": [{"id": COMMIT}], "pagination": {"has_more": True}})
        elif url.path == f"/api/v1/repositories/ariel-data/refs/{COMMIT}/objects/ls":
            names = sorted(name for name in self.objects if name.startswith(query["prefix"]) and name > query["after"])
            page = names[:2]
            results = [{"path": name, "path_type": "object", "size_bytes": len(self.objects[name])} for name in page]
            self._json({"results": results, "pagination": {"has_more": len(names) > 2, "next_offset": page[-1] if page else ""}})
        elif url.path == f"/api/v1/repositories/ariel-data/refs/{COMMIT}/objects" and query["path"] in self.objects:
            self._send_object(self.objects[query["path"]])
        else:
            self.send_error(404)

    def _send_object(self, content):
        if self.elsewhere:
            self.send_response(302)
            self.send_header("Location", self.elsewhere)
            self.end_headers()
            return
        sent, announced = self.cut or (len(content), True)
        self.send_response(200)
        if announced:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:sent])

    def _json(self, value):
        self._send(json.dumps(value).encode())

    def _send(self, content):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    stub = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    threading.Thread(target=stub.serve_forever, daemon=True).start()
    monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{stub.server_port}")
    for key, value in zip(KEYS, ("key", "secret")):
        monkeypatch.setenv(key, value)
    monkeypatch.setenv(lakefs.COPIES, str(tmp_path / "copies"))
    monkeypatch.setattr(Stub, "objects", OBJECTS)
    Stub.requests.clear()
    lakefs.copy_of.cache_clear()
    yield stub
    stub.shutdown()
    stub.server_close()
    lakefs.copy_of.cache_clear()


@pytest.mark.parametrize("text", ["lakefs://ariel-data/main/ariel/", "lakefs:/ariel-data/main/ariel"])
def test_parse_reference_accepts_one_slash_or_two(text):
    assert parse_reference(text) == Reference("ariel-data", "main", "ariel")
    assert str(parse_reference(text)) == "lakefs://ariel-data/main/ariel"


@pytest.mark.parametrize("text", ["lakefs://", "lakefs://ariel-data", "lakefs://A/main/x", "lakefs://ariel-data/main/../x"])
def test_a_malformed_reference_raises(text):
    with pytest.raises(LakeFSError, match="expected lakefs://REPOSITORY/REF/PATH"):
        local_folder(text)


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "data.root=lakefs://ariel-data/main/ariel"),
        ("predict", "--data", "lakefs://ariel-data/main/ariel", "--weights", "w", "--out", "o.csv"),
        ("calibrate", "--data", "lakefs://ariel-data/main/ariel", "--split", "train", "--out", "o"),
    ],
)
def test_without_an_endpoint_one_line_names_the_variable(arguments, tmp_path, monkeypatch):
    monkeypatch.delenv(ENDPOINT, raising=False)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 2 and result.stderr.count("\n") == 1 and ENDPOINT in result.stderr


def test_a_commit_is_copied_completely_and_once(server):
    folder = Archive("lakefs://ariel-data/main/ariel").root
    assert sorted(path.name for path in (folder / "train").iterdir()) == [f"{n}.bin" for n in range(5)]
    assert (folder / "train" / "4.bin").read_bytes() == b"\4" and not (folder / "x").exists()
    assert Archive(folder).wavelengths().tolist() == [0.7, 2.0]
    requested = len(Stub.requests)
    lakefs.copy_of.cache_clear()
    assert local_folder("lakefs://ariel-data/main/ariel") == folder and len(Stub.requests) == requested + 1  # the commit only


@pytest.mark.parametrize("announced", [True, False])
def test_a_part_of_an_object_is_not_taken_for_all_of_it(server, tmp_path, monkeypatch, announced):
    """400 of 1000 bytes: told by the length that the answer announces, or by that of the listing."""
    monkeypatch.setattr(Stub, "objects", {"ariel/a.bin": b"x" * 1000})
    monkeypatch.setattr(Stub, "cut", (400, announced))
    with pytest.raises(LakeFSError, match=r"ariel/a.bin: expected 1000 bytes, found 400|expected the whole answer"):
        local_folder("lakefs://ariel-data/main/ariel")
    assert not [path for path in (tmp_path / "copies").rglob("*") if path.is_file()]
    monkeypatch.setattr(Stub, "cut", None)
    assert (local_folder("lakefs://ariel-data/main/ariel") / "a.bin").read_bytes() == b"x" * 1000


def test_a_redirect_to_another_host_is_followed_without_the_keys(server, monkeypatch):
    received = []

    class Store(BaseHTTPRequestHandler):
        def do_GET(self):
            received.append(self.headers.get("Authorization"))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"stored")

        def log_message(self, *arguments):
            pass

    store = ThreadingHTTPServer(("127.0.0.1", 0), Store)
    threading.Thread(target=store.serve_forever, daemon=True).start()
    monkeypatch.setattr(Stub, "objects", {"ariel/a.bin": b"stored"})
    monkeypatch.setattr(Stub, "elsewhere", f"http://127.0.0.1:{store.server_port}/a")
    assert (local_folder("lakefs://ariel-data/main/ariel") / "a.bin").read_bytes() == b"stored"
    assert received == [None]
    store.shutdown()
    store.server_close()


def test_an_answer_that_is_no_json_is_one_line(server, monkeypatch):
    monkeypatch.setattr(Stub, "_json", lambda self, value: self._send(b"<html>Log in</html>"))
    with pytest.raises(LakeFSError, match="expected JSON"):
        local_folder("lakefs://ariel-data/main/ariel")


def test_the_manifest_records_the_commit(server, tmp_path):
    with record_run("calibrate", tmp_path) as run:
        run.inputs = {"data": local_folder("lakefs://ariel-data/main/ariel")}
    recorded = json.loads((tmp_path / "manifest_calibrate.json").read_bytes())["inputs"]["data"]["lakefs"]
    assert recorded == {"repository": "ariel-data", "ref": "main", "path": "ariel", "commit": COMMIT}
    assert source_of(tmp_path) is None


def test_server_errors_raise_and_leave_no_files(server, tmp_path, monkeypatch):
    with pytest.raises(LakeFSError, match="expected files there"):
        local_folder("lakefs://ariel-data/main/nothing")
    with pytest.raises(LakeFSError, match="HTTP 404"):
        local_folder("lakefs://ariel-data/absent/ariel")
    monkeypatch.setattr(Stub, "objects", {"ariel/../../evil": b"x"})
    with pytest.raises(LakeFSError, match="inside its folder"):
        local_folder("lakefs://ariel-data/main/ariel")
    monkeypatch.setenv(KEYS[1], "wrong")
    with pytest.raises(LakeFSError, match="HTTP 401"):
        local_folder("lakefs://ariel-data/main/ariel/train")
    assert not [path for path in (tmp_path / "copies").rglob("*") if path.is_file()]
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:9")
    with pytest.raises(LakeFSError, match="expected a lakeFS server"):
        local_folder("lakefs://ariel-data/main/b")
