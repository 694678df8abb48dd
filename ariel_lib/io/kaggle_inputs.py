"""Inputs of a Kaggle session, located by a file in them, because the names of the mounted folders differ.

Known forms: /kaggle/input/<slug>, /kaggle/input/datasets/<owner>/<slug>, /kaggle/input/competitions/<slug>.
"""

import shutil
from pathlib import Path

from ariel_lib.errors import ArchiveError
from ariel_lib.io.layout import is_hidden
from ariel_lib.io.storage import atomic_path

MOUNT = "/kaggle/input"
SESSION = ("estimates/*/*.safetensors", "lightcurves/*/*.safetensors", "state_*.safetensors", "weights.safetensors")  # of a training
DEPTH = 4  # levels of folders searched below the mount, enough for the tables of a competition


def find_input(marker: str, *, under: Path | str = MOUNT, prefer: str = "") -> Path:
    """The folder that contains a file named `marker`; folders inside one that does are not searched.

    prefer  name of an input, taken where several contain the file

    Raises ArchiveError where none contains it, or several and not one of them alone has that name.
    """
    root, found, level = Path(under), [], [Path(under)]
    for _ in range(DEPTH):
        found += [folder for folder in level if (folder / marker).is_file()]
        inside = [child for folder in level if folder not in found and folder.is_dir() for child in sorted(folder.iterdir())]
        level = [child for child in inside if child.is_dir() and not is_hidden(child.name)]
    if not found:
        raise ArchiveError(root, f"an input that contains {marker}", "none", "Attach it to the notebook or give its path.")
    named = [folder for folder in found if prefer in folder.relative_to(root).parts] or found
    if len(named) > 1:
        where = ", ".join(str(folder) for folder in named)
        raise ArchiveError(root, f"one input that contains {marker}", where, "Detach all but one or give its path.")
    return named[0]


def take_up_session(previous: Path | str | None, out: Path | str) -> int:
    """Copy the safetensors files of an earlier session's training (its folder, attached as an input) that are missing in `out`.

    previous  the `out` folder of the earlier session, with the same subfolders, or None
    Returns the number of files copied. Raises ArchiveError for another folder, such as a misspelt one or one that contains it.
    """
    if previous is None:
        return 0
    source, copied = Path(previous), 0
    if not _is_session(source):
        inside = [str(folder) for folder in sorted(source.rglob("*")) if folder.is_dir() and _is_session(folder)]
        found = ", ".join(inside[:3]) if inside else "a folder without them" if source.is_dir() else "no such folder"
        raise ArchiveError(source, "the `out` folder of an earlier session, with fits, light curves or weights", found, "Check `previous`.")
    for path in sorted(source.rglob("*.safetensors")):
        target = Path(out) / path.relative_to(source)
        if not target.exists():
            with atomic_path(target) as temporary:
                shutil.copyfile(path, temporary)
            copied += 1
    return copied


def _is_session(folder: Path) -> bool:
    """Whether a folder holds what a training keeps in `out`."""
    return any(path.is_file() for pattern in SESSION for path in folder.glob(pattern))
