"""ariel_lib.molecules: opacities against wavelength."""

import numpy as np
import pytest

from ariel_lib.instrument import spectrum_wavelengths
from ariel_lib.molecules import cross_section

WAVELENGTH = spectrum_wavelengths()


@pytest.mark.parametrize(
    ("molecule", "peak"), [("H2O", 2.6), ("CO2", 2.75), ("CH4", 3.31), ("CO", 2.35), ("NH3", 2.98)]
)
def test_cross_section_peaks_at_the_molecules_band(molecule, peak):
    found = WAVELENGTH[np.argmax(cross_section(molecule, WAVELENGTH))]
    assert found == pytest.approx(peak, abs=0.1)
