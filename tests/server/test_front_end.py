"""The built page: made from the sources that lie here, typed by the API that answers, and asking nobody else for anything."""

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from .site import served

from ariel_lib.server.app import STATIC, make_routes  # isort: skip (site skips this file where the extra is missing)

GUI = Path(__file__).parents[2] / "gui"
SOURCES = ["index.html", "openapi.json", "package-lock.json", "package.json", "src", "tsconfig.json", "vite.config.ts"]


def source_hash():
    digest = hashlib.sha256()
    for name in SOURCES:
        path = GUI / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            digest.update(f"{file.relative_to(GUI).as_posix()}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()


def test_the_build_is_of_these_sources():
    assert (STATIC / "sources.sha256").read_text().strip() == source_hash(), "run `make gui` and commit what it writes"


def test_the_types_are_made_from_the_api_that_answers(tmp_path):
    said = json.loads((GUI / "openapi.json").read_text(encoding="utf-8"))
    told = json.loads(json.dumps(make_routes(tmp_path).openapi()))
    assert said["paths"].keys() == told["paths"].keys()
    fields = {name: sorted(schema.get("properties", ())) for name, schema in told["components"]["schemas"].items()}
    assert {name: sorted(schema.get("properties", ())) for name, schema in said["components"]["schemas"].items()} == fields
    types = (GUI / "src" / "schema.d.ts").read_text(encoding="utf-8")
    for name, names in fields.items():
        block = re.search(rf"\n        {name}: {{(.*?)\n        }};", types, re.DOTALL).group(1)
        assert all(re.search(rf"\n            {field}\??:", block) for field in names), f"{name}: run `make gui`"


def test_the_page_brings_all_it_needs(tmp_path):
    with served(tmp_path) as site:
        response, page = site.ask("/")
        assert response.status == 200 and response.headers["content-type"].startswith("text/html")
        assert b"<style" not in page and re.findall(rb"<script[^>]*>([^<]*)</script>", page) == [b""]
        names = re.findall(rb'(?:src|href)="(?!data:)([^"]+)"', page)
        assert len(names) == 2 and all(name.startswith(b"./") for name in names)  # below a proxy's prefix, too
        for name in names:
            response, body = site.ask(name.decode().removeprefix("."))
            assert response.status == 200 and "immutable" in response.headers["cache-control"] and body
            assert not re.findall(rb"""(?:src|href|url)\s*[=(]\s*["']?https?://""", body)
    assert "dangerouslySetInnerHTML" not in "".join(path.read_text(encoding="utf-8") for path in (GUI / "src").iterdir())


def page_sources():
    return "".join(path.read_text(encoding="utf-8") for path in sorted((GUI / "src").glob("*.tsx")))


def test_every_address_is_relative_so_that_a_proxy_may_serve_the_page_under_a_prefix():
    assert not re.findall(r"""(?:href|src)=[{"`]*/|fetch\(["'`]/""", page_sources())
    assert "path.slice(1)" in (GUI / "src" / "api.ts").read_text(encoding="utf-8")


def test_a_page_starts_anew_with_another_subject():
    """Each parameter in the address of a page is its subject, or narrows and orders what it lists."""
    subject = set(json.loads(re.search(r"const SUBJECT = (\[.*?\]);", page_sources())[1]))
    read = set(re.findall(r'query\.get\("(\w+)"\)', page_sources()))
    assert read == subject | {"q", "command", "sort", "order", "offset", "show"}
    assert "place.page, ...SUBJECT.map" in page_sources()


@pytest.mark.slow
def test_building_again_gives_the_same_bytes(tmp_path):
    if shutil.which("npm") is None or not (GUI / "node_modules").is_dir():
        pytest.skip("needs Node and gui/node_modules: make gui")
    done = subprocess.run(["npx", "vite", "build", "--outDir", str(tmp_path / "out")], cwd=GUI, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    built = {path.relative_to(tmp_path / "out"): path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert built == {path.relative_to(STATIC): path.read_bytes() for path in STATIC.rglob("*") if path.is_file()}
