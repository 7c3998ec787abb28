"""Command lines in sessions of their own: started, watched, interrupted, killed, cleared away."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

from hicray.simulation.simulate import Simulation

LIMIT = 300.0
"""Seconds that anything waited for may take on a busy machine."""


def hicray(*words: object, before: str = "") -> list[str]:
    """Return the command line of a verb; ``before`` is Python that runs first."""
    # A shell's background jobs, and all that they start, are deaf to Ctrl-C.
    hear = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    program = f"{hear}\n{before}\nfrom hicray.cli.main import main; main()"
    return [sys.executable, "-c", program, *map(str, words)]


def data_options(simulation: Simulation) -> list[str]:
    """Return the options of the small simulation at the wide gap."""
    options = {
        "--contacts": simulation.contacts[0],
        "--genome": simulation.genome,
        "--fine-bin-size": 128,
        "--coarse-bin-sizes": 512,
        "--window-bins": 64,
        "--train-stride-bins": 16,
        "--split": "val=chr5;test=chr6",
    }
    return [str(word) for pair in options.items() for word in pair]


TRAIN = [
    "--batch-size", "8", "--accumulate", "1", "--base-learning-rate", "0.032", "--depth", "1",
]  # fmt: skip


class Command:
    """A command line in a session of its own, which nothing may outlive.

    Args:
        words: The command line.
        log: File for both of its outputs.
        **env: Variables beside this process's own.
    """

    def __init__(self, words: list[str], log: Path, **env: str) -> None:
        self.log = log
        with log.open("w") as file:
            self.process = subprocess.Popen(
                words,
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={**os.environ, **env},
            )

    def __enter__(self) -> "Command":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def said(self) -> str:
        """What it wrote so far."""
        return self.log.read_text()

    def wait_for(self, condition: Callable[[], object], limit: float = LIMIT) -> None:
        """Wait until something is so, while the command runs."""
        deadline = time.monotonic() + limit
        while not condition():
            assert self.process.poll() is None, self.said[-4000:]
            assert time.monotonic() < deadline, self.said[-4000:]
            time.sleep(0.05)

    def end(self, code: int = 0, limit: float = LIMIT) -> str:
        """Wait for its end, which must have the given exit code; return what it wrote."""
        self.process.wait(limit)
        assert self.process.returncode == code, self.said[-4000:]
        return self.said

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its process group, as a terminal does."""
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """End the command and all that it started, at once."""
        while there := session(self.process.pid):
            for pid in there:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.poll()
            time.sleep(0.02)
        self.process.wait()

    def left(self, limit: float = 20.0) -> list[str]:
        """Return what of its session is still there after a while."""
        deadline = time.monotonic() + limit
        while (there := session(self.process.pid)) and time.monotonic() < deadline:
            time.sleep(0.1)
        return [_name(pid) for pid in there]


def session(leader: int) -> list[int]:
    """Return the living processes of a session, whatever process group they are in."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, *fields = path.read_text().rpartition(")")[2].split()
            if int(fields[2]) == leader and state != "Z":
                found.append(int(path.parent.name))
    return found


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")[:200]
    return str(pid)


def run(words: list[str], log: Path, code: int = 0, limit: float = LIMIT, **env: str) -> str:
    """Run a command line to its end; return what it wrote."""
    with Command(words, log, **env) as command:
        return command.end(code, limit)


def free_port() -> int:
    """Return a port of the loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def kept_as_they_are(paths: list[Path]) -> Iterator[None]:
    """Check that files are not written again."""
    before = {path: path.stat().st_mtime_ns for path in paths}
    yield
    assert before
    assert before == {path: path.stat().st_mtime_ns for path in paths}
