"""What a search leaves in MLflow: a Tune callback that records trials, and best models."""

import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ray import tune
from ray.tune.experiment import Trial

from hicray import config as cfg
from hicray.cluster import connection
from hicray.figures import Picture, loss_curves
from hicray.io.progress import tqdm
from hicray.io.storage import Location
from hicray.metrics.objective import BEST_OBJECTIVE, VAL_OBJECTIVE, best_of
from hicray.model import checkpoint
from hicray.model.opened import open_network
from hicray.model.run import predict
from hicray.panels import locus_panels
from hicray.tracking import track
from hicray.tracking.logged import log_model
from hicray.tracking.outbox import Outbox
from hicray.training.data import Data
from hicray.training.examples import loci
from hicray.training.plateau import finished
from hicray.training.trial import UNWRITABLE, arm, trial_name
from hicray.windows.manifest import Manifest
from hicray.windows.stream import Reader, Slice

logger = logging.getLogger(__name__)
REFITTED = "refit_epochs_done"
"""Metric that a refit, which has no score, ends with."""
Epoch = dict[str, Any]
"""Metrics of an epoch, by name."""


@dataclass(frozen=True)
class Best:
    """A checkpoint as it is logged: the network, what it says of itself, what it does.

    Attributes:
        folder: The checkpoint.
        progress: Its own words.
        model: On the host.
        inputs: Arguments of the network, of two windows.
        maps: Coarse, enhanced and fine maps of a few validation windows.
    """

    folder: Location
    progress: checkpoint.Progress
    model: torch.nn.Module
    inputs: dict[str, torch.Tensor]
    maps: Picture


def open_best(folder: Location, data: Data) -> Best:
    """Open a checkpoint, and enhance a few validation windows with it; a refit has training's."""
    progress = checkpoint.read_progress(folder)
    trial, manifest = progress.trial, data.manifest
    model = open_network(folder, manifest.layout(trial.coarse_bin_size))
    collate = data.collate(trial)
    windows, whose = (data.val, "validation") if data.val.rows else (data.train, "training")
    shown = min(3, windows.rows)
    table = next(iter(Reader(windows, shown).ordered(Slice(0, shown))))
    batch = collate.decode(collate.compact(table))
    enhanced = predict(model, batch.arguments())
    shown_maps = {"coarse": batch.coarse, "enhanced": enhanced}
    panels = locus_panels(loci(batch, collate, shown_maps), f"{whose} windows")
    # Two windows: an export would take a batch of one for a constant.
    twice = {name: torch.cat([value, value])[:2] for name, value in batch.arguments().items()}
    return Best(folder, progress, model, twice, panels)


class Trials:
    """The child runs of a search; the outbox's thread alone writes to them.

    Every method may be called again, in this process or another, and leaves nothing twice.

    Args:
        store: Where to.
        parent: Returns the run of the search.
        manifest: Of the shard set.
        folder: Where trials keep their checkpoints.
    """

    def __init__(
        self, store: track.Store, parent: Callable[[], str], manifest: Manifest, folder: Location
    ) -> None:
        self.store, self.parent, self.manifest, self.folder = store, parent, manifest, folder
        self._runs: dict[str, str] = {}
        self._logged: dict[str, int] = {}

    def name(self, config: cfg.TrialConfig) -> str:
        """Return a trial's identity."""
        return trial_name(config, self.manifest.plan)

    def run(self, config: cfg.TrialConfig) -> str:
        """Find or start a trial's run."""
        name = self.name(config)
        if name not in self._runs:
            tags = {
                "mlflow.parentRunId": self.parent(),
                "sequence": arm(config),
                "gap": self.manifest.gap_tag(config.coarse_bin_size),
                "dataset": self.manifest.plan,
                "mlflow.source.git.commit": track.git_commit(),
            }
            kind = track.REFIT if config.refit_epochs else track.TRIAL
            run = self.store.find_or_start(kind, name, cfg.flatten(config), tags)
            self._logged[run] = self.store.last_step(run, "train_loss")
            self._runs[name] = run
        return self._runs[name]

    def start(self, config: cfg.TrialConfig) -> None:
        """Say that a trial runs."""
        self.store.resume(self.run(config))

    def log(self, config: cfg.TrialConfig, metrics: Epoch, at: int) -> None:
        """Log an epoch once; a restarted trial reports its past again.

        Args:
            config: Of the trial.
            metrics: Of the epoch.
            at: When it ended, in ms since 1970.
        """
        run, epoch = self.run(config), int(metrics["epoch"])
        if epoch > self._logged[run]:
            self.store.log(run, _ours(metrics), epoch, at)
            self._logged[run] = epoch

    def end(self, config: cfg.TrialConfig, status: str, history: Sequence[Epoch]) -> None:
        """End a run with all its epochs, the best one if any was validated, and its loss curves.

        Args:
            config: Of the trial.
            status: FINISHED or FAILED.
            history: Metrics of its epochs, oldest first.
        """
        run = self.run(config)
        for metrics in history:
            self.log(config, metrics, track.now())
        # Logged last of all, so that a run that has it has everything.
        last = REFITTED if config.refit_epochs else BEST_OBJECTIVE
        if history and not self.store.last_step(run, last):
            names = [name for name in ("train", "val") if f"{name}_loss" in history[0]]
            lines = {name: [epoch[f"{name}_loss"] for epoch in history] for name in names}
            folder = checkpoint.best_checkpoint(self.folder / self.name(config))
            stopped = not finished(history, config)
            self.store.figure(run, loss_curves({self.name(config): lines}), "loss_curves.png")
            self.store.tag(run, {"early_stopped": str(stopped), "checkpoint": str(folder or "")})
            value = len(history) if config.refit_epochs else best_of(history)
            self.store.log(run, {last: value}, len(history))
        self.store.finish(run, status)

    def model(self, best: Best) -> None:
        """Log a checkpoint as its run's model, with its maps."""
        run = self.run(best.progress.trial)
        self.store.figure(run, best.maps, "maps.png")
        uri = log_model(self.store, run, best.model, best.inputs, asdict(best.progress))
        self.store.tag(run, {"model": uri, "checkpoint": str(best.folder)})


