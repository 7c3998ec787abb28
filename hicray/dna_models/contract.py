"""What a model of DNA has to be, so that it can be slid over a genome.

    window   |------------------------------------------|     bases that are read at once
    output             | | | | | | | | | | | | |               positions, ``stride`` bases each
             |--margin-|                       |--margin-|     read, and not told of

Axis names: ``bases`` are those of a window; ``positions`` those that it gives something for;
``channels`` what it gives.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from hicray.maps.genome import N


@runtime_checkable
class DnaModel(Protocol):
    """A frozen model of DNA.

    Attributes:
        window: Bases that are read at once.
        stride: Bases of one position.
        positions: Positions that are given, in the middle of the window.
        channels: Values of a position.
    """

    window: int
    stride: int
    positions: int
    channels: int

    def __call__(
        self, codes: UInt8[Tensor, "batch bases"]
    ) -> Float[Tensor, "batch positions channels"]:
        """Return what the model knows of the middle of each window.

        Args:
            codes: A 0, C 1, G 2, T 3; 4 is an unknown base.
        """
        ...


class Sizes(NamedTuple):
    """Those of a model, without the model; as ``DnaModel`` has them."""

    window: int
    stride: int
    positions: int
    channels: int


def sizes_of(model: DnaModel) -> Sizes:
    """Return the sizes of a model."""
    return Sizes(model.window, model.stride, model.positions, model.channels)


def margin(model: DnaModel | Sizes) -> int:
    """Return the bases at either end of a window that no position lies on."""
    return (model.window - model.positions * model.stride) // 2


def one_hot(
    codes: UInt8[Tensor, "batch bases"], dtype: torch.dtype = torch.float32
) -> Float[Tensor, "batch 4 bases"]:
    """Return a channel for each of A, C, G and T; an unknown base is 0 in all of them."""
    bases = torch.arange(N, device=codes.device, dtype=codes.dtype)
    return (codes[:, None] == bases[:, None]).to(dtype)
