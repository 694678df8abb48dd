"""The documentation says what is there: links lead somewhere, files and commands that it names exist, figures are drawn."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from ariel_lib.cli import app

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
FOLDERS = ("ariel_lib", "configs", "tests", "benchmarks", "kernels", "docs")


def text_of(page):
    return page.read_text(encoding="utf-8")


def load_figures():
    spec = importlib.util.spec_from_file_location("docs_figures", ROOT / "docs" / "figures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def figures_shown():
    return {name for page in PAGES for name in re.findall(r"figures/(\w+)\.png", text_of(page))}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_that_a_page_names_exist(page):
    named = re.findall(rf"`(?:python )?((?:{'|'.join(FOLDERS)})/[\w./-]+)", text_of(page))
    missing = [name for name in named if not (ROOT / name).exists() and name != "docs/figures"]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_that_a_page_shows_have_the_verbs_and_options_of_the_command_line(page):
    root = typer.main.get_command(app)
    for line in re.findall(r"spectramind ((?:[a-z]+(?:-[a-z]+)*)[^`\n]*)", text_of(page)):
        words = line.split("&&")[0].split()
        command = root.commands.get(words[0])
        if command is None and words[0] in ("and",):  # the folder of `git clone`, in prose
            continue
        assert command is not None, f"no command {words[0]} in: spectramind {line}"
        if hasattr(command, "commands") and len(words) > 1:
            command = command.commands[words[1]]
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in words if word.startswith("--")} <= options, line


def test_every_stage_of_the_list_has_a_figure():
    stages = [page for page in PAGES if page.parent.name == "stages"]
    assert len(stages) == 8 and all("../figures/" in text_of(page) for page in stages)


def test_the_site_builds_without_a_broken_link(tmp_path):
    pytest.importorskip("mkdocs")
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("figures"))
    (tmp_path / "docs" / "figures").mkdir()
    for name in figures_shown():  # that they can be drawn is another test's matter
        (tmp_path / "docs" / "figures" / f"{name}.png").write_bytes(b"\x89PNG")
    shutil.copyfile(ROOT / "mkdocs.yml", tmp_path / "mkdocs.yml")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    done = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "build" / "site" / "stages" / "calibrate.html").is_file()
    pages = "".join(page.read_text(encoding="utf-8") for page in (tmp_path / "build" / "site").rglob("*.html"))
    assert not re.findall(r'(?:src|<link[^>]*href)="https?://[^"]*', pages)
    with (tmp_path / "docs" / "index.md").open("a") as index:
        index.write("\n[nowhere](stages/nowhere.md)\n")
    assert subprocess.run(build, cwd=tmp_path, capture_output=True).returncode != 0


@pytest.mark.slow
def test_every_figure_that_is_shown_is_drawn_and_no_other(tmp_path):
    pytest.importorskip("batman")
    assert set(load_figures().draw_all(tmp_path)) == figures_shown()
