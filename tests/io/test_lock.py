"""One run at a time in a storage: a lock on a disk, a note that is renewed in a bucket."""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hicray.config import UserError
from hicray.io import lock
from hicray.io.lock import LOCK, exclusive

HOLD = """
import sys, time
from pathlib import Path
from hicray.io import lock
lock.BEAT_SECONDS = 0.05
with getattr(lock, sys.argv[1])(Path(sys.argv[2])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(lock, "SILENCE_SECONDS", 1.0)
    monkeypatch.setattr(lock, "SETTLE_SECONDS", 0.2)


@contextlib.contextmanager
def other_run(way: str, storage: Path) -> Iterator[subprocess.Popen[str]]:
    """Hold a storage in another process, which ends by a kill."""
    words = [sys.executable, "-c", HOLD, way, str(storage)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("way", ["exclusive", "_noted"])
def test_a_storage_in_use_is_refused_and_a_killed_run_locks_nobody_out(way, tmp_path):
    enter = getattr(lock, way)
    with other_run(way, tmp_path) as other:
        for _ in range(2):  # the one that was refused took nothing away
            with pytest.raises((UserError, lock._InUse), match=f"process {other.pid} on"):
                enter(tmp_path).__enter__()
    with enter(tmp_path):
        pass
    with enter(tmp_path):
        pass


def test_who_works_there_and_what_to_do_is_said(tmp_path):
    with (
        other_run("exclusive", tmp_path) as other,
        pytest.raises(UserError, match=rf"in use by process {other.pid} on .*give another --out"),
    ):
        exclusive(tmp_path, "--out").__enter__()


def test_runs_after_one_another_share_a_storage(tmp_path):
    for _ in range(2):
        with exclusive(tmp_path / "new"):
            assert (tmp_path / "new" / LOCK).exists()


def test_of_two_runs_that_enter_a_bucket_at_once_one_stays(tmp_path):
    """The store itself decides: the note that was written last is the one that is read."""
    entered: list[int] = []

    def enter(number: int) -> None:
        with contextlib.suppress(lock._InUse), lock._noted(tmp_path):
            entered.append(number)
            time.sleep(0.5)

    runs = [threading.Thread(target=enter, args=(i,)) for i in range(4)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert len(entered) == 1
    assert not (tmp_path / LOCK).exists()


def test_a_run_that_was_taken_over_leaves_the_other_ones_note(tmp_path, caplog):
    with lock._noted(tmp_path):
        lock._beat(tmp_path / LOCK, "another", 0)
        time.sleep(0.3)
        assert lock._read(tmp_path / LOCK)["run"] == "another"
    assert lock._read(tmp_path / LOCK)["run"] == "another"
    assert "has taken this storage over" in caplog.text
