"""models.threads: torch and BLAS have the given number of threads within the context, and their own again after it."""

from pathlib import Path

import pytest
import torch
from threadpoolctl import threadpool_info

import ariel_lib
from ariel_lib.models.threads import threads

PACKAGE = Path(ariel_lib.__file__).parent


def counts() -> tuple[int, list[int]]:
    return torch.get_num_threads(), [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_the_number_holds_within_the_context_and_is_restored_even_after_an_error():
    before = counts()
    other = 1 if before[0] > 1 else 2
    with pytest.raises(KeyError), threads(other):
        assert torch.get_num_threads() == other and set(counts()[1]) == {other}
        raise KeyError
    assert counts() == before


def test_torchs_threads_are_set_nowhere_else():
    setting = [path for path in PACKAGE.rglob("*.py") if "set_num_threads" in path.read_text(encoding="utf-8")]
    assert setting == [PACKAGE / "models" / "threads.py"]
