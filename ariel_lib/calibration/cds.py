"""Correlated double sampling (CDS): reads come in pairs on one ramp, and a sample is the second minus the first."""

import numpy as np

from ariel_lib.calibration.frames import Frames


def difference_reads(frames: Frames) -> Frames:
    """Second minus first read of each pair; an unpaired last read is dropped.

    Charge collected before the first read is in both, so the Poisson variance is that of the charge between the reads (dark and
    background included), at least 0. Read noise of the two reads is independent; their variances add.

    frames   (time, row, column), reads, electrons
    returns  (time // 2, row, column), samples, electrons
    """
    pairs = len(frames) // 2 * 2
    start, end = frames.samples(slice(0, pairs, 2)), frames.samples(slice(1, pairs, 2))
    return Frames(
        end.signal - start.signal,
        np.maximum(end.variance_poisson - start.variance_poisson, 0),
        end.variance_read + start.variance_read,
        end.mask | start.mask,
    )


def sample_times(read_times: np.ndarray, integration_time: np.ndarray) -> np.ndarray:
    """Mid-times of the samples, h, (time // 2,): time stamp of the second read plus half of the ramp between the reads.

    read_times        (time,)  h, start of each read
    integration_time  (time,)  s since reset
    """
    pairs = len(read_times) // 2 * 2
    ramp = integration_time[1:pairs:2] - integration_time[:pairs:2]
    return read_times[1:pairs:2] + ramp / 2 / 3600
