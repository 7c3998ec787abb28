"""One shard's rows from its file, checked, with stored tokens beside them."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from hicray.config import UserError
from hicray.io.storage import Location, locate, open_file
from hicray.windows.manifest import ShardFile, coarse_name

ROWS_AT_ONCE = 16
"""Rows that are read, and written, at a time."""
_KEYS = ["source", "chrom", "row_start", "col_start", "num_rows", "num_cols"]


class Shard(NamedTuple):
    """One shard's file as a task reads it, and the file of its rows' tokens ('' if none)."""

    path: str
    rows: int
    sha256: str
    tokens: str = ""


def shard_at(folder: Location, shard: ShardFile, tokens: Location | None = None) -> Shard:
    """Return where a manifest's shard lies.

    Args:
        folder: Of the shard set.
        shard: From its manifest.
        tokens: Folder of stored tokens, if they are to come along.
    """
    beside = str(tokens / shard.file) if tokens else ""
    return Shard(str(folder / shard.file), shard.rows, shard.sha256, beside)


def columns(coarse_bin_size: int) -> list[str]:
    """Return the columns that a trial of one gap decodes; no other gap's are touched."""
    maps = ("fine", coarse_name(coarse_bin_size))
    parts = ("counts", "row_weights", "col_weights")
    return _KEYS + [f"{name}_{part}" for name in maps for part in parts]


def open_shard(shard: Shard) -> pq.ParquetFile:
    """Open a shard, having read it whole: that is one request, and its checksum is known.

    Raises:
        UserError: It is not what the manifest says was written.
    """
    content = locate(shard.path).read_bytes()
    checksum = hashlib.sha256(content).hexdigest()
    if checksum != shard.sha256:
        raise UserError(
            f"{shard.path} is damaged (SHA-256 {checksum[:12]}..., the manifest has "
            f"{shard.sha256[:12]}...); remove it and the manifest.json beside it, and prepare again"
        )
    return pq.ParquetFile(pa.BufferReader(content))


def read_rows(shard: Shard, names: list[str], at_once: int = ROWS_AT_ONCE) -> Iterator[pa.Table]:
    """Yield a shard's rows a few at a time, and beside them their tokens if they are stored.

    Args:
        shard: File, its checksum, and its stored tokens if any.
        names: Columns that are wanted.
        at_once: Rows of a table.

    Raises:
        UserError: The shard or its tokens are not what was written.
    """
    stored = _token_batches(locate(shard.tokens), at_once) if shard.tokens else None
    for rows in open_shard(shard).iter_batches(at_once, columns=names):
        table = pa.Table.from_batches([rows])
        if stored is not None:
            beside = next(stored)
            for name in beside.schema.names:
                table = table.append_column(name, beside[name])
        yield table


def _token_batches(location: Location, at_once: int) -> Iterator[pa.RecordBatch]:
    # Too large to be read whole: each page has a checksum of its own.
    try:
        file = pq.ParquetFile(open_file(location), page_checksum_verification=True)
        yield from file.iter_batches(at_once)
    except (OSError, pa.ArrowException) as error:
        raise UserError(
            f"{location} is damaged or gone ({str(error).splitlines()[0]}); remove it and the "
            "embeddings.json beside it, and run again"
        ) from error
