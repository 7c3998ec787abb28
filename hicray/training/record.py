"""What a search leaves in MLflow: a Tune callback that records trials, and best models."""

import sys
from dataclasses import asdict
from typing import Any

import torch
from ray import tune
from ray.tune.experiment import Trial
from tqdm import tqdm

from hicray import config as cfg
from hicray.figures import loss_curves, map_panels
from hicray.model.build import build
from hicray.storage import Location
from hicray.training import checkpoint, track
from hicray.training.data import Data
from hicray.training.metrics import OBJECTIVE
from hicray.training.trial import arm, best_checkpoint, trial_name
from hicray.windows.manifest import Manifest
from hicray.windows.stream import Reader, Slice

VAL_OBJECTIVE = f"val_{OBJECTIVE}"
BEST_OBJECTIVE = f"best_{VAL_OBJECTIVE}"


def gap_tag(coarse_bin_size: int, manifest: Manifest) -> str:
    """Return e.g. '16000->4000'."""
    return f"{coarse_bin_size}->{manifest.fine_bin_size}"


def log_model(store: track.Store, run_id: str, place: Location, data: Data) -> None:
    """Log a checkpoint as a model, with its maps of a few validation windows."""
    progress = checkpoint.read_progress(place)
    trial, manifest = progress.trial, data.manifest
    model = build(trial.model, window_bins=manifest.window_bins, bin_size=manifest.fine_bin_size)
    checkpoint.load_weights(place, model)
    model.eval()
    collate = data.collate(trial)
    shown = min(3, data.val.rows)
    table = next(iter(Reader(data.val, shown).ordered(Slice(0, shown))))
    batch = collate.decode(collate.compact(table))
    with torch.no_grad():
        enhanced = model(**batch.inputs())
    rows = {}
    for i in range(len(batch)):
        _, chrom = collate.groups[int(batch.group[i])]
        maps = {"coarse": batch.coarse[i], "enhanced": enhanced[i], "fine": batch.target[i]}
        maps["difference (enhanced - fine)"] = enhanced[i] - batch.target[i]
        rows[f"{chrom}:{int(batch.row_start[i]):,}"] = {k: v.numpy() for k, v in maps.items()}
    store.figure(run_id, map_panels(rows, "validation windows, log10(x + 1) / 3"), "maps.png")
    twice = {name: torch.cat([value, value])[:2] for name, value in batch.inputs().items()}
    uri = store.model(run_id, model, twice, asdict(progress))
    store.tag(run_id, {"model": uri, "checkpoint": str(place)})


class Recorder(tune.Callback):  # type: ignore[misc]  # Ray is untyped
    """Writes every trial of a cell to MLflow, from the driver.

    Args:
        store: Where to.
        parent: Run of the search.
        first: The cell's first guess, which a trial's choices override.
        manifest: Of the shard set.
        folder: Where trials keep their checkpoints.
    """

    def __init__(
        self,
        store: track.Store,
        parent: str,
        first: cfg.TrialConfig,
        manifest: Manifest,
        folder: Location,
    ) -> None:
        self.store, self.parent, self.first = store, parent, first
        self.plan, self.folder = manifest.plan, folder
        self.gap = gap_tag(first.coarse_bin_size, manifest)
        self._runs: dict[str, str] = {}
        self._logged: dict[str, int] = {}

    def _config(self, trial: Trial) -> cfg.TrialConfig:
        return cfg.override(self.first, trial.config)

    def _run(self, trial: Trial) -> str:
        if trial.trial_id not in self._runs:
            config = self._config(trial)
            tags = {
                "mlflow.parentRunId": self.parent,
                "sequence": arm(config),
                "gap": self.gap,
                "dataset": self.plan,
                "mlflow.source.git.commit": track.git_commit(),
            }
            name = trial_name(config, self.plan)
            run = self.store.find_or_start(track.TRIAL, name, cfg.flatten(config), tags)
            self._runs[trial.trial_id] = run
            self._logged[trial.trial_id] = self.store.last_step(run, VAL_OBJECTIVE)
        return self._runs[trial.trial_id]

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """Find or start the trial's run."""
        with self.store.forgiving():
            self._run(trial)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **_: Any
    ) -> None:
        """Log an epoch once; a restarted trial reports its past again."""
        with self.store.forgiving():
            run, epoch = self._run(trial), int(result["epoch"])
            if epoch > self._logged[trial.trial_id]:
                self.store.log(run, _ours(result), epoch)
                self._logged[trial.trial_id] = epoch

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **_: Any
    ) -> None:
        """End the run with its best epoch and its loss curves."""
        with self.store.forgiving():
            self._finish(trial, "FINISHED")

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """End the run as failed."""
        with self.store.forgiving():
            self._finish(trial, "FAILED")

    def _finish(self, trial: Trial, status: str) -> None:
        run = self._run(trial)
        lines = {name: self.store.curve(run, f"{name}_loss") for name in ("train", "val")}
        scores = self.store.curve(run, VAL_OBJECTIVE)
        config = self._config(trial)
        name = trial_name(config, self.plan)
        place = best_checkpoint(self.folder / name)
        stopped = len(scores) < config.train.epochs
        self.store.tag(run, {"early_stopped": str(stopped), "checkpoint": str(place or "")})
        if scores:
            self.store.log(run, {BEST_OBJECTIVE: max(scores)}, len(scores))
            self.store.figure(run, loss_curves({name: lines}), "loss_curves.png")
        self.store.finish(run, status)


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
        self._bar: tqdm[Any] | None = None

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
            self._bar.update(1)
            if "note" in result:
                self._bar.write(result["note"], file=sys.stderr)
            self._bar.set_postfix_str(
                f"epoch {result['epoch']} loss {result['val_loss']:.4f} "
                f"O/E Pearson {result[VAL_OBJECTIVE]:.3f}"
            )

    def on_experiment_end(self, trials: list[Trial], **_: Any) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
