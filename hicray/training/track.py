"""Runs, metrics, figures and models in MLflow, written from the driver alone.

A search is one parent run, each trial one child, found again by its name (configuration and
shard set), so that a restarted search goes on in the same runs. Records may fail; training does
not stop for them.
"""

import contextlib
import json
import logging
import os
import subprocess
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

import mlflow
import mlflow.pytorch
import torch
from matplotlib.figure import Figure
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types import Schema, TensorSpec
from mlflow.utils.time import get_current_time_millis

from hicray.config import UserError
from hicray.storage import Location, S3Path, uri_of

logger = logging.getLogger(__name__)
EXPERIMENT = "hicray"
SEARCH, TRIAL, EXPERIMENT_RUN = "hicray.search", "hicray.trial", "hicray.experiment"
_PARENT = "mlflow.parentRunId"
PROGRESS = "hicray"
"""Key of a model's metadata under which its checkpoint's own words are kept."""
_REQUIREMENTS = ["torch", "timm", "jaxtyping", "numpy"]
logging.getLogger("mlflow").setLevel(logging.ERROR)
logging.getLogger("alembic").setLevel(logging.ERROR)


class TrialRun(NamedTuple):
    """A child run as ``compare`` reads it."""

    run_id: str
    name: str
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]


def default_uri(storage: Location) -> str:
    """Return a SQLite store inside the storage folder.

    Raises:
        UserError: The storage is a bucket, which no database can lie in.
    """
    if isinstance(storage, S3Path):
        raise UserError(
            f"MLflow's database cannot lie in {storage}; start `mlflow server` and give its "
            "address by --tracking-uri or MLFLOW_TRACKING_URI"
        )
    return f"sqlite:///{storage.resolve()}/mlflow.db"


def ui_command(uri: str) -> str:
    """Return the line that browses a store."""
    if uri.startswith("http"):
        return f"open {uri}"
    return f"mlflow ui --backend-store-uri {uri}"


def git_commit() -> str:
    """Return the commit of the code that runs, or 'unknown' outside a checkout."""
    here = Path(__file__).parent
    asked = ["git", "-C", str(here), "rev-parse", "HEAD"]
    with contextlib.suppress(OSError):
        answer = subprocess.run(asked, capture_output=True, text=True, check=False)
        if answer.returncode == 0:
            return answer.stdout.strip()
    return "unknown"


