"""Making items ahead of time, while others are used."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, cast

Item = TypeVar("Item")


def ahead(items: Iterable[Item], depth: int = 2) -> Iterator[Item]:
    """Yield items that a thread makes ahead of time; its exception is raised here."""
    # An end of its own: StopIteration from a thread would end this generator by a RuntimeError.
    source, end = iter(items), object()
    with ThreadPoolExecutor(max_workers=1) as pool:
        pending = deque(pool.submit(next, source, end) for _ in range(depth))
        while (item := pending.popleft().result()) is not end:
            pending.append(pool.submit(next, source, end))
            yield cast(Item, item)
