"""Where data lie that were looked for a level too high or too deep: hints for error messages, empty where nothing is found nearby."""

import re
from collections.abc import Callable
from pathlib import Path

from ariel_lib.io.layout import is_hidden, list_light_curves

DATA_TABLES = ("axis_info.parquet", "wavelengths.csv", "adc_info.csv", "train_adc_info.csv")  # by which a data set is recognised
MOST_FOLDERS = 20
SIGNAL = re.compile(r"(?:AIRS-CH0|FGS1)_signal(?:_(\d+))?\.parquet")


def hint_at_data(root: Path) -> str:
    """What to give in place of a root of a data set that is too high or too deep."""
    near = _find_near(root, lambda folder: any((folder / name).is_file() for name in DATA_TABLES))
    return f"The data set seems to be {near}: give that folder." if near else ""


def hint_at_light_curves(folder: Path, split: str) -> str:
    """What to give in place of a folder of light curves that is too high or too deep."""
    near = _find_near(folder, lambda folder: bool(list_light_curves(folder, split)))
    return f"There are some of this split under {near}: give that folder." if near else ""


def hint_at_signals(folder: Path) -> str:
    """Where signal files lie in a folder of this folder, which is not a planet's."""
    deeper = next((path.parent for path in sorted(folder.glob("*/*_signal*.parquet")) if SIGNAL.fullmatch(path.name)), None)
    return f"There are some in {deeper}: planets are folders of {folder.parent}." if deeper else ""


def _find_near(folder: Path, is_wanted: Callable[[Path], bool]) -> Path | None:
    """The first folder that is wanted, of up to two levels above and below; None where the folder itself is, or none."""
    folder = folder.resolve()
    near = [*folder.parents[:2], *(below := _folders(folder)), *(child for each in below for child in _folders(each))]
    return None if is_wanted(folder) else next(filter(is_wanted, near), None)


def _folders(folder: Path) -> list[Path]:
    """The first folders in a folder, by name, of which not many are looked at."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name))[:MOST_FOLDERS]
