"""The decay of enhanced maps with distance, brought to that of the fine map.

What is trained to correlate in logarithms, or on few windows, ends a few percent off, the more so
the farther from the diagonal. No score that sets it itself sees this; whoever opens the map
does: its decay with distance would be wrong.
"""

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor, nn

from hicray.windows.scales import Maps, from_network, separations, to_network

_PER_OCTAVE = 2
KNOTS = 40
"""Half octaves of separation + 1, in fine bins: beyond what any chromosome has."""


Sums = Float64[Tensor, "knots 2"]
"""Of contacts: predicted and fine."""
NOTHING: Sums = torch.zeros(KNOTS, 2, dtype=torch.float64)


class DecayFactors(nn.Module):
    """Multiplies contacts by a factor of their separation, linear in its logarithm between knots.

    Not trained but measured (``fit``), and applied in eval mode alone: gradients never see it.

    Attributes:
        log_factors: Natural logarithm of the factor at each knot; 0 until measured.
    """

    log_factors: Float[Tensor, " knots"]

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("log_factors", torch.zeros(KNOTS))

    def forward(self, values: Maps, diagonal: Int[Tensor, " batch"]) -> Maps:
        """Return maps of the fine map's decay, in network units; as they come in train mode."""
        if self.training:
            return values
        knot, share = _knot_below(separations(diagonal, values.shape[-1]))
        low, high = self.log_factors[knot], self.log_factors[knot + 1]
        factor = torch.exp(low + share * (high - low))
        return to_network(from_network(values) * factor)

    def clear(self) -> None:
        """Leave maps as they come."""
        self.log_factors.zero_()

    def fit(self, sums: Sums) -> None:
        """Set the factors; a knot near which nothing is predicted takes the nearest one's.

        Args:
            sums: ``contacts_by_knot`` of windows that were predicted while factors were clear.
        """
        measured = torch.nonzero((sums > 0).all(dim=-1))[:, 0]
        if len(measured):
            # (knots, 1) - measured: each knot beside all those that have contacts in both maps.
            nearest = (torch.arange(KNOTS)[:, None] - measured).abs().argmin(dim=1)
            predicted, fine = sums[measured[nearest]].unbind(-1)
            self.log_factors.copy_(torch.log(fine / predicted))


def contacts_by_knot(
    predicted: Maps,
    fine: Maps,
    usable: Bool[Tensor, "batch rows cols"],
    diagonal: Int[Tensor, " batch"],
) -> Sums:
    """Return predicted and fine contacts of usable pixels, each shared by the knots beside it.

    Args:
        predicted: In network units.
        fine: Likewise.
        usable: Pixels that count.
        diagonal: First column minus first row of each window, in fine bins.
    """
    knot, share = _knot_below(separations(diagonal, fine.shape[-1])[usable])
    sums = torch.zeros(KNOTS, 2, dtype=torch.float64, device=fine.device)
    contacts = torch.stack(
        [from_network(values)[usable].double() for values in (predicted, fine)], -1
    )
    sums.index_add_(0, knot, contacts * (1 - share)[:, None])
    sums.index_add_(0, knot + 1, contacts * share[:, None])
    return sums.cpu()


def _knot_below(
    separation: Int[Tensor, "*pixels"],
) -> tuple[Int[Tensor, "*pixels"], Float[Tensor, "*pixels"]]:
    """Return the knot below each separation, and how far on the way to the next it lies."""
    # Knots lie at separations of 2^(knot / 2) - 1: 0, 0.4, 1, 1.8, 3, 4.7, 7, ... bins.
    at = _PER_OCTAVE * torch.log2(separation + 1.0)
    knot = at.floor().long().clamp(max=KNOTS - 2)
    return knot, at - knot
