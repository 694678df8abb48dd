"""The documentation is true of the repository: links, files, commands, settings and options that it names exist; figures are drawn."""

import ast
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import typer
import yaml

import ariel_lib
from ariel_lib.cli import app
from ariel_lib.config import Config, load_config, to_dict
from ariel_lib.evaluation.ablation import load_grid

ROOT = Path(__file__).parents[1]
SITE = sorted((ROOT / "docs").rglob("*.md"))
FRONT = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES = [*FRONT, *SITE]
FOLDERS = ("ariel_lib", "configs", "tests", "benchmarks", "kernels", "docs", "gui", ".github")
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
COMMANDS = typer.main.get_command(app)
BUILT = ("docs/figures", "docs/stages")  # drawn by `make docs`; the folder that CHANGELOG.md says is gone
PRIVATE_WORDS = (
    r"verbs?", r"roads?", r"rivals?", r"rooms?", r"guard(?:ed|s)?", r"physical (?:estimate|answer|posterior)", r"surveys?", r"crew",
    r"memory of (?:all )?(?:training )?spectra", r"remembers?", r"recollections?", r"feigns?", r"lineage", r"doubts?", r"housekeeping",
)  # fmt: skip
SETTING = r"`((?:data|calibration|model|training|uncertainty|symbolic)\.[a-z_]+(?:\.[a-z_]+)*)(?:=[^`]*)?`"

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def text_of(page):
    return page.read_text(encoding="utf-8")


