"""Models in MLflow: logged as graphs, opened again by their URI alone.

A graph is for other programs. Opening one runs what it says, so hicray itself reads the table of
weights that lies beside it, and runs nothing.
"""

import json
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any, NamedTuple

import mlflow
import mlflow.pytorch
import torch
import yaml
from mlflow.entities import LoggedModelOutput, LoggedModelStatus
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec
from safetensors.torch import save_file

from hicray.config import UserError
from hicray.model.checkpoint import read_weights
from hicray.tracking.stores import require_store, use
from hicray.tracking.track import Store
from hicray.wording import reason, shown

PROGRESS = "hicray"
"""Key of a model's metadata under which its checkpoint's own words are kept."""
_REQUIREMENTS = ["torch", "timm", "jaxtyping", "numpy"]
_WEIGHTS = "weights.safetensors"


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
        inputs: Arguments of ``forward`` by name, of at least two windows.
        progress: What its checkpoint says of it; kept with it as metadata.
    """
    client, experiment = store.client, store.experiment()
    run = client.get_run(run_id)
    existing = client.search_logged_models([experiment], f"source_run_id = '{run_id}'")
    logged = existing[0] if existing else client.create_logged_model(
        experiment, name="model", source_run_id=run_id, params=run.data.params
    )  # fmt: skip
    if logged.status != LoggedModelStatus.READY:
        use(store.uri)
        _upload(logged.model_id, model, inputs, progress)
    if run.outputs is None or not run.outputs.model_outputs:
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    return str(logged.model_uri)


class _InOrder(torch.nn.Module):
    """Takes by position what a network takes by name: it may not read all between its inputs."""

    def __init__(self, model: torch.nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.model = model

        def forward(*inputs: torch.Tensor) -> torch.Tensor:
            enhanced: torch.Tensor = model(**dict(zip(names, inputs, strict=True)))
            return enhanced

        # An export asks for a name of each input, to say which sizes may change.
        parameters = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in names]
        forward.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # inspect's
        self.forward = forward


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
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        weights = Path(folder) / _WEIGHTS
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, weights)
        # Said of tensors on the host, where it is of no consequence.
        warnings.filterwarnings("ignore", message="No complete tensor found")
        # Outside an active run: there, each of its metrics is asked for its whole history.
        mlflow.pytorch.log_model(
            _InOrder(model, list(inputs)).eval(),
            name="model",
            model_id=model_id,
            signature=signature,
            input_example=[tensor.numpy() for tensor in inputs.values()],
            serialization_format="pt2",
            pip_requirements=_REQUIREMENTS,
            metadata={PROGRESS: json.dumps(progress)},
            extra_files=[str(weights)],
        )


def _spec(tensor: torch.Tensor, name: str) -> TensorSpec:
    kind = tensor.detach().cpu().numpy().dtype
    # -1: a batch of any size.
    return TensorSpec(kind, (-1, *tensor.shape[1:]), name)


def read_model(uri: str, tracking_uri: str) -> LoggedModel:
    """Read a logged model's weights; no code of it is run, whatever it holds.

    Args:
        uri: ``models:/...`` or ``runs:/...``.
        tracking_uri: Store that knows it.

    Raises:
        UserError: There is no such model, or hicray did not log it.
    """
    try:
        require_store(tracking_uri, reading=True)
        use(tracking_uri)
        folder = Path(mlflow.artifacts.download_artifacts(uri))
        # Model.load would take the path for a URI, and decode it.
        metadata = Model.from_dict(yaml.safe_load((folder / "MLmodel").read_text())).metadata or {}
    except (MlflowException, OSError) as error:
        raise UserError(
            f"{shown(tracking_uri)} gives no model {uri} ({reason(error)}); check --checkpoint and "
            "--tracking-uri"
        ) from error
    weights = folder / "extra_files" / _WEIGHTS
    if PROGRESS not in metadata or not weights.is_file():
        raise UserError(
            f"{uri} does not say what it was trained on: it was logged by an older hicray or "
            "another program; give its checkpoint folder, or train anew"
        )
    return LoggedModel(json.loads(metadata[PROGRESS]), read_weights(weights))
