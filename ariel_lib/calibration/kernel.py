"""Compiled calibration of pixel time series: from counts to sums over pixels, without a cube of floats.

Each function does for time series (pixel, time), as the files store them, what the steps of pipeline.py do for frames. Plain
arrays in and out. Symbols: Q(S) = Σ cₙ Sⁿ is the linearity polynomial of a read S; charge = Q(end) − Q(start) of a pair.
"""

import numpy as np

from ariel_lib.execution.compilation import compiled

SPAN = 1024  # samples processed at a time, so that accumulators stay in the L1 cache
RUN = 32  # pixels summed in float32 before conversion to float64: longer sums round at 1e-6 of a photometer's flux
TRACKS = 256  # medians computed together, so that their samples stay in the L1 cache
FULL_SCALE = 65535


@compiled(nogil=True, fastmath={"contract", "reassoc"})
def pixel_statistics(counts, gain, offset, linearity, read_variance, dark_rate, flat, ramp, step, limit):
    """Mean, propagated variance, scatter in time and number of saturated samples over every step-th sample: four arrays (pixel,).

    counts         (pixel, read)   uint16, an even number of reads
    linearity      (pixel, order)  six ascending powers
    read_variance  (pixel,)        electrons², of one read
    dark_rate      (pixel,)        electrons / s
    flat           (pixel,)
    ramp           (sample,)       time between the two reads, s
    limit          steps between samples are clipped at this many standard deviations
    """
    pixels, chosen = counts.shape[0], (counts.shape[1] // 2 + step - 1) // step
    mean, variance, scatter = np.zeros(pixels), np.zeros(pixels), np.zeros(pixels)
    masked = np.zeros(pixels, np.int64)
    few, length = np.empty(2 * chosen, np.uint16), ramp[::step].copy()
    charge, slopes, signal, noise = np.empty(chosen), np.empty(chosen), np.empty(chosen), np.empty(chosen)
    for p in range(pixels):
        pairs, picked = counts[p].view(np.uint32), few.view(np.uint32)
        for t in range(chosen):
            picked[t] = pairs[t * step]
        _linearise(few, 1 / gain, offset, linearity[p], charge, slopes)
        for t in range(chosen):
            poisson = charge[t] if charge[t] > 0 else 0.0
            signal[t] = (charge[t] - dark_rate[p] * length[t]) / flat[p]
            noise[t] = (poisson + read_variance[p] * slopes[t]) / flat[p] ** 2
        weight = np.ones(chosen)
        if _saturated(few):
            for t in range(chosen):
                if few[2 * t] == FULL_SCALE or few[2 * t + 1] == FULL_SCALE:
                    weight[t] = 0
                    masked[p] += 1
        total, spread, steps = 0.0, 0.0, 0.0
        for t in range(chosen):
            total += weight[t] * signal[t]
            spread += weight[t] * noise[t]
        for t in range(1, chosen):
            square = (signal[t] - signal[t - 1]) ** 2
            most = limit**2 * (noise[t] + noise[t - 1])
            steps += weight[t] * weight[t - 1] * (square if square < most else most)
        good = max(chosen - masked[p], 1)
        mean[p], variance[p], scatter[p] = total / good, spread / good, steps / (2 * max(chosen - 1, 1))
    return mean, variance, scatter, masked


@compiled(nogil=True, fastmath={"contract"})
def reduce(
    counts, order, groups, gain, offset, linearity, read_variance, weights, plane, in_background, curves, sums, mask, background_mask
):
    """Add weighted charge and variances of pixels to the light curves of their groups, in place.

    counts           (pixel, read)        uint16, an even number of reads
    order            (number,)            indices of the pixels to add, sorted by group; others are left out
    groups           (pixel,)             light curve to which the pixel contributes
    linearity        (pixel, order)       float32, six ascending powers
    read_variance    (pixel,)             float32, electrons² of one read
    weights          (pixel,)             float32, weights w of the charge in the flux, divided by the flat field
    plane            (pixel, estimator)   float32, weights of the charge in sums over all pixels: centroid and background
    in_background    (pixel,)             bool: the pixel is used for the background
    curves           (3, group, sample)   float64: Σ w charge, Σ w² max(charge, 0), Σ w² read variance
    sums             (estimator, sample)  float64
    mask             (group, sample)      bool: a pixel of the flux was saturated
    background_mask  (sample,)            bool: a pixel of the background was saturated
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
                            background_mask[first + t] |= in_background[p]
                i += 1
            for k in range(3):
                for t in range(n):
                    curves[k, group, first + t] += part[k, t]
            for e in range(len(sums)):
                for t in range(n):
                    sums[e, first + t] += part_sums[e, t]


@compiled(nogil=True, fastmath={"contract"})
def _add_light(charge, slopes, weight, read_variance, part, n):
    square = weight * weight
    noise = square * read_variance
    for t in range(n):
        part[0, t] += weight * charge[t]
        part[1, t] += square * max(charge[t], np.float32(0))
        part[2, t] += noise * slopes[t]


@compiled(nogil=True, fastmath={"contract"})
def _add_sums(charge, weights, part, n):
    for e in range(len(weights)):
        weight = weights[e]
        if weight != 0:
            for t in range(n):
                part[e, t] += weight * charge[t]


@compiled(nogil=True, fastmath={"contract"})
def _linearise(counts, scale, shift, c, charge, slopes):
    """Charge Q(end) − Q(start) and sum of squared slopes Q′(start)² + Q′(end)² of each pair of reads, in place."""
    c0, c1, c2, c3, c4, c5 = c[0], c[1], c[2], c[3], c[4], c[5]
    two, three, four, five = np.float32(2) * c2, np.float32(3) * c3, np.float32(4) * c4, np.float32(5) * c5
    pairs = counts.view(np.uint32)  # both reads of a pair in one load, the first in the lower half
    for t in range(pairs.size):
        a = np.float32(np.int32(pairs[t] & np.uint32(0xFFFF))) * scale + shift
        b = np.float32(np.int32(pairs[t] >> np.uint32(16))) * scale + shift
        qa = ((((c5 * a + c4) * a + c3) * a + c2) * a + c1) * a + c0
        qb = ((((c5 * b + c4) * b + c3) * b + c2) * b + c1) * b + c0
        da = (((five * a + four) * a + three) * a + two) * a + c1
        db = (((five * b + four) * b + three) * b + two) * b + c1
        charge[t] = qb - qa
        slopes[t] = da * da + db * db


@compiled(nogil=True)
def _saturated(counts):
    largest = np.uint16(0)
    for count in counts:
        largest = max(largest, count)
    return largest == FULL_SCALE


@compiled(nogil=True)
def running_median(values, window):
    """Running median over window samples (odd, at least 3) along the first axis of finite values (time, series), ends repeated.

    Forgetful selection: the smallest and the largest of half the window plus two samples cannot be the median; they are
    dropped, the next sample is added, and so on. Free of branches, TRACKS medians at a time.
    """
    samples, series, half = len(values), values.shape[1], window // 2
    padded = np.empty((samples + 2 * half, series), values.dtype)
    padded[half : half + samples] = values
    for k in range(half):
        padded[k], padded[half + samples + k] = values[0], values[-1]
    source, median = padded.reshape(-1), np.empty(samples * series, values.dtype)
    kept = np.empty((half + 2, TRACKS), values.dtype)
    for first in range(0, len(median), TRACKS):
        n = min(TRACKS, len(median) - first)
        for k in range(half + 2):
            kept[k, :n] = source[first + k * series : first + k * series + n]
        coming = half + 2
        for last in range(half + 1, 1, -1):
            for k in range(last):
                _order(kept[k, :n], kept[last, :n])
            for k in range(1, last):
                _order(kept[0, :n], kept[k, :n])
            if coming < window:
                kept[0, :n] = source[first + coming * series : first + coming * series + n]
                coming += 1
        median[first : first + n] = kept[1, :n]
    return median.reshape(values.shape)


@compiled(nogil=True)
def _order(lower, upper):
    for t in range(len(lower)):
        a, b = lower[t], upper[t]
        lower[t] = a if a < b else b
        upper[t] = b if a < b else a
