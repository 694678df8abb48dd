"""The arithmetic of calibration for whole pixels at a time, compiled: from counts to sums, no float cube in between.

Each function does for the time series of a set of pixels, (pixel, time) as the files store them, what the composed steps
do for frames. Plain numbers in, plain arrays out; knows neither files nor plans. Symbols: Q(S) = Σ cₙ Sⁿ linearises a
read S, charge = Q(end) − Q(start) of a pair.
"""

import numpy as np
from numba import njit

SPAN = 1024  # samples worked on at a time: what is accumulated then stays in the processor's first cache
RUN = 32  # pixels added in float32 before the sum goes to float64: more would round at 1e-6 of a photometer's light
FULL_SCALE = 65535


@njit(cache=True, nogil=True, fastmath={"contract"})
def survey(counts, gain, offset, linearity, read_variance, dark_rate, flat, ramp, step, limit):
    """Mean, propagated variance, scatter in time and number of saturated ones of every `step`-th sample: four (pixel,).

    counts         (pixel, read)   uint16, an even number of reads
    linearity      (pixel, order)  ascending powers
    read_variance  (pixel,)        electrons², of one read
    dark_rate      (pixel,)        electrons / s
    flat           (pixel,)
    ramp           (sample,)       s between the two reads
    limit          a larger step between samples counts as this many standard deviations
    """
    pixels, samples = counts.shape[0], counts.shape[1] // 2
    mean, variance, scatter = np.zeros(pixels), np.zeros(pixels), np.zeros(pixels)
    masked = np.zeros(pixels, np.int64)
    chosen = (samples + step - 1) // step
    for p in range(pixels):
        c = linearity[p]
        last_signal, last_variance, last_masked = 0.0, 0.0, True
        for t in range(0, samples, step):
            start, end = counts[p, 2 * t], counts[p, 2 * t + 1]
            now_masked = start == FULL_SCALE or end == FULL_SCALE
            s0, s1 = start / gain + offset, end / gain + offset
            q0, d0, q1, d1 = c[-1], 0.0, c[-1], 0.0
            for k in range(c.size - 2, -1, -1):
                d0, d1 = d0 * s0 + q0, d1 * s1 + q1
                q0, q1 = q0 * s0 + c[k], q1 * s1 + c[k]
            charge = q1 - q0
            signal = (charge - dark_rate[p] * ramp[t]) / flat[p]
            noise = (max(charge, 0.0) + read_variance[p] * (d0 * d0 + d1 * d1)) / flat[p] ** 2
            if now_masked:
                masked[p] += 1
            else:
                mean[p] += signal
                variance[p] += noise
                if not last_masked:
                    scatter[p] += min((signal - last_signal) ** 2, limit**2 * (noise + last_variance))
            last_signal, last_variance, last_masked = signal, noise, now_masked
        good = max(chosen - masked[p], 1)
        mean[p] /= good
        variance[p] /= good
        scatter[p] /= 2 * max(chosen - 1, 1)
    return mean, variance, scatter, masked


@njit(cache=True, nogil=True, fastmath={"contract"})
def reduce(counts, order, groups, gain, offset, linearity, read_variance, weights, plane, beside, curves, sums, mask, lost):
    """Add the pixels' weighted charge and variances to the light curves of their groups, in place.

    counts         (pixel, read)       uint16, an even number of reads
    order          (number,)           pixels to add, those of a group one after another; the others are left out
    groups         (pixel,)            which light curve the pixel adds to
    linearity      (pixel, order)      float32, six ascending powers
    read_variance  (pixel,)            float32, electrons² of one read
    weights        (pixel,)            float32, of the charge in the flux (flat divided in)
    plane          (pixel, estimator)  float32, of the charge in sums over all pixels: centroid and background
    beside         (pixel,)            bool: the background needs this pixel
    curves         (3, group, sample)  float64: Σ w charge, Σ w² charge⁺, Σ w² read variance
    sums           (estimator, sample) float64
    mask, lost     (group, sample), (sample,)  bool: a pixel of the flux, or of the background, was saturated
    """
    samples = counts.shape[1] // 2
    scale, shift = np.float32(1 / gain), np.float32(offset)
    charge, slopes = np.empty(SPAN, np.float32), np.empty(SPAN, np.float32)
    part = np.empty((3, SPAN), np.float32)
    part_sums = np.empty((len(sums), SPAN), np.float32)
    for first in range(0, samples, SPAN):
        n = min(SPAN, samples - first)
        i = 0
        while i < len(order):
            group, end = groups[order[i]], min(i + RUN, len(order))
            part[:, :] = 0
            part_sums[:, :] = 0
            while i < end and groups[order[i]] == group:
                p = order[i]
                reads = counts[p, 2 * first : 2 * (first + n)]
                _linearise(reads, scale, shift, linearity[p], charge, slopes)
                if weights[p] != 0:
                    _add_light(charge, slopes, weights[p], read_variance[p], part, n)
                _add_sums(charge, plane[p], part_sums, n)
                if _saturated(reads):
                    for t in range(n):
                        if reads[2 * t] == FULL_SCALE or reads[2 * t + 1] == FULL_SCALE:
                            mask[group, first + t] |= weights[p] != 0
                            lost[first + t] |= beside[p]
                i += 1
            for k in range(3):
                for t in range(n):
                    curves[k, group, first + t] += part[k, t]
            for e in range(len(sums)):
                for t in range(n):
                    sums[e, first + t] += part_sums[e, t]


