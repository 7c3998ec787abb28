"""FASTA to base codes: A 0, C 1, G 2, T 3, anything else 4 (N); and the packed form.

Packed, a genome takes 2 bits a base and 1 bit that marks N: 1.2 GB for a human one. That is
what jobs carry and workers read, so that DNA is never stored per window.
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import UInt8

from hicray.config import UserError
from hicray.io.copies import local
from hicray.io.storage import Location, locate, open_file
from hicray.maps.fasta import open_fasta

A, C, G, T, N = range(5)
_CODES = np.full(256, N, dtype=np.uint8)
for _letters, _code in (("Aa", A), ("Cc", C), ("Gg", G), ("TtUu", T)):
    _CODES[[ord(letter) for letter in _letters]] = _code
_COMPLEMENT = np.array([T, G, C, A, N], dtype=np.uint8)
_UNPACKED = (np.arange(256)[:, None] >> np.array([0, 2, 4, 6]) & 3).astype(np.uint8)

Codes = UInt8[np.ndarray, " bases"]


class PackedSequence(NamedTuple):
    """One chromosome: four bases to a byte, and one bit per base that is set for N."""

    bases: UInt8[np.ndarray, " quarters"]
    unknown: UInt8[np.ndarray, " eighths"]
    length: int


PackedGenome = Mapping[str, PackedSequence]


def encode(sequence: str) -> Codes:
    """Return the codes of a sequence; lower case counts as upper, IUPAC letters as N."""
    return _CODES[np.frombuffer(sequence.encode("latin-1"), dtype=np.uint8)]


def reverse_complement(codes: Codes) -> Codes:
    """Return the codes of the other strand, read in its own direction."""
    other: Codes = _COMPLEMENT[codes[::-1]]
    return other


def pack(codes: Codes) -> PackedSequence:
    """Pack base codes; ``unpack`` is the exact inverse."""
    unknown = codes == N
    padded = np.zeros(-(-len(codes) // 4) * 4, dtype=np.uint8)
    padded[: len(codes)] = np.where(unknown, 0, codes)
    # Of four bases the first has the lowest bits; of eight marks, as numpy packs them, the highest.
    quads = padded.reshape(-1, 4)
    bases = quads[:, 0] | quads[:, 1] << 2 | quads[:, 2] << 4 | quads[:, 3] << 6
    return PackedSequence(bases, np.packbits(unknown), len(codes))


def unpack(packed: PackedSequence, start: int, end: int) -> Codes:
    """Return the codes of [start, end) bp, N where it reaches beyond the chromosome.

    Args:
        packed: A chromosome.
        start: First base, in bp; may be below 0.
        end: Past the last base, in bp; may lie beyond the chromosome.
    """
    codes = np.full(end - start, N, dtype=np.uint8)
    low, high = max(start, 0), min(end, packed.length)
    if low >= high:
        return codes
    # Whole bytes are unpacked, and then what they hold before ``low`` is cut off.
    inside = _UNPACKED[packed.bases[low // 4 : -(-high // 4)]].ravel()[low % 4 :][: high - low]
    mask = np.unpackbits(packed.unknown[low // 8 : -(-high // 8)])[low % 8 :][: high - low]
    codes[low - start : high - start] = np.where(mask, N, inside)
    return codes


class Genome:
    """An indexed FASTA file.

    Args:
        path: Plain FASTA, or BGZF (.fa.gz made by bgzip), on a disk or in a bucket. Its index is
            written beside it where that is possible.

    Attributes:
        uri: Where it lies, for other machines.
        path: The file on this machine.

    Raises:
        UserError: As ``open_fasta``.
    """

    def __init__(self, path: str | Path) -> None:
        self.uri = str(locate(str(path)))
        self.path = local(path)
        self._faidx = open_fasta(self.path)

    @property
    def chromsizes(self) -> dict[str, int]:
        """Length of each sequence, in bp, in the file's order."""
        return {name: entry.rlen for name, entry in self._faidx.index.items()}

    def codes(self, chrom: str, start: int, end: int) -> Codes:
        """Return the codes of [start, end) bp, N where it reaches beyond the chromosome.

        Args:
            chrom: Name in the file.
            start: First base, in bp; may be below 0.
            end: Past the last base, in bp; may lie beyond the chromosome.

        Raises:
            UserError: Lines within the chromosome are not as long as its others.
        """
        codes = np.full(end - start, N, dtype=np.uint8)
        low, high = max(start, 0), min(end, self.chromsizes[chrom])
        if low < high:
            codes[low - start : high - start] = self._read(chrom, low, high)
        return codes

    def _read(self, chrom: str, start: int, end: int) -> Codes:
        with contextlib.suppress(UnicodeDecodeError):
            # pyfaidx counts from 1 and includes the end.
            read = encode(self._faidx.fetch(chrom, start + 1, end))
            if len(read) == end - start:
                return read
        raise UserError(
            f"{self.path} has lines on {chrom} that its index does not tell of; remove "
            f"{self.path}.fai, which is made anew"
        )

    def packed(self, chrom: str) -> PackedSequence:
        """Return a whole chromosome, packed."""
        return pack(self.codes(chrom, 0, self.chromsizes[chrom]))


def write_packed(path: Path, genome: PackedGenome) -> None:
    """Write a packed genome as one parquet file, a row per chromosome."""
    table = pa.table(
        {
            "chrom": list(genome),
            "length": [sequence.length for sequence in genome.values()],
            "bases": [sequence.bases.tobytes() for sequence in genome.values()],
            "unknown": [sequence.unknown.tobytes() for sequence in genome.values()],
        }
    )
    pq.write_table(table, path, compression="zstd", row_group_size=1)


def read_packed(location: Location) -> dict[str, PackedSequence]:
    """Read what ``write_packed`` wrote."""
    table = pq.read_table(open_file(location))
    return {
        row["chrom"]: PackedSequence(
            np.frombuffer(row["bases"], dtype=np.uint8),
            np.frombuffer(row["unknown"], dtype=np.uint8),
            row["length"],
        )
        for row in table.to_pylist()
    }
