"""The search: one Optuna and one ASHA per cell, one MLflow parent; then more seeds of the best."""

import logging
import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

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
from hicray.storage import Location
from hicray.training import track
from hicray.training.data import Data
from hicray.training.embeddings import KeptTokens, embed, wanted
from hicray.training.record import (
    BEST_OBJECTIVE,
    VAL_OBJECTIVE,
    Bar,
    Recorder,
    gap_tag,
    log_model,
)
from hicray.training.space import Cell, SearchConfig, search_name
from hicray.training.trial import Resources, arm, best_checkpoint, drive_trial
from hicray.windows.manifest import GENOME, Manifest
from hicray.windows.stream import open_windows

optuna.logging.set_verbosity(optuna.logging.WARNING)
# Tune looks for result files that this package turns off, and says so at the end of each cell.
logging.getLogger("ray.tune").setLevel(logging.ERROR)
SEARCHED: tuple[SplitName, SplitName] = ("train", "val")
"""The sets that a search may see."""


def search(
    what: SearchConfig,
    shards: Location,
    manifest: Manifest,
    resources: Resources,
    store: track.Store,
) -> str:
    """Search all cells; return the parent run's id.

    Args:
        what: The search.
        shards: Folder of the shard set; trials go to ``trials/`` beside it.
        manifest: Of the shard set.
        resources: Of one trial.
        store: Where runs are recorded.
    """
    cluster.require(what.train.workers, resources.cpus_per_worker, resources.use_gpu)
    name = search_name(what, manifest)
    parent = store.find_or_start(
        track.SEARCH, name, cfg.flatten(what), _search_tags(shards, manifest)
    )
    inputs = _Inputs(what.model, shards, manifest, resources)
    for size in manifest.coarse_bin_sizes:
        for sequence in what.sequences:
            job = _CellJob(what, Cell(size, sequence), inputs, resources, store, parent)
            if not job.is_done():
                chosen = job.run(shards.parent / "search" / name)
                if what.seeds > 1:
                    job.repeat(shards.parent / "search" / name, chosen)
                job.record_best()
    store.finish(parent)
    return parent


def _search_tags(shards: Location, manifest: Manifest) -> dict[str, str]:
    return {
        "dataset": manifest.plan,
        "shards": str(shards.resolve()),
        "sources": ",".join(manifest.sources),
        "mlflow.source.git.commit": track.git_commit(),
    }


class _Inputs:
    """Windows and genome of the cells, opened once and only for cells that have work left."""

    def __init__(
        self, model: cfg.ModelConfig, shards: Location, manifest: Manifest, resources: Resources
    ) -> None:
        self.model, self.shards, self.manifest = model, shards, manifest
        self.use_gpu = resources.use_gpu
        self.trials = shards.parent / "trials"

    def data(self, cell: Cell) -> Data:
        """Return what the trials of a cell share; a noseq cell has no genome."""
        data = self._gap(cell.coarse_bin_size)
        reads = replace(self.model, sequence=cell.sequence).reads_dna
        return replace(data, genome=self._genome if reads else None)

    # One at a time, as cells come in the order of gaps: two may not fit the object store.
    @lru_cache(maxsize=1)  # noqa: B019 - lives as long as the search
    def _gap(self, coarse: int) -> Data:
        kept: KeptTokens | None = None
        if wanted(self.model):
            kept = embed(self.model, self.shards, self.manifest, coarse, use_gpu=self.use_gpu)
        folder = kept.folder if kept else None
        train, val = (
            open_windows(self.shards, self.manifest, split, coarse, folder) for split in SEARCHED
        )
        return Data(self.manifest, train, val, tokens=kept.form if kept else None)

    @cached_property
    def _genome(self) -> Any:
        return ray.put(read_packed(self.shards / GENOME))


def _directory(trial: Any) -> str:
    return str(trial.trial_id)


