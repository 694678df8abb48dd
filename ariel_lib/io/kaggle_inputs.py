"""Inputs of a Kaggle session, located by a file in them, because the names of the mounted folders differ.

Known forms: /kaggle/input/<slug>, /kaggle/input/datasets/<owner>/<slug>, /kaggle/input/competitions/<slug>.
"""

import shutil
from pathlib import Path

from ariel_lib.errors import ArchiveError
from ariel_lib.io.storage import atomic_path

MOUNT = "/kaggle/input"
DEPTH = 4  # levels of folders searched below the mount, enough for the tables of a competition


def find_input(marker: str, *, under: Path | str = MOUNT) -> Path:
    """The folder of least depth that contains a file named `marker`, the first by name of several. Raises ArchiveError."""
    level = [Path(under)]
    for _ in range(DEPTH):
        for folder in level:
            if (folder / marker).is_file():
                return folder
        level = [child for folder in level if folder.is_dir() for child in sorted(folder.iterdir()) if child.is_dir()]
    raise ArchiveError(
        Path(under), f"an input that contains {marker}", "none", "Attach it to the notebook or give its path."
    )


def take_up_session(previous: Path | str | None, out: Path | str) -> int:
    """Copy the safetensors files of an earlier session (its output, attached as an input) that are missing in `out`.

    previous  folder of the earlier session, or None
    Returns the number of files copied.
    """
    if previous is None:
        return 0
    source, copied = Path(previous), 0
    for path in sorted(source.rglob("*.safetensors")):
        target = Path(out) / path.relative_to(source)
        if not target.exists():
            with atomic_path(target) as temporary:
                shutil.copyfile(path, temporary)
            copied += 1
    return copied
