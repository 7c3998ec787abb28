"""How a command speaks and how it ends."""

import errno
import logging
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

from hicray.config import UserError
from hicray.wording import scrubbed

_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO})
"""What a disk may have against being written."""
_TRAIN = frozenset({"ray", "mlflow", "optuna", "markdown_it"})
"""What the extra ``train`` brings, as it is imported."""
_STDOUT = 1


def say(*lines: str) -> None:
    """Write result lines to standard output."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def guarded(work: Callable[[], Any]) -> None:
    """Run; what a user can mend is one sentence and exit code 2, without a traceback.

    So is an interruption, with the shell's code for it. A reader that is gone, as that of
    ``| head``, ends it quietly, as it ends the shell's own programs.
    """
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    sys.excepthook = _trace
    try:
        try:
            work()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _unread():
            raise
        # Python would write what is left once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)
        sys.exit(128 + signal.SIGPIPE)
    except (UserError, OSError, ModuleNotFoundError) as error:
        if (sentence := _sentence(error)) is None:
            raise
        sys.stderr.write(f"{scrubbed(f'hicray: {sentence}')}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would leave Ray behind
        if "hicray.cluster.connection" in sys.modules:
            sys.modules["hicray.cluster.connection"].leave()
        sys.stderr.write("\nhicray: interrupted; the same command goes on from what is finished\n")
        sys.exit(130)


def _sentence(error: Exception) -> str | None:
    """Return what a user can do about an error; None where that is not known."""
    if isinstance(error, ModuleNotFoundError):
        if error.name not in _TRAIN:
            return None
        return (
            f"this verb needs {error.name}, which is not installed; install hicray with its extra "
            "train, as README.md says: pip install '.[train]' in its folder"
        )
    # What a Ray task raised says its traceback too.
    own = getattr(error, "cause", error)
    if not isinstance(own, OSError):
        return str(own)
    if own.errno not in _DISK:
        return None
    return f"{own}; mend that and run the same command, which goes on from what is there"


def _unread() -> bool:
    """Return whether what is written to standard output has no reader."""
    standard = select.poll()
    standard.register(_STDOUT, 0)
    return any(event & select.POLLERR for _, event in standard.poll(0))


def _trace(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Write a traceback of what nobody foresaw, without the secrets of its addresses."""
    sys.stderr.write(scrubbed("".join(traceback.format_exception(kind, error, trace))))
