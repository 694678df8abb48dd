"""Inputs: selection, stacking, padding, consistency of shapes."""

import dataclasses

import pytest
import torch

from ariel_lib.models.inputs import Inputs


def make_inputs(planets, length, wavelengths=5, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    return Inputs(
        fgs1=draw(planets, length, 2),
        fgs1_mask=draw(planets, length) > 1,
        mean=draw(planets, wavelengths),
        sigma=draw(planets, wavelengths).exp(),
        nodes=draw(planets, wavelengths, 3),
        star=draw(planets, 4),
    )


def same(first, second):
    return all(torch.equal(getattr(first, f.name), getattr(second, f.name)) for f in dataclasses.fields(Inputs))


@pytest.mark.parametrize("index", [1, slice(1, 2), torch.tensor([1]), torch.tensor([False, True, False])])
def test_the_planet_axis_is_kept_for_every_kind_of_index(index):
    inputs = make_inputs(3, 6)
    assert len(inputs[index]) == 1
    assert same(inputs[index], inputs[1:2])


def test_stack_inverts_the_selection_of_planets():
    inputs = make_inputs(3, 6)
    assert same(Inputs.stack([inputs[i] for i in range(3)]), inputs)


def test_stack_pads_time_to_the_longest_and_masks_the_padding():
    short, long = make_inputs(1, 4, seed=1), make_inputs(1, 9, seed=2)
    stacked = Inputs.stack([short, long])
    assert stacked.fgs1.shape == (2, 9, 2)
    assert stacked.fgs1_mask[0, 4:].all()
    assert torch.equal(stacked.fgs1[:1, :4], short.fgs1)
    assert torch.equal(stacked.fgs1_mask[:1, :4], short.fgs1_mask)
    assert same(stacked[1], long)


def test_stack_of_no_planets_raises_an_error():
    with pytest.raises(ValueError, match="at least one"):
        Inputs.stack([])


def test_to_moves_every_field():
    moved = make_inputs(2, 3).to("meta")
    assert all(getattr(moved, field.name).device.type == "meta" for field in dataclasses.fields(Inputs))


def test_inconsistent_fields_raise_errors_that_name_them():
    inputs = make_inputs(2, 3)
    with pytest.raises(ValueError, match=r"sigma: expected 5 along wavelength as in other fields, found 4"):
        dataclasses.replace(inputs, sigma=inputs.sigma[:, :4])
    with pytest.raises(ValueError, match="star: expected the axes"):
        dataclasses.replace(inputs, star=inputs.star[0])
    with pytest.raises(ValueError, match=r"fgs1_mask: expected bool.*torch\.float32"):
        dataclasses.replace(inputs, fgs1_mask=inputs.fgs1_mask.float())
