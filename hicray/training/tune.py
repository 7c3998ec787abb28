"""The search: one Optuna and one ASHA per cell, one MLflow parent; then more seeds of the best."""

import logging
import math
import sys
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NoReturn

from ray import tune

from hicray import config as cfg
from hicray.cluster import connection
from hicray.config import UserError
from hicray.io.storage import Location, remove_tree
from hicray.metrics.objective import RANK
from hicray.model.checkpoint import best_checkpoint
from hicray.tracking import track
from hicray.tracking.outbox import Outbox
from hicray.training.gaps import Gaps
from hicray.training.halving import Halving
from hicray.training.record import Bar, Recorder, Trials, open_best
from hicray.training.searcher import DistinctSearch
from hicray.training.space import Cell, SearchConfig, cells, require_distinct, search_name
from hicray.training.state import damage, ended, note_end
from hicray.training.trial import Resources, arm, diverged, drive_trial
from hicray.windows.enough import require_step
from hicray.windows.manifest import ShardSet

SEEDS = "-seeds"
"""How the state of the Tuner that repeats a cell's best trial is called, behind the cell's name."""


def search(
    config: SearchConfig,
    shards: ShardSet,
    resources: Resources,
    store: track.Store,
) -> str:
    """Search all cells; return the parent run's id.

    Args:
        config: The search.
        shards: The shard set; trials go to ``trials/`` beside it.
        resources: Of one trial.
        store: Where runs are recorded.

    Raises:
        UserError: The cluster, the windows or the choices are too few for it.
    """
    # Tune looks for result files that this package turns off, and says so at the end of each cell.
    # Why a trial failed, it says in a page; the recorder does in a line.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    folder, manifest = shards
    require_distinct(config, manifest.coarse_bin_sizes)
    require_step(manifest.num_windows("train"), config.train)
    connection.require(config.train.workers, resources.cpus_per_worker, resources.use_gpu)
    name, tags = search_name(config, manifest), _search_tags(shards)
    # The same search in another storage is another one: its trials have their own checkpoints.
    identity = f"{name}-{cfg.digest(str(folder.parent.resolve()))}"
    parent = cache(partial(store.find_or_start, track.SEARCH, identity, cfg.flatten(config), tags))
    gaps = Gaps(config.model, shards, use_gpu=resources.use_gpu)
    # Before the outbox: two threads that look for the parent might both start it.
    recorded = store.known_trials(parent)
    with Outbox(store) as outbox:
        outbox.put(lambda: store.resume(parent()))
        trials = Trials(store, parent, manifest, gaps.trials)
        state = folder.parent / "search" / name
        for cell in cells(manifest.coarse_bin_sizes, config):
            job = CellJob(config, cell, gaps, resources, outbox, trials, state)
            if not job.is_done(recorded):
                job.run(recorded)
        outbox.put(lambda: store.finish(parent()))
    return parent()


def _search_tags(shards: ShardSet) -> dict[str, str]:
    return {
        "dataset": shards.manifest.plan,
        "shards": str(shards.folder.resolve()),
        # A run that goes on keeps the time when it was first started.
        track.LAST_RUN: str(track.now()),
        "sources": ",".join(shards.manifest.sources),
        "mlflow.source.git.commit": track.git_commit(),
    }


def _directory(trial: Any) -> str:
    return str(trial.trial_id)


