"""Pixels to .cool and .mcool: maps that are summed and balanced here, and enhanced ones."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cooler
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float32, Float64

from hicray.io.storage import replaced
from hicray.maps.bins import num_bins
from hicray.maps.contacts import UNKNOWN, ContactMap

_CHUNK_PIXELS = 5_000_000
_CHUNK_ROWS = 2_000
"""Rows of a band whose pixels are a table at a time."""
_SCREEN_BINS = 256
"""Zooming out ends where the longest chromosome fits into one of HiGlass's tiles."""
_QUICK = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
"""Cooler's own level of 6 takes half as long again, and spares 4 % of a map of fractions."""
_LEAST_USABLE = 0.5
"""Share of its bins that a zoomed-out bin must have, or it is masked."""
_BALANCED = {
    "tol": 0.0,
    "min_nnz": 0,
    "min_count": 0,
    "mad_max": 0,
    "cis_only": True,
    "ignore_diags": 2,
    "converged": True,
    "var": 0.0,
    "divisive_weights": False,
}
"""What `cooler balance` says beside its weights, and cooltools asks for: nothing was filtered or
iterated here, and the first two separations are left out, as by cooler's default."""


def write_cool(
    path: Path, chromsizes: Mapping[str, int], bin_size: int, pixels: Iterable[pd.DataFrame]
) -> None:
    """Write a single-resolution .cool; ``pixels`` hold genome-wide bin ids, in order.

    Args:
        path: File to write.
        chromsizes: Length of each chromosome, in bp.
        bin_size: In bp.
        pixels: Tables of bin1_id, bin2_id (genome-wide) and count, in order.
    """
    bins = cooler.binnify(pd.Series(dict(chromsizes)), bin_size)
    cooler.create_cooler(str(path), bins, pixels, ordered=True, symmetric_upper=True)


def genome_wide(
    contacts: ContactMap, chrom_pixels: Mapping[str, Iterable[pd.DataFrame]]
) -> Iterator[pd.DataFrame]:
    """Turn pixels within each chromosome into pixels with genome-wide bin ids."""
    offset = 0
    for chrom in contacts.chromsizes:
        for table in chrom_pixels.get(chrom, ()):
            yield table.assign(bin1_id=table["bin1_id"] + offset, bin2_id=table["bin2_id"] + offset)
        offset += contacts.num_bins(chrom)


def write_levels(base: Path, out: Path, bin_sizes: Iterable[int]) -> None:
    """Sum a .cool of cis contacts into a balanced .mcool of the given bin sizes.

    Args:
        base: A .cool without contacts between chromosomes.
        out: The .mcool to write.
        bin_sizes: In bp, multiples of the base's.
    """
    sizes = sorted(bin_sizes)
    cooler.zoomify_cooler(str(base), str(out), sizes, chunksize=_CHUNK_PIXELS)
    for size in sizes:
        level = cooler.Cooler(f"{out}::/resolutions/{size}")
        # Chromosomes that no contact connects never balance together. The tolerance is in reads
        # squared; chromosomes of a small genome may have too few bins for the filter of 10.
        # Each contact counts for both of its bins.
        reads_per_bin = 2 * level.info["sum"] / level.info["nbins"]
        cooler.balance_cooler(
            level, cis_only=True, tol=1e-5 * reads_per_bin**2, min_nnz=5, store=True
        )


def band_pixels(band: Float32[np.ndarray, "bins separations"]) -> Iterator[pd.DataFrame]:
    """Yield the pixels above 0 of a chromosome's band, in order; an absent pixel is a 0.

    Args:
        band: ``band[row, s]`` is the pixel (row, row + s).
    """
    for start in range(0, len(band), _CHUNK_ROWS):
        rows, apart = np.nonzero(band[start : start + _CHUNK_ROWS] > 0)
        rows += start
        values = band[rows, apart]
        yield pd.DataFrame({"bin1_id": rows, "bin2_id": rows + apart, "count": values})


