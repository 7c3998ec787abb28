"""The search: cells, search spaces, one Optuna and one ASHA per cell, one MLflow parent.

{seq, noseq} x {gaps} are cells, not knobs: the easier gap must not starve the harder one, nor
one arm get more tries. Every cell has as many trials, of the same seed, from the same first
guess.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import ray
import torch
from optuna.samplers import TPESampler
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch
from tqdm import tqdm

from hicray import cluster
from hicray import config as cfg
from hicray.figures import loss_curves, map_panels
from hicray.maps.genome import read_packed
from hicray.model.hicfoundation import build
from hicray.training import checkpoint, track
from hicray.training.metrics import OBJECTIVE
from hicray.training.train import Data
from hicray.training.trial import (
    CHECKPOINT,
    Resources,
    arm,
    best_checkpoint,
    run_trial,
    trial_name,
)
from hicray.windows.manifest import GENOME, Manifest
from hicray.windows.stream import Reader, Slice, open_windows

logger = logging.getLogger(__name__)
VAL_OBJECTIVE = f"val_{OBJECTIVE}"
SSIM_WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.4)
DEPTHS = (1, 2, 3, 4, 5, 6)
FUSIONS: tuple[cfg.Fusion, ...] = ("both", "pairwise", "tokens")
_PREFIX = "best_"


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """What is searched.

    Attributes:
        model: First guess of the network.
        train: First guess of the training.
        sequences: Arms: each with each gap is a cell.
        trials: Per cell.
        seed: Of the searcher.
    """

    model: cfg.ModelConfig
    train: cfg.TrainConfig
    sequences: tuple[cfg.Sequence, ...] = ("off", "on")
    trials: int = 4
    seed: int = 0


class Cell(NamedTuple):
    """One arm at one gap."""

    coarse_bin_size: int
    sequence: cfg.Sequence

    def first_guess(self, search: SearchConfig) -> cfg.TrialConfig:
        """Return the configuration that every cell tries first."""
        model = replace(search.model, sequence=self.sequence)
        return cfg.TrialConfig(
            coarse_bin_size=self.coarse_bin_size, model=model, train=search.train
        )

    def space(self) -> dict[str, tuple[Any, ...]]:
        """Return the choices of each searched setting: DNA's where there is DNA."""
        space: dict[str, tuple[Any, ...]] = {"train.ssim_weight": SSIM_WEIGHTS}
        if self.sequence != "off":
            space |= {"model.depth": DEPTHS, "model.fusion": FUSIONS}
        return space


def cells(search: SearchConfig, manifest: Manifest) -> list[Cell]:
    """Return all cells, gap by gap."""
    return [Cell(size, arm) for size in manifest.coarse_bin_sizes for arm in search.sequences]


def search_name(search: SearchConfig, manifest: Manifest) -> str:
    """Return the identity of a search on a shard set."""
    return f"search-{cfg.digest([cfg.digest(search), manifest.plan])}"


def search(
    what: SearchConfig, shards: Path, manifest: Manifest, resources: Resources, store: track.Store
) -> str:
    """Search all cells; return the parent run's id.

    Args:
        what: The search.
        shards: Folder of the shard set; trials go to ``trials/`` beside it.
        manifest: Of the shard set.
        resources: Of one trial.
        store: Where runs are recorded.
    """
    cluster.require(resources.workers, resources.cpus_per_worker, resources.use_gpu)
    name = search_name(what, manifest)
    parent = store.find_or_start(
        track.SEARCH, name, cfg.flatten(what), _search_tags(shards, manifest)
    )
    genome: Any = None
    total = len(cells(what, manifest)) * what.trials * what.train.epochs
    bar = tqdm(total=total, desc="search", unit="epoch")
    for size in manifest.coarse_bin_sizes:
        sets = {s: open_windows(shards, manifest, s, size) for s in ("train", "val")}  # type: ignore[arg-type]  # literals
        for sequence in what.sequences:
            if sequence == "on" and genome is None:
                genome = ray.put(read_packed(shards / GENOME))
            data = Data(manifest, sets["train"], sets["val"], genome if sequence == "on" else None)
            cell = Cell(size, sequence)
            folder = shards.parent / "trials"
            job = _CellJob(what, cell, data, folder, resources, store, parent)
            job.run(shards.parent / "search" / name, bar)
            job.record_best()
    bar.close()
    store.finish(parent)
    return parent


def _search_tags(shards: Path, manifest: Manifest) -> dict[str, str]:
    return {
        "dataset": manifest.plan,
        "shards": str(shards.resolve()),
        "sources": ",".join(manifest.sources),
        "mlflow.source.git.commit": track.git_commit(),
    }