@dataclass
class CellJob:
    """One cell's work: its Tuners, their records and what of them is done already.

    Attributes:
        search: The search.
        cell: One arm at one gap.
        gaps: Windows and genome.
        resources: Of one trial.
        outbox: Takes what is to be recorded.
        trials: The runs that it is recorded in.
        state: Folder of the Tuners' states.
    """

    search: SearchConfig
    cell: Cell
    gaps: Gaps
    resources: Resources
    outbox: Outbox
    trials: Trials
    state: Location

    def is_done(self, recorded: list[track.TrialRun]) -> bool:
        """Return whether Tune has ended all trials, and they and the best's model are recorded.

        Some may have failed: they did so more than once, and would again.
        """
        runs = {run.name: run for run in self._of_cell(recorded)}
        parts = [ended(self._folder(suffix)) for suffix in self._parts()]
        statuses = {name: status for part in parts for name, status in part.items()}
        settled = [run for name, run in runs.items() if run.status == statuses.get(name)]
        return (
            all(parts)
            and len(settled) == len(statuses)
            and any("model" in run.tags for run in settled)
        )

    def run(self, recorded: list[track.TrialRun]) -> None:
        """Run the cell's Tuner, or go on with one that was interrupted; record its best trial."""
        space = {k: tune.choice(list(v)) for k, v in self.cell.space(self.search).items()}
        guess = self.cell.first_guess(self.search)
        results = self._tune("", guess, space, self._tune_config(recorded))
        tried = [cfg.override(guess, result.config) for result in results]
        if self.search.seeds > 1:
            best = results.get_best_result(RANK, "max", scope="all")
            tried += self._repeat(cfg.override(guess, best.config))
        self._log_best(tried)

    def run_one(self, trial: cfg.TrialConfig) -> None:
        """Train one configuration in place of a search, as far as it goes; record it."""
        alone = tune.TuneConfig(metric=RANK, mode="max", trial_dirname_creator=_directory)
        self._tune("", trial, {}, alone)
        self._log_best([trial])

    def _log_best(self, tried: list[cfg.TrialConfig]) -> None:
        folders = (self.gaps.trials / self.trials.name(config) for config in tried)
        if (folder := best_checkpoint(*folders)) is not None:
            best_model = open_best(folder, self.gaps.data(self.cell))
            self.outbox.put(partial(self.trials.model, best_model))

    def _of_cell(self, recorded: list[track.TrialRun]) -> list[track.TrialRun]:
        tags = {"sequence": arm(self.cell.first_guess(self.search)), "gap": self._gap()}
        return [run for run in recorded if tags.items() <= run.tags.items()]

    def _parts(self) -> list[str]:
        """Return what the names of the cell's Tuners end with."""
        return ["", SEEDS] if self.search.seeds > 1 else [""]

    def _folder(self, suffix: str) -> Location:
        return self.state / f"{self.cell.name}{suffix}"

    def _repeat(self, best: cfg.TrialConfig) -> list[cfg.TrialConfig]:
        """Train a configuration with further seeds, none of them stopped early."""
        seeds = [best.train.seed + i for i in range(1, self.search.seeds)]
        config = tune.TuneConfig(
            metric=RANK,
            mode="max",
            max_concurrent_trials=self._concurrent(),
            trial_dirname_creator=_directory,
        )
        results = self._tune(SEEDS, best, {"train.seed": tune.grid_search(seeds)}, config)
        return [cfg.override(best, result.config) for result in results]

    def _tune(
        self,
        suffix: str,
        first: cfg.TrialConfig,
        space: dict[str, Any],
        config: tune.TuneConfig,
    ) -> tune.ResultGrid:
        folder = self._folder(suffix)
        recorder = Recorder(self.outbox, self.trials, first)
        count = self.search.seeds - 1 if suffix else self.search.trials
        kind = "refit of " if first.refit_epochs else ""
        bar = Bar(f"{kind}{arm(first)} {self._gap()}{suffix}", count * first.most_epochs)
        if fault := damage(folder):
            sys.stderr.write(
                f"{folder.resolve()} is damaged: {fault}; the trials go on from checkpoints\n"
            )
            remove_tree(folder)
        tuner = self._tuner(folder, self._trainable(first), space, config, [recorder, bar])
        with bar:
            try:
                results = tuner.fit()
            except tune.TuneError as error:  # with a callback's error as text
                raise connection.disk_failure(str(error)) or error from None
        statuses = recorder.catch_up(results)
        if results.num_errors == len(results):
            self._give_up(folder.name, first, results)
        note_end(folder, statuses)
        return results

    def _trainable(self, first: cfg.TrialConfig) -> Any:
        """Return what Tune runs for each choice."""
        drive = tune.with_parameters(
            drive_trial,
            first=first,
            data=self.gaps.data(self.cell),
            folder=self.gaps.trials,
            resources=self.resources,
        )
        return tune.with_resources(drive, connection.driver())

    def _tuner(
        self,
        folder: Location,
        trainable: Any,
        space: dict[str, Any],
        config: tune.TuneConfig,
        callbacks: list[tune.Callback],
    ) -> tune.Tuner:
        """Return the Tuner whose state lies in a folder, or a new one."""
        path = str(folder.resolve())
        if tune.Tuner.can_restore(path):
            tuner = tune.Tuner.restore(path, trainable, resume_errored=True)
            # Tune would call those that it pickled, of a process that is no more.
            tuner._local_tuner.get_run_config().callbacks = callbacks
            return tuner
        return tune.Tuner(
            trainable,
            param_space=space,
            tune_config=config,
            run_config=tune.RunConfig(
                name=folder.name,
                storage_path=str(self.state.resolve()),
                callbacks=callbacks,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=1),
            ),
        )

    def _give_up(self, name: str, first: cfg.TrialConfig, results: tune.ResultGrid) -> NoReturn:
        """Say why all trials failed, in a sentence where they diverged or a user can mend it."""
        tried = [cfg.override(first, result.config) for result in results]
        faults = [diverged(self.gaps.trials / self.trials.name(config)) for config in tried]
        if all(faults):
            whose = f"{arm(first)} trial at {self._gap()} diverged: {faults[0]}"
            if first.refit_epochs:
                raise UserError(f"the refit of the {whose}; without --refit the search is compared")
            raise UserError(f"every {whose}")
        for reason in results.errors:
            if isinstance(reason, UserError):
                raise reason
        failed = f"every trial of {name} failed: {results.errors[0]}"
        raise connection.disk_failure(failed) or RuntimeError(failed)

    def _tune_config(self, recorded: list[track.TrialRun]) -> tune.TuneConfig:
        epochs = self.search.train.epochs
        return tune.TuneConfig(
            metric=RANK,
            mode="max",
            num_samples=self.search.trials,
            max_concurrent_trials=self._concurrent(),
            # An actor that has ended a trial drives the next: a new process would import all anew.
            reuse_actors=True,
            search_alg=DistinctSearch(self.search.seed, self._first(recorded)),
            # One past the end: a trial ends by itself, and is only stopped early by its rivals.
            scheduler=Halving(
                time_attr="epoch", max_t=epochs + 1, grace_period=max(1, math.ceil(epochs / 3))
            ),
            trial_dirname_creator=_directory,
        )

    def _first(self, recorded: list[track.TrialRun]) -> list[dict[str, Any]]:
        """Return what the cell tries first: the guess, then what it tried before it lost its state.

        Else a cell that begins anew would come by more configurations than others.
        """
        space, guess = self.cell.space(self.search), cfg.flatten(self.cell.first_guess(self.search))
        seed = str(self.search.train.seed)
        before = [
            {name: value for name, values in space.items() for value in values
             if run.params.get(name) == str(value)}
            for run in self._of_cell(recorded)
            if run.params.get("train.seed") == seed
        ]  # fmt: skip
        return [{name: guess[name] for name in space}, *before]

    def _concurrent(self) -> int:
        if self.resources.use_gpu:
            return max(1, int(sum(connection.offered("GPU"))) // self.search.train.workers)
        # One CPU is left to Ray Data, or its reads would starve behind the workers.
        each = self.search.train.workers * self.resources.cpus_per_worker
        return max(1, int((sum(connection.offered("CPU")) - 1) // each))

    def _gap(self) -> str:
        return self.gaps.shards.manifest.gap_tag(self.cell.coarse_bin_size)