@dataclass
class _CellJob:
    what: SearchConfig
    cell: Cell
    inputs: _Inputs
    resources: Resources
    store: track.Store
    parent: str

    def is_done(self) -> bool:
        """Return whether all trials have ended and the best is recorded as a model."""
        ended: list[track.TrialRun] = []
        with self.store.forgiving():
            ended = [run for run in self._runs() if BEST_OBJECTIVE in run.metrics]
        wanted = self.what.trials + self.what.seeds - 1
        return len(ended) >= wanted and any("model" in run.tags for run in ended)

    def run(self, state: Location) -> dict[str, Any]:
        """Run the cell's Tuner, or go on with one that was interrupted; return its best choice."""
        space = {k: tune.choice(list(v)) for k, v in self.cell.space(self.what).items()}
        guess = self.cell.first_guess(self.what)
        results = self._tune(state, "", guess, space, self._tune_config())
        best = results.get_best_result(VAL_OBJECTIVE, "max", scope="all")
        return dict(best.config)

    def repeat(self, state: Location, chosen: dict[str, Any]) -> None:
        """Train the cell's best configuration with further seeds, none of them stopped early."""
        best = cfg.override(self.cell.first_guess(self.what), chosen)
        seeds = [best.train.seed + i for i in range(1, self.what.seeds)]
        config = tune.TuneConfig(
            metric=VAL_OBJECTIVE,
            mode="max",
            max_concurrent_trials=self._concurrent(),
            trial_dirname_creator=_directory,
        )
        self._tune(state, "-seeds", best, {"train.seed": tune.grid_search(seeds)}, config)

    def _tune(
        self,
        state: Location,
        suffix: str,
        first: cfg.TrialConfig,
        space: dict[str, Any],
        config: tune.TuneConfig,
    ) -> tune.ResultGrid:
        name = f"{self.cell.sequence}-{self.cell.coarse_bin_size}{suffix}"
        folder, resources = self.inputs.trials, self.resources
        data = self.inputs.data(self.cell)
        drive = tune.with_parameters(
            drive_trial, first=first, data=data, folder=folder, resources=resources
        )
        trainable = tune.with_resources(drive, {"CPU": 0, cluster.DRIVER: 1})
        recorder = Recorder(self.store, self.parent, first, self.inputs.manifest, folder)
        count = self.what.seeds - 1 if suffix else self.what.trials
        bar = Bar(f"{arm(first)} {self._gap()}{suffix}", count * first.train.epochs)
        where = str(state.resolve() / name)
        if tune.Tuner.can_restore(where):
            tuner = tune.Tuner.restore(where, trainable, resume_errored=True)
        else:
            tuner = tune.Tuner(
                trainable,
                param_space=space,
                tune_config=config,
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
        return results

    def _tune_config(self) -> tune.TuneConfig:
        guess = cfg.flatten(self.cell.first_guess(self.what))
        space = self.cell.space(self.what)
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
            trial_dirname_creator=_directory,
        )

    def _concurrent(self) -> int:
        there = ray.cluster_resources()
        if self.resources.use_gpu:
            return max(1, int(there.get("GPU", 0)) // self.what.train.workers)
        # One CPU is left to Ray Data, or its reads would starve behind the workers.
        each = self.what.train.workers * self.resources.cpus_per_worker
        return max(1, int((there["CPU"] - 1) // each))

    def record_best(self) -> None:
        """Log the cell's best checkpoint as a model, with maps of validation windows."""
        with self.store.forgiving():
            ranked = sorted(
                self._runs(), key=lambda run: run.metrics.get(BEST_OBJECTIVE, -math.inf)
            )
            place = best_checkpoint(self.inputs.trials / ranked[-1].name) if ranked else None
            if place is not None:
                log_model(self.store, ranked[-1].run_id, place, self.inputs.data(self.cell))

    def _runs(self) -> list[track.TrialRun]:
        """Return the cell's trials as MLflow has them."""
        wanted = {"sequence": arm(self.cell.first_guess(self.what)), "gap": self._gap()}
        runs = self.store.trials(self.parent)
        return [run for run in runs if wanted.items() <= run.tags.items()]

    def _gap(self) -> str:
        return gap_tag(self.cell.coarse_bin_size, self.inputs.manifest)
