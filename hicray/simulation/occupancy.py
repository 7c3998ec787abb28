"""A track as an experiment would measure it: where the planted motif is occupied, with noise.

What the motif says of a map is then in the track too, but for the strand that it lies on: peaks
have none.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pybigtools
from jaxtyping import Float64

from hicray.io.storage import replaced
from hicray.simulation.simulate import Simulation, chromsizes

STEP_BASES = 8
"""Bases of one value of the file."""
_PEAK_BASES, _PEAK, _BACKGROUND = 40.0, 20.0, 1.0
"""Width (one deviation) and height of a peak, and the mean of the noise, which is exponential."""


def write_occupancy(simulation: Simulation, path: Path, seed: int = 0) -> Path:
    """Write the motif's occupancy as a bigWig; return its path.

    Args:
        simulation: Finished; one whose structure is not in the DNA has peaks nowhere.
        path: Of the file, a .bw.
        seed: Of the noise.
    """
    sizes = chromsizes(simulation.config)
    rng = np.random.default_rng(seed)
    with replaced(path) as unfinished:
        # The ending tells the kind of file.
        named = unfinished.with_suffix(".bw")
        pybigtools.open(str(named), "w").write(sizes, _values(simulation, sizes, rng))
        named.rename(unfinished)
    return path


def _values(
    simulation: Simulation, sizes: dict[str, int], rng: np.random.Generator
) -> Iterator[tuple[str, int, int, float]]:
    motifs = simulation.motifs()
    for chrom, length in sizes.items():
        starts = np.arange(0, length, STEP_BASES)
        own = motifs[motifs["chrom"] == chrom]
        signal = _signal(starts, own[["start", "end"]].to_numpy(float).mean(axis=1))
        signal += rng.exponential(_BACKGROUND, len(starts))
        for start, value in zip(starts.tolist(), signal.tolist(), strict=True):
            yield chrom, start, min(start + STEP_BASES, length), value


def _signal(
    starts: np.ndarray, centres: Float64[np.ndarray, " motifs"]
) -> Float64[np.ndarray, " steps"]:
    """Return a peak at each motif."""
    signal = np.zeros(len(starts))
    for centre in centres:
        signal += _PEAK * np.exp(-0.5 * ((starts - centre) / _PEAK_BASES) ** 2)
    return signal
