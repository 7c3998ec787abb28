"""Models that a search logged, opened again: by their URI alone, without the checkpoint."""

import json
import os
from typing import Any, NamedTuple

import mlflow
import mlflow.models
import mlflow.pytorch
import torch
from mlflow.exceptions import MlflowException

from hicray.config import UserError
from hicray.training.track import PROGRESS

# Read when a model is loaded: what would have to be unpickled is then refused.
os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")


class LoggedModel(NamedTuple):
    """A model that ``Store.model`` logged.

    Attributes:
        progress: What its checkpoint said of it.
        weights: By their names in the network, a frozen encoder's too.
    """

    progress: dict[str, Any]
    weights: dict[str, torch.Tensor]


def read_model(uri: str, tracking_uri: str) -> LoggedModel:
    """Open a logged model; nothing in it is unpickled.

    Args:
        uri: ``models:/...`` or ``runs:/...``.
        tracking_uri: Store that knows it.

    Raises:
        UserError: There is no such model, or hicray did not log it.
    """
    try:
        mlflow.set_tracking_uri(tracking_uri)
        metadata = mlflow.models.get_model_info(uri).metadata or {}
        if PROGRESS not in metadata:
            raise UserError(
                f"{uri} does not say what it was trained on: it was logged by an older hicray or "
                "another program; give its checkpoint folder, or train anew"
            )
        graph = mlflow.pytorch.load_model(uri)
    except (MlflowException, OSError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"{tracking_uri} gives no model {uri} ({reason}); check --checkpoint and --tracking-uri"
        ) from error
    return LoggedModel(json.loads(metadata[PROGRESS]), dict(graph.state_dict()))
