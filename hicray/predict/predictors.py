"""Networks as predictors, to be scored beside baselines."""

from functools import partial

from jaxtyping import Float
from torch import Tensor

from hicray.evaluation.window_set import Predictor
from hicray.model.enhancer import Enhancer
from hicray.model.run import predict
from hicray.windows.batches import Batch
from hicray.windows.inputs import HEAD, given


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
