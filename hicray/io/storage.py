"""Where files lie: a folder on a disk, or s3://bucket/folder, through pyarrow's filesystems.

On a disk a location is a plain ``pathlib.Path``; in a bucket it is an ``S3Path``, which has those
of Path's methods that hicray uses. Credentials and endpoint come from the environment alone
(AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, an instance's role), never from a URI.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

import pyarrow.fs as pafs

from hicray.config import UserError
from hicray.wording import reason, shown

_SCHEME = "s3://"
UNFINISHED = ".unfinished"
"""Ending of what is being written; a killed process may leave it."""


@dataclass(frozen=True, order=True)
class S3Path:
    """An object or a prefix in a bucket; there are no folders, so none needs to be made.

    Attributes:
        key: ``bucket/and/the/rest``.
    """

    key: str

    def __str__(self) -> str:
        return _SCHEME + self.key

    def __truediv__(self, name: str) -> "S3Path":
        return S3Path(f"{self.key}/{name}")

    @property
    def name(self) -> str:
        """Last part of the key."""
        return PurePosixPath(self.key).name

    @property
    def filesystem(self) -> Any:
        """The bucket, as pyarrow opens it; each process once."""
        return _s3(self.key.partition("/")[0])

    @property
    def parent(self) -> "S3Path":
        """What it lies in."""
        return S3Path(str(PurePosixPath(self.key).parent))

    def resolve(self) -> "S3Path":
        """Return itself: a URI is absolute."""
        return self

    def mkdir(self, *, parents: bool = False, exist_ok: bool = False) -> None:
        """Do nothing: a prefix is there when an object is."""

    def exists(self) -> bool:
        """Return whether there is such an object, or one under this prefix."""
        return bool(self._info().type != pafs.FileType.NotFound)

    def is_file(self) -> bool:
        """Return whether there is such an object."""
        return bool(self._info().type == pafs.FileType.File)

    def is_dir(self) -> bool:
        """Return whether there is an object under this prefix."""
        return bool(self._info().type == pafs.FileType.Directory)

    def read_bytes(self) -> bytes:
        """Return an object's content."""
        with open_file(self) as file:
            content: bytes = file.readall()
        return content

    def read_text(self) -> str:
        """Return an object's content as text."""
        return self.read_bytes().decode()

    def write_bytes(self, content: bytes) -> None:
        """Write an object; readers see the old content or the new."""
        with replaced(self) as path:
            path.write_bytes(content)

    def write_text(self, text: str) -> None:
        """Write text as an object."""
        self.write_bytes(text.encode())

    def unlink(self) -> None:
        """Remove an object."""
        self.filesystem.delete_file(self.key)

    def glob(self, pattern: str) -> Iterator["S3Path"]:
        """Yield the objects whose parts under this prefix match a pattern's, one for one."""
        wanted = pattern.split("/")
        for info in objects(self):
            parts = info.path[len(self.key) + 1 :].split("/")
            if len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted)):
                yield S3Path(info.path)

    def _info(self) -> Any:
        return self.filesystem.get_file_info(self.key)


Location = Path | S3Path


def locate(where: str | Location) -> Location:
    """Return a location as an absolute path or an object's.

    Raises:
        UserError: It is a URI of another kind, or one that holds credentials or options.
    """
    if isinstance(where, Path | S3Path):
        return where.resolve()
    if "://" not in where:
        return Path(where).resolve()
    key = where.removeprefix(_SCHEME)
    if "://" in key:
        raise UserError(f"{shown(where)} is of no known kind; give a folder, or s3://bucket/folder")
    if "@" in key or "?" in key:
        # Not quoted: what stands there may be a secret.
        raise UserError(
            "an s3:// address holds credentials or options; set AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL in the environment, and give s3://bucket/..."
        )
    key = "/".join(part for part in key.split("/") if part)
    if not key or ".." in key.split("/"):
        raise UserError(f"{where} names no bucket or leaves it; give s3://bucket/folder")
    return S3Path(key)


@lru_cache
def _s3(bucket: str) -> Any:
    # Made from a URI: only so does pyarrow ask for the bucket's region and read AWS_ENDPOINT_URL.
    # Delayed opening: a small object is one request, not three.
    filesystem, _ = pafs.FileSystem.from_uri(f"{_SCHEME}{bucket}?allow_delayed_open=true")
    return filesystem


def objects(prefix: S3Path) -> list[Any]:
    """Return what pyarrow knows of the objects under a prefix."""
    selector = pafs.FileSelector(prefix.key, recursive=True, allow_not_found=True)
    files = [info for info in prefix.filesystem.get_file_info(selector) if info.is_file]
    if strange := [info.path for info in files if ".." in info.path.split("/")]:
        raise UserError(f"{_SCHEME}{strange[0]} would lie outside of a copy of {prefix}; remove it")
    return files


def open_file(location: Location) -> Any:
    """Open a file for reading at random."""
    if isinstance(location, S3Path):
        return location.filesystem.open_input_file(location.key)
    return pafs.LocalFileSystem().open_input_file(str(location))


def locate_uri(uri: str) -> str:
    """Return a map's URI (``FILE::/group``) with its file's absolute location."""
    path, separator, group = uri.partition("::")
    return f"{locate(path)}{separator}{group}"


def matching(folder: Location, pattern: str) -> list[Location]:
    """Return what matches a pattern under a folder, in the order of names."""
    # The same twice: sorted() is typed for paths of one kind alone.
    if isinstance(folder, S3Path):
        return sorted(folder.glob(pattern))
    return sorted(folder.glob(pattern))


def size_of(location: Location) -> int:
    """Return a file's size in bytes."""
    if isinstance(location, S3Path):
        return int(location.filesystem.get_file_info(location.key).size)
    return location.stat().st_size


@contextlib.contextmanager
def replaced(location: Location) -> Iterator[Path]:
    """Give a path to write; what was written appears under its name whole, or not at all."""
    if isinstance(location, S3Path):
        with tempfile.TemporaryDirectory(prefix="hicray-") as folder:
            path = Path(folder) / location.name
            yield path
            here = pafs.LocalFileSystem()
            pafs.copy_files(
                str(path),
                location.key,
                source_filesystem=here,
                destination_filesystem=location.filesystem,
            )
        return
    # A name of its own: a task that Ray took for dead may still be writing.
    path = location.with_name(f"{location.name}.{uuid4().hex}{UNFINISHED}")
    try:
        yield path
        path.rename(location)
    finally:
        path.unlink(missing_ok=True)


def uri_of(location: Location) -> str:
    """Return a location as a URI, a folder's as file://..."""
    return str(location) if isinstance(location, S3Path) else location.resolve().as_uri()


def require_writable(location: Location) -> None:
    """Write and remove a file, so that a bucket that is closed is known before work starts.

    Raises:
        UserError: It cannot be written.
    """
    probe = location / f"probe-{uuid4().hex}"
    try:
        location.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"{location} cannot be written ({reason(error)}); make room or give another "
            "--storage, and for a bucket check its name and the AWS_... variables of the "
            "environment"
        ) from error


def remove_leftovers(folder: Location) -> None:
    """Remove what killed processes left half-written in a folder."""
    for leftover in matching(folder, f"*{UNFINISHED}"):
        leftover.unlink()


def remove_tree(location: Location) -> None:
    """Remove a folder and all in it, if it is there."""
    if not isinstance(location, S3Path):
        shutil.rmtree(location, ignore_errors=True)
    elif location.exists():
        location.filesystem.delete_dir(location.key)
