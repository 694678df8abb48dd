"""Where a Kaggle session mounts its inputs: found by a file they hold, because the folder names differ.

Seen: /kaggle/input/<slug>, /kaggle/input/datasets/<owner>/<slug>, /kaggle/input/competitions/<slug>.
"""

import shutil
from pathlib import Path

from ariel_lib.errors import ArchiveError
from ariel_lib.io.storage import atomic_path

MOUNT = "/kaggle/input"
DEPTH = 4  # folders below the mount that are looked into: a competition's own planets lie deeper than its tables


def find_input(marker: str, *, under: Path | str = MOUNT) -> Path:
    """The shallowest folder that holds a file named marker, the first by name where several do. Raises ArchiveError."""
    level = [Path(under)]
    for _ in range(DEPTH):
        for folder in level:
            if (folder / marker).is_file():
                return folder
        level = [child for folder in level if folder.is_dir() for child in sorted(folder.iterdir()) if child.is_dir()]
    raise ArchiveError(
        Path(under), f"an input that holds {marker}", "none", "Attach it to the notebook or give its path."
    )


def take_up_session(previous: Path | str | None, out: Path | str) -> int:
    """Copy what an earlier session left (its output, attached as an input) to where this one works, but nothing that is
    there already. Returns the number of files; None: there was no earlier session."""
    if previous is None:
        return 0
    source, taken = Path(previous), 0
    for path in sorted(source.rglob("*.safetensors")):
        target = Path(out) / path.relative_to(source)
        if not target.exists():
            with atomic_path(target) as temporary:
                shutil.copyfile(path, temporary)
            taken += 1
    return taken
