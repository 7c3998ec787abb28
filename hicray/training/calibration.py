"""Bringing a network's decay with distance to the fine map's, on windows it was trained on."""

from collections.abc import Callable, Iterable, Mapping

from torch import Tensor, nn

from hicray.model.decay import NOTHING, DecayFactors, contacts_by_knot
from hicray.model.run import predict
from hicray.windows.batches import Batch

WINDOWS = 128
"""Training windows that tell the decay, the first of the set, which lies in random order."""


def calibrate(
    network: nn.Module,
    batches: Iterable[Batch],
    inputs: Callable[[Batch], Mapping[str, Tensor]],
    add: Callable[[Tensor], Tensor],
) -> None:
    """Measure a network's factors anew; every worker ends with the same.

    Args:
        network: One that has them somewhere; in eval mode afterwards.
        batches: This worker's share of the windows.
        inputs: What the network takes of a batch.
        add: Sums a tensor over all workers.
    """
    (decay,) = (module for module in network.modules() if isinstance(module, DecayFactors))
    network.eval()
    decay.clear()
    sums = (
        contacts_by_knot(predict(network, inputs(b)), b.target, b.usable, b.diagonal)
        for b in batches
    )
    decay.fit(add(sum(sums, NOTHING)))