@dataclass
class _CellJob:
    what: SearchConfig
    cell: Cell
    data: Data
    folder: Path
    resources: Resources
    store: track.Store
    parent: str

    def trial(self, chosen: dict[str, Any]) -> cfg.TrialConfig:
        return cfg.override(self.cell.first_guess(self.what), chosen)

    def run(self, state: Path, bar: "tqdm[Any]") -> None:
        """Run the cell's Tuner, or go on with one that was interrupted."""
        name = f"{self.cell.sequence}-{self.cell.coarse_bin_size}"
        what, data, folder, resources = self.what, self.data, self.folder, self.resources
        first = self.cell.first_guess(what)

        def drive(chosen: dict[str, Any]) -> None:
            run_trial(cfg.override(first, chosen), data, folder, resources)

        trainable = tune.with_resources(drive, {"CPU": 0, cluster.DRIVER: 1})
        recorder = Recorder(self.store, self.parent, first, self.data.manifest, self.folder)
        where = state.resolve() / name
        if tune.Tuner.can_restore(str(where)):
            tuner = tune.Tuner.restore(str(where), trainable, resume_errored=True)
        else:
            tuner = tune.Tuner(
                trainable,
                param_space={k: tune.choice(list(v)) for k, v in self.cell.space().items()},
                tune_config=self._tune_config(),
                run_config=tune.RunConfig(
                    name=name,
                    storage_path=str(state.resolve()),
                    callbacks=[recorder, _Bar(bar)],
                    verbose=0,
                    failure_config=tune.FailureConfig(max_failures=1),
                ),
            )
        results = tuner.fit()
        if results.num_errors == len(results):
            raise RuntimeError(f"every trial of {name} failed: {results.errors[0]}")

    def _tune_config(self) -> tune.TuneConfig:
        guess = cfg.flatten(self.cell.first_guess(self.what))
        space = self.cell.space()
        sampler = TPESampler(seed=self.what.seed, multivariate=True, constant_liar=True)
        epochs = self.what.train.epochs
        return tune.TuneConfig(
            metric=VAL_OBJECTIVE,
            mode="max",
            num_samples=self.what.trials,
            max_concurrent_trials=self._concurrent(),
            search_alg=OptunaSearch(
                sampler=sampler, points_to_evaluate=[{name: guess[name] for name in space}]
            ),
            # One past the end: a trial ends by itself, and is only stopped early by its rivals.
            scheduler=ASHAScheduler(
                time_attr="epoch", max_t=epochs + 1, grace_period=max(1, math.ceil(epochs / 3))
            ),
            trial_dirname_creator=lambda trial: trial.trial_id,
        )

    def _concurrent(self) -> int:
        there = ray.cluster_resources()
        if self.resources.use_gpu:
            return max(1, int(there.get("GPU", 0)) // self.resources.workers)
        # One CPU is left to Ray Data, or its reads would starve behind the workers.
        each = self.resources.workers * self.resources.cpus_per_worker
        return max(1, int((there["CPU"] - 1) // each))

    def record_best(self) -> None:
        """Log the cell's best checkpoint as a model, with maps of validation windows."""
        runs = [run for run in self.store.trials(self.parent) if self._mine(run)]
        best = max(runs, key=lambda run: run.metrics.get(_PREFIX + VAL_OBJECTIVE, -math.inf))
        if best.tags.get("model"):
            return
        place = best_checkpoint(self.folder / best.name)
        if place is None:
            return
        with self.store.forgiving():
            _log_model(self.store, best.run_id, place, self.data)

    def _mine(self, run: track.TrialRun) -> bool:
        wanted = {"sequence": arm(self.cell.first_guess(self.what)), "gap": self._gap()}
        return all(run.tags.get(name) == value for name, value in wanted.items())

    def _gap(self) -> str:
        return gap_tag(self.cell.coarse_bin_size, self.data.manifest)


def gap_tag(coarse_bin_size: int, manifest: Manifest) -> str:
    """Return e.g. '16000->4000'."""
    return f"{coarse_bin_size}->{manifest.fine_bin_size}"


def _log_model(store: track.Store, run_id: str, place: Path, data: Data) -> None:
    trial = checkpoint.read_progress(place).trial
    manifest = data.manifest
    model = build(trial.model, window_bins=manifest.window_bins, bin_size=manifest.fine_bin_size)
    checkpoint.load_weights(place, model)
    model.eval()
    collate = data.collate(trial.coarse_bin_size)
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
    store.tag(run_id, {"model": store.model(run_id, model, twice), "checkpoint": str(place)})


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
        folder: Path,
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
            self.store.log(run, {_PREFIX + VAL_OBJECTIVE: max(scores)}, len(scores))
            self.store.figure(run, loss_curves({name: lines}), "loss_curves.png")
        self.store.finish(run, status)


def _ours(result: dict[str, Any]) -> dict[str, Any]:
    """Return what a worker reported, without what Tune adds."""
    names = ("train_", "val_", "data_", "learning_", "dropped_", "seconds")
    return {name: value for name, value in result.items() if name.startswith(names)}


class _Bar(tune.Callback):  # type: ignore[misc]  # Ray is untyped
    """Moves the search's progress bar."""

    def __init__(self, bar: "tqdm[Any]") -> None:
        self.bar = bar

    def __getstate__(self) -> dict[str, Any]:
        return {"bar": None}

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **_: Any
    ) -> None:
        if self.bar is not None:
            self.bar.update(1)
            self.bar.set_postfix_str(
                f"{trial.trial_id} epoch {result['epoch']} "
                f"O/E Pearson {result[VAL_OBJECTIVE]:.3f} loss {result['val_loss']:.4f}"
            )


__all__: Sequence[str] = ("CHECKPOINT", "Cell", "Recorder", "SearchConfig", "cells", "search")
