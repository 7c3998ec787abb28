"""Stored tokens of a frozen contact encoder: bytes in a parquet column, a tensor in a batch.

Axis names: ``tokens`` and ``dim`` are the contact encoder's.
"""

from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

TOKENS = "tokens"
FLIPPED = "flipped_tokens"
"""Of the same window seen from the other strand; training windows alone have them."""
_DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


class TokenFormat(NamedTuple):
    """How tokens are stored: their precision, and the width of one."""

    precision: Literal["bf16", "fp32"]
    dim: int

    def pack(self, tokens: Float[Tensor, "batch tokens dim"]) -> pa.Array:
        """Return a column of as many bytes in each row."""
        stored = tokens.detach().to("cpu", _DTYPES[self.precision]).contiguous()
        # As bytes, since numpy has no bfloat16.
        content = stored.view(torch.uint8).numpy()
        kind = pa.binary(content[0].size)
        return pa.FixedSizeBinaryArray.from_buffers(
            kind, len(content), [None, pa.py_buffer(content.tobytes())]
        )

    def unpack(self, column: pa.ChunkedArray) -> Float[Tensor, "batch tokens dim"]:
        """Return what was packed, in its own precision."""
        array = pa.concat_arrays(column.chunks)
        width = array.type.byte_width
        content = np.frombuffer(array.buffers()[1], dtype=np.uint8)
        # Slices of a column share its buffer; a copy is writable, as tensors have to be.
        stored = content[array.offset * width : (array.offset + len(array)) * width]
        values = torch.from_numpy(stored.copy()).view(_DTYPES[self.precision])
        return values.reshape(len(array), -1, self.dim)
