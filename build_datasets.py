"""The two data sets that the Kaggle kernels attach: wheels for the offline installation, and weights.

    python build_datasets.py wheels                    build/wheels/: wheels, requirements.txt with hashes, the card
    python build_datasets.py weights --from FILE       build/weights/: weights.safetensors, its manifest, the card

It knows packages and files, not spectra. The names on Kaggle stand in kaggle.toml.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from importlib import metadata
from pathlib import Path
from zipfile import ZipFile

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename
from slugify import slugify

ROOT = Path(__file__).resolve().parent
PINNED, SOURCES, IMAGE = (ROOT / "wheels" / name for name in ("requirements.txt", "sources.txt", "image.txt"))
OUT = ROOT / "build"
CARD = "dataset-metadata.json"
SETTINGS = {"user": str, "competition": str, "machine_shape": str, "enable_gpu": bool, "is_private": bool}
SETTINGS |= dict.fromkeys(("kernels.submission", "kernels.train", "kernels.toy", "datasets.wheels", "datasets.weights"), str)
LITERALS = {str: "a text in quotes", bool: "true or false"}
LONGEST_TITLE = 50  # characters, Kaggle's
MARKER = "spectramind-wheels.json"  # the kernels find the attached data set by it
# The date goes into archives; the other two keep mamba-ssm from looking for a compiler.
REPRODUCIBLE = {"SOURCE_DATE_EPOCH": "1735689600", "MAMBA_SKIP_CUDA_BUILD": "TRUE", "MAMBA_FORCE_BUILD": "TRUE"}


class DatasetError(ValueError):
    """A data set cannot be built: says what was expected and what was found."""


def build_wheels(out: Path) -> list[str]:
    """Fill a folder with the wheels; returns lines that say what each one means on Kaggle's image."""
    with fresh_folder(out, ("*.whl", "requirements.txt", MARKER)) as building:
        return _collect_wheels(building)


