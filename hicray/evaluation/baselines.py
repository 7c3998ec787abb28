"""The same job without a model: what a model has to beat."""

from collections.abc import Mapping
from functools import partial

from jaxtyping import Float
from torch import Tensor

from hicray.evaluation.held_out import Predictor
from hicray.model.enhancer import Enhancer
from hicray.model.run import predict
from hicray.windows.batches import Batch, Collate
from hicray.windows.inputs import HEAD, given
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


def model_predictor(model: Enhancer) -> Predictor:
    """Return a network as a predictor; stored tokens, where a batch has them, spare its encoder."""

    def predict_batch(batch: Batch) -> Float[Tensor, "batch rows cols"]:
        if batch.tokens is not None:
            return predict(model.head, batch.head_arguments())
        return predict(model, batch.arguments())

    return predict_batch


def mapless_predictor(model: Enhancer) -> Predictor:
    """Return a network whose transformer says nothing: its map is 0 wherever the pixels read it."""
    return lambda batch: predict(partial(model.head, None), given(batch, *HEAD))
