"""Progress bars on a terminal, lines in a log."""

import sys
from typing import Any

import tqdm as bars

LINE_SECONDS = 30.0
"""In a log, a line says how far something is at most this often; an epoch is always worth one."""


class tqdm(bars.tqdm):  # type: ignore[type-arg]
    """A bar of tqdm; where nobody looks (a log, a pipe), lines instead of one that is redrawn.

    Args:
        *args: As of tqdm.
        **options: Likewise; a bar with ``unit="epoch"`` has a line for each.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._in_log = not sys.stderr.isatty()
        self._written_n = -1.0
        if self._in_log:
            # miniters: tqdm would else learn how many items to let pass before it reads the clock.
            seconds = 0.0 if options.get("unit") == "epoch" else LINE_SECONDS
            options |= {"mininterval": seconds, "maxinterval": LINE_SECONDS, "miniters": 1}
        super().__init__(*args, **options)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Redraw the bar, or write a line where there is something new to say."""
        if not self._in_log:
            super().display(msg, pos)
        elif self.n != self._written_n:
            self._written_n = float(self.n)
            self.fp.write(f"{self}\n")
            self.fp.flush()

    def clear(self, nolock: bool = False) -> None:
        """Make room for a message beside the bar; lines need none."""
        if not self._in_log:
            super().clear(nolock)

    def close(self) -> None:
        """End the bar; its last line is how far it came."""
        if self._in_log and not self.disable:
            if self.last_print_t >= self.start_t + (self.delay or 0.0):
                self.display()
            self.delay = float("inf")  # nothing is left to be redrawn
        super().close()
