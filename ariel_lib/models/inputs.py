"""What the network sees of a batch of planets: tensors, and nothing else.

It does not know how a light curve was reduced or a transit fitted: whoever builds `Inputs` does.
"""

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

    fgs1       (planet, time, channel)        FGS1 light curve and what travels with it, standardised
    fgs1_mask  (planet, time)                 bool, True where a sample is missing or padded
    mean       (planet, wavelength)           posterior mean of (Rp/Rs)² from transit fit and memory
    sigma      (planet, wavelength)           its standard deviation
    nodes      (planet, wavelength, feature)  standardised features of each wavelength
    star       (planet, star_feature)         standardised features of the star and the orbit
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
                raise SpectraMindError(f"Inputs.{name} has shape {shape}; expected the axes {axes}")
            for axis, size in zip(axes, shape, strict=True):
                if sizes.setdefault(axis, size) != size:
                    raise SpectraMindError(f"Inputs.{name} has {size} along {axis}, earlier fields have {sizes[axis]}")
        if self.fgs1_mask.dtype != torch.bool:
            raise SpectraMindError(f"Inputs.fgs1_mask is {self.fgs1_mask.dtype}; expected bool, True where unusable")

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, index: int | slice | Tensor) -> Inputs:
        """Some of the planets; the planet axis stays even for a single one."""
        if isinstance(index, int):
            index = torch.tensor([index], device=self.mean.device)
        return Inputs(*(getattr(self, field.name)[index] for field in fields(self)))

    def to(self, device: torch.device | str) -> Inputs:
        return Inputs(*(getattr(self, field.name).to(device) for field in fields(self)))

    @staticmethod
    def stack(planets: list[Inputs]) -> Inputs:
        """One batch of many; the light curves are padded at their end to the longest, and masked there."""
        if not planets:
            raise SpectraMindError("Inputs.stack needs at least one planet, found none")
        longest = max(planet.fgs1.shape[1] for planet in planets)
        padded = [pad_time(planet, longest) for planet in planets]
        return Inputs(*(torch.cat([getattr(planet, field.name) for planet in padded]) for field in fields(Inputs)))


def pad_time(inputs: Inputs, length: int) -> Inputs:
    """The same planets with `length` samples of light curve, the added ones zero and masked."""
    missing = length - inputs.fgs1.shape[1]
    fgs1 = torch.nn.functional.pad(inputs.fgs1, (0, 0, 0, missing))
    fgs1_mask = torch.nn.functional.pad(inputs.fgs1_mask, (0, missing), value=True)
    return Inputs(fgs1, fgs1_mask, inputs.mean, inputs.sigma, inputs.nodes, inputs.star)
