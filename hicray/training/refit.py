"""The networks that people take home: the best arm of each gap, trained anew on all chromosomes.

A search holds chromosomes out, to choose by and to be judged on. What it chose may then learn from
them as well: it is trained once more, from the start, on windows of all of them. Nothing is left
that could stop it or judge it, so that it takes the epochs after which it was best.
"""

from dataclasses import replace
from functools import partial

from hicray import config as cfg
from hicray.config import UserError
from hicray.io.storage import Location, locate, locate_uri
from hicray.model.checkpoint import best_checkpoint, read_progress
from hicray.tracking import track
from hicray.tracking.outbox import Outbox
from hicray.training.gaps import Gaps
from hicray.training.record import Trials
from hicray.training.space import Cell, SearchConfig, cells, search_name
from hicray.training.state import ended
from hicray.training.trial import Resources
from hicray.training.tune import CellJob
from hicray.windows.manifest import ShardSet
from hicray.windows.sources import Source, open_sources
from hicray.wording import command

ENHANCE = "enhance"
"""Tag of a refit's run: the lines that sharpen the maps that it was trained on, one a map."""


def refit(
    what: SearchConfig,
    searched: ShardSet,
    everything: ShardSet,
    data: cfg.DataConfig,
    resources: Resources,
    store: track.Store,
    search: str,
) -> None:
    """Train the best arm of each gap on all chromosomes, unless that is done; record it.

    Args:
        what: The search, which has ended.
        searched: What it searched.
        everything: The same maps, all of whose windows train.
        data: What that was cut from.
        resources: Of one training.
        store: Where runs are recorded.
        search: Run of the search.

    Raises:
        UserError: A network diverged, or the search's checkpoints are gone.
    """
    folder, manifest = everything
    gaps = Gaps(what.model, everything, use_gpu=resources.use_gpu)
    recorded = store.known_trials(lambda: search, track.REFIT)
    alone, sources = replace(what, trials=1, seeds=1), open_sources(data, folder / "derived")
    with Outbox(store) as outbox:
        trials = Trials(store, lambda: search, manifest, gaps.trials)
        for size in manifest.coarse_bin_sizes:
            trial = best(what, searched, size)
            # By the trial's name: a search that goes on may come by another best.
            state = folder.parent / "search" / trials.name(trial)
            cell = Cell(size, trial.model.sequence)
            job = CellJob(alone, cell, gaps, resources, outbox, trials, state)
            if not job.is_done(recorded):
                job.run_one(trial)
            trained = (gaps.trials / trials.name(trial)).resolve()
            lines = [_line(trained, one, trial, data, resources) for one in sources]
            outbox.put(partial(_tag, store, trials, trial, "\n".join(lines)))


def best(what: SearchConfig, searched: ShardSet, coarse_bin_size: int) -> cfg.TrialConfig:
    """Return the refit of what scored best on validation at a gap, among seq and noseq.

    Args:
        what: The search.
        searched: What it searched.
        coarse_bin_size: Of the gap, in bp.

    Raises:
        UserError: No checkpoint of the search is left.
    """
    storage = searched.folder.parent
    state = storage / "search" / search_name(what, searched.manifest)
    own = [cell for cell in cells([coarse_bin_size], what) if cell.sequence in cfg.TAKEN_HOME]
    names = [name for cell in own for name in ended(state / cell.name)]
    folder = best_checkpoint(*(storage / "trials" / name for name in names))
    if folder is None:
        raise UserError(
            f"{storage / 'trials'} holds no whole checkpoint of {', '.join(names)}, of which the "
            "best is to be refitted; remove them and run the same command again"
        )
    progress = read_progress(folder)
    # Where weights, table and tracks lie now: a trial is known by their content.
    model = replace(
        progress.trial.model,
        encoder_weights=what.model.encoder_weights,
        dna_embeddings=what.model.dna_embeddings,
        tracks=what.model.tracks,
    )
    return replace(progress.trial, model=model, refit_epochs=progress.epoch)


def _tag(store: track.Store, trials: Trials, trial: cfg.TrialConfig, lines: str) -> None:
    store.tag(trials.run(trial), {ENHANCE: lines})


def _line(
    folder: Location,
    source: Source,
    trial: cfg.TrialConfig,
    data: cfg.DataConfig,
    resources: Resources,
) -> str:
    """Return the line for a shell that sharpens a coarse map by a network."""
    coarse = source.coarse[trial.coarse_bin_size]
    words = ["--checkpoint", str(folder), "--contacts", locate_uri(coarse.uri)]
    if trial.model.reads_dna:
        words += ["--genome", str(locate(data.genome))]
        words += ["--match-chr"] if data.match_chr else []
    if trial.model.reads_embeddings:
        words += ["--dna-embeddings", trial.model.dna_embeddings]
    if trial.model.reads_tracks:
        words += ["--tracks", *trial.model.tracks]
    if not data.raw and coarse.weights_name != "weight":
        words += ["--weights", coarse.weights_name]
    out = f"{source.name}.{trial.coarse_bin_size}-to-{data.fine_bin_size}.mcool"
    words += ["--out", out, *(["--use-gpu"] if resources.use_gpu else [])]
    return command("hicray", "enhance", *words)