@njit(cache=True, nogil=True, fastmath={"contract"})
def _add_light(charge, slopes, weight, read_variance, part, n):
    square = weight * weight
    noise = square * read_variance
    for t in range(n):
        part[0, t] += weight * charge[t]
        part[1, t] += square * max(charge[t], np.float32(0))
        part[2, t] += noise * slopes[t]


@njit(cache=True, nogil=True, fastmath={"contract"})
def _add_sums(charge, weights, part, n):
    for e in range(len(weights)):
        weight = weights[e]
        if weight != 0:
            for t in range(n):
                part[e, t] += weight * charge[t]


@njit(cache=True, nogil=True, fastmath={"contract"})
def _linearise(counts, scale, shift, c, charge, slopes):
    """charge Q(end) − Q(start) and the sum of squared slopes Q′(start)² + Q′(end)² of each pair of reads."""
    c0, c1, c2, c3, c4, c5 = c[0], c[1], c[2], c[3], c[4], c[5]
    two, three, four, five = np.float32(2) * c2, np.float32(3) * c3, np.float32(4) * c4, np.float32(5) * c5
    pairs = counts.view(np.uint32)  # two reads at once, the first in the lower half: loads that a processor likes
    for t in range(pairs.size):
        a = np.float32(np.int32(pairs[t] & np.uint32(0xFFFF))) * scale + shift
        b = np.float32(np.int32(pairs[t] >> np.uint32(16))) * scale + shift
        qa = ((((c5 * a + c4) * a + c3) * a + c2) * a + c1) * a + c0
        qb = ((((c5 * b + c4) * b + c3) * b + c2) * b + c1) * b + c0
        da = (((five * a + four) * a + three) * a + two) * a + c1
        db = (((five * b + four) * b + three) * b + two) * b + c1
        charge[t] = qb - qa
        slopes[t] = da * da + db * db


@njit(cache=True, nogil=True)
def _saturated(counts):
    largest = np.uint16(0)
    for count in counts:
        largest = max(largest, count)
    return largest == FULL_SCALE


@njit(cache=True, nogil=True)
def running_median(values, window):
    """Median of the `window` (odd) samples around each, the ends repeated: along the first axis of (time, series).

    values must be finite: NaN has no place in the order that is kept.
    """
    samples, half = len(values), window // 2
    median = np.empty_like(values)
    ordered = np.empty(window, values.dtype)
    for series in range(values.shape[1]):
        for k in range(window):
            ordered[k] = values[min(max(k - half, 0), samples - 1), series]
        ordered.sort()
        median[0, series] = ordered[half]
        for t in range(1, samples):
            leaving = values[max(t - 1 - half, 0), series]
            entering = values[min(t + half, samples - 1), series]
            k = 0
            while ordered[k] != leaving:
                k += 1
            while k + 1 < window and ordered[k + 1] < entering:
                ordered[k] = ordered[k + 1]
                k += 1
            while k > 0 and ordered[k - 1] > entering:
                ordered[k] = ordered[k - 1]
                k -= 1
            ordered[k] = entering
            median[t, series] = ordered[half]
    return median
