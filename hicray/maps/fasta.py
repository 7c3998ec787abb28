"""FASTA files, opened by an index that is known to be theirs.

An index tells at which byte each sequence begins and how long its lines are; of another file, it
gives other bases without a word. So one that is there is compared with the file, whatever the two
files' times, and made anew where they differ: beside the file, or in memory where that is closed.
"""

import contextlib
import gzip
import os
import re
import shlex
import struct
import tempfile
import warnings
import zlib
from bisect import bisect_right
from pathlib import Path

import pyfaidx

from hicray.config import UserError

_GZIP = b"\x1f\x8b"
_COMPRESSED = frozenset({".gz", ".bgz"})
"""Endings by which pyfaidx tells BGZF."""
_CUT_OFF = (OSError, EOFError, struct.error, zlib.error)
"""What readers raise at a file that ends too early or is of another compression."""
_MISFIT = (*_CUT_OFF, pyfaidx.FastaIndexingError, pyfaidx.IndexNotFoundError, ValueError)
"""What readers raise at an index that is damaged or of another file."""
_HEADER_BYTES = 1 << 16
"""More than lies between two sequences: a header, perhaps blank lines."""
_BLOCK_BYTES = 1 << 24
_ODD = re.compile(rb"[\r \t\x80-\xff]")
"""What no line of bases holds: CR but at its end, blanks, what is not ASCII."""
_USUAL = bytes(set(range(128)) - set(b"\r \t"))


def open_fasta(path: Path) -> pyfaidx.Faidx:
    """Open a FASTA file by its index, which is made where it is missing or another file's.

    Args:
        path: Plain FASTA, or BGZF (.fa.gz made by bgzip).

    Raises:
        UserError: The file is missing, cut off, gzipped plainly, or not indexable.
    """
    try:
        _check_readable(path)
        by_own = _by_own_index(path)
        return _indexed(path) if by_own is None else by_own
    except (pyfaidx.FastaIndexingError, ValueError) as error:
        raise UserError(
            f"{path} cannot be indexed ({_first_line(error)}); a FASTA needs a name of "
            "its own for each sequence, and within it lines of equal length: rewrite it, for "
            "instance by `seqkit seq -w 80`"
        ) from error
    except _CUT_OFF as error:
        raise UserError(
            f"{path} cannot be read ({_first_line(error)}); it may be cut off or of "
            "another compression: fetch it anew, or give plain FASTA (.fa) or BGZF (.fa.gz)"
        ) from error


def _check_readable(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"genome {path} does not exist; give the FASTA that the map was aligned to")
    with path.open("rb") as file:
        head = file.read(18)
    # BGZF is gzip with an extra field 'BC' that holds the block's length (SAM specification 4.1).
    if head[:2] == _GZIP and head[12:14] != b"BC":
        raise UserError(
            f"{path} is plain gzip, which cannot be read at random; use BGZF: "
            f"`gunzip -c {shlex.quote(str(path))} | bgzip > new.fa.gz`"
        )
    opener = gzip.open if head[:2] == _GZIP else open
    with opener(path, "rb") as file:
        if file.read(1) != b">":
            raise UserError(f"{path} is not FASTA: it does not begin with '>'")


def _by_own_index(path: Path) -> pyfaidx.Faidx | None:
    """Open a file by the index that lies beside it; None if that is not there or not its own."""
    if not all(name.is_file() for name in _index_names(path, path.parent)):
        return None
    with warnings.catch_warnings(), contextlib.suppress(*_MISFIT):
        warnings.simplefilter("ignore")  # of an index that is older than its file
        faidx = _faidx(path, path.parent, rebuild=False)
        if _fits(faidx):
            return faidx
        faidx.close()
    return None


def _indexed(path: Path) -> pyfaidx.Faidx:
    """Index a file, and leave the index beside it where that is possible.

    pyfaidx holds in memory what it reads of an index, so that no file of it need stay.
    """
    _refuse_odd_lines(path)
    beside = path.parent if os.access(path.parent, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix=".hicray-fai-", dir=beside) as folder:
        faidx = _faidx(path, Path(folder))
        for index, name in zip(
            _index_names(path, Path(folder)), _index_names(path, path.parent), strict=True
        ):
            # Whole or not at all, as other processes may be reading. Another user's may be closed.
            with contextlib.suppress(OSError):
                if beside:
                    index.replace(name)
    return faidx


def _index_names(path: Path, folder: Path) -> list[Path]:
    endings = (".fai", ".gzi") if path.suffix.lower() in _COMPRESSED else (".fai",)
    return [folder / f"{path.name}{ending}" for ending in endings]


