"""The same job without a model: what a model has to beat."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from hicray.evaluation.window_set import Predictor
from hicray.windows.batches import Batch
from hicray.windows.collate import Collate
from hicray.windows.scales import from_network, separations, to_network

BASE = "coarse O/E x fine expected"


def baselines(collate: Collate) -> Mapping[str, Predictor]:
    """Return the free predictions that every table carries, in network units."""
    expected, depth = collate.fine_expected, collate.fine_per_coarse

    def upsampled(batch: Batch) -> Float[Tensor, "batch rows cols"]:
        """The coarse map at the fine one's depth: where reads were thinned, it has fewer."""
        ratio = depth.to(batch.coarse.device)[batch.group]
        return to_network(from_network(batch.coarse) * ratio[:, None, None])

    def distance_only(batch: Batch) -> Float[Tensor, "batch rows cols"]:
        """Training chromosomes' mean at each separation: knows nothing of the locus."""
        apart = separations(batch.diagonal, batch.target.shape[-1])
        curves = expected.to(apart.device)
        return to_network(curves[batch.group[:, None, None], apart])

    return {
        "upsampled coarse": upsampled,
        "distance only": distance_only,
        BASE: lambda batch: batch.base,
    }
