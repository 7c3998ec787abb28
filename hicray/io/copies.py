"""Copies of files: on this machine of what lies in a bucket, in a bucket of what was made here.

Maps (HDF5) and genomes (FASTA) can only be read from a disk.
"""

import fcntl
import hashlib
import os
import shutil
from functools import lru_cache
from pathlib import Path

import pyarrow.fs as pafs

from hicray.config import UserError
from hicray.io.storage import UNFINISHED, Location, S3Path, locate, objects, replaced

_SAMPLES, _SAMPLE_BYTES = 64, 1 << 20


def publish(folder: Path, location: Location) -> None:
    """Copy what a bucket lacks of a folder's files, so that all nodes see them."""
    if location == folder:
        return
    for path in sorted(folder.rglob("*")):
        target = location / path.relative_to(folder).as_posix()
        if path.is_file() and not target.exists():
            with replaced(target) as copy:
                shutil.copyfile(path, copy)


def local(where: str | Location) -> Path:
    """Return a file or folder as a path on this machine, fetched once where it lies in a bucket.

    Raises:
        UserError: It lies in a bucket and is not there.
    """
    if isinstance(where, Path) or (isinstance(where, str) and "://" not in where):
        return Path(where)
    location = locate(where)
    assert isinstance(location, S3Path)
    return _fetched(location)


def local_uri(uri: str) -> str:
    """Return a map's URI (``FILE::/group``) with its file on this machine."""
    path, separator, group = uri.partition("::")
    return f"{local(path)}{separator}{group}"


@lru_cache(maxsize=256)
def _fetched(location: S3Path) -> Path:
    """Return this machine's copy, one for each content that the location ever had."""
    info = location.filesystem.get_file_info(location.key)
    if info.type == pafs.FileType.NotFound:
        raise UserError(f"{location} does not exist; give what is there, or check the bucket")
    files = [info] if info.is_file else objects(location)
    # Size and time stand for the content, which would have to be fetched to be compared.
    state = "".join(f"{file.path} {file.size} {file.mtime_ns}\n" for file in files)
    folder = _cache() / hashlib.sha256(state.encode()).hexdigest()[:16]
    copy = folder / location.name
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be fetching it
        if not copy.exists():
            _fetch(location, copy, is_file=info.is_file)
    return copy


def _fetch(location: S3Path, copy: Path, *, is_file: bool) -> None:
    # The lock is held, so that what has this name was left by a process that was killed.
    unfinished = copy.with_name(f"{copy.name}{UNFINISHED}")
    shutil.rmtree(unfinished, ignore_errors=True)
    if not is_file:
        unfinished.mkdir()
    here = pafs.LocalFileSystem()
    pafs.copy_files(
        location.key,
        str(unfinished),
        source_filesystem=location.filesystem,
        destination_filesystem=here,
    )
    unfinished.rename(copy)


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base) / "hicray"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def fingerprint(uri: str) -> str:
    """Return a SHA-256 of a file's size and of 64 MiB spread over it (the whole, if smaller)."""
    path = local(uri.partition("::")[0])
    return _fingerprint(path, path.stat().st_mtime_ns, path.stat().st_size)


@lru_cache(maxsize=256)
def _fingerprint(path: Path, _changed: int, size: int) -> str:
    state = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size <= _SAMPLES * _SAMPLE_BYTES:
            state.update(file.read())
        else:
            # The first sample begins with the file, the last one ends with it.
            for i in range(_SAMPLES):
                file.seek((size - _SAMPLE_BYTES) * i // (_SAMPLES - 1))
                state.update(file.read(_SAMPLE_BYTES))
    return state.hexdigest()