def _faidx(path: Path, folder: Path, *, rebuild: bool = True) -> pyfaidx.Faidx:
    return pyfaidx.Faidx(
        str(path),
        indexname=f"{folder / path.name}.fai",
        gzi_indexname=f"{folder / path.name}.gzi",
        as_raw=True,
        sequence_always_upper=False,
        rebuild=rebuild,
    )


def _fits(faidx: pyfaidx.Faidx) -> bool:
    """Whether a file holds what its index says: every header, ends of lines, the file's end."""
    # Where a sequence's lines end, and its last byte that must be there: the line end of a file's
    # last line, which the index counts, may be missing.
    end = last = 0
    for name, record in faidx.index.items():
        between = record.offset - end
        if not 0 < between <= _HEADER_BYTES:
            return False
        if not _is_header(_read(faidx, end, between), name) or not _lines_end(faidx, record):
            return False
        end = record.bend
        last = end - 1 - (record.lenb - record.lenc) if record.rlen else record.offset - 1
    return end > 0 and not _read(faidx, last, _HEADER_BYTES)[1:].strip()


def _is_header(text: bytes, name: str) -> bool:
    lines = text.strip().splitlines()
    alone = len(lines) == 1 and text.endswith((b"\n", b"\r\n"))
    return alone and lines[0].startswith(b">") and lines[0][1:].split()[:1] == [name.encode()]


def _lines_end(faidx: pyfaidx.Faidx, record: pyfaidx.IndexRecord) -> bool:
    """Whether a sequence's first and last line end in a base and then in a line's end."""
    if not record.rlen:
        return True
    line_end = {1: b"\n", 2: b"\r\n"}.get(record.lenb - record.lenc)
    if line_end is None or record.lenc <= 0:
        return False
    last = record.bend - len(line_end) - 1
    ends = {last} | ({record.offset + record.lenc - 1} if record.rlen > record.lenc else set())
    for offset in ends:
        base, after = (text := _read(faidx, offset, 1 + len(line_end)))[:1], text[1:]
        if not base.strip(b" \t\r\n>") or (after != line_end and (after or offset != last)):
            return False
    return True


def _read(faidx: pyfaidx.Faidx, start: int, length: int) -> bytes:
    """Return bytes of a file, or of what it unpacks to."""
    blocks = getattr(faidx, "gzi_index", None)  # of BGZF alone
    if blocks:
        from Bio.bgzf import make_virtual_offset

        # BGZF is a row of gzip blocks: the last one that begins at or before ``start`` holds it.
        block = blocks[bisect_right(blocks, start, key=lambda entry: entry.ustart) - 1]
        offset = make_virtual_offset(block.cstart, start - block.ustart)  # type: ignore[no-untyped-call]
        faidx.file.seek(offset)
    else:
        faidx.file.seek(start)
    text: bytes = faidx.file.read(length)
    return text


def _refuse_odd_lines(path: Path) -> None:
    """Refuse what pyfaidx would take for bases, or could not read.

    Raises:
        UserError: A line ends as on old Macs, bases hold blanks, or a header is not UTF-8.
    """
    with path.open("rb") as file:
        opener = gzip.open if file.read(2) == _GZIP else open
    with opener(path, "rb") as file:
        # A block ends with a line, so that no CR LF is cut in two.
        while block := file.read(_BLOCK_BYTES) + file.readline():
            lines = block.replace(b"\r\n", b"\n")
            for odd in _ODD.finditer(lines) if lines.translate(None, _USUAL) else ():
                start = lines.rfind(b"\n", 0, odd.start()) + 1
                end = lines.find(b"\n", odd.end())
                _refuse_odd(path, odd[0], lines[start : end if end >= 0 else None])


def _refuse_odd(path: Path, odd: bytes, line: bytes) -> None:
    header = line.startswith(b">")
    if odd == b"\r":
        raise UserError(
            f"{path} has line ends of old Macs (CR alone); convert them: "
            + _rewriting(path, r"tr -s '\r' '\n'")
        )
    if not header:
        oddity = "blanks" if odd in b" \t" else f"the byte 0x{odd.hex()}"
        raise UserError(
            f"{path} has {oddity} among its bases, which would be counted as bases; take out all "
            "but letters: " + _rewriting(path, "LC_ALL=C sed '/^>/!s/[^A-Za-z*.-]//g'")
        )
    if odd not in b" \t":
        try:
            line.decode()
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path} has a header that is not UTF-8, {line[:40].decode('latin-1')!r}; convert "
                "it: " + _rewriting(path, "iconv -f LATIN1 -t UTF-8")
            ) from error


def _rewriting(path: Path, filter_: str) -> str:
    """Return the command that writes a file anew through a filter."""
    quoted = shlex.quote(str(path))
    if path.suffix.lower() in _COMPRESSED:
        return f"`gunzip -c {quoted} | {filter_} | bgzip > new.fa.gz`"
    return f"`{filter_} < {quoted} > new.fa`"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
