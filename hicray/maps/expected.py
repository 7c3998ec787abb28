"""The expected curve: mean contacts by separation, smooth in log separation, for every use.

A curve is multiplied into whole maps, so the noise of one separation, or one odd pixel on it,
would stand in every window as a line along the diagonal.
"""

from functools import cache

import numpy as np
from jaxtyping import Float64, Num

Curve = Float64[np.ndarray, " separations"]

SIGMA = 0.1
"""Standard deviation of the Gaussian kernel in log10 separation: that of cooltools."""
_REACH = 4 * SIGMA
_STEP = SIGMA / 10
"""Curves are fitted at points this close in log10, and interpolated in between."""
_STEEPEST = 20.0
"""Bound of a fitted power, for ends where all contacts lie on one separation."""


def smoothed(
    contacts: Num[np.ndarray, " separations"], pixels: Num[np.ndarray, " separations"]
) -> Curve:
    """Return the mean contacts of a pixel by separation, smoothed; NaN where no pixel is.

    Around each separation a power law is fitted by Poisson likelihood: contacts on the logarithm
    of separation, pixels as exposure, a Gaussian kernel. So a power law is returned exactly, even
    where it is steep, and the depth of a map scales its curve. Separation 0 keeps its own mean.

    Args:
        contacts: Sums over usable pixels, from separation 0 up.
        pixels: How many they are.
    """
    contacts, pixels = contacts.astype(np.float64), pixels.astype(np.float64)
    curve = np.full(len(contacts), np.nan)
    np.divide(contacts, pixels, out=curve, where=pixels > 0)
    if len(curve) > 2:
        at, apart, kernel = _geometry(len(curve))
        fitted = _fit(kernel * contacts[1:], kernel * pixels[1:], apart)
        with np.errstate(divide="ignore"):
            logs = np.log(fitted).clip(min=-700)  # zeros stay below 1e-300
        between = np.exp(np.interp(np.log(np.arange(1, len(curve))), np.log(at), logs))
        curve[1:] = np.where(pixels[1:] > 0, np.where(between > 1e-300, between, 0.0), np.nan)
    return curve


@cache
def _geometry(
    separations: int,
) -> tuple[
    Float64[np.ndarray, " points"],
    Float64[np.ndarray, "points observed"],
    Float64[np.ndarray, "points observed"],
]:
    """Return where curves are fitted, and from there each separation's log distance and weight."""
    last = np.log10(separations - 1)
    steps = np.append(10 ** np.arange(0, last, _STEP), separations - 1)
    # Near the diagonal several steps fall on one separation, which is fitted once.
    at = np.unique(np.rint(steps))
    apart = np.log10(np.arange(1, separations)) - np.log10(at)[:, None]
    kernel = np.where(np.abs(apart) <= _REACH, np.exp(-0.5 * (apart / SIGMA) ** 2), 0.0)
    # The kernel is Gaussian in log10, as cooltools' is; powers are fitted in natural logarithms.
    return at, apart * np.log(10), kernel


def _fit(
    contacts: Float64[np.ndarray, "points observed"],
    pixels: Float64[np.ndarray, "points observed"],
    apart: Float64[np.ndarray, "points observed"],
) -> Float64[np.ndarray, " points"]:
    """Return the height of the local power law at each point; 0 where there is no contact.

    With the height that is best for a power, the likelihood is concave in the power alone: its
    slope there is the contacts' mean log distance less the one that the power predicts.
    """
    total = contacts.sum(axis=1)
    fitted = np.flatnonzero((total > 0) & (pixels.sum(axis=1) > 0))
    total, pixels, apart = total[fitted], pixels[fitted], apart[fitted]
    centre = (contacts[fitted] * apart).sum(axis=1) / total
    # The best power lies between low and high. -1: contacts fall about as 1 / separation.
    low, high = np.full((2, len(fitted)), [[-_STEEPEST], [_STEEPEST]])
    power = np.full(len(fitted), -1.0)
    for _ in range(100):
        predicted = pixels * np.exp(power[:, None] * apart)
        share = predicted / predicted.sum(axis=1, keepdims=True)
        mean = (share * apart).sum(axis=1)
        variance = (share * apart**2).sum(axis=1) - mean**2
        low, high = np.where(centre > mean, power, low), np.where(centre > mean, high, power)
        newton = power + (centre - mean) / variance.clip(min=1e-9)
        # A Newton step out of (low, high) would be no progress: bisect instead.
        step = np.where((newton > low) & (newton < high), newton, (low + high) / 2) - power
        power += step
        if np.abs(step).max(initial=0) < 1e-12:
            break
    height = np.zeros(len(contacts))
    height[fitted] = total / (pixels * np.exp(power[:, None] * apart)).sum(axis=1)
    return height
