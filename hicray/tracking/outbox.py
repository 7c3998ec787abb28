"""Records on their way to MLflow: kept in order, sent by a thread, sent again until taken."""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType

from hicray.config import UserError
from hicray.io.progress import tqdm
from hicray.tracking.track import Store
from hicray.wording import reason, shown

logger = logging.getLogger(__name__)
PATIENCE = 120.0
"""Seconds that a flush waits for a store that is away; one that answers may take its time."""
FAILED_PATIENCE = 5.0
"""Seconds in all where an error or an interruption ended the search."""
ATTEMPTS = 5
"""A record that fails so often, although the store answers, is refused for good."""
PAUSE, LONGEST_PAUSE = 1.0, 15.0
"""Seconds between attempts; they double while the store is away."""

Record = Callable[[], object]


class Outbox:
    """Sends records from a thread of its own, so that nobody waits for the store.

    A record is a function that writes to the store, and may be called again after it failed
    halfway. While the store is away, records wait; leaving the context sends what is left.

    Args:
        store: Where records go.

    Attributes:
        refused: Records that the store did not take although it answered.
    """

    def __init__(self, store: Store) -> None:
        self.store, self.refused = store, 0
        self._records: deque[Record] = deque()
        self._away_since = 0.0
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)

    def __enter__(self) -> "Outbox":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # What ends early is not kept waiting; the same command sends it all again.
        pending = self.flush(math.inf if kind is None else FAILED_PATIENCE)
        self._closed.set()
        with self._changed:
            self._changed.notify_all()
        if kind is None and pending:
            raise UserError(
                f"{pending} records did not reach {shown(self.store.uri)}, all else is done; run "
                "the same command again once it answers"
            )

    def put(self, record: Record) -> None:
        """Leave a record to be sent after those before it."""
        with self._changed:
            self._records.append(record)
            self._changed.notify_all()

    def flush(self, limit: float = math.inf) -> int:
        """Wait until all is sent, or the store has been away too long; return how many are not.

        Args:
            limit: Seconds after which this gives up in any case.
        """
        began = time.monotonic()
        label = f"records to MLflow (up to {PATIENCE:.0f} s while it is away)"
        with self._changed, tqdm(total=len(self._records), desc=label, delay=1) as bar:
            while pending := len(self._records):
                now, since = time.monotonic(), self._away_since
                # Patience begins with the flush, however long the store was away during training.
                away = now - max(began, since) if since else 0.0
                if away > PATIENCE or now - began > limit:
                    break
                self._changed.wait(0.2)
                bar.update(pending - len(self._records))
            return pending

    def _run(self) -> None:
        while not self._closed.is_set():
            with self._changed:
                self._changed.wait_for(lambda: self._records or self._closed.is_set())
                record = self._records[0] if self._records else None
            if record is not None and self._send(record):
                with self._changed:
                    # Only now: what is being sent still counts as not sent.
                    self._records.popleft()
                    self._changed.notify_all()

    def _send(self, record: Record) -> bool:
        """Return whether a record is dealt with; it is not when the outbox was closed before."""
        failures, pause = 0, PAUSE
        while not self._closed.is_set():
            try:
                record()
            except Exception as error:  # noqa: BLE001 - those behind it must not wait for ever
                cause = reason(error)
            else:
                self._back()
                return True
            if self.store.answers():
                self._back()
                failures, pause = failures + 1, PAUSE
            else:
                self._away(cause)
                pause = min(2 * pause, LONGEST_PAUSE)
            if failures == ATTEMPTS:
                self.refused += 1
                logger.warning("MLflow refused a record (%d so far): %s", self.refused, cause)
                return True
            self._closed.wait(pause)
        return False

    def _away(self, cause: str) -> None:
        if not self._away_since:
            logger.warning("MLflow is away, records are kept until it answers (%s)", cause)
            self._away_since = time.monotonic()

    def _back(self) -> None:
        if self._away_since:
            logger.warning("MLflow answers again")
            self._away_since = 0.0
