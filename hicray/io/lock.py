"""A storage for one run at a time."""

import contextlib
import fcntl
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from hicray.config import UserError
from hicray.io.notes import write_json
from hicray.io.storage import Location

logger = logging.getLogger(__name__)
LOCK = "in-use"
"""File of a storage that names the run that writes there."""
BEAT_SECONDS = 10.0
"""How often a run in a bucket shows that it lives."""
SILENCE_SECONDS = 40.0
"""A run that did not show it for so long is taken for dead."""
SETTLE_SECONDS = 2.0
"""Of two runs that enter a bucket at the same moment, both look again after this."""


@contextlib.contextmanager
def exclusive(storage: Location, option: str = "--storage") -> Iterator[None]:
    """Keep a storage to oneself for a while.

    On a disk this is a lock that ends with the process, however that ends. A bucket has none:
    there a run leaves a note and renews it, and one whose note is no longer renewed is taken for
    dead. Two runs may then both work only if one slept through all of its beats.

    Args:
        storage: A folder or a place in a bucket, which need not be there yet.
        option: What a user names it by.

    Raises:
        UserError: Another run works there.
    """
    held = _locked(storage) if isinstance(storage, Path) else _noted(storage)
    try:
        with held:
            yield
    except _InUse as error:
        raise UserError(
            f"{storage} is in use by {error}; wait for its end, or give another {option}"
        ) from None


class _InUse(Exception):
    """Another run holds a storage; its text says which."""


def _myself() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    # Not opened by "w": until the lock is held, the text in the file is another run's.
    with (folder / LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _InUse((folder / LOCK).read_text() or "another run") from None
        lock.truncate(0)
        lock.write(_myself())
        lock.flush()
        yield
        lock.truncate(0)


@contextlib.contextmanager
def _noted(storage: Location) -> Iterator[None]:
    note, run = storage / LOCK, uuid4().hex
    _wait_for_silence(storage, note)
    _beat(note, run, 0)
    # Of two runs that found the bucket silent, the one whose note is overwritten gives way.
    time.sleep(SETTLE_SECONDS)
    if (other := _read(note)).get("run") != run:
        raise _InUse(other.get("who", "another run"))
    ended = threading.Event()
    beating = threading.Thread(target=_keep_beating, args=(note, run, ended), daemon=True)
    beating.start()
    try:
        yield
    finally:
        ended.set()
        beating.join()
        if _read(note).get("run") == run:
            note.unlink()


def _wait_for_silence(storage: Location, note: Location) -> None:
    """Return once the run that holds a storage has not renewed its note for SILENCE_SECONDS.

    Whether the note changes is all that counts: clocks of two machines are never compared.

    Raises:
        _InUse: The note was renewed.
    """
    first = _read(note)
    if not first:
        return
    logger.warning("%s was in use by %s; looking whether it still is", storage, first["who"])
    deadline = time.monotonic() + SILENCE_SECONDS
    while time.monotonic() < deadline and (now := _read(note)):
        if now != first:
            raise _InUse(now["who"])
        time.sleep(min(1.0, SILENCE_SECONDS / 10))


def _read(note: Location) -> dict[str, str]:
    try:
        content: dict[str, str] = json.loads(note.read_text())
    except OSError:
        return {}
    return content


def _beat(note: Location, run: str, number: int) -> None:
    write_json(note, {"run": run, "who": _myself(), "beat": str(number)})


def _keep_beating(note: Location, run: str, ended: threading.Event) -> None:
    number = 0
    while not ended.wait(BEAT_SECONDS):
        number += 1
        # A bucket that is away for a moment is no reason to stop; the next beat may succeed.
        with contextlib.suppress(OSError):
            if _read(note).get("run") not in (run, None):
                logger.warning("%s: another run has taken this storage over", note)
                return
            _beat(note, run, number)