def write_enhanced(
    path: Path,
    contacts: ContactMap,
    pixels: Iterable[pd.DataFrame],
    usable: Mapping[str, Bool[np.ndarray, " _bins"]],
    metadata: Mapping[str, Any],
    *,
    unit: float = 1.0,
    assembly: str = UNKNOWN,
) -> None:
    """Write a map of fractional, balanced contacts as an .mcool that zooms out by twos.

    Its weights are one constant at usable bins and NaN at masked ones, because the values are
    balanced already and balancing a band anew would bend it. Of each zoom they are the constant
    by which its rows sum to what the finest ones do: levels of a cooler are balanced each by
    itself, to rows of 1. A zoomed-out bin, of which only a share is usable, is weighted by that
    share's inverse.

    Args:
        path: The .mcool to write.
        contacts: Chromosomes and bin size of the map.
        pixels: With genome-wide bin ids, in order.
        usable: By bin, for the chromosomes that were enhanced; all others are masked.
        metadata: Kept with every level.
        unit: Balanced contacts, at the finest level, of a contact.
        assembly: Of the genome.
    """
    sizes, base = contacts.chromsizes, path.with_suffix(".base.cool")
    levels = [contacts.bin_size]
    while max(sizes.values()) > _SCREEN_BINS * levels[-1]:
        levels.append(2 * levels[-1])
    bins = cooler.binnify(pd.Series(dict(sizes)), contacts.bin_size)
    kind = {"dtypes": {"count": "float32"}, "h5opts": _QUICK}
    cooler.create_cooler(str(base), bins, _gathered(pixels), ordered=True, **kind)
    cooler.zoomify_cooler(str(base), str(path), levels, chunksize=_CHUNK_PIXELS, **kind)
    base.unlink()
    for level in levels:
        factor = level // contacts.bin_size
        weights = [
            _weights(usable.get(chrom, np.zeros(contacts.num_bins(chrom), bool)), factor)
            for chrom in sizes
        ]
        with cooler.Cooler(f"{path}::/resolutions/{level}").open("r+") as group:
            # A zoomed row sums to factor times a fine one, and both of a pixel's bins are weighted.
            every = np.concatenate(weights) * math.sqrt(unit / factor)
            group["bins"].create_dataset("weight", data=every)
            group.attrs["metadata"] = json.dumps(metadata)
            _describe(group, assembly)


def _describe(group: Any, assembly: str) -> None:
    """Write what other programs ask of a cooler: how it was balanced, of which genome, by whom."""
    weights = group["bins/weight"]
    usable = weights[:][np.isfinite(weights[:])]
    # cooler's weights are those that make rows sum to `scale`, divided by its root.
    scale = 1 / float(np.median(usable)) ** 2 if len(usable) else 1.0
    weights.attrs.update(_BALANCED | {"scale": scale})
    group.attrs.update({"genome-assembly": assembly, "generated-by": f"hicray-{own_version()}"})


def own_version() -> str:
    """Return hicray's version, as installed."""
    try:
        return version("hicray")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"


def _gathered(tables: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Yield the same pixels in fewer tables: each one makes HDF5 write its file anew."""
    waiting: list[pd.DataFrame] = []
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) >= _CHUNK_PIXELS:
            yield pd.concat(waiting)
            waiting = []
    if waiting:
        yield pd.concat(waiting)


def _weights(usable: Bool[np.ndarray, " bins"], factor: int) -> Float64[np.ndarray, " coarse_bins"]:
    """Return the weights of bins that each hold ``factor`` of a chromosome's bins."""
    padded = np.zeros((2, num_bins(len(usable), factor) * factor))
    padded[0, : len(usable)], padded[1, : len(usable)] = usable, 1
    # Of each coarse bin: its usable fine bins, and all; the last one may have fewer than factor.
    held, all_bins = padded.reshape(2, -1, factor).sum(axis=2)
    share = held / all_bins
    weights: Float64[np.ndarray, " coarse_bins"] = np.full(len(share), np.nan)
    np.divide(1.0, share, out=weights, where=share >= _LEAST_USABLE)
    return weights


def write_float_cool(
    path: Path,
    chromsizes: Mapping[str, int],
    bin_size: int,
    pixels: Iterable[pd.DataFrame],
    weights: Float64[np.ndarray, " bins"],
    metadata: Mapping[str, Any],
    *,
    assembly: str = UNKNOWN,
) -> None:
    """Write a .cool of fractional counts with balancing weights, beside and then renamed.

    Args:
        path: The file; one that is there is replaced.
        chromsizes: Of all chromosomes, in bp.
        bin_size: In bp.
        pixels: Tables of bin1_id, bin2_id (genome-wide) and count, upper triangle, in order; a
            pixel that is absent is 0.
        weights: By bin of the genome; a constant where counts are balanced already, NaN where a
            bin is not usable.
        metadata: What the map is, kept in the file as JSON.
        assembly: Of the genome.
    """
    bins = cooler.binnify(pd.Series(dict(chromsizes)), bin_size).assign(weight=weights)
    with replaced(path) as unfinished:
        cooler.create_cooler(
            str(unfinished),
            bins,
            pixels,
            dtypes={"count": np.float32},
            ordered=True,
            symmetric_upper=True,
            metadata=json.loads(json.dumps(metadata)),
        )
        with cooler.Cooler(str(unfinished)).open("r+") as group:
            _describe(group, assembly)
