"""Errors of the library. Each message says what was expected, what was found and what to do.

The command line prints them in one line and exits with code 2; any other exception is a defect and keeps its traceback.
"""

from pathlib import Path


class SpectraMindError(ValueError):
    """Base of all errors of the library: invalid input, or a missing optional package.

    >>> from ariel_lib import Dataset, SpectraMindError
    >>> try:
    ...     Dataset(folder, split="validation")
    ... except SpectraMindError as error:
    ...     print(error)
    split: expected one of train, test, found 'validation'
    """


class ArchiveError(SpectraMindError):
    """A file of a data set is missing or malformed; the message names it, what was expected and what was found."""

    def __init__(self, path: Path | str, expected: str, found: str, hint: str = ""):
        super().__init__(f"{path}: expected {expected}, found {found}." + (f" {hint}" if hint else ""))
        self.path = str(path)

    def __reduce__(self) -> tuple:
        return (_rebuild_error, (self.path, str(self)))


def _rebuild_error(path: str, message: str) -> ArchiveError:
    error = ArchiveError.__new__(ArchiveError)
    ValueError.__init__(error, message)
    error.path = path
    return error
