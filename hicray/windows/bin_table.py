"""Values of every bin of a genome, on both strands: what a model of DNA, or a track, says of it.

    folder/
        00000.parquet    a file for each chromosome: a row for each bin, `forward` and `reverse`
        bins.json        how they are stored and what they were made of; written last

Jobs carry a table as they carry the packed genome, and a window takes its bins' rows of it. Seen
from the other strand, a window takes the other strand's rows in reverse.

Axis names: ``strands`` are forward and reverse; ``bins`` are fine bins; ``channels`` the values of
a bin.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from hicray.config import StoredPrecision, UserError, digest
from hicray.io.notes import write_json
from hicray.io.storage import Location, open_file, replaced

NOTE = "bins.json"
STRANDS = ("forward", "reverse")
_STORED: dict[str, np.dtype[Any]] = {"bf16": np.dtype(np.uint16), "fp32": np.dtype(np.float32)}
"""numpy has no bf16: its bits are kept as they are."""


@dataclass(frozen=True, kw_only=True)
class TableNote:
    """How a table is stored, and what it was made of.

    Attributes:
        bin_size: In bp.
        channels: Values of a bin.
        precision: Of a value.
        files: Of each chromosome, by its name in the genome.
        identity: All that the values depend on, chromosomes apart.
        digest: Of the identity.
    """

    bin_size: int
    channels: int
    precision: StoredPrecision
    files: Mapping[str, str]
    digest: str
    identity: Mapping[str, Any] = field(default_factory=dict)

    @property
    def model_digest(self) -> str:
        """What tables of one model have in common, whatever the genome."""
        own = {k: v for k, v in self.identity.items() if k not in ("genome", "shuffled")}
        return digest(own)


@dataclass(frozen=True)
class BinTable:
    """A table in memory.

    Attributes:
        bin_size: In bp.
        channels: Values of a bin.
        chroms: Values by chromosome, as they are stored.
    """

    bin_size: int
    channels: int
    chroms: Mapping[str, Shaped[np.ndarray, "strands bins channels"]]

    def rows(self, chrom: str, first: int, end: int) -> Float[Tensor, "strands bins channels"]:
        """Return the values of bins [first, end), 0 where they lie beyond the chromosome.

        Args:
            chrom: Name in the table.
            first: First bin; may be below 0.
            end: Past the last bin; may lie beyond the chromosome.
        """
        stored = self.chroms[chrom]
        low, high = max(first, 0), min(end, stored.shape[1])
        values = torch.zeros(len(STRANDS), end - first, self.channels)
        if low < high:
            values[:, low - first : high - first] = as_floats(stored[:, low:high])
        return values

    def windows(
        self, windows: Iterable[tuple[str, int]], length: int, flank: int
    ) -> Float[Tensor, "batch strands bins channels"]:
        """Return the values of windows of equal length, 0 where they lie beyond chromosomes.

        Args:
            windows: Name in the table and first bin of each.
            length: Of a window, in bins.
            flank: Bins that are read beyond either end.
        """
        return torch.stack(
            [self.rows(chrom, first - flank, first + length + flank) for chrom, first in windows]
        )


class GenomeTables(NamedTuple):
    """A genome's table, and that of the same genome shuffled, where it was made."""

    own: BinTable
    shuffled: BinTable | None = None


class BinTables(NamedTuple):
    """What windows bring of every bin: stored embeddings of its DNA, tracks, or neither."""

    embeddings: GenomeTables | None = None
    tracks: GenomeTables | None = None


NO_TABLES = BinTables()


def stored_kind(precision: StoredPrecision) -> np.dtype[Any]:
    """Return the kind of number that a value is stored as."""
    return _STORED[precision]


def as_floats(
    stored: Shaped[np.ndarray, "strands bins channels"],
) -> Float[Tensor, "strands bins channels"]:
    """Return stored values as fp32."""
    # Tables are shared without copying, so that they cannot be written; a copy of a slice can.
    values = torch.from_numpy(np.array(stored))
    return values.view(torch.bfloat16).float() if stored.dtype == np.uint16 else values


@contextmanager
def write_chrom(
    location: Location, channels: int, precision: StoredPrecision
) -> Iterator[Callable[[Shaped[np.ndarray, "strands bins channels"]], None]]:
    """Give what writes a chromosome's bins in their order, a few at a time, as they are stored.

    The file appears, whole, when all are written without an error.

    Args:
        location: Of the file.
        channels: Values of a bin.
        precision: Of a value.
    """
    kind = pa.binary(channels * _STORED[precision].itemsize)
    schema = pa.schema([(strand, kind) for strand in STRANDS])

    def write(stored: Shaped[np.ndarray, "strands bins channels"]) -> None:
        columns = [
            pa.FixedSizeBinaryArray.from_buffers(
                kind, len(strand), [None, pa.py_buffer(strand.tobytes())]
            )
            for strand in stored
        ]
        file.write_table(pa.table(columns, schema=schema))

    # Mantissas are noise: neither a dictionary nor a codec makes them smaller.
    options: dict[str, Any] = {"compression": "none", "use_dictionary": False}
    with (
        replaced(location) as path,
        pq.ParquetWriter(path, schema, write_page_checksum=True, **options) as file,
    ):
        yield write


def as_stored(
    values: Float[Tensor, "strands bins channels"], precision: StoredPrecision
) -> Shaped[np.ndarray, "strands bins channels"]:
    """Return values as they are stored; ``as_floats`` is the inverse, up to the precision."""
    values = values.detach().cpu().contiguous()
    if precision == "fp32":
        return values.float().numpy()
    return values.to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)


def write_note(folder: Location, note: TableNote) -> None:
    """Say that a table is whole, and what it was made of."""
    write_json(folder / NOTE, asdict(note))


def read_note(folder: Location) -> TableNote:
    """Read how a table is stored.

    Raises:
        UserError: The folder holds no finished table.
    """
    if not (folder / NOTE).exists():
        raise UserError(
            f"{folder} holds no finished table of bins ({NOTE} is not there); give the --out "
            "folder of a `hicray embed-dna` that has ended"
        )
    return TableNote(**json.loads((folder / NOTE).read_text()))


def read_chrom(
    folder: Location, note: TableNote, chrom: str
) -> Shaped[np.ndarray, "strands bins channels"]:
    """Return a chromosome's values as they are stored.

    Args:
        folder: Of the table.
        note: Of the table.
        chrom: Name in the table.

    Raises:
        UserError: Its file is damaged or gone.
    """
    location = folder / note.files[chrom]
    try:
        table = pq.read_table(open_file(location), page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise UserError(
            f"{location} is damaged or gone ({str(error).splitlines()[0]}); remove it and the "
            f"{NOTE} beside it, and run `hicray embed-dna` again"
        ) from error
    kind = _STORED[note.precision]
    strands = [
        np.frombuffer(pa.concat_arrays(table[strand].chunks).buffers()[1], dtype=kind)
        for strand in STRANDS
    ]
    return np.stack(strands).reshape(len(STRANDS), len(table), note.channels)
