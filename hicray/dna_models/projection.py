"""Principal components of embeddings, fitted on training chromosomes alone.

Axis names: ``channels`` are a model's; ``components`` those that are kept.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from hicray.config import UserError
from hicray.io.copies import local
from hicray.io.progress import tqdm
from hicray.io.storage import Location, replaced
from hicray.maps.bins import Region
from hicray.windows.bin_table import TableNote, as_floats, read_chrom

FILE = "projection.safetensors"
_BINS_AT_ONCE = 4_096


class Projection(NamedTuple):
    """Channels to components of unit variance.

    Attributes:
        mean: Of each channel.
        axes: A column for each component, divided by its standard deviation.
        explained: Share of the variance that the components hold.
        fitted_on: Regions that they were fitted on, as splits name them.
    """

    mean: Float[Tensor, " channels"]
    axes: Float[Tensor, "channels components"]
    explained: float
    fitted_on: tuple[str, ...] = ()

    def apply(
        self, values: Float[Tensor, "strands bins channels"]
    ) -> Float[Tensor, "strands bins components"]:
        """Return the components of each bin; a bin without values keeps none."""
        known = values.any(dim=-1, keepdim=True)
        return (values - self.mean) @ self.axes * known


def fit(
    folder: Location, note: TableNote, regions: Sequence[Region], components: int
) -> Projection:
    """Fit components on the bins of some regions, both strands.

    Args:
        folder: Of the table.
        note: Of the table.
        regions: That are learnt from.
        components: To keep, at most the channels.

    Raises:
        UserError: There are fewer channels, or fewer bins with values.
    """
    total = 0
    sums: Float64[np.ndarray, " channels"] = np.zeros(note.channels)
    products: Float64[np.ndarray, "channels channels"] = np.zeros((note.channels, note.channels))
    for region in tqdm(regions, desc="fit components", unit="region"):
        stored = read_chrom(folder, note, region.chrom)
        first, end = region.start // note.bin_size, -(-region.end // note.bin_size)
        for start in range(first, end, _BINS_AT_ONCE):
            piece = as_floats(stored[:, start : min(start + _BINS_AT_ONCE, end)])
            values = piece.flatten(0, 1).double().numpy()
            values = values[values.any(axis=1)]
            total += len(values)
            sums += values.sum(axis=0)
            products += values.T @ values
    if not components <= min(note.channels, total):
        raise UserError(
            f"--components {components} cannot be: the table has {note.channels} channels, the "
            f"training chromosomes {total:,} bins with values; give fewer"
        )
    mean = sums / total
    variances, axes = np.linalg.eigh(products / total - np.outer(mean, mean))
    kept = slice(-1, -components - 1, -1)
    deviations = np.sqrt(np.maximum(variances[kept], np.finfo(np.float32).tiny))
    return Projection(
        torch.from_numpy(mean).float(),
        torch.from_numpy(axes[:, kept] / deviations).float(),
        float(variances[kept].sum() / variances.sum()),
    )


def write(projection: Projection, folder: Location) -> None:
    """Keep a projection with the table that it was fitted on."""
    tensors = {"mean": projection.mean, "axes": projection.axes.contiguous()}
    facts = {
        "explained": repr(projection.explained),
        "fitted_on": json.dumps(projection.fitted_on),
    }
    with replaced(folder / FILE) as path:
        save_file(tensors, path, metadata=facts)


def require(folder: Location) -> None:
    """Refuse a table without components.

    Raises:
        UserError: It has none.
    """
    if not (folder / FILE).exists():
        raise UserError(
            f"{folder} holds no components; give the --out folder of a `hicray embed-dna` with "
            "--components"
        )


def read(folder: Location) -> Projection:
    """Read the projection of a table.

    Raises:
        UserError: It has none.
    """
    require(folder)
    with safe_open(local(folder / FILE), framework="pt") as file:
        facts = file.metadata()
        mean, axes = (file.get_tensor(name) for name in ("mean", "axes"))
    fitted_on = tuple(json.loads(facts["fitted_on"]))
    return Projection(mean, axes, float(facts["explained"]), fitted_on)