def _collect_wheels(out: Path) -> list[str]:
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", out, ROOT)
    sources = ("--require-hashes", "-r", SOURCES)
    _pip("wheel", "--no-deps", "--no-build-isolation", "--no-binary", "mamba-ssm", "--wheel-dir", out, *sources)
    _pip("download", "--no-deps", "--require-hashes", "--dest", out, "--find-links", out, "-r", PINNED)
    wheels = sorted(out.glob("*.whl"))
    digests = {wheel.name: hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in wheels}
    ours = next(wheel for wheel in wheels if wheel.name.startswith("spectramind-"))
    pins = [line for line in PINNED.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    own = f"spectramind=={parse_wheel_filename(ours.name)[1]} --hash=sha256:{digests[ours.name]}"
    _write(out / "requirements.txt", "\n".join([own, *pins]) + "\n")
    _write(out / MARKER, json.dumps(digests, indent=1, sort_keys=True) + "\n")
    write_card(out, "wheels")
    return compare_with_image(wheels, read_pins(IMAGE))


def compare_with_image(wheels: Iterable[Path], image: Mapping[str, str]) -> list[str]:
    """A line for each wheel: whether the image has the package already. Raises DatasetError for a dependency that
    neither the image nor a wheel satisfies, and for a wheel that fits one Python only."""
    wheels, lines = list(wheels), []
    parsed = {wheel: parse_wheel_filename(wheel.name) for wheel in wheels}
    versions = {**image, **{name: str(version) for name, version, *_ in parsed.values()}}
    for wheel, (name, version, _, tags) in parsed.items():
        if {str(tag) for tag in tags} - {"py3-none-any", "py2-none-any"}:
            raise DatasetError(f"{wheel.name}: expected a wheel for any Python and machine (py3-none-any)")
        seen = image.get(name)
        lines.append(f"{name} {version}: " + ("not in the image" if seen is None else f"shadows {seen} of the image"))
        for requirement in () if name == "mamba-ssm" else _requirements(wheel):  # of mamba-ssm one Triton file is used
            found = versions.get(canonicalize_name(requirement.name))
            if found is None or not requirement.specifier.contains(found, prereleases=True):
                raise DatasetError(f"{wheel.name} needs {requirement}; image and wheels have {found or 'none'}")
    return lines


def _requirements(wheel: Path) -> list[Requirement]:
    """What the wheel needs at run time, extras left out, on the image's Python."""
    with ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        text = archive.read(name).decode()
    needed = [Requirement(line) for line in re.findall(r"^Requires-Dist: (.*)$", text, re.M)]
    environment = {"extra": "", "python_version": "3.12"}
    return [need for need in needed if need.marker is None or need.marker.evaluate(environment)]


def read_pins(path: Path) -> dict[str, str]:
    """name==version lines of a file, hashes and comments left out."""
    lines = (line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line and line[0] != "#")
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def build_weights(source: Path, out: Path) -> Path:
    """The checkpoint that training left, with a manifest and the card. Refuses one that its own manifest disowns."""
    from ariel_lib.io.checksums import verify, write_manifest
    from ariel_lib.io.storage import StorageError
    from ariel_lib.pipeline.checkpoint import Checkpoint

    try:
        checkpoint = Checkpoint.load(verify(source))
    except StorageError as error:
        raise DatasetError(f"{error} `make weights WEIGHTS=FILE` takes the weights.safetensors of a training run.") from error
    if source.resolve().is_relative_to(out.resolve()):
        raise DatasetError(f"--out {out}: expected a folder other than that of {source}, which the new data set would replace")
    facts = {"spectramind": metadata.version("spectramind"), "wavelengths": len(checkpoint.wavelength)}
    with fresh_folder(out, ("weights.safetensors", "manifest.json")) as building:
        shutil.copyfile(source, building / "weights.safetensors")
        write_manifest(building, ["weights.safetensors"], facts)
        write_card(building, "weights")
    return out / "weights.safetensors"


@contextmanager
def fresh_folder(out: Path, names: Iterable[str]) -> Iterator[Path]:
    """A new folder to fill, which takes the place of `out` once it is complete.

    names  patterns of the files of an earlier build, which may be replaced

    Raises DatasetError where out is a file, or a folder with anything but an earlier build in it.
    """
    if out.exists():
        found = {path.name for path in out.iterdir()} if out.is_dir() else {"a file of that name"}
        built = {name for name in found if any(fnmatchcase(name, pattern) for pattern in (CARD, *names)) and (out / name).is_file()}
        others = sorted(found - built)
        if others or (found and CARD not in found):
            what = ", ".join((others or sorted(found))[:3])
            raise DatasetError(f"--out {out}: expected no folder, an empty one or an earlier build with {CARD}, found {what}")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        building = Path(scratch) / out.name
        building.mkdir()
        yield building
        if out.exists():
            shutil.rmtree(out.resolve())
        building.rename(out.resolve())


def write_card(out: Path, name: str) -> None:
    """dataset-metadata.json, which `kaggle datasets create` reads."""
    names = kaggle_names()
    title = names["datasets"][name]
    card = {"title": title, "id": f"{names['user']}/{slug(title)}", "licenses": [{"name": "MIT"}]}
    _write(out / CARD, json.dumps(card, indent=2, ensure_ascii=False) + "\n")


def kaggle_names(path: Path = ROOT / "kaggle.toml") -> dict:
    """The content of kaggle.toml. Raises DatasetError for a setting that is missing or that Kaggle refuses."""
    try:
        names = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DatasetError(f"{path.name}: expected TOML, found {error}") from error
    for key, kind in SETTINGS.items():
        value = names
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if type(value) is not kind or value == "":
            raise DatasetError(f"{path.name}: expected {key} as {LITERALS[kind]}, found {'none' if value is None else repr(value)}")
    for key in ("user", "competition"):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*", names[key]):
            expected = f"{key} as in its address on Kaggle, letters, digits and hyphens"
            raise DatasetError(f"{path.name}: expected {expected}, found {names[key]!r}")
    for table, shortest in (("kernels", 5), ("datasets", 6)):
        for key, title in names[table].items():
            if not all(shortest <= len(text) <= LONGEST_TITLE for text in (title, slug(title))):
                expected = f"a title of {shortest} to {LONGEST_TITLE} characters, and as many in its name on Kaggle"
                raise DatasetError(f"{path.name}: expected {table}.{key} as {expected}, found {title!r}, {slug(title)!r}")
        slugs = [slug(title) for title in names[table].values()]
        if len(set(slugs)) < len(slugs):  # on Kaggle the later would be a new version of the earlier
            raise DatasetError(f"{path.name}: expected titles of {table} that differ in their names on Kaggle, found {', '.join(slugs)}")
    return names


def slug(title: str) -> str:
    """The name that Kaggle's client makes of a title: accents and other scripts become ASCII."""
    return slugify(title)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, env=os.environ | REPRODUCIBLE, capture_output=True, check=False, encoding="utf-8", errors="replace")
    if done.returncode:
        raise DatasetError(f"pip {arguments[0]} ended with {done.returncode}: {done.stderr.strip()}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Build the data sets that the Kaggle kernels attach.")
    parser.add_argument("what", choices=("wheels", "weights"))
    parser.add_argument("--from", dest="source", type=Path, help="weights: weights.safetensors of a training run")
    parser.add_argument("--out", type=Path, help="default build/wheels or build/weights")
    options = parser.parse_args(arguments)
    out = options.out or OUT / options.what
    try:
        if options.what == "wheels":
            print("\n".join(build_wheels(out)))
        elif options.source is None:
            raise DatasetError("weights: give --from FILE, the weights.safetensors of a training run")
        else:
            print(build_weights(options.source, out))
    except (DatasetError, OSError) as error:
        print(f"build_datasets.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
