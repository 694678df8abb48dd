"""Functions compiled by numba, whose machine code is kept on disk between processes where a folder for it can be written.

numba keeps it beside the source, else under the user's home; NUMBA_CACHE_DIR names another folder. In a read-only installation without
a usable home there is no such folder, and each process compiles anew.
"""

import logging
from collections.abc import Callable
from functools import cache
from typing import TypeVar

import numba

F = TypeVar("F", bound=Callable)
logger = logging.getLogger(__name__)


def compiled(**options: object) -> Callable[[F], F]:
    """Decorator: numba.njit with these options, with a cache on disk if possible."""

    def compile_with_cache(function: F) -> F:
        try:
            return numba.njit(cache=True, **options)(function)
        except (RuntimeError, OSError) as error:  # "cannot cache function 'f': no locator available for file 'path'", or a vanished folder
            _warn(str(error).partition(": ")[2].partition(" for file")[0] or str(error))
            return numba.njit(**options)(function)

    return compile_with_cache


@cache  # one line for all functions of a process
def _warn(reason: str) -> None:
    logger.warning("compiled code is not kept on disk, each process compiles anew: %s. NUMBA_CACHE_DIR=FOLDER names a folder.", reason)
