"""Runs, metrics and figures in MLflow, written from the driver alone.

A search is one parent run, each trial one child, found again by its name (configuration and
shard set), so that a restarted search goes on in the same runs. Whatever is written may be
written again: a store that fell silent halfway is left with nothing twice.
"""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.time import get_current_time_millis

from hicray.config import UserError
from hicray.io.storage import Location, uri_of
from hicray.tracking.stores import default_uri, refusal, require_store, use
from hicray.wording import reason, shown

EXPERIMENT = "hicray"
SEARCH, TRIAL, EXPERIMENT_RUN = "hicray.search", "hicray.trial", "hicray.experiment"
REFIT = "hicray.refit"
"""Kind of a run that saw test chromosomes: a child of a search as trials are, but none of them."""
LAST_RUN = "hicray.last_run"
"""Tag of a search: when it was last started, in ms; MLflow keeps the first time alone."""
_PARENT = "mlflow.parentRunId"


class TrialRun(NamedTuple):
    """A run as ``compare`` reads it."""

    run_id: str
    name: str
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]
    status: str = ""
    start_time: int = 0


def git_commit() -> str:
    """Return the commit of the code that runs, or 'unknown' outside a checkout."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "rev-parse", "HEAD"]
    with contextlib.suppress(OSError):
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode == 0:
            return answer.stdout.strip()
    return "unknown"


class Store:
    """One experiment of one MLflow store.

    Args:
        uri: Tracking URI.
        artifacts: Where artifacts go for a store without a server.
        reading: Nothing is made: no database, no experiment.
    """

    def __init__(self, uri: str, artifacts: Location, *, reading: bool = False) -> None:
        self.uri, self.artifacts, self.reading = uri, artifacts, reading
        self._client: MlflowClient | None = None
        self._experiment = ""

    @property
    def client(self) -> MlflowClient:
        """The client, opened when first used.

        Raises:
            UserError: The store cannot be used as it is.
        """
        if self._client is None:
            require_store(self.uri, reading=self.reading)
            use(self.uri)
            self._client = MlflowClient(self.uri)
        return self._client

    def experiment(self) -> str:
        """Return the id of hicray's experiment, made if need be.

        Raises:
            UserError: The store does not answer, or holds nothing that could be read.
        """
        if not self._experiment:
            with self._answering():
                self._experiment = self._find_experiment()
        return self._experiment

    def _find_experiment(self) -> str:
        if experiment := self.client.get_experiment_by_name(EXPERIMENT):
            return str(experiment.experiment_id)
        if self.reading:
            raise UserError(
                f"{shown(self.uri)} holds no search; name the --storage or --tracking-uri of one"
            )
        location = None if self.uri.startswith("http") else uri_of(self.artifacts)
        return str(self.client.create_experiment(EXPERIMENT, artifact_location=location))

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        """Say in one sentence what MLflow has against a request.

        Raises:
            UserError: It has something.
        """
        try:
            yield
        except MlflowException as error:
            raise refusal(self.uri, error) from error

    def answers(self) -> bool:
        """Return whether the store answers at all."""
        with contextlib.suppress(MlflowException, OSError):
            self.client.search_experiments(max_results=1)
            return True
        return False

    def find_or_start(
        self, kind: str, name: str, params: Mapping[str, Any], tags: Mapping[str, str]
    ) -> str:
        """Return the run that carries ``kind: name``, started if there is none.

        Args:
            kind: ``SEARCH``, ``TRIAL``, ``REFIT`` or ``EXPERIMENT_RUN``.
            name: Its identity.
            params: Logged once.
            tags: Set each time.
        """
        experiment = self.experiment()
        parent = f" and tags.`{_PARENT}` = '{tags[_PARENT]}'" if _PARENT in tags else ""
        wanted = f"tags.`{kind}` = '{name}'{parent}"
        runs = self.client.search_runs([experiment], wanted, order_by=["start_time ASC"])
        # A start whose answer was lost may come through after the second.
        for duplicate in runs[1:]:
            self.client.delete_run(duplicate.info.run_id)
        # With all tags, or a start that was cut short here would not be found again.
        tags = {kind: name, **tags}
        run = runs[0] if runs else self.client.create_run(experiment, run_name=name, tags=tags)
        run_id, logged = str(run.info.run_id), run.data.params
        values = [Param(k, str(v)[:500]) for k, v in params.items() if k not in logged]
        self.client.log_batch(run_id, params=values, tags=_tags(tags))
        return run_id

    def tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags."""
        self.client.log_batch(run_id, tags=_tags(tags))

    def log(
        self, run_id: str, metrics: Mapping[str, Any], step: int, at: int | None = None
    ) -> None:
        """Log the numbers among ``metrics`` at a step.

        Args:
            run_id: Of the run.
            metrics: By name.
            step: Epoch.
            at: When, as ``now`` says; the same step of the same time is kept once.
        """
        at = now() if at is None else at
        numbers = [
            Metric(name, float(value), at, step)
            for name, value in metrics.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        ]
        self.client.log_batch(run_id, metrics=numbers)

    def last_step(self, run_id: str, metric: str) -> int:
        """Return the last step at which a metric was logged; 0 before the first."""
        return max((m.step for m in self.client.get_metric_history(run_id, metric)), default=0)

    def curve(self, run_id: str, metric: str) -> list[float]:
        """Return a metric's values in the order of steps."""
        with self._answering():
            history = self.client.get_metric_history(run_id, metric)
        return [m.value for m in sorted(history, key=lambda m: m.step)]

    def figure(self, run_id: str, figure: Figure, name: str) -> None:
        """Log a picture.

        Args:
            run_id: Run that it belongs to.
            figure: Drawn by matplotlib.
            name: File name of the artifact.
        """
        self.client.log_figure(run_id, figure, name)

    def text(self, run_id: str, text: str, name: str) -> None:
        """Log a text file.

        Args:
            run_id: Run that it belongs to.
            text: Its content.
            name: File name of the artifact.
        """
        self.client.log_text(run_id, text, name)

    def resume(self, run_id: str) -> None:
        """Say that a run goes on."""
        self.client.update_run(run_id, status="RUNNING")

    def finish(self, run_id: str, status: str = "FINISHED") -> None:
        """End a run, unless it has ended so."""
        if self.client.get_run(run_id).info.status != status:
            self.client.set_terminated(run_id, status)

    def trials(self, search_run: str, kind: str = TRIAL) -> list[TrialRun]:
        """Return the trials of a search, or the runs of it that are of kind ``REFIT``."""
        return self._runs(f"tags.`{_PARENT}` = '{search_run}' and tags.`{kind}` LIKE '%'")

    def _runs(self, wanted: str) -> list[TrialRun]:
        """Return all runs that a filter lets through; a page of MLflow's has 1,000."""
        runs: list[TrialRun] = []
        token: str | None = None
        while token is None or token:
            with self._answering():
                page = self.client.search_runs([self.experiment()], wanted, page_token=token)
            runs += map(_trial, page)
            token = page.token or ""
        return runs

    def known_trials(self, search: Callable[[], str], kind: str = TRIAL) -> list[TrialRun]:
        """Return the trials of a search, or none where the store is away just now.

        Args:
            search: Returns the run of the search.
            kind: As for ``trials``.
        """
        with contextlib.suppress(MlflowException, OSError, UserError):
            return self.trials(search(), kind)
        return []

    def run(self, run_id: str) -> TrialRun:
        """Return a run by its id.

        Raises:
            UserError: There is no such run.
        """
        try:
            return _trial(self.client.get_run(run_id))
        except MlflowException as error:
            raise UserError(
                f"{shown(self.uri)} gives no run {run_id} ({reason(error)}); `mlflow ui` lists them"
            ) from error

    def last_search(self, shards: Location) -> TrialRun:
        """Return the search of a shard set that was run last, be it for the first time or again.

        Raises:
            UserError: There is none.
        """
        location = str(shards.resolve())
        searches = [
            run for run in self._runs(f"tags.`{SEARCH}` LIKE '%'") if run.tags["shards"] == location
        ]
        if not searches:
            raise UserError(
                f"{shown(self.uri)} holds no search of {shards.parent}; run "
                "experiments/tune_encoder.py with this --storage, or name another --tracking-uri"
            )
        return max(searches, key=lambda run: int(run.tags.get(LAST_RUN, run.start_time)))


def now() -> int:
    """Return the time as MLflow keeps it, in ms."""
    return int(get_current_time_millis())


def _tags(tags: Mapping[str, str]) -> list[RunTag]:
    return [RunTag(name, str(value)) for name, value in tags.items()]


def _trial(run: Run) -> TrialRun:
    info, data = run.info, run.data
    tags, params, metrics = dict(data.tags), dict(data.params), dict(data.metrics)
    return TrialRun(info.run_id, info.run_name, tags, params, metrics, info.status, info.start_time)


def open_store(storage: Location, tracking_uri: str, *, reading: bool = False) -> Store:
    """Open MLflow: $MLFLOW_TRACKING_URI, or a SQLite file in the storage, if no store is named.

    Args:
        storage: Folder of the search.
        tracking_uri: The store that is named, if any.
        reading: A search is only looked up; nothing is made.

    Raises:
        UserError: A search is looked up in a storage that is not there.
    """
    if reading and not storage.exists():
        raise UserError(f"{storage} does not exist; name the --storage of a search that was run")
    tracking_uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    return Store(tracking_uri or default_uri(storage), storage / "artifacts", reading=reading)