class Store:
    """One experiment of one MLflow store.

    Args:
        uri: Tracking URI.
        artifacts: Where artifacts go for a store without a server.
    """

    def __init__(self, uri: str, artifacts: Location) -> None:
        self.uri, self.artifacts, self.lost = uri, artifacts, 0
        self._client: MlflowClient | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_client": None}

    @property
    def client(self) -> MlflowClient:
        """The client, opened when first used."""
        if self._client is None:
            mlflow.set_tracking_uri(self.uri)
            self._client = MlflowClient(self.uri)
        return self._client

    def experiment(self) -> str:
        """Return the id of hicray's experiment, made if need be.

        Raises:
            UserError: The store does not answer.
        """
        try:
            if there := self.client.get_experiment_by_name(EXPERIMENT):
                return str(there.experiment_id)
            place = None if self.uri.startswith("http") else uri_of(self.artifacts)
            return str(self.client.create_experiment(EXPERIMENT, artifact_location=place))
        except MlflowException as error:
            raise UserError(
                f"the MLflow store {self.uri} does not answer ({str(error).splitlines()[0]}); "
                "check --tracking-uri"
            ) from error

    def find_or_start(
        self, kind: str, name: str, params: Mapping[str, Any], tags: Mapping[str, str]
    ) -> str:
        """Return the run that carries ``kind: name``, started if there is none.

        Args:
            kind: ``SEARCH``, ``TRIAL`` or ``EXPERIMENT_RUN``.
            name: Its identity.
            params: Logged when the run is new.
            tags: Set each time.
        """
        experiment = self.experiment()
        parent = f" and tags.`{_PARENT}` = '{tags[_PARENT]}'" if _PARENT in tags else ""
        found = self.client.search_runs([experiment], f"tags.`{kind}` = '{name}'{parent}")
        if found:
            run_id = str(found[0].info.run_id)
            self.client.update_run(run_id, status="RUNNING")
        else:
            run = self.client.create_run(experiment, run_name=name, tags={kind: name})
            run_id = str(run.info.run_id)
            values = [Param(key, str(value)[:500]) for key, value in params.items()]
            self.client.log_batch(run_id, params=values)
        self.tag(run_id, tags)
        return run_id

    def tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags."""
        self.client.log_batch(run_id, tags=[RunTag(k, str(v)) for k, v in tags.items()])

    def log(self, run_id: str, metrics: Mapping[str, Any], step: int) -> None:
        """Log the numbers among ``metrics`` at a step."""
        now = get_current_time_millis()
        numbers = [
            Metric(name, float(value), now, step)
            for name, value in metrics.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        ]
        self.client.log_batch(run_id, metrics=numbers)

    def last_step(self, run_id: str, metric: str) -> int:
        """Return the last step at which a metric was logged; 0 before the first."""
        return max((m.step for m in self.client.get_metric_history(run_id, metric)), default=0)

    def curve(self, run_id: str, metric: str) -> list[float]:
        """Return a metric's values in the order of steps."""
        history = self.client.get_metric_history(run_id, metric)
        return [m.value for m in sorted(history, key=lambda m: m.step)]

    def figure(self, run_id: str, figure: Figure, name: str) -> None:
        """Log a picture."""
        self.client.log_figure(run_id, figure, name)

    def text(self, run_id: str, text: str, name: str) -> None:
        """Log a text file."""
        self.client.log_text(run_id, text, name)

    def finish(self, run_id: str, status: str = "FINISHED") -> None:
        """End a run."""
        self.client.set_terminated(run_id, status)

    def model(
        self,
        run_id: str,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        progress: Mapping[str, Any],
    ) -> str:
        """Log a model as a graph (pt2), never a pickle; return its URI.

        Args:
            run_id: Run that it belongs to.
            model: On the host, in eval mode.
            inputs: Arguments of ``forward`` in their order, of at least two windows.
            progress: What its checkpoint says of it; kept with it as metadata.
        """
        self.experiment()
        with torch.no_grad():
            output = model(**inputs)
        signature = ModelSignature(
            inputs=Schema([_spec(tensor, name) for name, tensor in inputs.items()]),
            outputs=Schema([_spec(output, "enhanced")]),
        )
        with mlflow.start_run(run_id=run_id), warnings.catch_warnings():
            # Said of tensors on the host, where it is of no consequence.
            warnings.filterwarnings("ignore", message="No complete tensor found")
            info = mlflow.pytorch.log_model(
                model,
                name="model",
                signature=signature,
                input_example=[tensor.numpy() for tensor in inputs.values()],
                serialization_format="pt2",
                pip_requirements=_REQUIREMENTS,
                metadata={PROGRESS: json.dumps(progress)},
            )
        return str(info.model_uri)

    def trials(self, search_run: str) -> list[TrialRun]:
        """Return the child runs of a search."""
        wanted = f"tags.`{_PARENT}` = '{search_run}'"
        return [_trial(run) for run in self.client.search_runs([self.experiment()], wanted)]

    def run(self, run_id: str) -> TrialRun:
        """Return a run by its id.

        Raises:
            UserError: There is no such run.
        """
        try:
            return _trial(self.client.get_run(run_id))
        except MlflowException as error:
            raise UserError(f"{self.uri} has no run {run_id}; `mlflow ui` lists them") from error

    def last_search(self) -> TrialRun:
        """Return the newest search.

        Raises:
            UserError: There is none.
        """
        runs = self.client.search_runs([self.experiment()], f"tags.`{SEARCH}` LIKE '%'")
        if not runs:
            raise UserError(f"{self.uri} holds no search yet; run experiments/tune_encoder.py")
        return _trial(runs[0])

    @contextlib.contextmanager
    def forgiving(self) -> Iterator[None]:
        """Count and say what could not be recorded, instead of stopping the training."""
        try:
            yield
        except (MlflowException, OSError) as error:
            self.lost += 1
            logger.warning("MLflow did not take a record (%d lost so far): %s", self.lost, error)


def _trial(run: Run) -> TrialRun:
    data = run.data
    tags, params, metrics = dict(data.tags), dict(data.params), dict(data.metrics)
    return TrialRun(run.info.run_id, run.info.run_name, tags, params, metrics)


def _spec(tensor: torch.Tensor, name: str) -> TensorSpec:
    kind = tensor.detach().cpu().numpy().dtype
    return TensorSpec(kind, (-1, *tensor.shape[1:]), name)
