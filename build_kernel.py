"""kernels/*.py to Kaggle notebooks, the same bytes every time; and one of them run here, as Kaggle would run it.

    python build_kernel.py                                  renders all into build/kernel/ with a manifest, updates
                                                            kernel-metadata.json
    python build_kernel.py --run submission -p data=DIR …   renders, then executes one with papermill

It knows notebooks, not spectra.
"""

import argparse
import ast
import hashlib
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import jupytext
import nbformat

from ariel_lib.io.checksums import write_manifest
from ariel_lib.provenance.record import git_state
from build_datasets import DatasetError, kaggle_names, slug

ROOT = Path(__file__).resolve().parent
KERNELS = ROOT / "kernels"
CARD = ROOT / "kernel-metadata.json"
BUILD = ROOT / "build" / "kernel"
PUSHED = "submission"  # the kernel that the card names unless told otherwise: the one that a competition runs
SIZE_LIMIT = 1_000_000  # bytes, Kaggle's


class KernelError(ValueError):
    """A kernel cannot be built or run as asked."""


def render(source: str) -> str:
    """A percent script as notebook text: no outputs, no metadata of this machine, ids from the content, keys sorted."""
    parsed = jupytext.reads(source, fmt="py:percent")
    cells = []
    for index, cell in enumerate(parsed.cells):
        identity = hashlib.sha256(f"{index}\0{cell.cell_type}\0{cell.source}".encode()).hexdigest()[:16]
        tags = cell.metadata.get("tags")
        clean = {"cell_type": cell.cell_type, "id": identity, "metadata": {"tags": tags} if tags else {}}
        code = {"execution_count": None, "outputs": []} if cell.cell_type == "code" else {}
        cells.append({**clean, **code, "source": cell.source.splitlines(keepends=True)})
    notebook = {
        "cells": cells,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    nbformat.validate(notebook)
    return json.dumps(notebook, sort_keys=True, indent=1, ensure_ascii=False) + "\n"


def with_names(source: str, names: Mapping) -> str:
    """A kernel whose parameters name its inputs as kaggle.toml does."""
    slugs = {f"{name}_set": slug(title) for name, title in names["datasets"].items()}
    for parameter, value in {"competition": names["competition"], **slugs}.items():
        source = re.sub(rf'^{parameter} = "[^"]*"', f'{parameter} = "{value}"', source, flags=re.M)
    return source


def build(out: Path = BUILD) -> dict[str, Path]:
    """Render every kernel into out. Returns name → notebook."""
    out.mkdir(parents=True, exist_ok=True)
    built, names = {}, kaggle_names()
    for script in sorted(KERNELS.glob("*.py")):
        text = render(with_names(script.read_text(encoding="utf-8"), names))
        if len(text.encode()) >= SIZE_LIMIT:
            raise KernelError(
                f"{script.name}: the notebook must stay under {SIZE_LIMIT} bytes, found {len(text.encode())}"
            )
        built[script.stem] = out / f"{script.stem}.ipynb"
        built[script.stem].write_text(text, encoding="utf-8", newline="\n")
    return built


def update_card(name: str, built: Mapping[str, Path]) -> None:
    """Write the card that `kaggle kernels push` reads, all of it from kaggle.toml, for one of the built kernels."""
    if name not in built:
        raise KernelError(f"no kernel {name}; there are {', '.join(built)}")
    names = kaggle_names()
    title, user = names["kernels"][name], names["user"]
    datasets = ["wheels", "weights"] if name == "submission" else ["wheels"]
    card = {
        "id": f"{user}/{slug(title)}",
        "title": title,
        "code_file": built[name].relative_to(ROOT).as_posix(),
        "language": "python",
        "kernel_type": "notebook",
        "is_private": names["is_private"],
        "enable_gpu": names["enable_gpu"],
        "enable_internet": False,  # Kaggle's own default is true, and no submission may have it
        "machine_shape": names["machine_shape"],
        "competition_sources": [] if name == "toy" else [names["competition"]],
        "dataset_sources": [f"{user}/{slug(names['datasets'][dataset])}" for dataset in datasets],
        "kernel_sources": [],
        "model_sources": [],
    }
    CARD.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")


def parameters_of(notebook: Path) -> set[str]:
    """Names that the cell tagged `parameters` sets."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", ())]
    if len(tagged) != 1:
        raise KernelError(f"{notebook.name}: expected one cell tagged parameters, found {len(tagged)}")
    statements = ast.parse("".join(tagged[0]["source"])).body
    return {target.id for node in statements if isinstance(node, ast.Assign) for target in node.targets}


def run(notebook: Path, executed: Path, parameters: Mapping[str, object]) -> None:
    """Execute a notebook with papermill in this interpreter. Refuses unknown parameters; papermill would only warn."""
    unknown = sorted(set(parameters) - parameters_of(notebook))
    if unknown:
        known = ", ".join(sorted(parameters_of(notebook)))
        raise KernelError(f"{notebook.name} has no parameter {', '.join(unknown)}; it has {known}")
    # a kernelspec of the user's, registered for another interpreter, must not win over this environment's
    os.environ["JUPYTER_PATH"] = str(Path(sys.prefix) / "share" / "jupyter")
    import papermill

    executed.parent.mkdir(parents=True, exist_ok=True)
    papermill.execute_notebook(
        str(notebook),
        str(executed),
        parameters=dict(parameters),
        kernel_name="python3",
        progress_bar=False,
        log_output=True,
    )


def parse_parameters(pairs: list[str]) -> dict[str, object]:
    """k=v pairs; v is a Python literal (3, 0.5, None, 'text') or else plain text."""
    parsed: dict[str, object] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise KernelError(f"-p {pair}: expected NAME=VALUE")
        try:
            parsed[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            parsed[name] = value
    return parsed


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Render kernels/*.py to notebooks; with --run, execute one.")
    parser.add_argument("--out", type=Path, default=BUILD, help="folder of the notebooks (default build/kernel)")
    parser.add_argument("--push", metavar="NAME", default=PUSHED, help="kernel that kernel-metadata.json names")
    parser.add_argument(
        "--run", metavar="NAME", help="kernel to execute: " + ", ".join(p.stem for p in sorted(KERNELS.glob("*.py")))
    )
    parser.add_argument("-p", action="append", default=[], metavar="NAME=VALUE", help="a parameter of that kernel")
    parser.add_argument(
        "--executed", type=Path, help="where its executed notebook goes (default beside the rendered one)"
    )
    options = parser.parse_args(arguments)
    try:
        built = build(options.out)
        write_manifest(options.out, [path.name for path in built.values()], {"git": git_state(ROOT)})
        if options.out.resolve() == BUILD:
            update_card(options.push, built)
        if options.run is not None:
            if options.run not in built:
                raise KernelError(f"no kernel {options.run}; there are {', '.join(built)}")
            executed = options.executed or options.out / f"{options.run}.executed.ipynb"
            run(built[options.run], executed, parse_parameters(options.p))
    except (KernelError, DatasetError, OSError) as error:
        print(f"build_kernel.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
