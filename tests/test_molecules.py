"""ariel_lib.molecules: opacities against wavelength."""

import numpy as np
import pytest

from ariel_lib.instrument import spectrum_wavelengths
from ariel_lib.molecules import MOLECULES, cross_section

WAVELENGTH = spectrum_wavelengths()


@pytest.mark.parametrize(
    ("molecule", "peak"), [("H2O", 2.6), ("CO2", 2.75), ("CH4", 3.31), ("CO", 2.35), ("NH3", 2.98)]
)
def test_cross_section_peaks_at_the_molecules_band(molecule, peak):
    found = WAVELENGTH[np.argmax(cross_section(molecule, WAVELENGTH))]
    assert found == pytest.approx(peak, abs=0.1)


@pytest.mark.parametrize("name", MOLECULES)
def test_the_windows_of_a_molecule_lie_in_the_spectrum_around_its_own_bands(name):
    """A window without bins or without a band of the molecule joins nothing, as that of SO2 did beyond the last bin."""
    molecule, airs = MOLECULES[name], WAVELENGTH[1:]
    for low, high in molecule.windows:
        assert ((airs >= low) & (airs <= high)).sum() >= 4  # fewer bins make no pair three steps apart
        assert any(low < centre < high for _, centre, _ in molecule.bands)
    assert bool(molecule.windows) == any(centre <= airs.max() for _, centre, _ in molecule.bands)
