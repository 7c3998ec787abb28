"""Models in MLflow: logged as graphs, opened again by their URI alone, never a pickle."""

import json
import os
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import mlflow
import mlflow.models
import mlflow.pytorch
import torch
from mlflow.entities import LoggedModelOutput, LoggedModelStatus
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from hicray.config import UserError
from hicray.training.track import Store, use

PROGRESS = "hicray"
"""Key of a model's metadata under which its checkpoint's own words are kept."""
_REQUIREMENTS = ["torch", "timm", "jaxtyping", "numpy"]
# Read when a model is loaded: what would have to be unpickled is then refused.
os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")


class LoggedModel(NamedTuple):
    """A model that ``log_model`` logged.

    Attributes:
        progress: What its checkpoint said of it.
        weights: By their names in the network, a frozen encoder's too.
    """

    progress: dict[str, Any]
    weights: dict[str, torch.Tensor]


def log_model(
    store: Store,
    run_id: str,
    model: torch.nn.Module,
    inputs: dict[str, torch.Tensor],
    progress: Mapping[str, Any],
) -> str:
    """Log a run's model as a graph (pt2); return its URI.

    Args:
        store: Where to.
        run_id: Run that it belongs to, which has one model: one that is there is not logged again.
        model: On the host, in eval mode.
        inputs: Arguments of ``forward`` in their order, of at least two windows.
        progress: What its checkpoint says of it; kept with it as metadata.
    """
    client, experiment = store.client, store.experiment()
    run = client.get_run(run_id)
    there = client.search_logged_models([experiment], f"source_run_id = '{run_id}'")
    logged = there[0] if there else client.create_logged_model(
        experiment, name="model", source_run_id=run_id, params=run.data.params
    )  # fmt: skip
    if logged.status != LoggedModelStatus.READY:
        use(store.uri)
        _upload(logged.model_id, model, inputs, progress)
    if run.outputs is None or not run.outputs.model_outputs:
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    return str(logged.model_uri)


def _upload(
    model_id: str,
    model: torch.nn.Module,
    inputs: dict[str, torch.Tensor],
    progress: Mapping[str, Any],
) -> None:
    with torch.no_grad():
        output = model(**inputs)
    signature = ModelSignature(
        inputs=Schema([_spec(tensor, name) for name, tensor in inputs.items()]),
        outputs=Schema([_spec(output, "enhanced")]),
    )
    with warnings.catch_warnings():
        # Said of tensors on the host, where it is of no consequence.
        warnings.filterwarnings("ignore", message="No complete tensor found")
        # Outside an active run: there, each of its metrics is asked for its whole history.
        mlflow.pytorch.log_model(
            model,
            name="model",
            model_id=model_id,
            signature=signature,
            input_example=[tensor.numpy() for tensor in inputs.values()],
            serialization_format="pt2",
            pip_requirements=_REQUIREMENTS,
            metadata={PROGRESS: json.dumps(progress)},
        )


def _spec(tensor: torch.Tensor, name: str) -> TensorSpec:
    kind = tensor.detach().cpu().numpy().dtype
    return TensorSpec(kind, (-1, *tensor.shape[1:]), name)


def read_model(uri: str, tracking_uri: str) -> LoggedModel:
    """Open a logged model; nothing in it is unpickled.

    Args:
        uri: ``models:/...`` or ``runs:/...``.
        tracking_uri: Store that knows it.

    Raises:
        UserError: There is no such model, or hicray did not log it.
    """
    try:
        use(tracking_uri)
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
