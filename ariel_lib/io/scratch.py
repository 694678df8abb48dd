"""The scratch folder of a session: light curves and fits that a run needs, and its output does not."""

import hashlib
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from ariel_lib.errors import SpectraMindError


def session_scratch(out: Path | str) -> Path:
    """A folder among the system's temporary files (TMPDIR), made if missing: the same for the same output file and user.

    A run that was killed finds there, with the same `out` on the same machine, what it had made; a run that is done calls
    `remove_scratch`. Only the user can read it. Raises SpectraMindError where something else has its name.
    """
    folder, user = _folder(out), _user()
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != user:
        raise SpectraMindError(f"{folder}: expected a folder of this user, found another's. Name a folder with `scratch`.")
    return folder


def remove_scratch(out: Path | str) -> None:
    """Remove the folder that `session_scratch` made for an output file; nothing where there is none."""
    shutil.rmtree(_folder(out), ignore_errors=True)


def _folder(out: Path | str) -> Path:
    name = hashlib.sha256(os.fsencode(Path(out).resolve())).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"spectramind-{_user()}-{name}"


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0  # Windows has a folder of temporary files for each user
