"""execution.compilation: where no folder for compiled code can be written, functions are compiled all the same, with one warning."""

import os
import subprocess
import sys

# As in a read-only installation with a home that cannot be written: numba finds no folder, not even beside the source.
NOWHERE = {"NUMBA_CACHE_LOCATOR_CLASSES": "UserWideCacheLocator", "XDG_CACHE_HOME": os.devnull, "HOME": os.devnull}
USE = """
import ariel_lib.simulator.detector, ariel_lib.transit.occultation
import numpy as np
from ariel_lib.calibration.kernel import _saturated
print(_saturated(np.zeros(3, np.uint16)))
"""


def test_without_a_folder_for_compiled_code_functions_are_compiled_and_one_line_says_so():
    done = subprocess.run([sys.executable, "-c", USE], env=os.environ | NOWHERE, capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
    assert done.stderr.count("compiled code is not kept on disk") == 1 and "no locator available" in done.stderr
