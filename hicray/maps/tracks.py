"""Measured tracks (CTCF, ATAC, ...) in bigWig files, as a signal for each bin of a genome."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pybigtools
from jaxtyping import Float64

from hicray.config import UserError
from hicray.io.copies import local
from hicray.maps.names import genome_names, listed

_STRETCH_BASES = 1 << 23
"""Bases that are read at once, 64 MB."""
_ENDINGS = (".bw", ".bigwig")


class BinnedTrack(NamedTuple):
    """A track on one chromosome.

    Attributes:
        signal: Sum over the covered bases of a bin, divided by all of its bases.
        covered: Share of a bin's bases that the file has a value for.
    """

    signal: Float64[np.ndarray, " bins"]
    covered: Float64[np.ndarray, " bins"]


def parse_tracks(words: Iterable[str]) -> dict[str, str]:
    """Return the file of each track, by its name.

    Raises:
        UserError: A word is not of the form NAME=FILE, its name is taken, or it is no bigWig.
    """
    files: dict[str, str] = {}
    for word in words:
        name, _, file = word.partition("=")
        if not name or not file or name in files:
            raise UserError(
                f"--tracks {word} does not name a track of its own; give NAME=FILE, such as "
                "ctcf=CTCF.bw"
            )
        if not file.lower().endswith(_ENDINGS):
            raise UserError(f"--tracks {word} is no bigWig by its name; give a .bw or .bigWig file")
        files[name] = file
    return files


class Track:
    """A bigWig file.

    Args:
        file: On a disk or in a bucket.

    Raises:
        UserError: It cannot be read.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        try:
            self._reader = pybigtools.open(str(local(file)))
            self.chromsizes: dict[str, int] = dict(self._reader.chroms())
        except (OSError, ValueError, pybigtools.BBIReadError) as error:
            raise UserError(
                f"{file} cannot be read as a bigWig ({str(error).splitlines()[0]}); give one that "
                "is whole"
            ) from error

    def names(self, chromsizes: Mapping[str, int]) -> dict[str, str]:
        """Return the track's name of each chromosome that it has, with or without 'chr'.

        Args:
            chromsizes: Length of the map's chromosomes, in bp.

        Raises:
            UserError: It has none of them, or one has another length.
        """
        names = genome_names(chromsizes, self.chromsizes, match_chr=True)
        if not names:
            raise UserError(
                f"{self.file} has no chromosome of the map; it has {listed(self.chromsizes)}: give "
                "tracks of the same assembly"
            )
        for chrom, name in names.items():
            if self.chromsizes[name] != chromsizes[chrom]:
                raise UserError(
                    f"{chrom} is {chromsizes[chrom]:,} bp in the map but "
                    f"{self.chromsizes[name]:,} bp in {self.file}; give tracks of the same assembly"
                )
        return names

    def binned(self, name: str, bin_size: int) -> BinnedTrack:
        """Return a chromosome's signal by bin.

        Args:
            name: Of the chromosome in the file.
            bin_size: In bp.
        """
        length = self.chromsizes[name]
        step = max(1, _STRETCH_BASES // bin_size) * bin_size
        parts = [
            self._stretch(name, start, min(start + step, length), bin_size)
            for start in range(0, length, step)
        ]
        sums, counts = (np.concatenate(each) for each in zip(*parts, strict=True))
        edges = np.minimum(np.arange(len(sums) + 1) * bin_size, length)
        bases = np.diff(edges)
        return BinnedTrack(sums / bases, counts / bases)

    def _stretch(
        self, name: str, start: int, end: int, bin_size: int
    ) -> tuple[Float64[np.ndarray, " bins"], Float64[np.ndarray, " bins"]]:
        """Return the sum and the number of covered bases of each bin of [start, end)."""
        values = self._reader.values(name, start, end, fillna=None)
        covered = np.isfinite(values)
        firsts = np.arange(0, end - start, bin_size)
        sums = np.add.reduceat(np.where(covered, values, 0.0), firsts)
        return sums, np.add.reduceat(covered.astype(np.float64), firsts)
