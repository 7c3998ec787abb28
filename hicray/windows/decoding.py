"""Tables of windows to batches on a device: the one way of training, validation and scoring."""

from collections.abc import Iterable, Iterator

import pyarrow as pa
import torch
from torch import Tensor

from hicray.io.ahead import ahead
from hicray.windows.batches import Batch
from hicray.windows.collate import Collate


def decoded(
    tables: Iterable[pa.Table], collate: Collate, device: torch.device | str = "cpu"
) -> Iterator[Batch]:
    """Yield tables as batches on a device; a thread makes them compact ahead of time.

    Args:
        tables: Rows of a shard set.
        collate: How rows become tensors.
        device: Where dense maps are made.
    """
    pinned = torch.device(device).type == "cuda"

    def compact(table: pa.Table) -> dict[str, Tensor]:
        tensors = collate.compact(table)
        # From pinned memory a copy does not wait for the device.
        return {name: t.pin_memory() for name, t in tensors.items()} if pinned else tensors

    for tensors in ahead(map(compact, tables)):
        yield collate.decode(tensors, device)
