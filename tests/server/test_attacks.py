"""ariel_lib.server against requests and files that mean harm: refused with a sentence, and the next request is answered as before."""

import asyncio
import json
import os
import shutil
import time
from contextlib import suppress

import numpy as np
import pytest

from ariel_lib.io.storage import save_arrays

from .site import PLANETS, WIDTH, served

from ariel_lib.errors import SpectraMindError  # isort: skip (site skips this file where the extra is missing)
from ariel_lib.server import reading  # isort: skip
from ariel_lib.server.app import make_routes  # isort: skip
from ariel_lib.server.middleware import protect  # isort: skip

SECRET = b"not to be served"
ATTEMPTS = [
    "/../secret.txt", "/../../../../etc/passwd", "/..%2f..%2fsecret.txt", "/%2e%2e/%2e%2e/secret.txt", "/....//....//secret.txt",
    "/assets/../../secret.txt", "/assets/..%5c..%5csecret.txt", "//etc/passwd", "/%00", "/assets/%2e%2e/%2e%2e/app.py",
    "/pages/../v50/submission.csv", "/pages/..%2fsecret.txt", "/pages/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "/pages/0000000000000000",
    "/api/run?run=../../secret.txt", "/api/run?run=%2e%2e%2fsecret", "/api/leaderboard?board=../../../etc/passwd",
    "/api/planet?run=RUN&planet=../../secret", "/api/planet?run=RUN&planet=..%2f..%2fdata%2ftest.csv",
    "/api/light-curves?run=RUN&planet=%2e%2e%2f%2e%2e%2fsecret", "/api/planets?run=RUN&sort=__class__", "/api/runs?sort=__dict__",
    "/api/runs?q=%00&limit=99999999999999999999", "/api/planet?run=RUN&planet='%20OR%201=1--", "/api/runs?limit=-1&offset=-5",
    "/api/compare?a=RUN&b=%0d%0aSet-Cookie:x=1", "/static/app.py", "/openapi.json", "/docs", "file:///etc/passwd",
]  # fmt: skip