class Recorder(tune.Callback):  # type: ignore[misc]  # Ray is untyped
    """Writes down every trial of a Tuner, on the driver; Tune never waits for MLflow.

    Args:
        outbox: Takes the records.
        trials: Their runs.
        first: The cell's first guess, which a trial's choices override.
    """

    def __init__(self, outbox: Outbox, trials: Trials, first: cfg.TrialConfig) -> None:
        self.outbox, self.trials, self.first = outbox, trials, first
        self._reported: dict[str, dict[int, Epoch]] = {}
        self._ended: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks; who restores a Tuner gives it new ones

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """Find or start the trial's run."""
        self.outbox.put(partial(self.trials.start, cfg.override(self.first, trial.config)))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **_: Any
    ) -> None:
        """Log an epoch."""
        config = cfg.override(self.first, trial.config)
        metrics = _ours(result) | {"epoch": int(result["epoch"])}
        self._reported.setdefault(self.trials.name(config), {})[metrics["epoch"]] = metrics
        self.outbox.put(partial(self.trials.log, config, metrics, track.now()))

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **_: Any
    ) -> None:
        """End the run."""
        self._end(trial.config, "FINISHED")

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """End the run as failed."""
        self._end(trial.config, "FAILED")
        _stop_where_unwritable(trial)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """End the search instead of trying again, where that would be of no use."""
        _stop_where_unwritable(trial)

    def catch_up(self, results: tune.ResultGrid) -> dict[str, str]:
        """Record trials of an earlier process, whose records may not have arrived; say failures.

        Returns:
            How each trial ended, by name.
        """
        statuses = {}
        for result in results:
            name, status = self._name(result.config), "FAILED" if result.error else "FINISHED"
            statuses[name] = status
            if result.error:
                reason = str(result.error).rstrip().splitlines()[-1]
                logger.warning("trial %s failed: %s", name, reason)
            if name not in self._ended:
                self._end(result.config, status, int((result.metrics or {}).get("epoch", 0)))
        return statuses

    def _name(self, chosen: dict[str, Any]) -> str:
        return self.trials.name(cfg.override(self.first, chosen))

    def _end(self, chosen: dict[str, Any], status: str, epochs: int = 0) -> None:
        name = self._name(chosen)
        if reported := self._reported.get(name):
            history = [reported[epoch] for epoch in sorted(reported)]
        else:
            history = checkpoint.longest_history(self.trials.folder / name)[:epochs]
        self._ended.add(name)
        self.outbox.put(partial(self.trials.end, cfg.override(self.first, chosen), status, history))


def _stop_where_unwritable(trial: Trial) -> None:
    """Raise a storage's error; Tune's notes of it there, from which it would go on, are cut off."""
    error = connection.disk_failure(Path(trial.error_file).read_text())  # not in the storage
    if error and error.errno in UNWRITABLE:
        raise error


def _ours(result: dict[str, Any]) -> dict[str, Any]:
    """Return what a worker reported, without what Tune adds."""
    names = ("train_", "val_", "data_", "learning_", "dropped_", "seconds")
    return {name: value for name, value in result.items() if name.startswith(names)}


class Bar(tune.Callback):  # type: ignore[misc]  # Ray is untyped
    """A cell's progress bar, an epoch a step; Tune pickles its callbacks, so it opens late.

    Args:
        name: Of the cell.
        total: Epochs of all its trials.
    """

    def __init__(self, name: str, total: int) -> None:
        self.name, self.total = name, total
        self._bar: tqdm | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"name": self.name, "total": self.total, "_bar": None}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """Show the bar before the first epoch ends."""
        if self._bar is None:
            self._bar = tqdm(total=self.total, desc=self.name, unit="epoch")

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **_: Any
    ) -> None:
        """Move by an epoch."""
        if self._bar is not None:
            if "note" in result:
                self._bar.write(result["note"], file=sys.stderr)
            if VAL_OBJECTIVE in result:
                scores = f"loss {result['val_loss']:.4f} O/E Pearson {result[VAL_OBJECTIVE]:.3f}"
            else:
                scores = f"training loss {result['train_loss']:.4f}"
            self._bar.set_postfix_str(f"epoch {result['epoch']} {scores}", refresh=False)
            self._bar.update(1)

    def __enter__(self) -> None:
        """Do nothing: the bar opens with the first trial."""

    def __exit__(self, *_: object) -> None:
        """Close the bar, also where the search was interrupted."""
        if self._bar is not None:
            self._bar.close()
