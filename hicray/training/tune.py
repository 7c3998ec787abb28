"""The search: cells, search spaces, one Optuna and one ASHA per cell, one MLflow parent.

{seq, noseq} x {gaps} are cells, not knobs: the easier gap must not starve the harder one, nor
one arm get more tries. Every cell has as many trials, of the same seed, from the same first
guess.
"""

import logging
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import ray
from optuna.samplers import TPESampler
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from hicray import cluster
from hicray import config as cfg
from hicray.maps.bins import SplitName
from hicray.maps.genome import read_packed
from hicray.training import track
from hicray.training.data import Data
from hicray.training.record import (
    BEST_OBJECTIVE,
    VAL_OBJECTIVE,
    Bar,
    Recorder,
    gap_tag,
    log_model,
)
from hicray.training.trial import Resources, arm, best_checkpoint, run_trial
from hicray.windows.manifest import GENOME, Manifest
from hicray.windows.stream import open_windows

optuna.logging.set_verbosity(optuna.logging.WARNING)
# Tune looks for result files that this package turns off, and says so at the end of each cell.
logging.getLogger("ray.tune").setLevel(logging.ERROR)
SSIM_WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.4)
DEPTHS = (1, 2, 3, 4, 5, 6)
SEARCHED: tuple[SplitName, SplitName] = ("train", "val")
"""The sets that a search may see."""
FUSIONS: tuple[cfg.Fusion, ...] = ("both", "pairwise", "tokens")


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
    for size in manifest.coarse_bin_sizes:
        train, val = (open_windows(shards, manifest, split, size) for split in SEARCHED)
        for sequence in what.sequences:
            if sequence == "on" and genome is None:
                genome = ray.put(read_packed(shards / GENOME))
            data = Data(manifest, train, val, genome if sequence == "on" else None)
            cell = Cell(size, sequence)
            folder = shards.parent / "trials"
            job = _CellJob(what, cell, data, folder, resources, store, parent)
            job.run(shards.parent / "search" / name)
            job.record_best()
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

    def run(self, state: Path) -> None:
        """Run the cell's Tuner, or go on with one that was interrupted."""
        name = f"{self.cell.sequence}-{self.cell.coarse_bin_size}"
        what, data, folder, resources = self.what, self.data, self.folder, self.resources
        first = self.cell.first_guess(what)

        def drive(chosen: dict[str, Any]) -> None:
            run_trial(cfg.override(first, chosen), data, folder, resources)

        trainable = tune.with_resources(drive, {"CPU": 0, cluster.DRIVER: 1})
        recorder = Recorder(self.store, self.parent, first, self.data.manifest, self.folder)
        bar = Bar(f"{arm(first)} {self._gap()}", what.trials * what.train.epochs)
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
                    callbacks=[recorder, bar],
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
            reuse_actors=True,
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
        best = max(runs, key=lambda run: run.metrics.get(BEST_OBJECTIVE, -math.inf))
        if best.tags.get("model"):
            return
        place = best_checkpoint(self.folder / best.name)
        if place is None:
            return
        with self.store.forgiving():
            log_model(self.store, best.run_id, place, self.data)

    def _mine(self, run: track.TrialRun) -> bool:
        wanted = {"sequence": arm(self.cell.first_guess(self.what)), "gap": self._gap()}
        return all(run.tags.get(name) == value for name, value in wanted.items())

    def _gap(self) -> str:
        return gap_tag(self.cell.coarse_bin_size, self.data.manifest)
