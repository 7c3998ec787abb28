"""Windows of a batch as panels show them: contacts, with what is masked left out."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hicray.panels import Locus
from hicray.windows.batches import Batch
from hicray.windows.collate import Collate
from hicray.windows.scales import from_network

COARSE = "coarse"
"""How the coarse map is named."""


def loci(
    batch: Batch, collate: Collate, maps: Mapping[str, Float[Tensor, "batch rows cols"]]
) -> tuple[Locus, ...]:
    """Return a batch's windows, with the fine map as the last of their maps.

    Args:
        batch: Windows.
        collate: That decoded them.
        maps: By name, in network units.
    """
    bin_size = collate.manifest.fine_bin_size
    return tuple(
        Locus(
            chrom=collate.groups[int(batch.group[i])][1],
            row_start=int(batch.row_start[i]),
            col_start=int(batch.row_start[i]) + int(batch.diagonal[i]) * bin_size,
            bin_size=bin_size,
            maps={
                name: _contacts(values[i], batch.usable[i])
                for name, values in {**maps, "fine": batch.target}.items()
            },
            expected=_contacts(batch.expected[i], batch.usable[i]),
            by_own_decay={COARSE: _contacts(batch.base[i], batch.usable[i])}
            if COARSE in maps
            else {},
            eps=collate.manifest.eps,
        )
        for i in range(len(batch))
    )


def _contacts(values: Tensor, usable: Tensor) -> Float[np.ndarray, "rows cols"]:
    contacts = from_network(values[None])[0]
    shown: Float[np.ndarray, "rows cols"]
    shown = torch.where(usable, contacts, torch.nan).double().cpu().numpy()
    return shown
