"""Inputs of the network: tensors of a batch of planets. models.features builds them from light curves and transit fits."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ariel_lib.errors import SpectraMindError

AXES = {
    "fgs1": ("planet", "time", "channel"),
    "fgs1_mask": ("planet", "time"),
    "mean": ("planet", "wavelength"),
    "sigma": ("planet", "wavelength"),
    "nodes": ("planet", "wavelength", "feature"),
    "star": ("planet", "star_feature"),
}


@dataclass(frozen=True)
class Inputs:
    """A batch of planets.

    fgs1       (planet, time, channel)        FGS1 light curve with centroid and phase, standardised
    fgs1_mask  (planet, time)                 bool, True where a sample is missing or padded
    mean       (planet, wavelength)           initial estimate of (Rp/Rs)², from transit fit and spectral library
    sigma      (planet, wavelength)           its standard deviation
    nodes      (planet, wavelength, feature)  standardised features of each wavelength
    star       (planet, star_feature)         standardised features of star, orbit and fit

    Raises SpectraMindError for inconsistent shapes or a mask that is not bool.
    """

    fgs1: Tensor
    fgs1_mask: Tensor
    mean: Tensor
    sigma: Tensor
    nodes: Tensor
    star: Tensor

    def __post_init__(self):
        sizes: dict[str, int] = {}
        for name, axes in AXES.items():
            shape = tuple(getattr(self, name).shape)
            if len(shape) != len(axes):
                raise SpectraMindError(f"Inputs.{name}: expected the axes {axes}, found shape {shape}")
            for axis, size in zip(axes, shape, strict=True):
                if sizes.setdefault(axis, size) != size:
                    raise SpectraMindError(f"Inputs.{name}: expected {sizes[axis]} along {axis} as in other fields, found {size}")
        if self.fgs1_mask.dtype != torch.bool:
            raise SpectraMindError(f"Inputs.fgs1_mask: expected bool, True where unusable, found {self.fgs1_mask.dtype}")

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, index: int | slice | Tensor) -> Inputs:
        """Select planets; the planet axis is kept for a single one."""
        if isinstance(index, int):
            index = torch.tensor([index], device=self.mean.device)
        return Inputs(*(getattr(self, field.name)[index] for field in fields(self)))

    def to(self, device: torch.device | str) -> Inputs:
        """Copy to a device."""
        return Inputs(*(getattr(self, field.name).to(device) for field in fields(self)))

    @staticmethod
    def stack(planets: list[Inputs]) -> Inputs:
        """Concatenate batches; light curves are padded at the end to the longest and masked there."""
        if not planets:
            raise SpectraMindError("Inputs.stack: expected at least one planet, found none")
        longest = max(planet.fgs1.shape[1] for planet in planets)
        padded = [pad_time(planet, longest) for planet in planets]
        return Inputs(*(torch.cat([getattr(planet, field.name) for planet in padded]) for field in fields(Inputs)))


def pad_time(inputs: Inputs, length: int) -> Inputs:
    """Pad the light curves to length samples with zeros, masked."""
    missing = length - inputs.fgs1.shape[1]
    fgs1 = torch.nn.functional.pad(inputs.fgs1, (0, 0, 0, missing))
    fgs1_mask = torch.nn.functional.pad(inputs.fgs1_mask, (0, missing), value=True)
    return Inputs(fgs1, fgs1_mask, inputs.mean, inputs.sigma, inputs.nodes, inputs.star)