@pytest.mark.parametrize("target", ATTEMPTS)
def test_no_attempt_reaches_a_file_or_a_fault(site, folder, target):
    (folder[0].parent / "secret.txt").write_bytes(SECRET)
    target = target.replace("RUN", site.run())
    answer = site.raw(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split()[1])
    assert status in (400, 404, 422), (status, body[:200])
    assert SECRET not in answer and b"root:" not in answer and b"def make_app" not in answer and b"set-cookie" not in head.lower()


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "MKCOL", "BREW"])
def test_every_method_but_get_and_head_is_405(site, method):
    for target in ("/", "/api/runs", "/pages/0000000000000000", "/nothing"):
        answer = site.raw(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody".encode())
        head = answer.partition(b"\r\n\r\n")[0].lower()
        assert head.split()[1] == b"405" and b"allow: get, head" in head and b"default-src 'none'" in head


def test_head_is_get_without_its_body(site):
    got, head = site.ask("/api/runs"), site.ask("/api/runs", "HEAD")
    assert head[0].status == 200 and head[1] == b"" and head[0].headers["content-length"] == str(len(got[1]))


OTHER_HOSTS = ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8000", "[::2]:8000", "", "evil@localhost"]


@pytest.mark.parametrize("host", OTHER_HOSTS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_other_host_names_are_refused(site, host, method):
    """With 400: Starlette's TrustedHostMiddleware cannot be given 421."""
    answer = site.raw(f"{method} /api/runs HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split()[1] == b"400" and b"v50" not in answer and b"default-src 'none'" in head
    assert (body == b"") == (method == "HEAD")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]", "[::1]:8000", "lab.example:80", "[fe80::1]:8000"])
def test_this_machine_and_the_names_that_were_given_are_answered(folder, host):
    assert status_of(protect(make_routes(folder[0]), ["lab.example", "fe80::1", "0.0.0.0"]), [host]) == 200


@pytest.mark.parametrize("hosts", [[], ["localhost", "evil.example"], ["localhost", "localhost"], ["lab.example"], ["0.0.0.0"]])
def test_a_missing_or_doubled_host_is_refused_and_no_other_name_is_suggested(folder, hosts):
    """Asked below the HTTP parser, which has its own opinion. www.lab.example must not make lab.example a redirect to it."""
    assert status_of(protect(make_routes(folder[0]), ["www.lab.example", "0.0.0.0"]), hosts) == 400


@pytest.mark.parametrize("name", ["*", "*.*", "lab*.example"])
def test_a_name_for_all_hosts_is_no_name(folder, name):
    with pytest.raises(SpectraMindError, match="expected a name"):
        protect(make_routes(folder[0]), [name])


def exchange(app, scope):
    """The messages with which an ASGI application answers."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent


def status_of(app, hosts):
    headers = [(b"host", host.encode()) for host in hosts]
    scope = {"type": "http", "method": "GET", "path": "/api/runs", "raw_path": b"/api/runs", "query_string": b"", "headers": headers}
    return exchange(app, scope)[0]["status"]


def test_websockets_are_closed_before_any_route():
    async def accept(scope, receive, send):
        await send({"type": "websocket.accept"})

    scope = {"type": "websocket", "path": "/api/runs", "query_string": b"", "headers": [(b"host", b"localhost")]}
    assert [message["type"] for message in exchange(protect(accept), scope)] == ["websocket.close"]


def test_requests_that_are_not_http_end_alone(site):
    headers, long = b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20000, b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n"
    for request in (b"\x00\xff" * 500, b"GET /\r\n\r\n", headers, long):
        with suppress(ConnectionError):  # hung up on in the middle: as good as a refusal
            assert b"200 OK" not in site.raw(request, hang_up=True)
    assert site.json("/api/runs")["total"] == 3


def test_every_answer_has_the_security_headers(site):
    for target in ("/api/runs", "/nothing", "/api/run?run=x"):
        headers = site.ask(target)[0].headers
        assert "default-src 'none'" in headers["content-security-policy"] and headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY" and "server" not in headers


def test_there_is_no_route_that_writes(tmp_path):
    routes = make_routes(tmp_path).routes
    assert routes and all(set(getattr(route, "methods", {"GET"})) <= {"GET", "HEAD"} for route in routes)


@pytest.fixture(scope="module")
def hostile(folder, tmp_path_factory):
    """A folder in which everything is wrong that can be."""
    root = tmp_path_factory.mktemp("hostile") / "out"
    shutil.copytree(folder[0], root)
    (root.parent / "secret.txt").write_bytes(SECRET)
    for n, name in enumerate(["<script>alert(1)<!--", "a'b\"c&d", "%2e%2e", "line\nbreak", "\udcff\udcfe", "λ" * 60, " "]):
        (root / name).mkdir()
        (root / name / "manifest_train.json").write_text(json.dumps({"command": "<b>train</b>", "seed": n, "metrics": {"<i>": "\ud800"}}))
    manifests = {
        "deep": "[" * 100_000, "empty": "", "list": "[1]", "no": '{"command": 3}',
        "nan": '{"command": "x", "metrics": {"score": NaN, "big": 1e999}}',
        "types": '{"command": "x", "times": 3, "git": "y", "metrics": [1], "artifacts": {"a": 1}}', "text": "\x00\xff",
        "long": '{"command": "x", "metrics": {' + ",".join(f'"{n}": {n}' for n in range(5000)) + "}}",
        "stolen": '{"command": "predict", "artifacts": {"../../secret.txt": {}, "../../x.csv": {}}, "inputs": {"data": {"path": "/etc"}}}',
    }  # fmt: skip
    for name, text in manifests.items():
        (root / name).mkdir()
        (root / name / "manifest_train.json").write_bytes(text.encode("utf-8", "replace"))
    with (root / "manifest_hole.json").open("wb") as file, (root / "v50" / "manifest_huge.json").open("wb") as other:
        file.truncate(2**36), other.truncate(2**36)  # holes: 64 GiB that take no room
    (root / "links").mkdir()
    os.symlink(root.parent / "secret.txt", root / "links" / "manifest_train.json")
    os.symlink("/etc", root / "links" / "etc")
    os.symlink(root.parent / "secret.txt", root / "links" / "page.html")
    os.symlink("loop", root / "links" / "loop")
    os.mkfifo(root / "links" / "manifest_pipe.json")
    (root / "links" / "manifest_folder.json").mkdir()
    return root


def test_hostile_folders_are_listed_as_text_and_break_nothing(hostile):
    with served(hostile) as site:
        found = site.json("/api/runs?limit=500")
        by_folder = {run["folder"]: run for run in found["runs"]}
        assert by_folder["<script>alert(1)<!--"]["command"] == "<b>train</b>" and by_folder["nan"]["score"] is None
        assert {"deep", "empty", "list", "text"} <= {name for name, run in by_folder.items() if run["problem"]}
        assert "links" not in by_folder and SECRET.decode() not in json.dumps(found)
        for run in found["runs"]:
            answer = site.ask(f"/api/run?run={run['id']}")
            assert answer[0].status in (200, 422) and SECRET not in answer[1]
            assert site.ask(f"/api/compare?a={run['id']}&b={found['runs'][0]['id']}")[0].status in (200, 422)
            if run["has_submission"]:
                assert site.ask(f"/api/planets?run={run['id']}")[0].status in (200, 422)
        assert [page["name"] for page in site.json("/api/pages")] == ["diagnostics/report.html"]


@pytest.mark.parametrize("name, harm", [
    ("v50/submission.safetensors", b"\xff" * 100), ("v50/submission.safetensors", (2**40).to_bytes(8, "little") + b"{}"),
    ("v50/estimates/test/1103775.safetensors", b""), ("v50/submission.json", b"[[["), ("check/violations.jsonl", b'{"planet"\n' * 9),
    ("check/violations.jsonl", b"x" * (2 * reading.LINE_LIMIT)), ("diagnostics/explanation.safetensors", b"\x00" * 64),
    ("data/test.csv", b"planet_id\n1103775,one,two\n"), ("data/wavelengths.csv", b"\x00"), ("data/test_star_info.csv", b""),
])  # fmt: skip
def test_one_damaged_file_is_named_and_the_others_are_shown(folder, tmp_path, name, harm):
    root = tmp_path / "out"
    shutil.copytree(folder[0], root)
    (root / name).write_bytes(harm)
    with served(root) as site:
        detail = site.json(f"/api/planet?run={site.run()}&planet=1103775")
        assert len(detail["problems"]) == 1 and len(detail["mean"]) == WIDTH
        assert site.json(f"/api/planets?run={site.run()}")["total"] == 3
        assert site.ask(f"/api/light-curves?run={site.run()}&planet=1103775")[0].status == 200


def test_one_damaged_light_curve_file_is_named_on_its_planets_page_alone(folder, tmp_path):
    root = tmp_path / "out"
    shutil.copytree(folder[0], root)
    curves = root / "data" / "lightcurves" / "test"
    shutil.copy(curves / "1103775_0.safetensors", curves / "42_0.safetensors")
    (curves / "1103775_0.safetensors").write_bytes((curves / "42_0.safetensors").read_bytes()[:-1000])
    with served(root) as site:
        damaged, whole = (site.json(f"/api/light-curves?run={site.run()}&planet={planet}") for planet in ("1103775", "42"))
        assert damaged["curves"] == [] and [p.startswith("1103775_0.safetensors: ") for p in damaged["problems"]] == [True]
        assert len(whole["curves"]) == 2 and whole["problems"] == []
        assert site.json(f"/api/planet?run={site.run()}&planet=1103775")["problems"] == []


def test_huge_files_are_not_read_whole(folder, tmp_path):
    root = tmp_path / "out"
    shutil.copytree(folder[0], root)
    for name in ("v50/submission.safetensors", "data/test.csv", "check/violations.jsonl", "diagnostics/report.html"):
        with (root / name).open("r+b") as file:
            file.truncate(2**36)
    save_arrays(root / "data" / "lightcurves" / "test" / "1103775_1.safetensors", {"fgs1.time": np.zeros(3)}, {})
    with served(root) as site:
        start = time.monotonic()
        detail = site.json(f"/api/planet?run={site.run()}&planet=1103775")
        assert len(detail["problems"]) == 3 and time.monotonic() - start < 5
        assert site.ask(f"/pages/{site.json('/api/pages')[0]['id']}")[0].status == 422
        curves = site.json(f"/api/light-curves?run={site.run()}&planet=1103775")
        assert len(curves["curves"]) == 2 and len(curves["problems"]) == 1


def test_a_submission_that_is_gone_or_damaged_is_one_sentence(folder, tmp_path):
    root = tmp_path / "out"
    shutil.copytree(folder[0], root)
    with served(root) as site:
        run = site.run()
        (root / "v50" / "submission.csv").write_bytes(b"planet_id,wl_1,sigma_1\n1,x,y\n")
        assert "error" in site.json(f"/api/planets?run={run}", 422)
        assert site.json(f"/api/planet?run={run}&planet={PLANETS[0]}", 404)["error"] == "no such planet in this submission"
        (root / "v50" / "submission.csv").unlink()
        assert "error" in site.json(f"/api/planets?run={run}", 404)
