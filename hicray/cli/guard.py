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
    except ModuleNotFoundError as error:
        if error.name not in _TRAIN:
            raise
        sys.stderr.write(
            f"hicray: this verb needs {error.name}, which is not installed; install it with all "
            "that searches and whole maps need: pip install 'hicray[train]'\n"
        )
        sys.exit(2)
    except (UserError, OSError) as error:
        # What a Ray task raised says its traceback too.
        own = getattr(error, "cause", error)
        if isinstance(own, OSError) and own.errno not in _DISK:
            raise
        more = "; mend that and run the same command, which goes on from what is there"
        sentence = f"hicray: {own}{more if isinstance(own, OSError) else ''}"
        sys.stderr.write(f"{scrubbed(sentence)}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would leave Ray behind
        if "hicray.cluster.connection" in sys.modules:
            sys.modules["hicray.cluster.connection"].leave()
        sys.stderr.write("\nhicray: interrupted; the same command goes on from what is finished\n")
        sys.exit(130)


def _unread() -> bool:
    """Return whether what is written to standard output has no reader."""
    standard = select.poll()
    standard.register(_STDOUT, 0)
    return any(event & select.POLLERR for _, event in standard.poll(0))


def _trace(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Write a traceback of what nobody foresaw, without the secrets of its addresses."""
    sys.stderr.write(scrubbed("".join(traceback.format_exception(kind, error, trace))))
