"""Bringing a network's level to the fine map's, on windows that it was trained on."""

from collections.abc import Callable, Iterable, Mapping

from torch import Tensor, nn

from hicray.model.level import NOTHING, Level, contacts_by_knot
from hicray.model.run import predict
from hicray.windows.batches import Batch

WINDOWS = 256
"""Training windows that tell the level, the first of the set, which lies in random order."""


def calibrate(
    network: nn.Module,
    batches: Iterable[Batch],
    inputs: Callable[[Batch], Mapping[str, Tensor]],
    add: Callable[[Tensor], Tensor],
) -> None:
    """Measure a network's level anew; every worker ends with the same.

    Args:
        network: One that holds a level somewhere; in eval mode afterwards.
        batches: This worker's share of the windows.
        inputs: What the network takes of a batch.
        add: Sums a tensor over all workers.
    """
    (level,) = (module for module in network.modules() if isinstance(module, Level))
    network.eval()
    level.clear()
    own = (
        contacts_by_knot(predict(network, inputs(b)), b.target, b.usable, b.diagonal)
        for b in batches
    )
    level.fit(add(sum(own, NOTHING)))