def without_code(text):
    """The prose: no fenced or indented blocks, no code in backticks, no address of a link."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^(?: {4}|\t)(?! *\|).*$", "", text, flags=re.MULTILINE)
    return re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`]*`", "", text))


def shown_commands(text, program):
    """The words after `program` in every line of an indented block, and in code in backticks; comments left out."""
    lines = re.findall(rf"^ {{4,}}(?!.*\|)(.*\b{program} .*)$", text, re.MULTILINE)
    lines += re.findall(rf"`({program} [^`\n]*)`", text)
    parts = [part.strip() for line in lines for part in line.partition(" #")[0].split("&&")]
    return [shlex.split(part)[1:] for part in parts if part.startswith(f"{program} ")]


def headings(text):
    words = re.findall(r"^#+ (.*)$", without_code(text), re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", word.lower()).strip().replace(" ", "-") for word in words}


def load_figures():
    spec = importlib.util.spec_from_file_location("docs_figures", ROOT / "docs" / "figures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def figures_shown():
    return {name for page in PAGES for name in re.findall(r"figures/(\w+)\.png", text_of(page))}


def setting_names(node, prefix=""):
    """Dotted names of settings and of groups of them."""
    for name, value in node.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from setting_names(value, f"{prefix}{name}.")


def test_the_readme_is_short():
    assert len(text_of(ROOT / "README.md").splitlines()) <= 150


@each_page
def test_links_lead_to_files_and_headings(page):
    for target in re.findall(r"\]\((?!https?://)([^)\s]+)\)", text_of(page)):
        path, _, heading = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        drawn = found.parent == ROOT / "docs" / "figures"
        assert found.exists() or drawn, target
        assert not heading or heading in headings(text_of(found)), target


@each_page
def test_files_that_a_page_names_exist(page):
    named = re.findall(rf"`(?:python |pytest )?((?:{'|'.join(map(re.escape, FOLDERS))})/[\w./-]+)", text_of(page))
    gone = ("docs/lineage.md", "docs/extend.md") if page.stem == "CHANGELOG" else ()
    missing = [name for name in named if not (ROOT / name).exists() and not name.startswith(BUILT) and name not in gone]
    assert not [name for name in missing if "NAME" not in name]


@each_page
def test_commands_that_a_page_shows_parse(page):
    for words in shown_commands(text_of(page), "spectramind"):
        command = COMMANDS.commands.get(words[0])
        if words[0] == "COMMAND":
            continue
        assert command is not None, f"no command {words[0]}"
        if hasattr(command, "commands") and len(words) > 1:
            command, words = command.commands[words[1]], words[1:]
        if len(words) == 1 or "…" in words:  # named, not shown
            continue
        command.make_context(words[0], words[1:])
        overrides = [word for word in words if re.match(r"\+?[a-z]+[\w.]*=", word)]
        load_config(None, [word for word in overrides if "lakefs://" not in word])


@each_page
def test_scripts_and_targets_that_a_page_shows_exist_with_their_options(page):
    for words in shown_commands(text_of(page), "python"):
        if words[0] == "-c":
            continue
        source = (ROOT / words[0]).read_text(encoding="utf-8")
        missing = [word for word in words[1:] if word.startswith("--") and f'"{word}"' not in source]
        assert not missing, f"{words[0]} has no option {missing}"
    for words in shown_commands(text_of(page), "make"):
        targets = [word for word in words if "=" not in word]
        assert set(targets) <= TARGETS, words


@each_page
def test_options_that_a_page_names_in_its_prose_exist(page):
    commands = [*COMMANDS.commands.values(), *(c for group in COMMANDS.commands.values() for c in getattr(group, "commands", {}).values())]
    known = {option for command in commands for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    scripts = "".join(text_of(path) for path in [*ROOT.glob("*.py"), *(ROOT / "benchmarks").glob("*.py"), ROOT / "docs" / "figures.py"])
    known |= set(re.findall(r'"(--[a-z-]+)"', scripts)) | {"--help"}
    known |= {"--nproc-per-node", "--no-python", "--local-addr"} | {"--no-deps"}  # torchrun's and pip's
    named = {option for code in re.findall(r"`([^`\n]*)`", text_of(page)) for option in re.findall(r"(?<!\S)--[a-z-]+", code)}
    assert named <= known


@each_page
def test_settings_that_a_page_names_exist(page):
    if page.stem == "CHANGELOG":
        return  # it lists the earlier names
    known = set(setting_names(to_dict(Config())))
    assert set(re.findall(SETTING, text_of(page))) <= known


def test_settings_of_the_changelog_are_the_aliases():
    pairs = dict(re.findall(r"\| `([a-z.]+)` \| `([a-z_.]+)` \|", text_of(ROOT / "CHANGELOG.md")))
    pairs = {old: new for old, new in pairs.items() if old.startswith(("model.", "training.", "symbolic."))}
    known = set(setting_names(to_dict(Config())))
    assert len(pairs) == 7 and set(pairs.values()) <= known and not set(pairs) & known
    values = {"training.gll": "false", "training.start": "w", "model.origin": "fit"}
    for old, new in pairs.items():
        ending = "" if old in values else ".weight"
        value = values.get(old, "0.5")
        assert load_config(None, [f"{old}{ending}={value}"]) == load_config(None, [f"{new}{ending}={value}"]) != load_config()


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_configurations_have_the_present_names(path):
    keys = yaml.safe_load(path.read_text(encoding="utf-8"))
    if "grid" not in keys:
        assert set(setting_names(keys)) <= set(setting_names(to_dict(Config())))
        load_config(path)
        return
    points, _, _ = load_grid(path)
    grids = keys["grid"] if isinstance(keys["grid"], list) else [keys["grid"]]
    named = {key for grid in grids for key in grid} | {setting.partition("=")[0] for setting in keys["base"]}
    assert points and named <= set(setting_names(to_dict(Config())))


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem != "CHANGELOG"], ids=lambda page: page.stem)
def test_prose_has_no_private_words(page):
    prose = without_code(text_of(page))
    assert re.findall(rf"\b(?:{'|'.join(PRIVATE_WORDS)})\b", prose, re.IGNORECASE) == []


def test_every_page_of_a_package_is_named_after_it():
    pages = {page.stem for page in (ROOT / "docs" / "packages").glob("*.md")}
    assert len(pages) == 12 and all((ROOT / "ariel_lib" / name / "__init__.py").is_file() for name in pages)


def test_python_that_the_readme_and_the_api_page_show_is_the_same_and_imports_public_names():
    shown = [re.findall(r"```python\n(.*?)```", text_of(page), re.DOTALL) for page in (ROOT / "README.md", ROOT / "docs" / "api.md")]
    (first,), (second,) = shown
    assert first.split() == second.split()
    statement = ast.parse(first).body[0]
    public = set(getattr(ariel_lib, "__all__", ())) - {"__version__"}
    assert not public or {alias.name for alias in statement.names} <= public


def test_the_api_page_lists_every_public_name():
    listed = set(re.findall(r"^ +- (\w+)$", text_of(ROOT / "docs" / "api.md"), re.MULTILINE))
    assert {"Dataset", "calibrate", "fit_transit", "Model", "Spectrum"} <= listed
    assert set(getattr(ariel_lib, "__all__", ())) - {"__version__"} <= listed


def test_the_site_builds_without_a_broken_link(tmp_path):
    pytest.importorskip("mkdocstrings")
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("figures"))
    (tmp_path / "docs" / "figures").mkdir()
    for name in figures_shown():  # that they can be drawn is another test's matter
        (tmp_path / "docs" / "figures" / f"{name}.png").write_bytes(b"\x89PNG")
    settings = text_of(ROOT / "mkdocs.yml")
    assert settings.count("paths: [.]") == 1
    (tmp_path / "mkdocs.yml").write_text(settings.replace("paths: [.]", f"paths: [{ROOT}]"), encoding="utf-8")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    done = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    site = tmp_path / "build" / "site"
    assert (site / "packages" / "calibration.html").is_file()
    pages = "".join(text_of(page) for page in site.rglob("*.html"))
    assert not re.findall(r'(?:src|<link[^>]*href)="https?://[^"]*', pages)
    api = text_of(site / "api.html")
    assert ariel_lib.__doc__.splitlines()[0] in api
    for name in set(getattr(ariel_lib, "__all__", ())) - {"__version__"}:
        assert f'id="ariel_lib.{name}"' in api, f"{name} is not on the API page"
    with (tmp_path / "docs" / "index.md").open("a") as index:
        index.write("\n[nowhere](packages/nowhere.md)\n")
    assert subprocess.run(build, cwd=tmp_path, capture_output=True).returncode != 0


def test_the_package_graph_says_what_the_imports_say():
    figures = load_figures()
    layers, drawn = figures.load_layers(), figures.package_graph()
    imported = layers.edges([module for module in layers.MODULES if not layers.is_public_list(module)])

    def reached(graph, package):
        return set(graph[package]).union(*(reached(graph, other) for other in graph[package]))

    assert {package: reached(drawn, package) for package in drawn} == {package: reached(imported, package) for package in imported}
    for others in drawn.values():  # and no arrow stands for what two others say
        assert not any(other in reached(drawn, third) for other in others for third in others)


def test_every_arrow_of_the_package_graph_leads_down_and_no_names_overlap():
    figures = load_figures()
    graph = figures.package_graph()
    arrows, place = figures.place_packages(graph)
    assert len(arrows) == sum(map(len, graph.values()))
    for arrow in arrows:
        assert arrow[-1] in graph[arrow[0]]
        assert all(place[lower][1] == place[upper][1] - 1 for upper, lower in pairwise(arrow))
    for package in graph:
        beside = [other for other in graph if other != package and place[other][1] == place[package][1]]
        assert all(abs(place[package][0] - place[other][0]) > (len(package) + len(other)) / 2 for other in beside)


def test_the_data_flow_names_packages_that_exist_and_joins_every_box():
    figures = load_figures()
    known = set(figures.load_layers().ORDER)
    texts = [text.partition(":")[0] for key, (_, _, text) in figures.BOXES.items() if key[0] == "."]
    assert {name.strip() for text in texts for name in text.split(",")} <= known
    assert {end for arrow in figures.ARROWS for end in arrow} == set(figures.BOXES)


def test_the_diagrams_are_drawn_and_shown():
    drawn = load_figures().draw_diagrams()
    assert set(drawn) <= figures_shown()
    for figure in drawn.values():
        figure.canvas.draw()


@pytest.mark.slow
def test_every_figure_that_is_shown_is_drawn_and_no_other(tmp_path):
    figures = load_figures()
    assert set(figures.draw_all(tmp_path)) | set(figures.draw_diagrams()) == figures_shown()
