"""Fixtures of the calibration tests: small detectors."""

import numpy as np
import pytest

from ariel_lib.calibration import pipeline
from ariel_lib.instrument import Instrument

SPECTROMETER = Instrument("small spectrometer", 16, 24, (3, 21), 4.4, 4.8, (4, 12), ((0, 4), (12, 16)))
PHOTOMETER = Instrument("small photometer", 16, 16, None, 0.1, 0.4, (3, 13), ((0, 2), (14, 16)))


@pytest.fixture(scope="module", autouse=True)
def built_in_steps():
    """FRAME_STEPS is empty: the simulator makes, and the compiled form corrects, what the built-in steps undo and no more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "FRAME_STEPS", ())
        yield


@pytest.fixture(scope="session")
def data(small_frames):
    return small_frames


@pytest.fixture(params=[SPECTROMETER, PHOTOMETER], ids=["spectrometer", "photometer"])
def instrument(request) -> Instrument:
    return request.param


@pytest.fixture
def spectrometer() -> Instrument:
    return SPECTROMETER


@pytest.fixture
def photometer() -> Instrument:
    return PHOTOMETER


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)
