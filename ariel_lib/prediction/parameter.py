"""A number with its standard deviation, and what turns arrays into quantities and tables of astropy, which is an extra."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ariel_lib.errors import SpectraMindError

if TYPE_CHECKING:
    from astropy.table import Table
    from astropy.units import Quantity

NEEDS_ASTROPY = "quantities and tables: expected astropy, found none installed. pip install 'spectramind[export]' adds it; arrays need none"
FIXED_BELOW = 1e-6  # standard deviation of a parameter that was given and not fitted


@dataclass(frozen=True)
class Parameter:
    """A fitted number.

    value, sigma  the number and its standard deviation
    unit          of both, by astropy's name: 'h', or '' for a pure number

    `quantity` and `sigma_quantity` are astropy quantities; they raise SpectraMindError where astropy is not installed.

    >>> from ariel_lib import Parameter
    >>> mid_transit = Parameter(3.7012, 0.0034, "h")
    >>> print(mid_transit)
    3.7012 ± 0.0034 h
    >>> mid_transit.quantity.to("min").round(2)
    <Quantity 222.07 min>
    """

    value: float
    sigma: float
    unit: str = ""

    @property
    def quantity(self) -> "Quantity":
        """The value with its unit."""
        return make_quantity(self.value, self.unit)

    @property
    def sigma_quantity(self) -> "Quantity":
        """The standard deviation with its unit."""
        return make_quantity(self.sigma, self.unit)

    def __str__(self) -> str:
        if self.sigma < FIXED_BELOW:
            number = f"{self.value:.6g} (fixed)"
        elif not math.isfinite(self.sigma):
            number = f"{self.value:.6g} ± {self.sigma}"
        else:
            decimals = max(0, 1 - math.floor(math.log10(self.sigma)))
            number = f"{self.value:.{decimals}f} ± {self.sigma:.{decimals}f}"
        return f"{number} {self.unit}".strip()


def make_quantity(values: np.ndarray | float, unit: str) -> "Quantity":
    """Values in a unit of astropy's name. Raises SpectraMindError without astropy."""
    try:
        from astropy import units
    except ModuleNotFoundError as error:
        raise SpectraMindError(NEEDS_ASTROPY) from error
    return units.Quantity(values, units.Unit(unit))


def make_table(columns: Mapping[str, np.ndarray], units: Mapping[str, str], meta: Mapping[str, object]) -> "Table":
    """Columns of one length as an astropy table, those that `units` names as quantities. Raises SpectraMindError without astropy."""
    try:
        from astropy.table import QTable
    except ModuleNotFoundError as error:
        raise SpectraMindError(NEEDS_ASTROPY) from error
    named = {name: make_quantity(values, units[name]) if name in units else values for name, values in columns.items()}
    return QTable(named, meta=dict(meta))
